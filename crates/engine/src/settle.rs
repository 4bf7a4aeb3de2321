use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use journal::{Progress, Sequence};
use model::Shards;
use model::limits::SHARDS_MAX;
use parking_lot::Mutex;
use tokio::sync::oneshot;

/// Why a batch is not settled: no acknowledgement may leave for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unsettled {
    /// The engine was stopped.
    #[error("the engine is stopped")]
    Stopped,
    /// The journal has no room. Nothing of the batch was taken, or only a part of it, when it was larger than a quarter of a segment or
    /// was for several shards: it may be sent again later, what is known already counts as a duplicate.
    #[error("{reason}; nothing was taken, or only a part: send it again later")]
    Full {
        /// What the system says.
        reason: String,
    },
    /// The journal has failed. The batch is not, or perhaps not, on stable storage.
    #[error("{reason}; {}", if *is_applied { "what was sent is on the map and not stored" } else { "nothing was taken" })]
    Failed {
        /// What the system says.
        reason: String,
        /// Whether it, or a part of it, is on the map all the same.
        is_applied: bool,
    },
}

/// Ends when everything of a batch is settled: applied and on stable storage. With an error it never will be.
#[derive(Debug)]
pub struct Settlement {
    part: Settled,
    /// Parts in other shards, which are looked at after this one.
    others: Vec<Settled>,
    /// Of the parts before this one, if there were any.
    outcome: Option<Result<(), Unsettled>>,
}

pub(crate) type Settle = oneshot::Sender<Result<(), Unsettled>>;
type Settled = oneshot::Receiver<Result<(), Unsettled>>;

impl Settlement {
    pub(crate) fn pair() -> (Settle, Self) {
        let (settle, part) = oneshot::channel();
        (settle, Self { part, others: Vec::new(), outcome: None })
    }

    /// Ends with both.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.others.push(other.part);
        self.others.extend(other.others);
        self
    }
}

/// Of two parts: what one of them was denied, the batch was denied.
fn both(one: Result<(), Unsettled>, other: Result<(), Unsettled>) -> Result<(), Unsettled> {
    let is_on_the_map = |part: &Result<(), Unsettled>| match part {
        Ok(()) => true,
        Err(Unsettled::Failed { is_applied, .. }) => *is_applied,
        Err(_) => false,
    };
    let is_applied = is_on_the_map(&one) || is_on_the_map(&other);
    match (one, other) {
        (Ok(()), Ok(())) => Ok(()),
        (Err(Unsettled::Failed { reason, .. }), _) | (_, Err(Unsettled::Failed { reason, .. })) => {
            Err(Unsettled::Failed { reason, is_applied })
        }
        (Err(error), _) | (_, Err(error)) => Err(error),
    }
}

impl Future for Settlement {
    type Output = Result<(), Unsettled>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let Poll::Ready(settled) = Pin::new(&mut self.part).poll(context) else { return Poll::Pending };
            let settled = settled.unwrap_or(Err(Unsettled::Stopped));
            let outcome = match self.outcome.take() {
                None => settled,
                Some(before) => both(before, settled),
            };
            let Some(next) = self.others.pop() else { return Poll::Ready(outcome) };
            (self.part, self.outcome) = (next, Some(outcome));
        }
    }
}

/// Batches that are applied and wait for stable storage, in the order of the journal.
#[derive(Debug, Default)]
pub(crate) struct Settler(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    synced: Sequence,
    failed: Option<String>,
    /// By their last entry.
    batches: VecDeque<(Sequence, Settle)>,
    /// Shards that have not shown yet what a failure means for them, one bit each.
    silent: u64,
}

impl Settler {
    /// For so many shards.
    pub(crate) fn of(shards: Shards) -> Self {
        Self(Mutex::new(Waiting { silent: u64::MAX >> (SHARDS_MAX - shards.count()), ..Waiting::default() }))
    }

    /// Settles a batch once everything up to `last` is on stable storage; after a failure with [`Self::refuse`].
    pub(crate) fn wait(&self, last: Sequence, settle: Settle) {
        let mut waiting = self.0.lock();
        if last <= waiting.synced {
            // Nobody may wait for it any more, here and below.
            let _ = settle.send(Ok(()));
        } else {
            // Writers append one after the other, and come here as they have applied what they appended.
            let at = waiting.batches.partition_point(|(before, _)| *before <= last);
            waiting.batches.insert(at, (last, settle));
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

    /// The map says by now what of `shard` is not stored, or its writer has ended. After a failure the wait of all batches ends when
    /// this was said of all shards.
    pub(crate) fn refuse(&self, shard: usize) {
        let mut waiting = self.0.lock();
        waiting.silent &= !(1 << shard);
        if waiting.silent != 0 {
            return;
        }
        let Some(reason) = waiting.failed.clone() else { return };
        for (_, settle) in waiting.batches.drain(..) {
            let _ = settle.send(Err(Unsettled::Failed { reason: reason.clone(), is_applied: true }));
        }
    }
}

const _: () = assert!(SHARDS_MAX == u64::BITS as usize);

#[cfg(test)]
mod tests {
    use super::*;

    fn now(settlement: &mut Settlement) -> Option<Result<(), Unsettled>> {
        let context = &mut Context::from_waker(std::task::Waker::noop());
        match Pin::new(settlement).poll(context) {
            Poll::Ready(settled) => Some(settled),
            Poll::Pending => None,
        }
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

    /// A later batch of one shard once could come here before an earlier one of another.
    #[test]
    fn batches_of_several_shards_are_settled_in_the_order_of_the_journal() {
        let settler = Settler::default();
        let [(late, mut second), (early, mut first)] = [Settlement::pair(), Settlement::pair()];
        settler.wait(Sequence(9), late);
        settler.wait(Sequence(5), early);
        settler.progress(Progress::Synced(Sequence(5)));
        assert_eq!((now(&mut first), now(&mut second)), (Some(Ok(())), None));
    }

    #[test]
    fn a_batch_of_two_parts_is_settled_with_both_and_denied_with_either() {
        let full = || Err(Unsettled::Full { reason: "full".into() });
        let failed = |is_applied| Err(Unsettled::Failed { reason: "EIO".into(), is_applied });
        let cases = [
            (Ok(()), Ok(()), Ok(())),
            (Ok(()), full(), full()),
            (full(), Ok(()), full()),
            (failed(false), failed(false), failed(false)),
            (failed(false), failed(true), failed(true)),
            (Ok(()), failed(false), failed(true)),
            (full(), failed(false), failed(false)),
        ];
        for (one, other, expected) in cases {
            let [(settle_one, first), (settle_other, second)] = [Settlement::pair(), Settlement::pair()];
            let mut settlement = first.and(second);
            settle_other.send(other).expect("it is waited for");
            assert_eq!(now(&mut settlement), None, "one is open");
            settle_one.send(one).expect("it is waited for");
            assert_eq!(now(&mut settlement), Some(expected));
        }
    }

    #[test]
    fn after_a_failure_nothing_is_settled_any_more() {
        let settler = Settler::of(Shards::new(2).expect("there may be two"));
        let pairs = || Settlement::pair();
        let ((before, mut waiting), (after, mut late)) = (pairs(), pairs());
        settler.wait(Sequence(1), before);
        settler.progress(Progress::Failed("EIO".into()));
        settler.wait(Sequence(2), after);
        assert_eq!((now(&mut waiting), now(&mut late)), (None, None), "the map is told first");
        assert_eq!(settler.failed_after(), Some(Sequence(0)));
        settler.refuse(1);
        assert_eq!((now(&mut waiting), now(&mut late)), (None, None), "of all its shards");
        settler.refuse(0);
        let failed = Some(Err(Unsettled::Failed { reason: "EIO".into(), is_applied: true }));
        assert_eq!((now(&mut waiting), now(&mut late)), (failed.clone(), failed));
    }
}
