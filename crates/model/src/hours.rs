use std::fmt;
use std::str::FromStr;

use crate::Timestamp;

const DAY_MIN: u16 = 24 * 60;
const WEEK_MIN: i64 = 7 * DAY_MIN as i64;
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// Hours of the week that come again, by a local clock: `mon-fri 07:00-19:00`. Hours that end before they begin go past
/// midnight and belong to the day of their begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hours {
    /// One bit a day, Monday first.
    days: u8,
    /// Minute of the day.
    from_min: u16,
    /// Minute of the day, up to 24:00.
    until_min: u16,
}

/// A text that is no [`Hours`]. The caller's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no hours of the week; write days and times, like `mon-fri 07:00-19:00` or `sat,sun 22:00-06:00`")]
pub struct HoursError {
    text: String,
}

impl Hours {
    /// All of the week.
    pub const ALWAYS: Self = Self { days: 0x7F, from_min: 0, until_min: DAY_MIN };

    /// Whether they hold at `now` by a clock that is `utc_offset_min` minutes ahead of UTC.
    #[must_use]
    pub fn holds(self, now: Timestamp, utc_offset_min: i16) -> bool {
        let minute = minute_of_week(now, utc_offset_min);
        self.spans().any(|(from, length)| (minute - from).rem_euclid(WEEK_MIN) < length)
    }

    /// Begin and length in minutes of the week, one each day.
    fn spans(self) -> impl Iterator<Item = (i64, i64)> {
        let (from, until) = (i64::from(self.from_min), i64::from(self.until_min));
        let length = if until > from { until - from } else { until + i64::from(DAY_MIN) - from };
        (0..7).filter(move |day| self.days >> day & 1 != 0).map(move |day| (day * i64::from(DAY_MIN) + from, length))
    }

    /// The next instant after `now` at which they begin or end.
    #[must_use]
    pub fn next_change(self, now: Timestamp, utc_offset_min: i16) -> Timestamp {
        let minute = minute_of_week(now, utc_offset_min);
        let edges = self.spans().flat_map(|(from, length)| [from, from + length]);
        let next = edges.map(|edge| (edge - minute - 1).rem_euclid(WEEK_MIN) + 1).min().unwrap_or(WEEK_MIN);
        let into_minute_ms = now.unix_ms().rem_euclid(60_000);
        now.shifted_ms(next * 60_000 - into_minute_ms)
    }
}

/// Whether one of `hours` holds; none at all always hold.
#[must_use]
pub fn hold(hours: &[Hours], now: Timestamp, utc_offset_min: i16) -> bool {
    hours.is_empty() || hours.iter().any(|hours| hours.holds(now, utc_offset_min))
}

/// Minutes since Monday 00:00; 1970-01-01 was a Thursday.
fn minute_of_week(now: Timestamp, utc_offset_min: i16) -> i64 {
    const THURSDAY_MIN: i64 = 3 * DAY_MIN as i64;
    (now.unix_ms().div_euclid(60_000) + THURSDAY_MIN + i64::from(utc_offset_min)).rem_euclid(WEEK_MIN)
}

impl FromStr for Hours {
    type Err = HoursError;

    fn from_str(text: &str) -> Result<Self, HoursError> {
        hours_of(text).ok_or_else(|| HoursError { text: text.chars().take(64).collect() })
    }
}

fn hours_of(text: &str) -> Option<Hours> {
    let (days, times) = text.trim().split_once(' ')?;
    let (from, until) = times.trim().split_once('-')?;
    let (from_min, until_min) = (minute_of_day(from)?, minute_of_day(until)?);
    let days = days.split(',').map(days_of).try_fold(0, |all, some| Some(all | some?))?;
    (from_min < DAY_MIN && from_min != until_min).then_some(Hours { days, from_min, until_min })
}

/// `mon`, or `fri-mon`, as bits.
fn days_of(text: &str) -> Option<u8> {
    let day = |word: &str| DAYS.iter().position(|day| *day == word);
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (day(first)?, day(last)?),
        None => (day(text)?, day(text)?),
    };
    let count = (last + 7 - first) % 7 + 1;
    Some((0..count).fold(0, |bits, at| bits | 1 << ((first + at) % 7)))
}

fn minute_of_day(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let number = |text: &str| if text.len() == 2 { text.parse::<u16>().ok() } else { None };
    let (hour, minute) = (number(hour)?, number(minute)?);
    (minute < 60 && hour * 60 + minute <= DAY_MIN).then_some(hour * 60 + minute)
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days = (0..7).filter(|day| self.days >> day & 1 != 0).map(|day| DAYS[day]);
        let time = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
        write!(f, "{} {}-{}", days.collect::<Vec<_>>().join(","), time(self.from_min), time(self.until_min))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::from_rfc3339(text).unwrap()
    }

    #[test]
    fn hours_hold_by_the_local_clock_and_past_midnight() {
        let night: Hours = "fri-sun 22:00-06:00".parse().unwrap();
        // 2026-11-27 is a Friday; the clock is eight hours ahead.
        let holds = |text| night.holds(at(text), 480);
        assert!(!holds("2026-11-27T13:59:59Z") && holds("2026-11-27T14:00:00Z"));
        assert!(holds("2026-11-27T21:59:59Z") && !holds("2026-11-27T22:00:00Z"));
        assert!(holds("2026-11-29T21:00:00Z"), "Sunday's night goes on into Monday");
        assert!(!holds("2026-11-30T14:00:00Z"));
        assert!(hold(&[], at("2026-11-30T14:00:00Z"), 0), "no hours are all hours");
    }

    #[test]
    fn the_next_change_is_the_first_instant_that_is_otherwise() {
        for text in ["mon-fri 07:00-19:00", "sat,sun 22:00-06:00", "wed 00:00-24:00"] {
            let hours: Hours = text.parse().unwrap();
            let mut now = at("2026-11-23T00:00:12Z");
            for _ in 0..12 {
                let next = hours.next_change(now, 480);
                assert!(next > now && next.ms_since(now) <= 7 * 86_400_000, "{text}");
                assert_eq!(hours.holds(next.shifted_ms(-1), 480), hours.holds(now, 480), "{text} at {next}");
                now = next;
            }
        }
    }

    #[test]
    fn hours_are_read_as_they_are_written() {
        for text in ["mon,tue,wed,thu,fri,sat,sun 00:00-24:00", "mon,fri 07:30-19:00", "sun 22:00-06:00"] {
            assert_eq!(text.parse::<Hours>().unwrap().to_string(), text);
        }
        for text in
            ["", "mon", "mon 7:00-19:00", "mon 07:00-25:00", "day 07:00-19:00", "mon 07:00-07:00", "mon 24:00-06:00"]
        {
            assert!(text.parse::<Hours>().is_err(), "{text}");
        }
    }
}
