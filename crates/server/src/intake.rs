use std::sync::Arc;

use engine::{Emergency, Engine};
use ingest::{Intake, NotSettled, Press, QueueFull};
use model::{Binding, DeviceId, Heard};

/// The engine as `ingest` sees it.
pub(crate) struct EngineIntake(pub(crate) Arc<Engine>);

/// The engine's settlement with `ingest`'s error.
pub(crate) struct Settlement(engine::Settlement);

impl Future for Settlement {
    type Output = Result<(), NotSettled>;

    fn poll(mut self: std::pin::Pin<&mut Self>, context: &mut std::task::Context<'_>) -> std::task::Poll<Self::Output> {
        std::pin::Pin::new(&mut self.0).poll(context).map_err(|_| NotSettled)
    }
}

impl Intake for EngineIntake {
    type Settlement = Settlement;

    fn resolve(&self, device: &DeviceId) -> Option<Binding> {
        self.0.resolve(device)
    }

    fn ring(&self, press: Press) {
        self.0.ring(Emergency {
            number: 0,
            device: press.device,
            unit: None,
            pressed_at: press.pressed_at,
            received_at: press.received_at,
            repeated_at: press.received_at,
            is_delayed: press.is_delayed,
            place: press.place,
        });
    }

    async fn submit(&self, batch: Vec<Heard>) -> Result<Settlement, NotSettled> {
        self.0.submit(batch).await.map(Settlement).map_err(|_| NotSettled)
    }

    fn try_submit(&self, batch: Vec<Heard>) -> Result<Settlement, QueueFull> {
        self.0.try_submit(batch).map(Settlement).map_err(|_| QueueFull)
    }
}
