use std::future::Future;

use model::{Binding, DeviceId, Heard, Press, Privacy, TerminalStatus, UnitHandle};

use crate::Allowed;

/// The engine, as `ingest` sees it.
pub trait Intake: Send + Sync + 'static {
    /// Who `device` is; `None` when it is unknown and unknown devices are not admitted.
    fn resolve(&self, device: &DeviceId) -> Option<Binding>;

    /// Rises whenever a binding that [`Self::resolve`] gave may hold no longer. One that was asked for after a number was read
    /// holds as long as that number does.
    fn generation(&self) -> u32;

    /// What may be kept of the places of `unit` now. Asked for each of its reports.
    fn privacy(&self, unit: UnitHandle) -> Privacy {
        let _ = unit;
        Privacy::Open
    }

    /// The code by which `device` shows that it was registered here; `None` where codes are not checked.
    fn code(&self, device: &DeviceId) -> Option<Vec<u8>> {
        let _ = device;
        None
    }

    /// An empty batch with the memory of one that was handed over before, if there is any.
    fn buffer(&self) -> Vec<Heard> {
        Vec::new()
    }

    /// An emergency button. Comes before admission and is never refused.
    fn ring(&self, press: Press);

    /// A status that a unit set at its terminal, brought by a session of `protocol` that may speak for the devices of `own`. It takes
    /// effect, or is refused and counted, some time later; the word under which it is refused at once.
    ///
    /// # Errors
    /// The stable word of the reason.
    fn set_status(&self, status: TerminalStatus, own: &Allowed, protocol: &'static str) -> Result<(), &'static str> {
        let _ = (status, own, protocol);
        Err("status_not_taken")
    }

    /// Hands over a batch, waiting for room in the queue. The inner future ends when everything of
    /// the batch is settled: applied and stored.
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

/// A batch was not settled. Ours: no acknowledgement leaves.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotSettled {
    /// The engine stopped before.
    #[error("the engine stopped before the batch was settled")]
    Stopped,
    /// It could not be stored. The sender keeps it and sends it again later.
    #[error("{detail}")]
    NotStored {
        /// The stable word: `journal_full` or `journal_failed`.
        reason: &'static str,
        /// For a person.
        detail: String,
        /// Whether it is on the map all the same.
        is_applied: bool,
    },
}

/// The engine's queue has no room. Ours: the sender sends too fast for us, and it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the engine's queue is full")]
pub struct QueueFull;
