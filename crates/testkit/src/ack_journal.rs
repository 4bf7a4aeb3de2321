//! What senders sent and what was acknowledged to them, and the check of what was stored against it.

/// A sender's own account, one row a source. A source numbers what it sends 1, 2, 3, ... and is answered in that order.
///
/// ```
/// use testkit::{AckJournal, Start};
///
/// let mut journal = AckJournal::of(1);
/// let numbers: Vec<u64> = (0..3).map(|_| journal.send(0)).collect();
/// assert_eq!(numbers, [1, 2, 3]);
/// journal.acknowledge(0, 2);
/// let mut replay = journal.replay(Start::First);
/// replay.saw(0, 1);
/// assert_eq!(replay.finish().lost, 1);
/// ```
#[derive(Debug, Clone, Default)]
pub struct AckJournal {
    rows: Vec<Row>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Row {
    /// The last number sent since the connection was made.
    last: u64,
    /// The highest number ever sent.
    sent: u64,
    /// Everything up to this was acknowledged.
    acknowledged: u64,
}

/// Where the stored numbers begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With the first ever sent.
    First,
    /// Anywhere: what is older was removed, and the caller looks after it.
    Any,
}

/// What was stored beside what was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// What was acknowledged.
    pub acknowledged: u64,
    /// Acknowledged and not stored, or left out between two that are.
    pub lost: u64,
    /// Stored and never sent.
    pub invented: u64,
    /// Stored once more, or sent before what is stored before it.
    pub duplicates: u64,
}

impl AckJournal {
    /// Of so many sources that sent nothing yet.
    #[must_use]
    pub fn of(sources: usize) -> Self {
        Self { rows: vec![Row::default(); sources] }
    }

    /// Notes the next thing of a source, to be called before it is sent; returns its number.
    pub fn send(&mut self, source: usize) -> u64 {
        let row = &mut self.rows[source];
        row.last += 1;
        row.sent = row.sent.max(row.last);
        row.last
    }

    /// Notes that everything of a source up to `number` is acknowledged.
    ///
    /// # Panics
    /// When that was never sent: the server acknowledged something else.
    pub fn acknowledge(&mut self, source: usize, number: u64) {
        let row = &mut self.rows[source];
        assert!(number <= row.last, "source {source}: {number} is acknowledged, {} was sent", row.last);
        row.acknowledged = row.acknowledged.max(number);
    }

    /// The connection was lost: all sources go on after what was acknowledged.
    pub fn go_back(&mut self) {
        for row in &mut self.rows {
            row.last = row.acknowledged;
        }
    }

    /// The last number of a source that was acknowledged, 0 when none was.
    #[must_use]
    pub fn acknowledged(&self, source: usize) -> u64 {
        self.rows[source].acknowledged
    }

    /// How much was acknowledged in all.
    #[must_use]
    pub fn acknowledged_total(&self) -> u64 {
        self.rows.iter().map(|row| row.acknowledged).sum()
    }

    /// The same with only that acknowledged which `earlier` has: what a copy begun then must hold.
    #[must_use]
    pub fn acknowledged_as_in(mut self, earlier: &Self) -> Self {
        for (row, earlier) in self.rows.iter_mut().zip(&earlier.rows) {
            row.acknowledged = earlier.acknowledged;
        }
        self
    }

    /// Begins to compare what is stored, to be shown in its order.
    #[must_use]
    pub fn replay(&self, start: Start) -> Replay<'_> {
        Replay { journal: self, start, highest: vec![None; self.rows.len()], tally: Tally::default() }
    }
}

/// A comparison under way.
#[derive(Debug)]
pub struct Replay<'a> {
    journal: &'a AckJournal,
    start: Start,
    /// By source, the highest number that was shown.
    highest: Vec<Option<u64>>,
    tally: Tally,
}

impl Replay<'_> {
    /// Takes the next stored thing.
    pub fn saw(&mut self, source: usize, number: u64) {
        let sent = self.journal.rows.get(source).map_or(0, |row| row.sent);
        if number == 0 || number > sent {
            self.tally.invented += 1;
            return;
        }
        let before = match (self.highest[source], self.start) {
            (Some(highest), _) => highest,
            (None, Start::First) => 0,
            (None, Start::Any) => number - 1,
        };
        if number <= before {
            self.tally.duplicates += 1;
        } else {
            // What is sent later is stored later, so a hole is never filled.
            self.tally.lost += number - before - 1;
            self.highest[source] = Some(number);
        }
    }

    /// Takes it that everything of a source up to `number` is stored elsewhere.
    pub fn covers(&mut self, source: usize, number: u64) {
        let highest = &mut self.highest[source];
        *highest = Some(highest.unwrap_or(0).max(number));
    }

    /// What came of it.
    #[must_use]
    pub fn finish(mut self) -> Tally {
        for (row, highest) in self.journal.rows.iter().zip(&self.highest) {
            self.tally.acknowledged += row.acknowledged;
            self.tally.lost += row.acknowledged.saturating_sub(highest.unwrap_or(0));
        }
        self.tally
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(journal: &mut AckJournal, source: usize, times: u64) {
        for _ in 0..times {
            journal.send(source);
        }
    }

    fn after(sent: u64, acknowledged: u64, start: Start, stored: &[u64]) -> Tally {
        let mut journal = AckJournal::of(1);
        send(&mut journal, 0, sent);
        journal.acknowledge(0, acknowledged);
        let mut replay = journal.replay(start);
        stored.iter().for_each(|number| replay.saw(0, *number));
        replay.finish()
    }

    fn tally(acknowledged: u64, lost: u64, invented: u64, duplicates: u64) -> Tally {
        Tally { acknowledged, lost, invented, duplicates }
    }

    #[test]
    fn what_was_acknowledged_and_is_not_stored_is_lost() {
        assert_eq!(after(5, 3, Start::First, &[1, 2, 3]), tally(3, 0, 0, 0));
        assert_eq!(after(5, 3, Start::First, &[1, 2]), tally(3, 1, 0, 0));
        assert_eq!(after(5, 3, Start::First, &[1, 2, 3, 4]), tally(3, 0, 0, 0));
        assert_eq!(after(5, 3, Start::First, &[]), tally(3, 3, 0, 0));
    }

    #[test]
    fn a_hole_is_lost_whether_it_was_acknowledged_or_not() {
        assert_eq!(after(5, 1, Start::First, &[1, 2, 5]), tally(1, 2, 0, 0));
        assert_eq!(after(5, 1, Start::First, &[2]), tally(1, 1, 0, 0));
        assert_eq!(after(5, 5, Start::Any, &[3, 5]), tally(5, 1, 0, 0));
    }

    #[test]
    fn what_was_never_sent_is_invented_and_what_came_twice_a_duplicate() {
        assert_eq!(after(2, 1, Start::First, &[1, 2, 3, 0]), tally(1, 0, 2, 0));
        assert_eq!(after(3, 3, Start::First, &[1, 2, 1, 2, 3]), tally(3, 0, 0, 2));
        assert_eq!(after(3, 3, Start::Any, &[2, 3]), tally(3, 0, 0, 0));
    }

    #[test]
    fn after_a_lost_connection_a_source_goes_on_where_it_was_acknowledged() {
        let mut journal = AckJournal::of(2);
        send(&mut journal, 1, 4);
        journal.acknowledge(1, 2);
        journal.go_back();
        assert_eq!((journal.send(1), journal.acknowledged(1), journal.acknowledged_total()), (3, 2, 2));
        let mut replay = journal.replay(Start::First);
        (1..=4).for_each(|number| replay.saw(1, number));
        assert_eq!(replay.finish(), tally(2, 0, 0, 0), "what was sent before the loss is not invented");
    }

    #[test]
    fn a_copy_must_hold_what_was_acknowledged_before_it_was_begun() {
        let mut journal = AckJournal::of(1);
        send(&mut journal, 0, 4);
        journal.acknowledge(0, 1);
        let before = journal.clone();
        journal.acknowledge(0, 4);
        let asked = journal.acknowledged_as_in(&before);
        let mut replay = asked.replay(Start::First);
        (1..=2).for_each(|number| replay.saw(0, number));
        assert_eq!(replay.finish(), tally(1, 0, 0, 0));
    }
}
