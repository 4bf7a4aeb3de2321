use std::future::Future;

use model::{Binding, DeviceId, Heard, Position, Timestamp};

/// The engine, as `ingest` sees it.
pub trait Intake: Send + Sync + 'static {
    /// Who `device` is; `None` when it is unknown and unknown devices are not admitted.
    fn resolve(&self, device: &DeviceId) -> Option<Binding>;

    /// An emergency button. Comes before admission and is never refused.
    fn ring(&self, press: Press);

    /// Hands over a batch, waiting for room in the queue. The inner future ends when everything of
    /// the batch is settled: applied, and once there is a journal, stored.
    ///
    /// # Errors
    /// [`NotSettled`] when the engine has stopped: no acknowledgement may leave.
    fn submit(&self, batch: Vec<Heard>) -> impl Future<Output = Result<Self::Settlement, NotSettled>> + Send;

    /// The same without waiting, for senders that nobody can slow down.
    ///
    /// # Errors
    /// [`QueueFull`] when there is no room now; nothing of the batch was taken.
    fn try_submit(&self, batch: Vec<Heard>) -> Result<Self::Settlement, QueueFull>;

    /// Ends when a batch is settled.
    type Settlement: Future<Output = Result<(), NotSettled>> + Send + Unpin + 'static;
}

/// A pressed emergency button.
#[derive(Debug, Clone, PartialEq)]
pub struct Press {
    /// The device that was pressed, known or not.
    pub device: DeviceId,
    /// When, by the device's clock.
    pub pressed_at: Option<Timestamp>,
    /// When we heard of it.
    pub received_at: Timestamp,
    /// It comes out of a backlog.
    pub is_delayed: bool,
    /// The place in the same frame, if it had a valid one, and when that was true.
    pub place: Option<(Position, Timestamp)>,
}

/// The engine stopped before the batch was settled. Ours: no acknowledgement leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the engine stopped before the batch was settled")]
pub struct NotSettled;

/// The engine's queue has no room. Ours: the sender sends too fast for us, and it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the engine's queue is full")]
pub struct QueueFull;
