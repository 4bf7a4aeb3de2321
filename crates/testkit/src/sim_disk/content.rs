use std::fmt;

use super::{below, is_lucky};
use crate::Seeded;

/// What a platter writes whole or not at all.
const SECTOR_BYTES: usize = 512;

/// How many of 100 changes, and of the sectors of each, reach the platter. Drawn per file and power loss, so
/// that "all of it" and "nothing of it" come up as often as a mixture.
const KEPT_PERCENT: [u64; 5] = [0, 10, 50, 90, 100];

/// How many of 100 sectors are garbage; most power losses leave none.
const GARBAGE_PERCENT: [u64; 4] = [0, 0, 0, 5];

/// How many of 100 lost sectors leave zeros beyond the old end: the length was written, the bytes were not.
const ZEROS_PERCENT: u64 = 20;

/// One change of the bytes of a file.
#[derive(Debug, Clone)]
pub(super) enum Change {
    /// These bytes at this offset; the file grows if need be.
    Write { offset: usize, bytes: Vec<u8> },
    /// This length.
    Resize { bytes: usize },
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes } => place(content, *offset, bytes),
            Self::Resize { bytes } => content.resize(*bytes, 0),
        }
    }
}

/// The bytes of a file, whatever its name: as read, and as on the platter.
#[derive(Debug, Clone, Default)]
pub(super) struct Content {
    seen: Vec<u8>,
    durable: Vec<u8>,
    /// Seen but not durable, oldest first. Changes that a failed sync marked clean are seen, not durable, and
    /// not here either: no later sync knows of them.
    pending: Vec<Change>,
    /// How many changes there ever were.
    made: u64,
}

impl Content {
    /// What reads see.
    pub(super) fn seen(&self) -> &[u8] {
        &self.seen
    }

    /// What is on the platter.
    pub(super) fn durable(&self) -> &[u8] {
        &self.durable
    }

    /// How many changes wait for a sync.
    pub(super) const fn pending(&self) -> usize {
        self.pending.len()
    }

    /// How many changes there ever were: a sync that starts now covers these and no later ones.
    pub(super) const fn made(&self) -> u64 {
        self.made
    }

    /// Changes what reads see; the platter waits for a sync.
    pub(super) fn change(&mut self, change: Change) {
        change.apply(&mut self.seen);
        self.pending.push(change);
        self.made += 1;
    }

    /// A sync that started after `made` changes succeeds: they are durable.
    pub(super) fn sync(&mut self, made: u64) {
        for change in self.take_until(made) {
            change.apply(&mut self.durable);
        }
    }

    /// A sync that started after `made` changes fails. Some of them may have reached the platter. Each write is
    /// either read back from the platter from now on, or goes on being seen, marked clean: no later sync
    /// writes it.
    pub(super) fn fail_sync(&mut self, made: u64, random: &mut Seeded) -> Tally {
        let doubted = self.take_until(made);
        let tally = scatter(&mut self.durable, &doubted, random);
        for change in &doubted {
            if is_lucky(random, 50) {
                self.read_back(change);
            }
        }
        // What was written while the sync ran is dirty still, hence seen.
        for change in &self.pending {
            change.apply(&mut self.seen);
        }
        tally
    }

    /// Power is lost: what was pending is on the platter in part, and that is all that is seen.
    pub(super) fn lose_power(&mut self, random: &mut Seeded) -> Tally {
        let tally = scatter(&mut self.durable, &self.pending, random);
        self.pending.clear();
        self.seen.clone_from(&self.durable);
        tally
    }

    /// Flips a bit wherever its byte is held.
    ///
    /// # Panics
    /// When the file as read does not have it.
    pub(super) fn flip_bit(&mut self, bit_index: u64) {
        let at = usize::try_from(bit_index / 8).expect("a file fits into memory");
        let mask = 1 << (bit_index % 8);
        *self.seen.get_mut(at).expect("the bit to flip is inside the file") ^= mask;
        if let Some(byte) = self.durable.get_mut(at) {
            *byte ^= mask;
        }
        for change in &mut self.pending {
            if let Change::Write { offset, bytes } = change
                && let Some(byte) = at.checked_sub(*offset).and_then(|at| bytes.get_mut(at))
            {
                *byte ^= mask;
            }
        }
    }

    /// Cuts the file wherever it is held.
    pub(super) fn truncate(&mut self, bytes_max: usize) {
        self.seen.truncate(bytes_max);
        self.durable.truncate(bytes_max);
        // A change that is cut off stays as an empty one: a sync that runs counts on the number of them.
        for change in &mut self.pending {
            match change {
                Change::Write { offset, bytes } => bytes.truncate(bytes_max.saturating_sub(*offset)),
                Change::Resize { bytes } => *bytes = (*bytes).min(bytes_max),
            }
        }
    }

    /// Takes the pending ones of the first `made` changes.
    fn take_until(&mut self, made: u64) -> Vec<Change> {
        let later = usize::try_from(self.made - made).expect("changes fit into memory");
        self.pending.drain(..self.pending.len().saturating_sub(later)).collect()
    }

    /// Forgets the bytes of a write: they are as on the platter, or zeros where that has none. The length stays.
    fn read_back(&mut self, change: &Change) {
        let Change::Write { offset, bytes } = change else { return };
        for (at, seen) in self.seen.iter_mut().enumerate().skip(*offset).take(bytes.len()) {
            *seen = self.durable.get(at).copied().unwrap_or(0);
        }
    }
}

/// How much of the pending changes reached the platter.
#[derive(Debug, Default)]
pub(super) struct Tally {
    changes: usize,
    of: usize,
    kept: usize,
    lost: usize,
    zeros: usize,
    garbage: usize,
}

impl Tally {
    /// Whether nothing was pending.
    pub(super) const fn is_empty(&self) -> bool {
        self.of == 0
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { changes, of, kept, lost, zeros, garbage } = self;
        write!(f, "{changes} of {of} changes; sectors: {kept} kept, {lost} lost, {zeros} zeros, {garbage} garbage")
    }
}

/// Brings a random subset of `changes` to the platter in random order, torn at sectors.
fn scatter(platter: &mut Vec<u8>, changes: &[Change], random: &mut Seeded) -> Tally {
    let mut tally = Tally { of: changes.len(), ..Tally::default() };
    let kept_percent = KEPT_PERCENT[below(random, KEPT_PERCENT.len())];
    let garbage_percent = GARBAGE_PERCENT[below(random, GARBAGE_PERCENT.len())];
    let mut order: Vec<&Change> = changes.iter().collect();
    for left in (1..order.len()).rev() {
        order.swap(left, below(random, left + 1));
    }
    for change in order {
        if !is_lucky(random, kept_percent) {
            continue;
        }
        tally.changes += 1;
        let Change::Write { offset, bytes } = change else {
            change.apply(platter);
            continue;
        };
        for (at, piece) in sectors(*offset, bytes) {
            if is_lucky(random, garbage_percent) {
                // Only the bytes of this write: the rest of the sector may be synced, and a sector that is
                // written again is taken to keep what did not change.
                let garbage: Vec<u8> = piece.iter().map(|_| random.next() as u8).collect();
                place(platter, at, &garbage);
                tally.garbage += 1;
            } else if is_lucky(random, kept_percent) {
                place(platter, at, piece);
                tally.kept += 1;
            } else if is_lucky(random, ZEROS_PERCENT) {
                let end = at + piece.len();
                platter.resize(platter.len().max(end), 0);
                tally.zeros += 1;
            } else {
                tally.lost += 1;
            }
        }
    }
    tally
}

/// The pieces of a write, cut where sectors of the file begin.
fn sectors(offset: usize, bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let (mut next, mut rest) = (offset, bytes);
    std::iter::from_fn(move || {
        let (piece, tail) = rest.split_at_checked(SECTOR_BYTES - next % SECTOR_BYTES).unwrap_or((rest, &[]));
        let at = next;
        next += piece.len();
        rest = tail;
        (!piece.is_empty()).then_some((at, piece))
    })
}

/// Writes `bytes` at `offset`; a gap before them is zeros. No bytes change nothing, not even the length.
fn place(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    let end = offset + bytes.len();
    content.resize(content.len().max(end), 0);
    content[offset..end].copy_from_slice(bytes);
}
