//! Statuses that units set at their terminals, from gateways to the store. They wait in a queue: a listener must not wait for a disk.

use std::sync::Arc;

use engine::Live;
use ingest::{Allowed, Counters};
use model::limits::{FUTURE_TOLERANCE, TERMINAL_STATUSES_WAITING_MAX};
use model::{Owner, Principal, PrincipalName, Role, Said, SaidOf, TerminalStatus, Unit, UnitRecord};
use parking_lot::Mutex;
use store::{By, Heard, IfMatch, Store, StoreError};
use tokio::sync::mpsc;
use tracing::warn;

use crate::run::Service;

/// One that waits: who says what, and the protocol under which it is counted.
type Waiting = (TerminalStatus, Arc<Unit>, &'static str);

/// The queue.
pub(crate) struct TerminalStatuses {
    entrance: mpsc::Sender<Waiting>,
    exit: Mutex<Option<mpsc::Receiver<Waiting>>>,
}

impl Default for TerminalStatuses {
    fn default() -> Self {
        let (entrance, exit) = mpsc::channel(TERMINAL_STATUSES_WAITING_MAX);
        Self { entrance, exit: Mutex::new(Some(exit)) }
    }
}

impl TerminalStatuses {
    /// Takes one, of a unit that is known and carries a device of `own`; or says the word of the reason why not.
    pub(crate) fn take(
        &self,
        status: TerminalStatus,
        live: &Live,
        own: &Allowed,
        protocol: &'static str,
    ) -> Result<(), &'static str> {
        let roster = live.roster();
        let known = roster.find(&status.unit).and_then(|handle| Some((handle, roster.unit(handle)?)));
        let (handle, unit) = known.ok_or("status_unknown_unit")?;
        let is_own = own.has_all_devices() || roster.devices_of(handle).iter().any(|(_, one)| own.has_device(one));
        if !is_own {
            return Err("status_device_not_allowed");
        }
        let ahead_ms = status.time.map_or(0, |time| time.ms_since(live.now()));
        if ahead_ms > FUTURE_TOLERANCE.as_millis() as i64 {
            return Err("status_time_future");
        }
        self.entrance.try_send((status, unit, protocol)).map_err(|_| "status_queue_full")
    }
}

/// Brings what waits to the store and onto the map, until it is aborted.
pub(crate) async fn follow(service: Arc<Service>) {
    let Some(mut exit) = service.setting.intake.statuses.exit.lock().take() else { return };
    let system = PrincipalName::new("muster").expect("it is a name");
    let system = Arc::new(Principal { name: system, role: Role::Administrator, organisation: None });
    while let Some((status, unit, protocol)) = exit.recv().await {
        let (now, by) = (service.engine.live().now(), Arc::clone(&system));
        let said =
            service.stored(move |store| say(store, &By { principal: &by, now, reason: None }, status, &unit)).await;
        let counters: &Counters = &service.setting.counters;
        match said {
            Ok(Heard::Taken) => {
                if let Err(problem) = service.level().await {
                    warn!(problem = problem.detail(), "A status is stored, and not on the map yet.");
                }
            }
            Ok(Heard::Repeated) => counters.frame_dropped(protocol, "status_repeated"),
            Ok(Heard::Late) => counters.frame_dropped(protocol, "status_late"),
            Err(problem) => {
                warn!(problem = problem.detail(), "A status of a terminal is not taken.");
                counters.frame_dropped(protocol, "status_refused");
            }
        }
    }
}

fn say(store: &Store, by: &By<'_>, status: TerminalStatus, unit: &Unit) -> Result<Heard, StoreError> {
    // As for a word over HTTP: a unit that a device made of itself is written down with the first one said of it.
    if store.unit(&status.unit)?.is_none() {
        store.put_unit(by, &UnitRecord::of(unit.clone()), IfMatch::Absent)?;
    }
    let time = status.time.unwrap_or(by.now);
    let said = Said { of: SaidOf::Status(Some(status.status)), time, source: "terminal".to_owned() };
    let key = Some(status.idempotency_key.as_str()).filter(|key| !key.is_empty());
    store.say(by, &status.unit, Owner::Terminal, &said, key)
}
