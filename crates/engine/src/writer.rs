use std::sync::Arc;

use index::Change;
use journal::{AppendError, Entry, Log, Sequence};
use model::{DeviceHandle, Flags, Heard, UnitHandle, What};
use tokio::sync::mpsc;
use tracing::error;

use crate::OnJournalFailure;
use crate::counters::Tally;
use crate::live::Live;
use crate::pending::fitting;
use crate::rules::Outcome;
use crate::settle::{Settle, Settlement, Settler, Unsettled};
use crate::state::{AHEAD, Effect, Part};
use crate::watch::Feed;

/// Messages taken from the queue at once.
const MESSAGES_AT_ONCE: usize = 64;
/// Changes of the roster appended at once, if they fit: what finds no room is moved back.
const PENDING_AT_ONCE: usize = 256;

/// There is no room in the engine's queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the engine's queue is full")]
pub struct Full;

pub(crate) enum Message {
    Batch(Vec<Heard>, Settle),
    /// Something waits in `Pending`, or the journal has failed.
    Wake,
    Stop,
}

pub(crate) fn batch(heard: Vec<Heard>) -> (Message, Settlement) {
    let (settle, settlement) = Settlement::pair();
    (Message::Batch(heard, settle), settlement)
}

/// Where writers put entries before they apply them.
#[derive(Clone)]
pub(crate) struct Storage {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) settler: Arc<Settler>,
    pub(crate) on_failure: OnJournalFailure,
}

/// The one thread that changes the live state of a shard.
pub(crate) struct Writer {
    live: Arc<Live>,
    shard: usize,
    /// `None`: nothing is stored, and a batch is settled when it is applied.
    storage: Option<Storage>,
    part: Part,
    /// For each unit, by number within the shard, the entry that put it where it is; 0 when that is not of this run, or is in no log.
    placed_by: Vec<Sequence>,
    entries: Vec<Entry>,
    changes: Vec<Change>,
    tally: Tally,
    /// What tells the watcher; `None` when nobody watches.
    feed: Option<Feed>,
    /// The last entry that was applied.
    applied: Option<Sequence>,
}

/// How a batch may be applied.
enum Stored {
    /// It is in the log, up to here; `None` when there is none.
    Upto(Option<Sequence>),
    /// It is not, and is applied all the same.
    No(Unsettled),
}

impl Writer {
    pub(crate) fn new(live: Arc<Live>, storage: Option<Storage>, shard: usize, part: Part) -> Self {
        Self {
            live,
            shard,
            storage,
            part,
            placed_by: Vec::new(),
            entries: Vec::new(),
            changes: Vec::new(),
            tally: Tally::default(),
            feed: None,
            applied: None,
        }
    }

    /// The same, and the watcher is told by `feed`.
    pub(crate) fn telling(self, feed: Option<Feed>) -> Self {
        Self { feed, ..self }
    }

    /// Applies messages until it is told to stop. [`Self::end`] is left to do, once no writer runs any more.
    pub(crate) fn run(mut self, mut messages: mpsc::Receiver<Message>) -> Self {
        let settler = self.storage.as_ref().map(|storage| Arc::clone(&storage.settler));
        let _watch = Watch { live: Arc::clone(&self.live), settler, shard: self.shard };
        let mut taken = Vec::with_capacity(MESSAGES_AT_ONCE);
        while messages.blocking_recv_many(&mut taken, MESSAGES_AT_ONCE) > 0 {
            self.feed.iter_mut().for_each(Feed::begin);
            self.tell_of_failure();
            // A binding in a message was made before the message: what made it goes first.
            let roster = self.store_pending();
            for message in taken.drain(..) {
                match message {
                    Message::Batch(heard, settle) => self.batch(heard, settle, roster.as_ref().err()),
                    Message::Wake => {}
                    Message::Stop => {
                        self.feed.iter_mut().for_each(|feed| feed.end(self.applied));
                        return self;
                    }
                }
            }
            self.feed.iter_mut().for_each(|feed| feed.end(self.applied));
        }
        self
    }

    /// Appends the changes of the roster that wait now, whatever shard they concern, and applies those of this shard, also if another
    /// writer appended them; those that find no room stay.
    fn store_pending(&mut self) -> Result<(), Unsettled> {
        let mut left = None;
        loop {
            let mut order = self.live.pending.order();
            let waiting = *left.get_or_insert_with(|| order.waiting());
            let some = self.live.pending.lend(PENDING_AT_ONCE.min(waiting), self.append_bytes_max());
            left = Some(waiting - some.len());
            let is_last = some.is_empty() || left == Some(0);
            let stored = if some.is_empty() { Ok(()) } else { self.store(&some).map(drop) };
            match &stored {
                Ok(()) => order.hand_on(some),
                Err(_) => order.give_back(some),
            }
            let own = order.take(self.shard);
            drop(order);
            self.apply_changes(&own);
            if is_last || stored.is_err() {
                return stored;
            }
        }
    }

    /// Applies changes of the roster that are stored.
    fn apply_changes(&mut self, changes: &[Entry]) {
        if !changes.is_empty() {
            changes.iter().for_each(|entry| self.apply(entry, None));
            self.flush();
            self.live.pending.done(changes.len());
        }
    }

    /// The log takes no more bytes at once.
    fn append_bytes_max(&self) -> usize {
        self.storage.as_ref().map_or(usize::MAX, |storage| storage.log.append_bytes_max())
    }

    fn batch(&mut self, heard: Vec<Heard>, settle: Settle, roster: Option<&Unsettled>) {
        self.take(&heard);
        self.live.buffers.give(heard);
        let mut entries = std::mem::take(&mut self.entries);
        let stored = match roster {
            Some(unsettled) => self.refuse(&entries, unsettled),
            None => self.store_and_apply(&mut entries),
        };
        entries.clear();
        self.entries = entries;
        match (&self.storage, stored) {
            (Some(storage), Ok(Some(last))) => storage.settler.wait(last, settle),
            // Nobody may wait for it any more, here and below.
            (_, Ok(_)) => drop(settle.send(Ok(()))),
            (_, Err(unsettled)) => drop(settle.send(Err(unsettled))),
        }
    }

    /// Appends and applies a batch, in as many parts as the log wants; the log holds it up to the sequence returned.
    fn store_and_apply(&mut self, entries: &mut Vec<Entry>) -> Result<Option<Sequence>, Unsettled> {
        let (mut at, mut end, bytes_max) = (0, Ok(None), self.append_bytes_max());
        loop {
            let mut order = self.live.pending.order();
            if order.has_for(self.shard) {
                // Another writer stored a change of a unit of ours meanwhile: it comes before this batch, in the log and here.
                let own = order.take(self.shard);
                drop(order);
                self.apply_changes(&own);
                self.leave_out_retired(entries, at);
                continue;
            }
            let rest = &mut entries[at..];
            let count = fitting(rest.iter(), bytes_max);
            let stored = self.store(&rest[..count]);
            drop(order);
            match stored {
                Ok(Stored::Upto(last)) => {
                    self.apply_entries(&rest[..count], last);
                    end = end.map(|_| last);
                }
                Ok(Stored::No(unsettled)) => {
                    rest[..count].iter_mut().for_each(mark_not_stored);
                    self.apply_entries(&rest[..count], None);
                    end = Err(unsettled);
                }
                Err(unsettled) => return self.refuse(rest, &unsettled),
            }
            at += count;
            if at == entries.len() {
                self.live.counters.batch();
                return end;
            }
        }
    }

    /// As [`store`], and the watcher's feed knows.
    fn store(&self, entries: &[Entry]) -> Result<Stored, Unsettled> {
        let stored = store(self.storage.as_ref(), entries);
        if let (Ok(Stored::Upto(Some(last))), Some(feed)) = (&stored, &self.feed) {
            feed.appended(*last);
        }
        stored
    }

    /// Takes out, from `at` on, what units said that were taken off the map since it was made an entry.
    fn leave_out_retired(&self, entries: &mut Vec<Entry>, at: usize) {
        let mut number = 0;
        entries.retain(|entry| {
            number += 1;
            let Entry::Heard(heard) = entry else { return true };
            let is_wanted = number <= at || !self.part.is_retired(heard.binding.unit);
            if !is_wanted && matches!(heard.what, What::Report(_)) {
                self.live.counters.retired();
            }
            is_wanted
        });
    }

    /// Counts what is neither stored nor applied.
    fn refuse(&self, entries: &[Entry], unsettled: &Unsettled) -> Result<Option<Sequence>, Unsettled> {
        let is_report = |entry: &&Entry| matches!(entry, Entry::Heard(Heard { what: What::Report(_), .. }));
        self.live.counters.unstored(entries.iter().filter(is_report).count());
        Err(unsettled.clone())
    }

    /// Makes entries of what was heard of units that are on the map.
    fn take(&mut self, heard: &[Heard]) {
        for some in heard.chunks(AHEAD) {
            self.part.look_ahead(some.iter().map(|heard| heard.binding));
            if let Some(feed) = &self.feed {
                std::hint::black_box(some.iter().fold(0, |all, heard| all ^ feed.touch(heard.binding.unit)));
            }
            let is_wanted = |heard: &&Heard| {
                let is_retired = self.part.is_retired(heard.binding.unit);
                if is_retired && matches!(heard.what, What::Report(_)) {
                    self.live.counters.retired();
                }
                !is_retired
            };
            self.entries.extend(some.iter().filter(is_wanted).map(|heard| Entry::Heard(*heard)));
        }
    }

    /// Applies all of `entries`; the log holds them up to `last`.
    fn apply_entries(&mut self, entries: &[Entry], last: Option<Sequence>) {
        let mut sequence = last.map(|last| Sequence(last.0 - entries.len() as u64));
        for entry in entries {
            sequence = sequence.map(Sequence::next);
            self.apply(entry, sequence);
        }
        self.applied = self.applied.max(last);
        self.flush();
    }

    fn apply(&mut self, entry: &Entry, sequence: Option<Sequence>) {
        let sources = self.sources_before(entry);
        let effect = self.part.apply(entry);
        // A held jump shows the place again that was there, and so does a place of another device by which its unit is split: it stays
        // as stored as it was.
        if let (Some(sequence), Some(Outcome::Newest), Some(Change::Place { unit, fix, .. }), Entry::Heard(heard)) =
            (sequence, effect.outcome, &effect.change, entry)
            && fix.source == heard.binding.device
        {
            let at = unit.0 as usize;
            if self.placed_by.len() <= at {
                self.placed_by.resize(at + 1, Sequence(0));
            }
            self.placed_by[at] = sequence;
        }
        self.tell(&effect, entry, sequence);
        self.release(entry);
        match (effect.outcome, entry) {
            (Some(outcome), _) => self.tally.outcome(outcome),
            (None, Entry::Heard(_)) => self.tally.contact(),
            (None, Entry::Retire(unit)) => self.live.index.withdraw(*unit),
            // With a change it took effect: when the unit was heard is put back below.
            (None, Entry::Forget { unit, .. }) if effect.change.is_some() => {
                self.live.index.withdraw(*unit);
                sources.iter().for_each(|device| self.live.index.hide_source(*device));
            }
            _ => {}
        }
        if effect.has_sources
            && let Some(Change::Place { unit, .. } | Change::Touch { unit, .. }) = effect.change
        {
            self.part.sources(unit).for_each(|(device, source)| self.live.index.show_source(device, source));
        }
        self.changes.extend(effect.change);
        if let Some(located) = effect.located {
            self.live.emergencies.locate(&located);
        }
    }

    /// Devices whose own places are shown, if `entry` may forget them.
    #[inline]
    fn sources_before(&self, entry: &Entry) -> Vec<DeviceHandle> {
        let Entry::Forget { unit, .. } = entry else { return Vec::new() };
        self.part.sources(self.part.within(*unit)).map(|(device, _)| device).collect()
    }

    /// Tells the watcher. What is not stored and never will be makes no event.
    #[inline]
    fn tell(&mut self, effect: &Effect, entry: &Entry, sequence: Option<Sequence>) {
        let Some(feed) = &mut self.feed else { return };
        match (effect.outcome, &effect.change, entry) {
            (Some(Outcome::Newest), Some(Change::Place { unit, fix, .. }), _) => {
                let is_never_stored = sequence.is_none() && self.storage.is_some();
                if !is_never_stored {
                    feed.placed(*unit, fix, sequence.unwrap_or_default());
                }
            }
            (_, _, Entry::Retire(unit)) => feed.gone(*unit),
            _ => {}
        }
    }

    /// A report with the button up, of a device that may have had it down.
    #[inline]
    fn release(&self, entry: &Entry) {
        let Entry::Heard(Heard { binding, what: What::Report(report), .. }) = entry else { return };
        if self.live.emergencies.has_held()
            && !report.flags.contains(Flags::EMERGENCY)
            && let Some(device) = self.live.roster.device(binding.device)
        {
            self.live.emergencies.release(&device);
        }
    }

    fn flush(&mut self) {
        self.live.index.shard(self.shard).apply(&self.changes);
        self.changes.clear();
        self.live.counters.add(&std::mem::take(&mut self.tally));
    }

    /// Once the journal has failed: shows what was applied and will never be stored as that, and then tells its senders. No batch
    /// is appended after it.
    fn tell_of_failure(&mut self) {
        let Some(settler) = self.storage.as_ref().map(|storage| Arc::clone(&storage.settler)) else { return };
        let Some(synced) = settler.failed_after() else { return };
        for (unit, placed_by) in (0..).map(UnitHandle).zip(std::mem::take(&mut self.placed_by)) {
            if placed_by > synced {
                self.changes.extend(self.part.mark_not_stored(unit));
            }
        }
        self.flush();
        settler.refuse(self.shard);
    }

    /// Brings what was appended to stable storage, and shows what could not be brought there.
    pub(crate) fn end(mut self) {
        if let Some(storage) = &self.storage {
            storage.log.stop();
        }
        self.tell_of_failure();
    }
}

/// Tells if the writer ends by a panic: the map would go on showing places that grow old, as if nothing had happened.
struct Watch {
    live: Arc<Live>,
    settler: Option<Arc<Settler>>,
    shard: usize,
}

impl Drop for Watch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.live.broken.tell();
            // Batches of other shards must not wait for what this one will never show.
            if let Some(settler) = &self.settler {
                settler.refuse(self.shard);
            }
            error!(
                "THE ENGINE HAS STOPPED by a fault of its own: nothing is applied any more. Restart, and report it."
            );
        }
    }
}

fn mark_not_stored(entry: &mut Entry) {
    if let Entry::Heard(Heard { what: What::Report(report), .. }) = entry {
        report.flags = report.flags.with(Flags::NOT_STORED);
    }
}

/// Puts entries into the log. An error means that they may not be applied.
fn store(storage: Option<&Storage>, entries: &[Entry]) -> Result<Stored, Unsettled> {
    let Some(storage) = storage else { return Ok(Stored::Upto(None)) };
    match (storage.log.append(entries), storage.on_failure) {
        (Ok(last), _) => Ok(Stored::Upto(Some(last))),
        (Err(AppendError::Full { reason }), _) => Err(Unsettled::Full { reason }),
        (Err(AppendError::Failed { reason }), OnJournalFailure::LiveUnacked) => {
            Ok(Stored::No(Unsettled::Failed { reason, is_applied: true }))
        }
        (Err(AppendError::Failed { reason }), OnJournalFailure::Stop) => {
            Err(Unsettled::Failed { reason, is_applied: false })
        }
        (Err(error), _) => {
            error!(%error, "The journal takes nothing.");
            Err(Unsettled::Stopped)
        }
    }
}

#[cfg(test)]
mod tests;
