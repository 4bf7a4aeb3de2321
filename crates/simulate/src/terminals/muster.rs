//! A gateway: collects the reports of its devices into batches of Muster's own format.

mod columns;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use model::Timestamp;
use prost::Message as _;
use wire::proto::{AltitudeRef, GatewayDown, GatewayUp, Heartbeat, Report, ReportBatch, TimeBasis};
use wire::proto::{gateway_down, gateway_up};

use self::columns::Numbers;
use super::{Cadence, Carrier, Fault, LATE_MAX, NEVER, Terminal};
use crate::tally::Counters;
use crate::{Batches, Forces};

/// Batches are made so often.
pub(crate) const TICK: Duration = Duration::from_millis(100);
/// Most reports in a batch on a stream: under 256 KiB whatever the names.
const STREAM_REPORTS_MAX: usize = 1_500;
/// Most reports in a datagram: under 1,400 bytes.
const DATAGRAM_REPORTS_MAX: usize = 14;
/// Batches that may be sent ahead of their acknowledgements.
const UNSETTLED_MAX: usize = 256;
const HEARTBEAT_AFTER: Duration = Duration::from_secs(30);
const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// One gateway and the devices behind it.
pub(crate) struct Gateway {
    name: String,
    forces: Arc<Forces>,
    start: Timestamp,
    carrier: Carrier,
    form: Form,
    counters: Arc<Counters>,
    members: Vec<Member>,
    /// Members by their next report, soonest first, one queue for each interval: whoever has reported goes to the end.
    queues: Vec<(Duration, VecDeque<u32>)>,
    /// When the next batch is made; it holds what is due before.
    tick: Duration,
    /// Reports of the last tick that were too many for one batch.
    pending: VecDeque<Report>,
    sequence: u64,
    /// Batches without an acknowledgement: kept, and sent again on the next connection.
    waiting: VecDeque<Waiting>,
    last_sent: Duration,
}

/// A batch that was sent and not acknowledged.
struct Waiting {
    sequence: u64,
    reports: u64,
    kept: Kept,
}

/// What is kept to send a batch again.
enum Kept {
    Frame(Bytes),
    /// Its numbers would mean nothing on another connection.
    Reports(Vec<Report>),
}

/// How batches are written.
enum Form {
    Rows,
    Columns(Numbers),
}

/// A device behind a gateway.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) unit: u32,
    pub(crate) slot: u8,
    pub(crate) cadence: Cadence,
    /// When its emergency button is pressed: the first report from then on says so.
    pub(crate) alarm: Option<Duration>,
}

impl Gateway {
    pub(crate) fn new(
        name: String,
        forces: Arc<Forces>,
        start: Timestamp,
        carrier: Carrier,
        batches: Batches,
        members: Vec<Member>,
        counters: Arc<Counters>,
    ) -> Self {
        let mut order: Vec<u32> = (0..members.len() as u32).collect();
        order.sort_by_key(|place| members[*place as usize].cadence.due());
        let mut queues: Vec<(Duration, VecDeque<u32>)> = Vec::new();
        for place in order {
            let interval = members[place as usize].cadence.interval();
            match queues.iter_mut().find(|(own, _)| *own == interval) {
                Some((_, queue)) => queue.push_back(place),
                None => queues.push((interval, VecDeque::from([place]))),
            }
        }
        Self {
            name,
            forces,
            start,
            carrier,
            // A datagram may be lost, and the names in it: each must say all.
            form: match (batches, carrier) {
                (Batches::Columns, Carrier::Stream) => Form::Columns(Numbers::default()),
                _ => Form::Rows,
            },
            counters,
            members,
            queues,
            tick: TICK,
            pending: VecDeque::new(),
            sequence: 0,
            waiting: VecDeque::new(),
            last_sent: Duration::ZERO,
        }
    }

    /// Calls `each` with all reports due before `limit`, queue by queue, in the order of their time.
    fn each_due(&mut self, limit: Duration, mut each: impl FnMut(&Member, Duration)) {
        for (_, queue) in &mut self.queues {
            while let Some(place) = queue.front().copied() {
                let member = &mut self.members[place as usize];
                let due = member.cadence.due();
                if due >= limit {
                    break;
                }
                each(member, due);
                member.cadence.advance();
                queue.rotate_left(1);
            }
        }
    }

    fn collect(&mut self) {
        let (forces, start, tick) = (Arc::clone(&self.forces), self.start, self.tick);
        let mut pending = std::mem::take(&mut self.pending);
        self.each_due(tick, |member, due| pending.push_back(report(&forces, start, member, due)));
        self.pending = pending;
        self.tick = tick.saturating_add(TICK);
    }

    fn send_batch(&mut self, now: Duration, out: &mut BytesMut) {
        let limit = match self.carrier {
            Carrier::Stream => STREAM_REPORTS_MAX,
            Carrier::Datagrams => DATAGRAM_REPORTS_MAX,
        };
        let reports: Vec<Report> = self.pending.drain(..limit.min(self.pending.len())).collect();
        let count = reports.len() as u64;
        self.sequence += 1;
        let (sequence, before) = (self.sequence, out.len());
        let columns = match &mut self.form {
            Form::Rows => None,
            Form::Columns(numbers) => Some(numbers.columns(sequence, &reports)),
        };
        let kept = match columns {
            None => {
                let batch = ReportBatch { batch_sequence: sequence, reports };
                self.send(now, gateway_up::Payload::Reports(batch), out);
                Kept::Frame(Bytes::copy_from_slice(&out[before..]))
            }
            Some(batch) => {
                self.send(now, gateway_up::Payload::Columns(batch), out);
                Kept::Reports(reports)
            }
        };
        self.counters.reports.add(count);
        if self.carrier == Carrier::Stream {
            self.waiting.push_back(Waiting { sequence, reports: count, kept });
            self.counters.promised.add(count);
        }
    }

    /// Writes again what waits for its acknowledgement; a new connection knows no numbers.
    fn send_again(&mut self, out: &mut BytesMut) {
        let mut numbers = Numbers::default();
        for batch in &self.waiting {
            match &batch.kept {
                Kept::Frame(frame) => out.extend_from_slice(frame),
                Kept::Reports(reports) => {
                    let payload = gateway_up::Payload::Columns(numbers.columns(batch.sequence, reports));
                    let up = GatewayUp { gateway: self.name.clone(), payload: Some(payload) };
                    up.encode_length_delimited(out).expect("a growing buffer has room");
                }
            }
        }
        if let Form::Columns(known) = &mut self.form {
            *known = numbers;
        }
    }

    fn send(&mut self, now: Duration, payload: gateway_up::Payload, out: &mut BytesMut) {
        let up = GatewayUp { gateway: self.name.clone(), payload: Some(payload) };
        let encoded = match self.carrier {
            Carrier::Stream => up.encode_length_delimited(out),
            Carrier::Datagrams => up.encode(out),
        };
        encoded.expect("a growing buffer has room");
        self.counters.frames.add(1);
        self.last_sent = now;
    }

    fn take(&mut self, down: GatewayDown) -> Result<(), Fault> {
        match down.payload {
            Some(gateway_down::Payload::Ack(ack)) => {
                let place = self.waiting.iter().position(|batch| batch.sequence == ack.batch_sequence);
                if let Some(batch) = place.and_then(|place| self.waiting.remove(place)) {
                    self.counters.answered.add(batch.reports);
                    for refused in ack.refused {
                        self.counters.refuse(&refused.reason);
                    }
                }
                Ok(())
            }
            // It stays unanswered, and makes room for what comes after it.
            Some(gateway_down::Payload::NotStored(batch)) => {
                self.waiting.retain(|waiting| waiting.sequence != batch.batch_sequence);
                Ok(())
            }
            Some(gateway_down::Payload::Fault(fault)) => {
                Err(Fault::Refused { what: "message", reason: fault.detail.chars().take(200).collect() })
            }
            Some(_) => {
                self.counters.orders.add(1);
                Ok(())
            }
            None => Ok(()),
        }
    }
}

fn report(forces: &Forces, start: Timestamp, member: &Member, due: Duration) -> Report {
    let fix = forces.fix(member.unit as usize, usize::from(member.slot), start.after(due));
    let has_pressed = |at: Duration| due >= at && due < at.saturating_add(member.cadence.interval());
    Report {
        device: member.name.clone(),
        time_ms: Some(fix.time.unix_ms()),
        time_basis: TimeBasis::Gnss.into(),
        lat_e7: fix.position.lat_e7(),
        lon_e7: fix.position.lon_e7(),
        no_fix: false,
        speed_mps: Some(fix.speed_mps),
        course_deg: fix.course_deg,
        altitude_m: Some(fix.altitude_m),
        altitude_ref: AltitudeRef::Msl.into(),
        accuracy_m: Some(fix.accuracy_m),
        emergency: member.alarm.is_some_and(has_pressed),
        backlog: false,
    }
}

impl Terminal for Gateway {
    fn switch_on(&mut self, now: Duration) {
        self.each_due(now, |_, _| ());
        // The first tick is the next whole one.
        let ticks = now.as_nanos() / TICK.as_nanos() + 1;
        self.tick = TICK.saturating_mul(u32::try_from(ticks).unwrap_or(u32::MAX));
    }

    /// Goes on after the last acknowledged batch: those behind it are sent again first.
    fn open(&mut self, now: Duration, out: &mut BytesMut) {
        self.send_again(out);
        let again = self.waiting.len() as u64;
        self.counters.frames.add(again);
        self.counters.resent.add(again);
        self.miss_before(now.saturating_sub(LATE_MAX));
    }

    fn wake(&self) -> Duration {
        if self.waiting.len() >= UNSETTLED_MAX {
            return NEVER;
        }
        if self.pending.is_empty() { self.tick.min(self.last_sent + HEARTBEAT_AFTER) } else { Duration::ZERO }
    }

    fn next_report(&self) -> Duration {
        // The next batch holds what is due from a tick before it on.
        if self.pending.is_empty() { self.tick.saturating_sub(TICK) } else { Duration::ZERO }
    }

    fn speak(&mut self, now: Duration, out: &mut BytesMut) -> Result<(), Fault> {
        if self.pending.is_empty() && self.tick <= now {
            self.counters.lag(now.saturating_sub(self.tick));
            self.collect();
        }
        if !self.pending.is_empty() {
            self.send_batch(now, out);
        } else if self.last_sent + HEARTBEAT_AFTER <= now {
            self.send(now, gateway_up::Payload::Heartbeat(Heartbeat {}), out);
        }
        Ok(())
    }

    fn hear(&mut self, _: Duration, inbox: &mut BytesMut, _: &mut BytesMut) -> Result<(), Fault> {
        while let Some(down) = next_answer(inbox)? {
            self.take(down)?;
        }
        Ok(())
    }

    fn outstanding(&self) -> usize {
        self.waiting.len()
    }

    fn miss_before(&mut self, limit: Duration) {
        let mut missed = 0;
        self.each_due(limit, |_, _| missed += 1);
        while self.tick < limit {
            self.tick = self.tick.saturating_add(TICK);
        }
        missed += self.pending.len() as u64;
        self.pending.clear();
        self.counters.missed.add(missed);
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }
}

/// Takes the first whole message off `inbox`: its length as a varint, then itself.
pub(crate) fn next_answer(inbox: &mut BytesMut) -> Result<Option<GatewayDown>, Fault> {
    let garbled = |detail: String| Fault::Garbled { detail };
    let mut length = 0usize;
    let mut header = 0;
    loop {
        let Some(byte) = inbox.get(header) else { return Ok(None) };
        length |= usize::from(byte & 0x7F) << (7 * header);
        header += 1;
        if byte & 0x80 == 0 {
            break;
        }
        if header == 4 {
            return Err(garbled("length has more than 4 bytes".to_owned()));
        }
    }
    if length > ANSWER_BYTES_MAX {
        return Err(garbled(format!("message of {length} bytes")));
    }
    if inbox.len() < header + length {
        return Ok(None);
    }
    inbox.advance(header);
    let message = inbox.split_to(length);
    GatewayDown::decode(message.as_ref()).map(Some).map_err(|error| garbled(error.to_string()))
}

#[cfg(test)]
mod tests;
