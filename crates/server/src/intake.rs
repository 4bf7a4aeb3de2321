use std::sync::Arc;

use crate::codes::TerminalCodes;
use crate::quarantine::Quarantine;
use crate::tasked::Tasked;
use crate::terminal_statuses::TerminalStatuses;
use engine::{Engine, Unsettled};
use ingest::{Allowed, Intake, NotSettled, QueueFull};
use model::{Binding, DeviceId, Heard, Press, Privacy, TerminalStatus, UnitHandle, UnitKind};

/// The engine as `ingest` sees it.
pub(crate) struct EngineIntake {
    pub(crate) engine: Arc<Engine>,
    /// Whom nobody knows.
    pub(crate) quarantine: Arc<Quarantine>,
    /// What terminals say of their units, on its way to the store.
    pub(crate) statuses: TerminalStatuses,
    /// Who is sent to something.
    pub(crate) tasked: Arc<Tasked>,
    /// `None` where codes of terminals are not checked.
    pub(crate) codes: Option<TerminalCodes>,
}

impl EngineIntake {
    pub(crate) fn new(
        engine: &Arc<Engine>,
        quarantine: &Arc<Quarantine>,
        tasked: &Arc<Tasked>,
        codes: Option<TerminalCodes>,
    ) -> Self {
        let (engine, quarantine, tasked) = (Arc::clone(engine), Arc::clone(quarantine), Arc::clone(tasked));
        Self { engine, quarantine, statuses: TerminalStatuses::default(), tasked, codes }
    }
}

/// The engine's settlement with `ingest`'s error.
pub(crate) struct Settlement(engine::Settlement);

impl Future for Settlement {
    type Output = Result<(), NotSettled>;

    fn poll(mut self: std::pin::Pin<&mut Self>, context: &mut std::task::Context<'_>) -> std::task::Poll<Self::Output> {
        std::pin::Pin::new(&mut self.0).poll(context).map_err(not_settled)
    }
}

fn not_settled(unsettled: Unsettled) -> NotSettled {
    let detail = unsettled.to_string();
    match unsettled {
        Unsettled::Full { .. } => NotSettled::NotStored { reason: "journal_full", detail, is_applied: false },
        Unsettled::Failed { is_applied, .. } => NotSettled::NotStored { reason: "journal_failed", detail, is_applied },
        _ => NotSettled::Stopped,
    }
}

impl Intake for EngineIntake {
    type Settlement = Settlement;

    fn resolve(&self, device: &DeviceId) -> Option<Binding> {
        let known = self.engine.resolve(device);
        if known.is_none() {
            self.quarantine.hear(device, self.engine.live().now());
        }
        known
    }

    fn generation(&self) -> u32 {
        self.engine.live().roster().generation()
    }

    fn privacy(&self, unit: UnitHandle) -> Privacy {
        let Some(traits) = self.engine.live().traits(unit) else { return Privacy::Open };
        // Asked for volunteers only.
        let is_tasked = traits.kind == UnitKind::Community && self.tasked.has(unit);
        Privacy::of(traits.kind, traits.status, is_tasked)
    }

    fn code(&self, device: &DeviceId) -> Option<Vec<u8>> {
        self.codes.as_ref().map(|codes| codes.code(device))
    }

    fn buffer(&self) -> Vec<Heard> {
        self.engine.buffer()
    }

    fn set_status(&self, status: TerminalStatus, own: &Allowed, protocol: &'static str) -> Result<(), &'static str> {
        self.statuses.take(status, self.engine.live(), own, protocol)
    }

    fn ring(&self, press: Press) {
        self.engine.ring(press);
    }

    async fn submit(&self, batch: Vec<Heard>) -> Result<Settlement, NotSettled> {
        self.engine.submit(batch).await.map(Settlement).map_err(not_settled)
    }

    fn try_submit(&self, batch: Vec<Heard>) -> Result<Settlement, QueueFull> {
        self.engine.try_submit(batch).map(Settlement).map_err(|_| QueueFull)
    }
}
