use std::time::Duration;

use hdrhistogram::Histogram;

use super::Class;

/// Longest latency that is told apart, in microseconds; what is longer counts as this.
const LATENCY_US_MAX: u64 = 120_000_000;

/// An empty histogram of microseconds, up to two minutes; three figures are exact.
///
/// # Panics
/// Never: the bounds are fixed.
#[must_use]
pub fn latencies() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).expect("the bounds are in order")
}

/// How one thing that was sent ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// As asked for.
    Answered,
    /// The server said that it has too much to do.
    Refused,
    /// The server said that the deadline had passed.
    OutOfTime,
    /// Any other error: not stored, connection lost, unintelligible.
    Failed,
    /// An answer that is no right one: units missing, or more than asked for.
    Wrong,
}

/// One second of the window.
#[derive(Debug)]
pub struct Second {
    /// What was planned in it.
    pub planned: u64,
    /// Answers that came in it, whenever they were planned.
    pub answered: u64,
    /// Microseconds from the planned times in this second to the answers; two figures are exact.
    pub latency_us: Histogram<u32>,
}

/// What was planned of one class in the window, and what came of each. `planned` is the sum of all outcomes and `unanswered`.
#[derive(Debug)]
pub struct ClassRecord {
    /// Which.
    pub class: Class,
    /// Reports: batches; else questions.
    pub planned: u64,
    /// Of them: answered rightly.
    pub answered: u64,
    /// Of them: refused for overload.
    pub refused: u64,
    /// Of them: out of time.
    pub out_of_time: u64,
    /// Of them: any other error.
    pub failed: u64,
    /// Of them: answered wrongly.
    pub wrong: u64,
    /// Of them: not sent, since what waited before them was over the generator's limit or the connection was gone.
    pub not_sent: u64,
    /// Reports that an acknowledgement named as refused.
    pub refused_reports: u64,
    /// Microseconds from the planned time to the right answer.
    pub latency_us: Histogram<u64>,
    /// The window second by second.
    pub seconds: Vec<Second>,
}

impl ClassRecord {
    /// What has no outcome.
    #[must_use]
    pub const fn unanswered(&self) -> u64 {
        let ended = self.answered + self.refused + self.out_of_time + self.failed + self.wrong + self.not_sent;
        self.planned.saturating_sub(ended)
    }

    /// The latency in microseconds within which `share` (0 to 1) of all that was *planned* got a right answer;
    /// `None` when so many did not. What was refused or lost counts as slower than any answer.
    #[must_use]
    pub fn within_us(&self, share: f64) -> Option<u64> {
        let rank = ((self.planned as f64 * share).ceil() as u64).max(1);
        if rank > self.answered {
            return None;
        }
        Some(self.latency_us.value_at_quantile(rank as f64 / self.answered as f64).min(self.latency_us.max()))
    }
}

/// The account of one thread's load. Pure: times come in, none is read.
#[derive(Debug)]
pub struct Ledger {
    warm_up: Duration,
    measured: Duration,
    records: Vec<ClassRecord>,
    lag_us: Histogram<u64>,
}

impl Ledger {
    /// An empty account of `classes` over the window of `measured` behind `warm_up`.
    #[must_use]
    pub fn new(classes: impl IntoIterator<Item = Class>, warm_up: Duration, measured: Duration) -> Self {
        let mut classes: Vec<Class> = classes.into_iter().collect();
        classes.sort_unstable();
        let seconds = measured.as_secs_f64().ceil() as usize;
        let records = classes.into_iter().map(|class| ClassRecord {
            class,
            planned: 0,
            answered: 0,
            refused: 0,
            out_of_time: 0,
            failed: 0,
            wrong: 0,
            not_sent: 0,
            refused_reports: 0,
            latency_us: latencies(),
            seconds: (0..seconds).map(|_| Second { planned: 0, answered: 0, latency_us: second_latencies() }).collect(),
        });
        Self { warm_up, measured, records: records.collect(), lag_us: latencies() }
    }

    /// Something is planned at `planned`, and the generator got to it at `reached`.
    pub fn plan(&mut self, class: Class, planned: Duration, reached: Duration) {
        let Some(second) = self.second(planned) else { return };
        self.lag_us.saturating_record(us(reached.saturating_sub(planned)));
        let Some(record) = self.record(class) else { return };
        record.planned += 1;
        if let Some(second) = record.seconds.get_mut(second) {
            second.planned += 1;
        }
    }

    /// What was planned at `planned` could not be sent.
    pub fn not_sent(&mut self, class: Class, planned: Duration) {
        if self.second(planned).is_some()
            && let Some(record) = self.record(class)
        {
            record.not_sent += 1;
        }
    }

    /// What was planned at `planned` has ended at `now`. Latency counts from `planned`, whenever it was sent.
    pub fn end(&mut self, class: Class, planned: Duration, now: Duration, outcome: Outcome) {
        let (came, second) = (self.second(now), self.second(planned));
        let Some(record) = self.record(class) else { return };
        if let Some(came) = came.and_then(|came| record.seconds.get_mut(came)) {
            came.answered += u64::from(outcome == Outcome::Answered);
        }
        let Some(second) = second else { return };
        match outcome {
            Outcome::Refused => record.refused += 1,
            Outcome::OutOfTime => record.out_of_time += 1,
            Outcome::Failed => record.failed += 1,
            Outcome::Wrong => record.wrong += 1,
            Outcome::Answered => {
                let latency_us = us(now.saturating_sub(planned));
                record.answered += 1;
                record.latency_us.saturating_record(latency_us);
                if let Some(second) = record.seconds.get_mut(second) {
                    second.latency_us.saturating_record(latency_us);
                }
            }
        }
    }

    /// An acknowledgement of a batch planned at `planned` named so many refused reports.
    pub fn refuse_reports(&mut self, planned: Duration, count: u64) {
        if self.second(planned).is_some()
            && let Some(record) = self.record(Class::Reports)
        {
            record.refused_reports += count;
        }
    }

    /// The records, and nothing else.
    #[must_use]
    pub fn into_records(self) -> Vec<ClassRecord> {
        self.records
    }

    /// Microseconds from the planned times to those at which the generator got to them.
    #[must_use]
    pub const fn lag_us(&self) -> &Histogram<u64> {
        &self.lag_us
    }

    /// The second of the window in which `at` lies.
    fn second(&self, at: Duration) -> Option<usize> {
        let since = at.checked_sub(self.warm_up).filter(|since| *since < self.measured)?;
        usize::try_from(since.as_secs()).ok()
    }

    fn record(&mut self, class: Class) -> Option<&mut ClassRecord> {
        self.records.iter_mut().find(|record| record.class == class)
    }
}

fn second_latencies() -> Histogram<u32> {
    Histogram::new_with_bounds(1, LATENCY_US_MAX, 2).expect("the bounds are in order")
}

fn us(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLASS: Class = Class::Nearest;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn ledger() -> Ledger {
        Ledger::new([CLASS], ms(1_000), ms(2_000))
    }

    /// The server stalls for half a second; a question every 10 ms is planned meanwhile, and all are answered at once
    /// at its end. A generator that waits would have one slow question; here half of all are as slow as they were.
    #[test]
    fn a_stall_is_charged_to_every_question_that_was_planned_in_it() {
        let mut ledger = ledger();
        for at in (1_000..2_000).step_by(10) {
            let answered = if at < 1_500 { 1_500 } else { at + 1 };
            // The generator itself was held up too: what counts is the plan.
            ledger.plan(CLASS, ms(at), ms(answered));
            ledger.end(CLASS, ms(at), ms(answered), Outcome::Answered);
        }
        let record = ledger.into_records().remove(0);
        assert_eq!((record.planned, record.answered, record.unanswered()), (100, 100, 0));
        let within_ms = |share| record.within_us(share).unwrap() as f64 / 1_000.0;
        assert!((within_ms(0.5) - 1.0).abs() < 0.1, "{}", within_ms(0.5));
        assert!((within_ms(0.75) - 250.0).abs() < 11.0, "{}", within_ms(0.75));
        assert!((within_ms(0.99) - 490.0).abs() < 11.0, "{}", within_ms(0.99));
    }

    #[test]
    fn what_gets_no_answer_is_slower_than_any_answer() {
        let mut ledger = ledger();
        for at in 1_000..1_100 {
            ledger.plan(CLASS, ms(at), ms(at));
            match at {
                1_000 => ledger.not_sent(CLASS, ms(at)),
                1_001 => ledger.end(CLASS, ms(at), ms(at + 1), Outcome::Refused),
                1_002 => {}
                _ => ledger.end(CLASS, ms(at), ms(at + 2), Outcome::Answered),
            }
        }
        let record = ledger.into_records().remove(0);
        assert_eq!((record.answered, record.refused, record.not_sent, record.unanswered()), (97, 1, 1, 1));
        assert_eq!(record.within_us(0.97).map(|us| us / 100), Some(20));
        assert_eq!(record.within_us(0.98), None);
    }

    #[test]
    fn warm_up_and_what_is_planned_behind_the_window_do_not_count() {
        let mut ledger = ledger();
        for at in [0, 999, 1_000, 2_999, 3_000] {
            ledger.plan(CLASS, ms(at), ms(at + 3));
            ledger.end(CLASS, ms(at), ms(at + 3), Outcome::Answered);
        }
        assert_eq!(ledger.lag_us().len(), 2);
        let record = ledger.into_records().remove(0);
        assert_eq!((record.planned, record.answered), (2, 2));
        let by_second: Vec<_> = record.seconds.iter().map(|second| (second.planned, second.answered)).collect();
        assert_eq!(by_second, [(1, 2), (1, 0)], "the answer to 999 came in the first second, that to 2,999 behind it");
    }
}
