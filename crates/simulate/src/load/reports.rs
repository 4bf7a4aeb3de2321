use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use model::Timestamp;
use model::limits::SESSION_DEVICES_MAX;
use prost::Message as _;
use tokio::net::TcpStream;
use wire::proto::{ColumnarBatch, GatewayDown, GatewayUp, gateway_down, gateway_up};

use super::ledger::Outcome;
use super::pace::{Pacer, thread_cpu};
use super::schedule::Due;
use super::{ANSWERS_GRACE, Class, Course, Driven, Fleet, GeneratorThread, Ledger, LoadError, LoadPlan, Schedule};
use crate::terminals::muster::next_answer;

/// Connections, each with the units of its own; more where one may not name them all.
const GATEWAYS: usize = 4;
/// Bytes that may wait on one connection; a batch beyond it is not sent, and counted.
const OUT_BYTES_MAX: usize = 16 << 20;
/// Batches after which the answers get their turn, however late the schedule is.
const BATCHES_IN_A_ROW: u32 = 32;
/// How often a connection that would not take more is tried again.
const FLUSH_INTERVAL: Duration = Duration::from_millis(1);
/// Batches of [`introduce`] on their way at once.
const INTRODUCED_AHEAD: usize = 32;
const INTRODUCED_BATCH: usize = 1_000;

/// Batches on their way, oldest first.
type Waiting = Rc<RefCell<VecDeque<(u64, Duration)>>>;

/// A batch and the units that take turns in it.
struct Sender {
    name: String,
    /// The first of its units; the others follow at `step`.
    first: usize,
    step: usize,
    members: usize,
    /// The member that reports next.
    cursor: usize,
    /// Members whose names the server has heard on this connection.
    introduced: usize,
    sequence: u64,
    batch: ColumnarBatch,
}

impl Sender {
    fn new(fleet: &Fleet, first: usize, step: usize) -> Self {
        let members = fleet.units().saturating_sub(first).div_ceil(step);
        // The number of a batch counts for the name of its gateway, also over connections: every run has names of its own.
        let name = format!("bench-{}-{}-{first}", std::process::id(), super::unix_now().unix_ms());
        let batch = ColumnarBatch::default();
        Self { name, first, step, members, cursor: 0, introduced: 0, sequence: 0, batch }
    }

    /// Adds the frame of the next `count` units, dated `time`, with their places at `at`.
    fn batch(&mut self, fleet: &Fleet, at: Duration, time: Timestamp, count: usize, out: &mut BytesMut) -> u64 {
        let mut batch = std::mem::take(&mut self.batch);
        batch.clear();
        self.sequence += 1;
        batch.batch_sequence = self.sequence;
        let (mut lat_e7, mut lon_e7) = (0, 0);
        for place in 0..count.min(self.members) {
            let member = self.cursor;
            let unit = self.first + member * self.step;
            if member == self.introduced {
                batch.new_devices.push(fleet.name(unit).to_owned());
                self.introduced += 1;
            }
            let [lat, lon] = fleet.place_e7(unit, at);
            let [speed_cmps, course_cdeg] = fleet.motion(unit);
            batch.device_index.push(member as u32);
            batch.time_ms_delta.push(if place == 0 { time.unix_ms() } else { 0 });
            batch.lat_e7_delta.push(lat - lat_e7);
            batch.lon_e7_delta.push(lon - lon_e7);
            batch.speed_cmps.push(speed_cmps);
            batch.course_cdeg.push(course_cdeg);
            batch.accuracy_dm.push(100);
            (lat_e7, lon_e7) = (lat, lon);
            self.cursor = (member + 1) % self.members;
        }
        let up = GatewayUp { gateway: self.name.clone(), payload: Some(gateway_up::Payload::Columns(batch)) };
        up.encode_length_delimited(out).expect("a growing buffer has room");
        if let Some(gateway_up::Payload::Columns(batch)) = up.payload {
            self.batch = batch;
        }
        self.sequence
    }
}

struct Gateway {
    sender: Sender,
    stream: Rc<TcpStream>,
    out: BytesMut,
    waiting: Waiting,
    is_lost: Rc<Cell<bool>>,
}

impl Gateway {
    /// Writes what the socket takes.
    fn flush(&mut self) {
        while !self.out.is_empty() && !self.is_lost.get() {
            match self.stream.try_write(&self.out) {
                Ok(written) => drop(self.out.split_to(written)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => self.is_lost.set(true),
            }
        }
    }
}

/// Offers the reports of `plan`; `None` when another thread did not start.
pub(super) async fn drive(plan: LoadPlan, fleet: Arc<Fleet>, course: Arc<Course>) -> Result<Option<Driven>, LoadError> {
    let what = "a muster listener on TCP";
    let address = plan.reports_to.ok_or(LoadError::NoAddress { class: Class::Reports, what })?;
    let mut gateways = Vec::new();
    let count = GATEWAYS.max(fleet.units().div_ceil(SESSION_DEVICES_MAX)).min(fleet.units());
    for first in 0..count {
        let stream = TcpStream::connect(address).await.and_then(|stream| stream.set_nodelay(true).map(|()| stream));
        let stream = stream.map_err(|source| LoadError::Socket { what: "muster listener", address, source })?;
        gateways.push(Gateway {
            sender: Sender::new(&fleet, first, count),
            stream: Rc::new(stream),
            out: BytesMut::new(),
            waiting: Waiting::default(),
            is_lost: Rc::default(),
        });
    }
    let ledger = Rc::new(RefCell::new(Ledger::new([Class::Reports], plan.warm_up, plan.measured)));
    let pacer = Pacer::new()?;
    let Some((start, start_time)) = course.begin() else { return Ok(None) };
    for gateway in &gateways {
        let reader = Reader {
            stream: Rc::clone(&gateway.stream),
            waiting: Rc::clone(&gateway.waiting),
            is_lost: Rc::clone(&gateway.is_lost),
            ledger: Rc::clone(&ledger),
            course: Arc::clone(&course),
            reports: plan.batch.min(gateway.sender.members) as u64,
            start,
        };
        tokio::task::spawn_local(reader.read());
    }
    let cpu = thread_cpu();
    let mut offer = Offer { plan: &plan, fleet: &fleet, start, start_time, ledger: &ledger, pacer: &pacer };
    offer.run(&mut gateways).await?;
    let cpu_share = (thread_cpu() - cpu).as_secs_f64() / start.elapsed().as_secs_f64();
    drain(&mut gateways, &pacer).await?;
    let connections_lost = gateways.iter().filter(|gateway| gateway.is_lost.get()).count() as u64;
    let ledger = ledger.replace(Ledger::new([], Duration::ZERO, Duration::ZERO));
    let lag_us = ledger.lag_us().clone();
    Ok(Some((ledger, GeneratorThread { name: "reports", lag_us, cpu_share, connections_lost })))
}

/// The sending side of a run.
struct Offer<'a> {
    plan: &'a LoadPlan,
    fleet: &'a Fleet,
    start: Instant,
    start_time: Timestamp,
    ledger: &'a RefCell<Ledger>,
    pacer: &'a Pacer,
}

impl Offer<'_> {
    /// Sends each batch at its time, the gateways in turn.
    async fn run(&mut self, gateways: &mut [Gateway]) -> io::Result<()> {
        let end = self.plan.warm_up + self.plan.measured;
        let schedule = Schedule::new(self.plan.seed, self.plan.report_rate / self.plan.batch as f64);
        let mut in_a_row = 0;
        let count = gateways.len();
        for (number, due) in schedule.take_while(|due| due.at < end).enumerate() {
            loop {
                let now = self.start.elapsed();
                if now >= due.at && in_a_row < BATCHES_IN_A_ROW {
                    break;
                }
                gateways.iter_mut().for_each(Gateway::flush);
                in_a_row = 0;
                let has_more = gateways.iter().any(|gateway| !gateway.out.is_empty());
                let wait = due.at.saturating_sub(now).min(if has_more { FLUSH_INTERVAL } else { Duration::MAX });
                self.pacer.pass(wait).await?;
            }
            in_a_row += 1;
            self.send(due, &mut gateways[number % count]);
        }
        gateways.iter_mut().for_each(Gateway::flush);
        Ok(())
    }

    fn send(&self, due: Due, gateway: &mut Gateway) {
        let mut ledger = self.ledger.borrow_mut();
        ledger.plan(Class::Reports, due.at, self.start.elapsed());
        if gateway.is_lost.get() || gateway.out.len() > OUT_BYTES_MAX {
            ledger.not_sent(Class::Reports, due.at);
            return;
        }
        let time = self.start_time.after(due.at);
        let sequence = gateway.sender.batch(self.fleet, due.at, time, self.plan.batch, &mut gateway.out);
        gateway.waiting.borrow_mut().push_back((sequence, due.at));
    }
}

/// Writes what still waits, and waits for the answers, at most [`ANSWERS_GRACE`].
async fn drain(gateways: &mut [Gateway], pacer: &Pacer) -> io::Result<()> {
    let until = Instant::now() + ANSWERS_GRACE;
    while Instant::now() < until
        && gateways.iter().any(|gateway| !gateway.is_lost.get() && !gateway.waiting.borrow().is_empty())
    {
        gateways.iter_mut().for_each(Gateway::flush);
        pacer.pass(FLUSH_INTERVAL).await?;
    }
    Ok(())
}

/// The hearing side of one connection.
struct Reader {
    stream: Rc<TcpStream>,
    waiting: Waiting,
    is_lost: Rc<Cell<bool>>,
    ledger: Rc<RefCell<Ledger>>,
    course: Arc<Course>,
    /// Reports in a batch.
    reports: u64,
    start: Instant,
}

impl Reader {
    /// Until the connection ends; what still waits then has failed.
    async fn read(self) {
        let mut inbox = BytesMut::new();
        while self.stream.readable().await.is_ok() {
            inbox.reserve(64 * 1024);
            match self.stream.try_read_buf(&mut inbox) {
                Ok(0) => break,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(_) => break,
                Ok(_) => {}
            }
            let now = self.start.elapsed();
            loop {
                match next_answer(&mut inbox) {
                    Ok(Some(down)) => self.hear(down, now),
                    Ok(None) => break,
                    Err(_) => return self.lose(now),
                }
            }
        }
        self.lose(self.start.elapsed());
    }

    fn hear(&self, down: GatewayDown, now: Duration) {
        let (sequence, outcome, refused) = match down.payload {
            Some(gateway_down::Payload::Ack(ack)) => (ack.batch_sequence, Outcome::Answered, ack.refused.len() as u64),
            Some(gateway_down::Payload::NotStored(batch)) => (batch.batch_sequence, Outcome::Failed, 0),
            _ => return,
        };
        let mut waiting = self.waiting.borrow_mut();
        // Acknowledgements come in order, so this looks at the first.
        let Some(place) = waiting.iter().position(|(own, _)| *own == sequence) else { return };
        let Some((_, planned)) = waiting.remove(place) else { return };
        let mut ledger = self.ledger.borrow_mut();
        ledger.end(Class::Reports, planned, now, outcome);
        ledger.refuse_reports(planned, refused);
        if outcome == Outcome::Answered {
            self.course.reports.fetch_add(self.reports, Ordering::Relaxed);
        }
    }

    fn lose(&self, now: Duration) {
        self.is_lost.set(true);
        for (_, planned) in self.waiting.borrow_mut().drain(..) {
            self.ledger.borrow_mut().end(Class::Reports, planned, now, Outcome::Failed);
        }
    }
}

/// Puts every unit on the map once, as fast as it is acknowledged; gives how many reports were refused.
///
/// # Errors
/// [`LoadError::Socket`] when the connection cannot be made or ends before the last acknowledgement.
pub fn introduce(address: SocketAddr, fleet: &Fleet) -> Result<u64, LoadError> {
    let connections = fleet.units().div_ceil(SESSION_DEVICES_MAX);
    (0..connections).map(|first| introduce_each(address, fleet, first, connections)).sum()
}

/// The same for the unit `first` and the others at `step`, on one connection.
fn introduce_each(address: SocketAddr, fleet: &Fleet, first: usize, step: usize) -> Result<u64, LoadError> {
    let failed = |source| LoadError::Socket { what: "muster listener", address, source };
    let mut stream = std::net::TcpStream::connect(address).map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).map_err(failed)?;
    let mut sender = Sender::new(fleet, first, step);
    let units = sender.members;
    let batches = units.div_ceil(INTRODUCED_BATCH);
    let (mut sent, mut settled, mut refused) = (0, 0, 0);
    let (mut out, mut inbox, mut bytes) = (BytesMut::new(), BytesMut::new(), [0; 4_096]);
    while settled < batches {
        while sent < batches && sent - settled < INTRODUCED_AHEAD {
            out.clear();
            let count = INTRODUCED_BATCH.min(units - sent * INTRODUCED_BATCH);
            sender.batch(fleet, Duration::ZERO, super::unix_now(), count, &mut out);
            stream.write_all(&out).map_err(failed)?;
            sent += 1;
        }
        let count = stream.read(&mut bytes).map_err(failed)?;
        if count == 0 {
            return Err(failed(io::ErrorKind::UnexpectedEof.into()));
        }
        inbox.extend_from_slice(&bytes[..count]);
        let garbled = |fault: crate::terminals::Fault| failed(io::Error::other(fault.to_string()));
        while let Some(down) = next_answer(&mut inbox).map_err(garbled)? {
            match down.payload {
                Some(gateway_down::Payload::Ack(ack)) => {
                    settled += 1;
                    refused += ack.refused.len() as u64;
                }
                Some(gateway_down::Payload::NotStored(batch)) => {
                    return Err(failed(io::Error::other(format!("not stored: {} {}", batch.reason, batch.detail))));
                }
                _ => {}
            }
        }
    }
    Ok(refused)
}

#[cfg(test)]
mod tests {
    use wire::{Context, Decoded, Decoder as _};

    use super::*;

    /// What a gateway sends is what the server's decoder reads: all units in turn, where the fleet has them.
    #[test]
    fn batches_are_read_by_the_servers_decoder() {
        let fleet = Fleet::new(42, 25);
        let mut sender = Sender::new(&fleet, 1, 4);
        let mut session = wire::muster::Session::default();
        let mut heard = Vec::new();
        for number in 1..=3u64 {
            let (at, mut out) = (Duration::from_millis(number * 700), BytesMut::new());
            let time = Timestamp::from_unix_ms(1_795_413_600_000).unwrap().after(at);
            assert_eq!(sender.batch(&fleet, at, time, 4, &mut out), number);
            let frame = out.split_off(prost::length_delimiter_len(prost::decode_length_delimiter(&out[..]).unwrap()));
            let mut decoded = Decoded::default();
            session.decode(&frame, &Context { received: time }, &mut decoded).unwrap();
            assert!(decoded.faults.is_empty(), "{:?}", decoded.faults);
            for (at_place, report) in decoded.reports.iter().enumerate() {
                assert_eq!(report.time, Some(time));
                let device = decoded.device_of(at_place, session.devices()).unwrap();
                heard.push((device.to_string(), report.position, at));
            }
        }
        // Units 1, 5, 9, .. 21 are six members; twelve reports go round twice.
        let names: Vec<_> = heard.iter().map(|(name, ..)| name.as_str()).collect();
        let members: Vec<_> = (0..12).map(|place| fleet.name(1 + place % 6 * 4)).collect();
        assert_eq!(names, members);
        for (place, (_, position, at)) in heard.iter().enumerate() {
            let [lat_e7, lon_e7] = fleet.place_e7(1 + place % 6 * 4, *at);
            assert_eq!((position.lat_e7(), position.lon_e7()), (lat_e7, lon_e7));
        }
    }
}
