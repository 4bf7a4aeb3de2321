//! A modem that only talks: NMEA and TAIP have no answers.

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut as _, BytesMut};

use super::{Cadence, Carrier, Fault, LATE_MAX, Terminal, nmea, taip};
use crate::forces::Receiver;
use crate::tally::Counters;

/// What it speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tongue {
    Nmea,
    Taip,
}

/// One modem with its receiver.
pub(crate) struct Beacon {
    pub(crate) tongue: Tongue,
    pub(crate) carrier: Carrier,
    /// The id as the protocol gives it.
    pub(crate) number: String,
    pub(crate) receiver: Receiver,
    pub(crate) cadence: Cadence,
    pub(crate) counters: Arc<Counters>,
}

impl Terminal for Beacon {
    fn switch_on(&mut self, now: Duration) {
        self.cadence.skip_to(now);
    }

    fn open(&mut self, now: Duration, out: &mut BytesMut) {
        self.miss_before(now.saturating_sub(LATE_MAX));
        if self.tongue == Tongue::Nmea && self.carrier == Carrier::Stream {
            out.put_slice(nmea::identity(&self.number).as_bytes());
            self.counters.frames.add(1);
        }
    }

    fn wake(&self) -> Duration {
        self.cadence.due()
    }

    fn next_report(&self) -> Duration {
        self.cadence.due()
    }

    fn speak(&mut self, now: Duration, out: &mut BytesMut) -> Result<(), Fault> {
        let due = self.cadence.due();
        if due > now {
            return Ok(());
        }
        self.cadence.advance();
        let fix = self.receiver.fix(due);
        match self.tongue {
            Tongue::Nmea => {
                // A datagram stands alone: it says itself who sends it.
                if self.carrier == Carrier::Datagrams {
                    out.put_slice(nmea::identity(&self.number).as_bytes());
                    self.counters.frames.add(1);
                }
                out.put_slice(nmea::rmc(&fix).as_bytes());
                out.put_slice(nmea::gga(&fix).as_bytes());
                self.counters.frames.add(2);
            }
            Tongue::Taip => {
                out.put_slice(taip::rpv(&fix, &self.number).as_bytes());
                self.counters.frames.add(1);
            }
        }
        self.counters.reports.add(1);
        self.counters.lag(now.saturating_sub(due));
        Ok(())
    }

    fn hear(&mut self, _: Duration, inbox: &mut BytesMut, _: &mut BytesMut) -> Result<(), Fault> {
        inbox.clear();
        Ok(())
    }

    fn outstanding(&self) -> usize {
        0
    }

    fn miss_before(&mut self, limit: Duration) {
        self.counters.missed.add(self.cadence.skip_to(limit));
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }
}
