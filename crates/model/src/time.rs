use std::fmt;
use std::time::Duration;

/// An instant in UTC: milliseconds since 1970, years 0000 to 9999. Leap seconds are not counted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp {
    unix_ms: i64,
}

impl Timestamp {
    /// 0000-01-01T00:00:00Z.
    pub const MIN: Self = Self { unix_ms: -62_167_219_200_000 };
    /// 9999-12-30T22:00:00Z, the last instant that prints as RFC 3339 in any zone.
    pub const MAX: Self = Self { unix_ms: 253_402_207_200_000 };

    /// From milliseconds since 1970; `None` outside the years 0000 to 9999.
    #[must_use]
    pub const fn from_unix_ms(unix_ms: i64) -> Option<Self> {
        if unix_ms < Self::MIN.unix_ms || unix_ms > Self::MAX.unix_ms {
            return None;
        }
        Some(Self { unix_ms })
    }

    /// From a calendar date and time of day in UTC; `None` when there is no such instant.
    /// A leap second (60) is the first instant of the next minute.
    #[must_use]
    pub fn from_civil(date: (i16, i8, i8), time: (i8, i8, i8), millisecond: i16) -> Option<Self> {
        let (hour, minute, second) = time;
        let leap = i64::from(second == 60);
        let second = if leap == 1 { 59 } else { second };
        let nanosecond = i32::from(millisecond).checked_mul(1_000_000)?;
        let civil = jiff::civil::DateTime::new(date.0, date.1, date.2, hour, minute, second, nanosecond).ok()?;
        let instant = jiff::tz::Offset::UTC.to_timestamp(civil).ok()?;
        Self::from_unix_ms(instant.as_millisecond().checked_add(leap * 1_000)?)
    }

    /// Reads RFC 3339, any offset.
    #[must_use]
    pub fn from_rfc3339(text: &str) -> Option<Self> {
        let instant: jiff::Timestamp = text.parse().ok()?;
        Self::from_unix_ms(instant.as_millisecond())
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn unix_ms(self) -> i64 {
        self.unix_ms
    }

    /// How many milliseconds this lies after `earlier`; negative when it lies before.
    #[must_use]
    pub const fn ms_since(self, earlier: Self) -> i64 {
        self.unix_ms - earlier.unix_ms
    }

    /// This instant moved by `ms`; held at [`Self::MIN`] and [`Self::MAX`].
    #[must_use]
    pub fn shifted_ms(self, ms: i64) -> Self {
        let unix_ms = self.unix_ms.saturating_add(ms);
        Self { unix_ms: unix_ms.clamp(Self::MIN.unix_ms, Self::MAX.unix_ms) }
    }

    /// This instant and `duration` more; held at [`Self::MAX`].
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        self.shifted_ms(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
    }

    /// The calendar date in UTC as (year, month, day).
    #[must_use]
    pub fn date(self) -> (i16, i8, i8) {
        let date = jiff::tz::Offset::UTC.to_datetime(self.instant()).date();
        (date.year(), date.month(), date.day())
    }

    fn instant(self) -> jiff::Timestamp {
        jiff::Timestamp::from_millisecond(self.unix_ms).expect("Timestamp is within the range of jiff")
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.instant())
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_print_and_read_as_rfc_3339() {
        let time = Timestamp::from_civil((2026, 11, 23), (6, 25, 30), 0).unwrap();
        assert_eq!(time.to_string(), "2026-11-23T06:25:30.000Z");
        assert_eq!(Timestamp::from_rfc3339("2026-11-23T14:25:30+08:00"), Some(time));
        assert_eq!(time.date(), (2026, 11, 23));
    }

    #[test]
    fn dates_that_do_not_exist_are_refused() {
        assert_eq!(Timestamp::from_civil((2026, 2, 30), (0, 0, 0), 0), None);
        assert_eq!(Timestamp::from_civil((0, 0, 0), (0, 0, 0), 0), None);
        assert_eq!(Timestamp::from_unix_ms(i64::MAX), None);
    }

    #[test]
    fn the_ends_of_time_print() {
        assert_eq!(Timestamp::MIN.to_string(), "0000-01-01T00:00:00.000Z");
        assert_eq!(Timestamp::MAX.to_string(), "9999-12-30T22:00:00.000Z");
        assert_eq!(Timestamp::MAX.shifted_ms(i64::MAX), Timestamp::MAX);
    }

    #[test]
    fn a_leap_second_is_the_next_minute() {
        let leap = Timestamp::from_civil((2016, 12, 31), (23, 59, 60), 0);
        assert_eq!(leap, Timestamp::from_civil((2017, 1, 1), (0, 0, 0), 0));
    }
}
