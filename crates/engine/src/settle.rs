use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use journal::{Progress, Sequence};
use parking_lot::Mutex;
use tokio::sync::oneshot;

/// Why a batch is not settled: no acknowledgement may leave for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unsettled {
    /// The engine was stopped.
    #[error("the engine is stopped")]
    Stopped,
    /// The journal has no room. Nothing of the batch was taken, or of one larger than a quarter of a segment perhaps an earlier part:
    /// it may be sent again later, what is known already counts as a duplicate.
    #[error("{reason}; nothing was taken, or of a large batch only an earlier part: send it again later")]
    Full {
        /// What the system says.
        reason: String,
    },
    /// The journal has failed. The batch is not, or perhaps not, on stable storage.
    #[error("{reason}; {}", if *is_applied { "what was sent is on the map and not stored" } else { "nothing was taken" })]
    Failed {
        /// What the system says.
        reason: String,
        /// Whether it is on the map all the same.
        is_applied: bool,
    },
}

/// Ends when everything of a batch is settled: applied and on stable storage. With an error it never will be.
#[derive(Debug)]
pub struct Settlement(oneshot::Receiver<Result<(), Unsettled>>);

pub(crate) type Settle = oneshot::Sender<Result<(), Unsettled>>;

impl Settlement {
    pub(crate) fn pair() -> (Settle, Self) {
        let (settle, settled) = oneshot::channel();
        (settle, Self(settled))
    }
}

impl Future for Settlement {
    type Output = Result<(), Unsettled>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|settled| settled.unwrap_or(Err(Unsettled::Stopped)))
    }
}

/// Batches that are applied and wait for stable storage, in the order of the journal.
#[derive(Debug, Default)]
pub(crate) struct Settler(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    synced: Sequence,
    failed: Option<String>,
    batches: VecDeque<(Sequence, Settle)>,
}

impl Settler {
    /// Settles a batch once everything up to `last` is on stable storage; after a failure with [`Self::refuse`].
    pub(crate) fn wait(&self, last: Sequence, settle: Settle) {
        let mut waiting = self.0.lock();
        if last <= waiting.synced {
            // Nobody may wait for it any more, here and below.
            let _ = settle.send(Ok(()));
        } else {
            waiting.batches.push_back((last, settle));
        }
    }

    /// Takes what the journal tells.
    pub(crate) fn progress(&self, progress: Progress) {
        let mut waiting = self.0.lock();
        match progress {
            Progress::Synced(synced) => {
                waiting.synced = synced;
                while let Some((_, settle)) = waiting.batches.pop_front_if(|(last, _)| *last <= synced) {
                    let _ = settle.send(Ok(()));
                }
            }
            Progress::Failed(reason) => waiting.failed = Some(reason),
        }
    }

    /// Once the journal has failed: the last entry that it holds for certain.
    pub(crate) fn failed_after(&self) -> Option<Sequence> {
        let waiting = self.0.lock();
        waiting.failed.as_ref().map(|_| waiting.synced)
    }

    /// After a failure: ends the wait of all batches. The map must say by now what is not stored.
    pub(crate) fn refuse(&self) {
        let mut waiting = self.0.lock();
        let Some(reason) = waiting.failed.clone() else { return };
        for (_, settle) in waiting.batches.drain(..) {
            let _ = settle.send(Err(Unsettled::Failed { reason: reason.clone(), is_applied: true }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now(settlement: &mut Settlement) -> Option<Result<(), Unsettled>> {
        settlement.0.try_recv().ok()
    }

    #[test]
    fn a_batch_is_settled_when_its_last_entry_is_synced_and_not_before() {
        let settler = Settler::default();
        let (settle, mut settlement) = Settlement::pair();
        settler.progress(Progress::Synced(Sequence(4)));
        settler.wait(Sequence(5), settle);
        assert_eq!(now(&mut settlement), None);
        settler.progress(Progress::Synced(Sequence(5)));
        assert_eq!(now(&mut settlement), Some(Ok(())));
    }

    #[test]
    fn a_sync_that_was_faster_than_its_batch_settles_it() {
        let settler = Settler::default();
        settler.progress(Progress::Synced(Sequence(9)));
        let (settle, mut settlement) = Settlement::pair();
        settler.wait(Sequence(9), settle);
        assert_eq!(now(&mut settlement), Some(Ok(())));
    }

    #[test]
    fn after_a_failure_nothing_is_settled_any_more() {
        let settler = Settler::default();
        let pairs = || Settlement::pair();
        let ((before, mut waiting), (after, mut late)) = (pairs(), pairs());
        settler.wait(Sequence(1), before);
        settler.progress(Progress::Failed("EIO".into()));
        settler.wait(Sequence(2), after);
        assert_eq!((now(&mut waiting), now(&mut late)), (None, None), "the map is told first");
        assert_eq!(settler.failed_after(), Some(Sequence(0)));
        settler.refuse();
        let failed = Some(Err(Unsettled::Failed { reason: "EIO".into(), is_applied: true }));
        assert_eq!((now(&mut waiting), now(&mut late)), (failed.clone(), failed));
    }
}
