use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use journal::Entry;
use model::limits::{COMMUNITY_KEPT, FORGOTTEN_AT_ONCE_MAX};
use model::{UnitHandle, UnitKind};
use tokio::sync::mpsc::WeakSender;
use tracing::info;

use crate::live::Live;
use crate::wake;
use crate::writer::Message;

/// How often units are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// What decides that places are too old to be kept. It only decides: they go by an entry of the journal, so that a restart and
/// the maker of snapshots forget them too.
pub(crate) struct Forgetting {
    pub(crate) live: Arc<Live>,
    /// Weak: whoever holds a queue keeps its writer running.
    pub(crate) wakes: Vec<WeakSender<Message>>,
}

impl Forgetting {
    /// Works until the sender of `stop` is dropped.
    pub(crate) fn run(self, stop: &Receiver<()>) {
        while stop.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
            let units = self.live.forget_volunteers();
            if units > 0 {
                info!(units, "Places of volunteers are too old to be kept.");
                self.wakes.iter().filter_map(WeakSender::upgrade).for_each(|queue| wake(&queue));
            }
        }
    }
}

impl Live {
    /// Puts an entry for each volunteer's place that is too old into the journal's way, up to [`FORGOTTEN_AT_ONCE_MAX`]; how many. Costs
    /// one read of each unit.
    pub(crate) fn forget_volunteers(&self) -> usize {
        // A journal without room takes none of them: it must not be asked for more every minute.
        let room = FORGOTTEN_AT_ONCE_MAX.saturating_sub(self.pending.len());
        let now = self.now();
        let is_kept_ms = COMMUNITY_KEPT.as_millis() as i64;
        let too_old = (0..self.roster.numbers()).map(UnitHandle).filter_map(|unit| {
            let is_volunteer = self.traits(unit).is_some_and(|traits| traits.kind == UnitKind::Community);
            let fix = self.index.slot(unit).filter(|_| is_volunteer)?.fix?;
            (now.ms_since(fix.time) > is_kept_ms).then_some((unit, fix.time))
        });
        let mut count = 0;
        for (unit, upto) in too_old.take(room) {
            self.pending.push(Entry::Forget { unit, upto });
            count += 1;
        }
        count
    }
}
