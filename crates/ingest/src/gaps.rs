//! What was lost before it reached us: datagrams carry no promise, but where frames are numbered the
//! holes can be counted. Of each sender the newest number and the 64 before it are known:
//!
//! ```text
//! steps from the newest           what it means                      counted
//! +1                              the next frame                     -
//! +2 .. half of the numbers       those between were skipped         steps - 1 missing
//! 0, or -1 .. -64 and heard       repeated                           -
//! -1 .. -64 and not heard         overtaken on its way               1 reordered, 1 no longer missing
//! anything else                   the sender started anew            1 restart; nothing is missing
//! ```
//!
//! Steps go over the wrap: 65,535 and then 0 is the next frame. For numbers of eight bytes a loss ends
//! at 2^32 instead of at half of them. An overtaken number from before the first one heard moves the
//! first one back to itself, so that at any time, since the start or the last restart:
//! newest - first + 1 = heard, each once, + missing.
//!
//! What these rules cannot see: a restart that lands at most 64 behind the newest looks like repeated
//! or overtaken frames until it passes the newest; a restart that lands less than half of the numbers ahead
//! looks like a loss; and what was lost around a restart is not known. Datagrams that came damaged or
//! found no session are missing here and counted as dropped frames too; so are frames missing that a
//! sender with one count for several ways sent over TCP.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::{SenderName, limits};
use wire::{FrameNumber, Modulus};

use crate::Counters;

/// How far behind the newest a number may come and still be told from a restart.
const WINDOW: u64 = u64::BITS as u64;

/// The gaps of all senders of datagrams, known or not. Holds at most [`limits::GAP_SENDERS_MAX`] of
/// them: then the one heard longest ago is forgotten, and that is counted.
pub struct Gaps {
    table: Mutex<Table>,
}

impl Default for Gaps {
    fn default() -> Self {
        Self::remembering(limits::GAP_SENDERS_MAX)
    }
}

/// What is known of one sender. All counts are since it was first heard or, once forgotten, heard again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SenderGaps {
    /// Who numbers.
    pub sender: SenderName,
    /// In which protocol.
    pub protocol: &'static str,
    /// Numbers that never came.
    pub missing: u64,
    /// Frames that came after one with a higher number.
    pub reordered: u64,
    /// How often it started anew.
    pub restarts: u64,
    /// The newest number.
    pub last_number: u64,
    /// How long ago it was heard.
    pub heard_age: Duration,
}

impl Gaps {
    /// Gaps of at most `senders_max` senders at once.
    fn remembering(senders_max: usize) -> Self {
        Self { table: Mutex::new(Table::of(senders_max)) }
    }

    /// Takes the number of one frame, heard at the monotonic time `now`, and counts what it tells.
    /// The time it takes grows with the logarithm of the senders.
    pub fn hear(&self, number: FrameNumber, protocol: &'static str, now: Duration, counters: &Counters) {
        let (step, forgotten) = self.table().take(number, protocol, now);
        match step {
            Step::Ahead { skipped } => counters.missing(protocol, skipped),
            Step::Overtaken { skipped } => {
                counters.missing(protocol, skipped);
                counters.reordered(protocol);
            }
            Step::Repeated => {}
            Step::Restart => counters.restarted(protocol),
        }
        if let Some(protocol) = forgotten {
            counters.gap_sender_forgotten(protocol);
        }
    }

    /// At most `limit` senders, those with most missing first, ties by name; `now` is monotonic.
    /// Copies all of them, and sorts the answer only.
    #[must_use]
    pub fn worst(&self, limit: usize, now: Duration) -> Vec<SenderGaps> {
        let mut all: Vec<_> = self.table().rows.iter().map(|(sender, row)| row.gaps(sender, now)).collect();
        let order = |a: &SenderGaps, b: &SenderGaps| b.missing.cmp(&a.missing).then_with(|| a.sender.cmp(&b.sender));
        if limit < all.len() {
            all.select_nth_unstable_by(limit, order);
            all.truncate(limit);
        }
        all.sort_unstable_by(order);
        all
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The senders, and the order in which they were heard last.
struct Table {
    senders_max: usize,
    rows: HashMap<SenderName, Row>,
    /// One entry a row, under its `turn`: the first was heard longest ago.
    order: BTreeMap<u64, SenderName>,
    /// Counts the frames.
    turn: u64,
}

struct Row {
    protocol: &'static str,
    sequence: Sequence,
    heard: Duration,
    turn: u64,
}

impl Row {
    fn gaps(&self, sender: &SenderName, now: Duration) -> SenderGaps {
        SenderGaps {
            sender: sender.clone(),
            protocol: self.protocol,
            missing: self.sequence.missing,
            reordered: self.sequence.reordered,
            restarts: self.sequence.restarts,
            last_number: self.sequence.newest,
            heard_age: now.saturating_sub(self.heard),
        }
    }
}

impl Table {
    fn of(senders_max: usize) -> Self {
        Self { senders_max, rows: HashMap::new(), order: BTreeMap::new(), turn: 0 }
    }

    /// What the number tells of its sender, and the protocol of a sender that was forgotten for it.
    fn take(&mut self, said: FrameNumber, protocol: &'static str, now: Duration) -> (Step, Option<&'static str>) {
        self.turn += 1;
        let turn = self.turn;
        if let Some(row) = self.rows.get_mut(&said.sender) {
            self.order.remove(&row.turn);
            self.order.insert(turn, said.sender);
            (row.turn, row.heard) = (turn, now);
            return (row.sequence.take(said.number, said.modulus), None);
        }
        let forgotten = if self.rows.len() < self.senders_max { None } else { self.forget_one() };
        let sequence = Sequence::starting(said.number);
        self.rows.insert(said.sender.clone(), Row { protocol, sequence, heard: now, turn });
        self.order.insert(turn, said.sender);
        (Step::Ahead { skipped: 0 }, forgotten)
    }

    /// Forgets who was heard longest ago; gives its protocol.
    fn forget_one(&mut self) -> Option<&'static str> {
        let (_, sender) = self.order.pop_first()?;
        self.rows.remove(&sender).map(|row| row.protocol)
    }
}

/// What one number tells, against those before it. The sum of all `skipped`, less one for each `Overtaken`,
/// is what is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The newest; `skipped` numbers lie between it and the newest before.
    Ahead { skipped: u64 },
    /// Overtaken by the newest. `skipped` numbers, itself included, had not been known of: they lie
    /// before the first one heard.
    Overtaken { skipped: u64 },
    /// Heard before.
    Repeated,
    /// The first of a new sequence.
    Restart,
}

/// The numbers of one sender.
#[derive(Debug, Clone)]
struct Sequence {
    newest: u64,
    /// How many numbers before the newest belong to it, heard or missing.
    before: u64,
    /// Bit `i`: the number `i + 1` before the newest was heard.
    window: u64,
    missing: u64,
    reordered: u64,
    restarts: u64,
}

impl Sequence {
    const fn starting(number: u64) -> Self {
        Self { newest: number, before: 0, window: 0, missing: 0, reordered: 0, restarts: 0 }
    }

    fn take(&mut self, number: u64, modulus: Modulus) -> Step {
        let ahead = modulus.steps(self.newest, number);
        let behind = modulus.steps(number, self.newest);
        if ahead == 0 {
            Step::Repeated
        } else if ahead < loss_end(modulus) {
            self.newest = number;
            self.advance(ahead)
        } else if behind <= WINDOW {
            self.overtaken(behind)
        } else {
            (self.newest, self.before, self.window) = (number, 0, 0);
            self.restarts += 1;
            Step::Restart
        }
    }

    fn advance(&mut self, steps: u64) -> Step {
        // The window moves by `steps`, and the newest up to now moves into it.
        let newest_before = 1u64 << ((steps - 1) % WINDOW);
        self.window = match steps {
            1..WINDOW => self.window << steps | newest_before,
            WINDOW => newest_before,
            _ => 0,
        };
        self.before = self.before.saturating_add(steps);
        self.missing = self.missing.saturating_add(steps - 1);
        Step::Ahead { skipped: steps - 1 }
    }

    /// `behind` is 1 to [`WINDOW`].
    fn overtaken(&mut self, behind: u64) -> Step {
        let bit = 1u64 << (behind - 1);
        if self.window & bit != 0 {
            return Step::Repeated;
        }
        self.window |= bit;
        let skipped = behind.saturating_sub(self.before);
        self.before = self.before.max(behind);
        // Every number that belongs to the sequence and was not heard is missing, so there is one to take off.
        self.missing = self.missing.saturating_add(skipped) - 1;
        self.reordered += 1;
        Step::Overtaken { skipped }
    }
}

/// The steps ahead that are too many to be a loss.
const fn loss_end(modulus: Modulus) -> u64 {
    match modulus {
        Modulus::TwoTo16 => 1 << 15,
        Modulus::TwoTo64 => 1 << 32,
    }
}

#[cfg(test)]
mod tests;
