//! What writers tell the watcher: the places of units that may have crossed a border, and nothing of all others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::SyncSender;

use geodesy::Tile;
use index::Fix;
use journal::Sequence;
use model::limits::WATCH_WAITING_MAX;
use model::{Shards, UnitHandle};
use parking_lot::Mutex;

use super::crossings::Placed;
use super::run::Message;

/// What the writer of a shard saw.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fact {
    /// A unit is here now.
    Placed {
        /// Where.
        placed: Placed,
        /// Facts told of the unit since `epoch` began.
        told: u32,
        epoch: u32,
    },
    /// A unit was taken off the map.
    Gone(UnitHandle),
}

/// What the writers and the watcher share.
#[derive(Debug)]
pub(crate) struct Shared {
    shards: Vec<OfShard>,
    /// Rises when all quiet tiles hold no longer.
    epoch: AtomicU32,
    /// The last entry that any writer has appended.
    appended: AtomicU64,
    /// Facts on their way.
    waiting: AtomicUsize,
    /// Facts that found no room: the watcher must look at everything.
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct OfShard {
    /// Its writer may have appended what it has not told.
    is_busy: AtomicBool,
    /// It has told all up to here.
    told: AtomicU64,
    has_mail: AtomicBool,
    mail: Mutex<Vec<Mail>>,
}

/// What the watcher answers: as long as nothing newer of a unit was told, its places in the tile change nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mail {
    /// Within the shard.
    within: UnitHandle,
    /// The last fact of the unit that it had seen.
    seen: u32,
    epoch: u32,
    tile: Tile,
}

impl Shared {
    pub(crate) fn of(shards: Shards, appended: Sequence) -> Self {
        let of_shard = || OfShard { told: AtomicU64::new(appended.0), ..OfShard::default() };
        Self {
            shards: (0..shards.count()).map(|_| of_shard()).collect(),
            epoch: AtomicU32::new(1),
            appended: AtomicU64::new(appended.0),
            waiting: AtomicUsize::new(0),
            dropped: AtomicU64::new(0),
        }
    }

    /// Up to which entry all writers have told everything. What they told is in the queue by then.
    pub(crate) fn told(&self) -> Sequence {
        // A writer that is idle now has told all that was appended before this was read: it became busy before it appended.
        let appended = self.appended.load(Ordering::SeqCst);
        let of_shard = |shard: &OfShard| {
            if shard.is_busy.load(Ordering::SeqCst) { shard.told.load(Ordering::SeqCst) } else { appended }
        };
        Sequence(self.shards.iter().map(of_shard).min().unwrap_or(appended))
    }

    /// The last entry that a writer has appended.
    pub(crate) fn appended(&self) -> Sequence {
        Sequence(self.appended.load(Ordering::SeqCst))
    }

    /// No quiet tile holds any more.
    pub(crate) fn next_epoch(&self) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn epoch(&self) -> u32 {
        self.epoch.load(Ordering::SeqCst)
    }

    /// One more is on its way, from the watcher itself.
    pub(crate) fn add_waiting(&self) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
    }

    /// So many facts were looked at.
    pub(crate) fn looked_at(&self, facts: usize) {
        self.waiting.fetch_sub(facts, Ordering::Relaxed);
    }

    /// Facts on their way.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// How many facts found no room since this was asked.
    pub(crate) fn take_dropped(&self) -> u64 {
        self.dropped.swap(0, Ordering::SeqCst)
    }

    pub(crate) fn post(&self, shard: usize, mail: &mut Vec<Mail>) {
        if !mail.is_empty() {
            let shard = &self.shards[shard];
            shard.mail.lock().append(mail);
            shard.has_mail.store(true, Ordering::Release);
        }
    }
}

impl Mail {
    pub(crate) const fn of(within: UnitHandle, seen: u32, epoch: u32, tile: Tile) -> Self {
        Self { within, seen, epoch, tile }
    }
}

/// The writer's side of one shard.
#[derive(Debug)]
pub(crate) struct Feed {
    shared: Arc<Shared>,
    queue: SyncSender<Message>,
    shards: Shards,
    shard: usize,
    /// By number within the shard.
    quiet: Vec<Quiet>,
    epoch: u32,
    facts: Vec<Fact>,
}

#[derive(Debug, Clone, Copy)]
struct Quiet {
    tile: Tile,
    /// Facts told of the unit.
    told: u32,
}

const LOUD: Quiet = Quiet { tile: Tile::EMPTY, told: 0 };

impl Feed {
    pub(crate) const fn new(shared: Arc<Shared>, queue: SyncSender<Message>, shards: Shards, shard: usize) -> Self {
        Self { shared, queue, shards, shard, quiet: Vec::new(), epoch: 0, facts: Vec::new() }
    }

    /// Before anything is appended.
    pub(crate) fn begin(&mut self) {
        let own = &self.shared.shards[self.shard];
        own.is_busy.store(true, Ordering::SeqCst);
        let epoch = self.shared.epoch();
        if self.epoch != epoch {
            self.epoch = epoch;
            self.quiet.fill(LOUD);
        }
        if own.has_mail.swap(false, Ordering::Acquire) {
            for mail in std::mem::take(&mut *own.mail.lock()) {
                let quiet = self.quiet.get_mut(mail.within.0 as usize);
                if let Some(quiet) = quiet.filter(|quiet| quiet.told == mail.seen && mail.epoch == epoch) {
                    quiet.tile = mail.tile;
                }
            }
        }
    }

    /// Something was appended, up to here.
    pub(crate) fn appended(&self, last: Sequence) {
        self.shared.appended.fetch_max(last.0, Ordering::SeqCst);
    }

    /// A unit, by its number within the shard, is here now.
    #[inline]
    pub(crate) fn placed(&mut self, within: UnitHandle, fix: &Fix, sequence: Sequence) {
        let at = within.0 as usize;
        if self.quiet.len() <= at {
            self.quiet.resize(at + 1, LOUD);
        }
        let quiet = &mut self.quiet[at];
        if quiet.tile.contains(fix.position) {
            return;
        }
        // Until the watcher has answered to the last of them, every place counts.
        *quiet = Quiet { tile: Tile::EMPTY, told: quiet.told.wrapping_add(1) };
        let unit = self.shards.unit(self.shard, within);
        let placed = Placed { unit, place: fix.position, time: fix.time, sequence };
        self.facts.push(Fact::Placed { placed, told: self.quiet[at].told, epoch: self.epoch });
    }

    /// A unit, by its number in the whole, was taken off the map.
    pub(crate) fn gone(&mut self, unit: UnitHandle) {
        self.facts.push(Fact::Gone(unit));
    }

    /// Reads a little of what [`Self::placed`] will need.
    #[inline]
    pub(crate) fn touch(&self, unit: UnitHandle) -> usize {
        self.quiet.get(self.shards.within(unit).0 as usize).map_or(0, |quiet| quiet.told as usize)
    }

    /// After all that was taken at once is applied.
    pub(crate) fn end(&mut self, last: Option<Sequence>) {
        self.hand_over();
        let own = &self.shared.shards[self.shard];
        if let Some(last) = last {
            own.told.fetch_max(last.0, Ordering::SeqCst);
        }
        own.is_busy.store(false, Ordering::SeqCst);
    }

    /// Never waits: a watcher that hangs must not hold reports up. What finds no room is counted, and all is looked at then.
    fn hand_over(&mut self) {
        if self.facts.is_empty() {
            return;
        }
        let count = self.facts.len();
        let before = self.shared.waiting.fetch_add(count, Ordering::Relaxed);
        let has_room = before + count <= WATCH_WAITING_MAX;
        let facts = std::mem::take(&mut self.facts);
        if !has_room || self.queue.try_send(Message::Facts(self.shard, facts)).is_err() {
            self.shared.waiting.fetch_sub(count, Ordering::Relaxed);
            self.shared.dropped.fetch_add(count as u64, Ordering::SeqCst);
        }
    }
}
