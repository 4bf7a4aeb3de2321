//! Which gateways there are, whether they are heard, and who came through them.
//!
//! A gateway is lost when it was silent for longer than 8 of its learned intervals, at least 2 s, or when its last connection
//! ended and it did not come back within a second. It is found with its next frame.

mod known;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::limits::GATEWAYS_MAX;
use model::{Binding, Clock, DeviceHandle, GatewayChange, SenderName, Timestamp, UnitHandle};

use self::known::Known;
use crate::by_number::ByNumber;

/// All gateways that were heard since the start, at most [`GATEWAYS_MAX`].
pub struct Gateways {
    clock: Arc<dyn Clock>,
    table: Mutex<Table>,
    /// By device: through which gateway it came last, for which unit.
    ways: ByNumber<Way>,
    /// When somebody looked last whether a gateway is lost, monotonic, in milliseconds.
    looked_ms: AtomicU64,
    /// Whether one was.
    is_some_lost: AtomicBool,
}

/// Answers look no more often than this whether a gateway is lost, in milliseconds: most find none, and take no lock.
const LOOK_MS: u64 = 100;

#[derive(Default)]
struct Table {
    by_name: HashMap<SenderName, Arc<Known>>,
    /// By number, from 1.
    all: Vec<Arc<Known>>,
    /// Names that found no room.
    overflowed: u64,
}

/// The number of a gateway in the lower half, a unit in the upper. 0: through none.
#[derive(Debug, Default)]
struct Way(AtomicU64);

impl Way {
    fn set(&self, gateway: u32, unit: UnitHandle) {
        let way = u64::from(unit.0) << 32 | u64::from(gateway);
        // A line that is only read stays in every core's cache.
        if self.0.load(Ordering::Relaxed) != way {
            self.0.store(way, Ordering::Relaxed);
        }
    }

    fn get(&self) -> (u32, UnitHandle) {
        let way = self.0.load(Ordering::Relaxed);
        (way as u32, UnitHandle((way >> 32) as u32))
    }
}

/// What is known of one gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayView {
    /// Its name, as it calls itself.
    pub gateway: String,
    /// When it was heard first since the start.
    pub first_heard: Timestamp,
    /// When it was heard last.
    pub last_heard: Timestamp,
    /// How long ago that is.
    pub heard_age: Duration,
    /// The usual time between two of its frames; `None` before the second.
    pub interval: Option<Duration>,
    /// Frames since the start.
    pub frames: u64,
    /// Its connections now; senders of datagrams have none.
    pub sessions: u32,
    /// Units whose devices came through it last.
    pub units: usize,
    /// Whether it is lost.
    pub is_lost: bool,
}

/// The gateways that are lost at one instant, for answers about units.
pub struct LostGateways<'a> {
    ways: &'a ByNumber<Way>,
    /// Number, and when it was heard last.
    lost: Vec<(u32, Timestamp)>,
}

impl LostGateways<'_> {
    /// Whether `device` came last through a gateway that is lost, and its unit was not heard since, on this way or another.
    /// Free while no gateway is lost.
    #[must_use]
    pub fn has(&self, device: DeviceHandle, unit_heard: Option<Timestamp>) -> bool {
        if self.lost.is_empty() {
            return false;
        }
        let Some(way) = self.ways.known(device.0) else { return false };
        let (gateway, _) = way.get();
        let heard = self.lost.iter().find(|(number, _)| *number == gateway).map(|(_, heard)| *heard);
        heard.is_some_and(|heard| unit_heard.is_none_or(|unit| unit <= heard))
    }
}

impl Gateways {
    /// None yet.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            table: Mutex::default(),
            ways: ByNumber::default(),
            looked_ms: AtomicU64::new(0),
            is_some_lost: AtomicBool::new(false),
        }
    }

    /// The gateways that are lost, as of 100 ms ago at most where none was.
    #[must_use]
    pub fn lost(&self) -> LostGateways<'_> {
        let now = self.clock.monotonic();
        let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let looked_ms = self.looked_ms.load(Ordering::Relaxed);
        let is_due = now_ms.saturating_sub(looked_ms) >= LOOK_MS;
        if is_due && self.looked_ms.compare_exchange(looked_ms, now_ms, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            let is_some_lost = self.table().all.iter().any(|known| known.is_lost(now));
            self.is_some_lost.store(is_some_lost, Ordering::Relaxed);
        }
        if !self.is_some_lost.load(Ordering::Relaxed) {
            return LostGateways { ways: &self.ways, lost: Vec::new() };
        }
        let table = self.table();
        let lost = (1..).zip(&table.all).filter(|(_, known)| known.is_lost(now));
        LostGateways { ways: &self.ways, lost: lost.map(|(number, known)| (number, known.heard())).collect() }
    }

    /// What was lost, with its units, and what was found since this was asked last; who is heard for the first time is found.
    /// Cost: a look at each gateway, and for each that was lost, at each device. To be asked by one caller, more often than once
    /// a second.
    #[must_use]
    pub fn changes(&self) -> Vec<GatewayChange> {
        let (now, noted) = (self.clock.monotonic(), self.clock.now());
        let changed: Vec<_> = {
            let table = self.table();
            let changed = (1..).zip(&table.all).filter(|(_, known)| known.turns(now));
            changed.map(|(number, known)| (number, Arc::clone(known))).collect()
        };
        let change = |(number, known): (u32, Arc<Known>)| {
            let is_lost = known.is_told_lost();
            let units = if is_lost { self.units_of(number) } else { Vec::new() };
            GatewayChange { gateway: known.name().to_owned(), is_lost, noted, heard: known.heard(), units }
        };
        changed.into_iter().map(change).collect()
    }

    /// All gateways by name, and how many names found no room.
    #[must_use]
    pub fn list(&self) -> (Vec<GatewayView>, u64) {
        let now = self.clock.monotonic();
        let (all, overflowed) = {
            let table = self.table();
            (table.all.clone(), table.overflowed)
        };
        let mut units: Vec<Vec<UnitHandle>> = vec![Vec::new(); all.len() + 1];
        for (gateway, unit) in self.ways.iter().map(Way::get).filter(|(gateway, _)| *gateway > 0) {
            if let Some(units) = units.get_mut(gateway as usize) {
                units.push(unit);
            }
        }
        let view = |(known, mut units): (&Arc<Known>, Vec<UnitHandle>)| {
            units.sort_unstable();
            units.dedup();
            GatewayView { units: units.len(), ..known.view(now) }
        };
        let mut views: Vec<_> = all.iter().zip(units.into_iter().skip(1)).map(view).collect();
        views.sort_by(|a, b| a.gateway.cmp(&b.gateway));
        (views, overflowed)
    }

    fn units_of(&self, number: u32) -> Vec<UnitHandle> {
        let ways = self.ways.iter().map(Way::get);
        let mut units: Vec<_> = ways.filter(|(gateway, _)| *gateway == number).map(|(_, unit)| unit).collect();
        units.sort_unstable();
        units.dedup();
        units
    }

    /// The gateway called `name`; `None` when there are too many.
    fn known(&self, name: &SenderName) -> Option<Arc<Known>> {
        let mut table = self.table();
        if let Some(known) = table.by_name.get(name) {
            return Some(Arc::clone(known));
        }
        if table.all.len() >= GATEWAYS_MAX {
            table.overflowed += 1;
            return None;
        }
        let number = table.all.len() as u32 + 1;
        let known = Arc::new(Known::new(name.clone(), number, self.clock.now(), self.clock.monotonic()));
        table.by_name.insert(name.clone(), Arc::clone(&known));
        table.all.push(Arc::clone(&known));
        Some(known)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The gateway at the other end of one session. A connection counts as open until this is dropped.
pub(crate) struct Through {
    gateways: Arc<Gateways>,
    has_connection: bool,
    /// `None` inside when there was no room for it.
    current: Option<(SenderName, Option<Arc<Known>>)>,
}

impl Through {
    pub(crate) const fn new(gateways: Arc<Gateways>) -> Self {
        Self { gateways, has_connection: false, current: None }
    }

    /// From now on the session is a connection: its end is a sign.
    pub(crate) const fn connected(&mut self) {
        self.has_connection = true;
    }

    /// A frame came of the gateway called `name`; `None` where there is no gateway. Cost: a comparison, and a look-up under a lock
    /// when the name is another than before.
    pub(crate) fn hear(&mut self, name: Option<&SenderName>) {
        let Some(name) = name else { return };
        if self.current.as_ref().is_none_or(|(known, _)| known != name) {
            self.leave();
            let known = self.gateways.known(name);
            if let Some(known) = known.as_ref().filter(|_| self.has_connection) {
                known.open();
            }
            self.current = Some((name.clone(), known));
        }
        if let Some((_, Some(known))) = &self.current {
            known.hear(self.gateways.clock.now(), self.gateways.clock.monotonic());
        }
    }

    /// A device was bound in this session. Nothing happens where it did not come through a gateway.
    pub(crate) fn bind(&self, binding: Binding) {
        if let Some((_, Some(known))) = &self.current
            && let Some(way) = self.gateways.ways.at(binding.device.0)
        {
            way.set(known.number(), binding.unit);
        }
    }

    fn leave(&mut self) {
        if let Some((_, Some(known))) = self.current.take().filter(|_| self.has_connection) {
            known.close(self.gateways.clock.monotonic());
        }
    }
}

impl Drop for Through {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests;
