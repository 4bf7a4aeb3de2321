//! A JT/T 808 vehicle terminal: registers, authenticates, reports, repeats what is not answered.

mod codec;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut as _, BytesMut};

use super::{Cadence, Fault, LATE_MAX, NEVER, Terminal};
use crate::forces::Receiver;
use crate::tally::Counters;
pub(crate) use codec::Issue;
use codec::{
    AUTHENTICATE, Answer, Extras, HEARTBEAT, LOCATION, LOCATION_ANSWER, PLATFORM_ACK, REGISTER, REGISTER_ANSWER,
    Registration, TERMINAL_ACK,
};

/// A frame without an answer is sent again after this.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// So often; then the terminal hangs up.
const REPEATS_MAX: u32 = 2;
/// With nothing else to say, it says that it is there.
const HEARTBEAT_AFTER: Duration = Duration::from_secs(30);
/// Frames that may wait for an answer; beyond it the oldest is no longer waited for.
const WAITING_MAX: usize = 1_024;
/// ACC on, fix, GPS and BeiDou.
const STATUS: u32 = 0x000C_0003;
/// Results of 0x8001 that mean "taken": done, and "alarm handled".
const TAKEN: [u8; 2] = [0, 4];

/// One vehicle terminal with its receiver.
pub(crate) struct Vehicle {
    issue: Issue,
    phone: String,
    receiver: Receiver,
    cadence: Cadence,
    counters: Arc<Counters>,
    state: State,
    serial: u16,
    /// The code from its registration: with it, later connections start with 0x0102.
    code: Option<Vec<u8>>,
    waiting: VecDeque<Waiting>,
    last_sent: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Registering { since: Duration, serial: u16 },
    Authenticating { since: Duration, serial: u16 },
    Online,
}

#[derive(Debug)]
struct Waiting {
    serial: u16,
    id: u16,
    frame: Vec<u8>,
    sent: Duration,
    repeats: u32,
}

impl Vehicle {
    pub(crate) fn new(
        issue: Issue,
        phone: &str,
        receiver: Receiver,
        cadence: Cadence,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            issue,
            phone: phone.to_owned(),
            receiver,
            cadence,
            counters,
            state: State::Registering { since: Duration::ZERO, serial: 0 },
            serial: 0,
            code: None,
            waiting: VecDeque::new(),
            last_sent: Duration::ZERO,
        }
    }

    /// Sends a new message; gives its serial and its bytes.
    fn send(&mut self, now: Duration, id: u16, body: &[u8], out: &mut BytesMut) -> (u16, Vec<u8>) {
        let serial = self.serial;
        self.serial = self.serial.wrapping_add(1);
        let frame = codec::frame(self.issue, &self.phone, id, serial, body);
        out.put_slice(&frame);
        self.counters.frames.add(1);
        self.last_sent = now;
        (serial, frame)
    }

    fn send_and_wait(&mut self, now: Duration, id: u16, body: &[u8], out: &mut BytesMut) {
        let (serial, frame) = self.send(now, id, body, out);
        if self.waiting.len() >= WAITING_MAX {
            self.waiting.pop_front();
        }
        self.waiting.push_back(Waiting { serial, id, frame, sent: now, repeats: 0 });
    }

    fn register(&mut self, now: Duration, out: &mut BytesMut) {
        let tail = &self.phone[self.phone.len().saturating_sub(5)..];
        // Guangxi (45), Nanning (100). The plate is GBK: U+6842, A, the last five digits, U+8B66.
        let plate = [&[0xB9, 0xF0, b'A'], tail.as_bytes(), &[0xBE, 0xAF]].concat();
        let registration = Registration {
            province: 45,
            city: 100,
            maker: "MSTR",
            model: "PATROL-1",
            terminal: tail,
            colour: 4,
            plate: &plate,
        };
        let body = codec::register_body(self.issue, &registration);
        let (serial, _) = self.send(now, REGISTER, &body, out);
        self.state = State::Registering { since: now, serial };
    }

    fn authenticate(&mut self, now: Duration, code: &[u8], out: &mut BytesMut) {
        let imei = format!("86{:0>13}", self.phone);
        let body = codec::authenticate_body(self.issue, code, &imei, "V1.0.0");
        let (serial, _) = self.send(now, AUTHENTICATE, &body, out);
        self.state = State::Authenticating { since: now, serial };
    }

    fn location(&self, at: Duration) -> Vec<u8> {
        // A car's odometer: 40,000 km and the seconds since, at a walk; nobody reads it closely.
        let mileage_dkm = 400_000 + (at.as_secs() / 100) as u32;
        let extras = Extras { status: STATUS, mileage_dkm, signal: 25, satellites: 14 };
        codec::location_body(&self.receiver.fix(at), &extras)
    }

    fn take(&mut self, now: Duration, answer: &Answer, out: &mut BytesMut) -> Result<(), Fault> {
        match (answer.id, answer.body.as_slice()) {
            (REGISTER_ANSWER, [high, low, result, code @ ..]) => {
                self.registered(now, u16::from_be_bytes([*high, *low]), *result, code, out)
            }
            (PLATFORM_ACK, [high, low, id_high, id_low, result]) => {
                let id = u16::from_be_bytes([*id_high, *id_low]);
                self.acknowledged(u16::from_be_bytes([*high, *low]), id, *result)
            }
            (REGISTER_ANSWER | PLATFORM_ACK, _) => {
                Err(Fault::Garbled { detail: format!("answer {:04X} has {} bytes", answer.id, answer.body.len()) })
            }
            _ => {
                self.obey(now, answer, out);
                Ok(())
            }
        }
    }

    fn registered(
        &mut self,
        now: Duration,
        serial: u16,
        result: u8,
        code: &[u8],
        out: &mut BytesMut,
    ) -> Result<(), Fault> {
        if !matches!(self.state, State::Registering { serial: asked, .. } if asked == serial) {
            return Ok(());
        }
        if result != 0 {
            return Err(self.turned_away("registration", register_word(result)));
        }
        self.code = Some(code.to_vec());
        self.authenticate(now, code, out);
        Ok(())
    }

    fn acknowledged(&mut self, serial: u16, id: u16, result: u8) -> Result<(), Fault> {
        if id == AUTHENTICATE {
            if !matches!(self.state, State::Authenticating { serial: asked, .. } if asked == serial) {
                return Ok(());
            }
            if !TAKEN.contains(&result) {
                // The code is worth nothing: the next connection registers again.
                self.code = None;
                return Err(self.turned_away("authentication", result_word(result)));
            }
            self.state = State::Online;
            return Ok(());
        }
        let place = self.waiting.iter().position(|waiting| (waiting.serial, waiting.id) == (serial, id));
        if place.and_then(|place| self.waiting.remove(place)).is_some_and(|settled| settled.id == LOCATION) {
            self.counters.answered.add(1);
            if !TAKEN.contains(&result) {
                self.counters.refuse(result_word(result));
            }
        } else if let State::Registering { .. } = self.state
            && id == REGISTER
        {
            // A platform may refuse a registration by the general answer.
            return Err(self.turned_away("registration", result_word(result)));
        }
        Ok(())
    }

    fn turned_away(&self, what: &'static str, reason: &str) -> Fault {
        self.counters.refuse(&format!("login: {reason}"));
        Fault::Refused { what, reason: reason.to_owned() }
    }

    /// Answers an order of the platform: a poll by the place, everything else by 0x0001.
    fn obey(&mut self, now: Duration, order: &Answer, out: &mut BytesMut) {
        const POLL: u16 = 0x8201;
        const KNOWN: [u16; 3] = [0x8103, 0x8202, 0x8300];
        self.counters.orders.add(1);
        let [high, low] = order.serial.to_be_bytes();
        if order.id == POLL {
            let body = [&[high, low], self.location(now).as_slice()].concat();
            self.send(now, LOCATION_ANSWER, &body, out);
            return;
        }
        let [id_high, id_low] = order.id.to_be_bytes();
        let result = if KNOWN.contains(&order.id) { 0 } else { 3 };
        self.send(now, TERMINAL_ACK, &[high, low, id_high, id_low, result], out);
    }

    fn repeat(&mut self, now: Duration, out: &mut BytesMut) -> Result<(), Fault> {
        let Some(mut first) = self.waiting.pop_front() else { return Ok(()) };
        if first.repeats >= REPEATS_MAX {
            return Err(no_answer("a report"));
        }
        out.put_slice(&first.frame);
        self.counters.frames.add(1);
        self.counters.resent.add(1);
        first.repeats += 1;
        first.sent = now;
        self.waiting.push_back(first);
        Ok(())
    }
}

fn no_answer(what: &'static str) -> Fault {
    Fault::NoAnswer { what, seconds: ANSWER_TIMEOUT.as_secs() }
}

fn register_word(result: u8) -> &'static str {
    match result {
        1 => "vehicle already registered",
        2 => "no such vehicle",
        3 => "terminal already registered",
        4 => "no such terminal",
        _ => "unknown result",
    }
}

fn result_word(result: u8) -> &'static str {
    match result {
        1 => "failed",
        2 => "bad message",
        3 => "not supported",
        _ => "unknown result",
    }
}

impl Terminal for Vehicle {
    fn switch_on(&mut self, now: Duration) {
        self.cadence.skip_to(now);
    }

    fn open(&mut self, now: Duration, out: &mut BytesMut) {
        self.miss_before(now.saturating_sub(LATE_MAX));
        // A place without an answer is kept and sent again, as terminals do; a heartbeat is not.
        self.waiting.retain(|waiting| waiting.id == LOCATION);
        self.waiting.iter_mut().for_each(|waiting| (waiting.sent, waiting.repeats) = (now, 0));
        match self.code.clone() {
            Some(code) => self.authenticate(now, &code, out),
            None => self.register(now, out),
        }
    }

    fn wake(&self) -> Duration {
        match self.state {
            State::Registering { since, .. } | State::Authenticating { since, .. } => since + ANSWER_TIMEOUT,
            State::Online => {
                let repeat = self.waiting.front().map_or(NEVER, |first| first.sent + ANSWER_TIMEOUT);
                repeat.min(self.cadence.due()).min(self.last_sent + HEARTBEAT_AFTER)
            }
        }
    }

    fn next_report(&self) -> Duration {
        self.cadence.due()
    }

    fn speak(&mut self, now: Duration, out: &mut BytesMut) -> Result<(), Fault> {
        match self.state {
            State::Registering { since, .. } if since + ANSWER_TIMEOUT <= now => Err(no_answer("registration")),
            State::Authenticating { since, .. } if since + ANSWER_TIMEOUT <= now => Err(no_answer("authentication")),
            State::Registering { .. } | State::Authenticating { .. } => Ok(()),
            State::Online => {
                let due = self.cadence.due();
                if self.waiting.front().is_some_and(|first| first.sent + ANSWER_TIMEOUT <= now) {
                    return self.repeat(now, out);
                }
                if due <= now {
                    self.cadence.advance();
                    let body = self.location(due);
                    self.send_and_wait(now, LOCATION, &body, out);
                    self.counters.reports.add(1);
                    self.counters.promised.add(1);
                    self.counters.lag(now.saturating_sub(due));
                } else if self.last_sent + HEARTBEAT_AFTER <= now {
                    self.send_and_wait(now, HEARTBEAT, &[], out);
                }
                Ok(())
            }
        }
    }

    fn hear(&mut self, now: Duration, inbox: &mut BytesMut, out: &mut BytesMut) -> Result<(), Fault> {
        while let Some(answer) = codec::next_answer(inbox)? {
            self.take(now, &answer, out)?;
        }
        Ok(())
    }

    fn outstanding(&self) -> usize {
        self.waiting.len()
    }

    fn miss_before(&mut self, limit: Duration) {
        self.counters.missed.add(self.cadence.skip_to(limit));
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }
}

#[cfg(test)]
mod tests;
