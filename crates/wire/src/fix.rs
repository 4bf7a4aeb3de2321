//! What the text protocols share: their clocks, their degrees, and the report made of them.

use model::{Flags, Position, PositionReport, TimeBasis, Timestamp};

use crate::DecodeError;
use crate::text::{digits, scaled};

const DAY_MS: i64 = 86_400_000;
/// 19 years of 365.25 days: a fix older than this comes from a receiver whose week counter rolled over.
const ROLL_OVER_AGE_MS: i64 = 19 * 31_557_600_000;
/// The week counter of GPS has ten bits.
const ROLL_OVER_MS: i64 = 1_024 * 7 * DAY_MS;
/// What is faster than this is no speed.
const SPEED_MPS_MAX: f32 = 1_000.0;

/// `hhmmss` or `hhmmss.sss` as milliseconds of the day; what lies below a millisecond is cut off.
pub(crate) fn time_of_day_ms(text: &str) -> Result<i64, DecodeError> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let [hour, minute, second] = pairs(whole).ok_or_else(|| DecodeError::malformed("time", text))?;
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(DecodeError::malformed("time", text));
    }
    if hour > 23 || minute > 59 || second > 60 {
        return Err(DecodeError::out_of_range("time", text));
    }
    let millisecond = fraction
        .bytes()
        .chain(*b"000")
        .take(3)
        .fold(0i64, |sum, byte| sum.saturating_mul(10).saturating_add(i64::from(byte.saturating_sub(b'0'))));
    let minutes = i64::from(hour).saturating_mul(60).saturating_add(i64::from(minute));
    let seconds = minutes.saturating_mul(60).saturating_add(i64::from(second));
    Ok(seconds.saturating_mul(1_000).saturating_add(millisecond))
}

/// `ddmmyy` and a time of day. 80 to 99 are of the last century; `None` for what is no date, as the
/// zeros of a clock that was never set.
pub(crate) fn of_date(ddmmyy: &str, time_of_day_ms: i64) -> Result<Option<Timestamp>, DecodeError> {
    let [day, month, year] = pairs(ddmmyy).ok_or_else(|| DecodeError::malformed("date", ddmmyy))?;
    let century = if year >= 80 { 1900 } else { 2000 };
    Ok(of_civil(i16::from(year).saturating_add(century), month, day, time_of_day_ms))
}

/// A calendar date and a time of day; `None` for what is no date.
pub(crate) fn of_civil(year: i16, month: i8, day: i8, time_of_day_ms: i64) -> Option<Timestamp> {
    Some(Timestamp::from_civil((year, month, day), (0, 0, 0), 0)?.shifted_ms(time_of_day_ms))
}

/// The instant with this time of day that lies nearest to `near`.
pub(crate) fn near(time_of_day_ms: i64, near: Timestamp) -> Timestamp {
    let difference = time_of_day_ms.saturating_sub(near.unix_ms().rem_euclid(DAY_MS));
    let days = match difference {
        _ if difference > DAY_MS / 2 => -DAY_MS,
        _ if difference < -DAY_MS / 2 => DAY_MS,
        _ => 0,
    };
    near.shifted_ms(difference.saturating_add(days))
}

/// Undoes one roll-over of the GPS week: receivers that have been through one date their fixes 1024
/// weeks early.
pub(crate) fn unrolled(time: Timestamp, received: Timestamp) -> Timestamp {
    if received.ms_since(time) > ROLL_OVER_AGE_MS { time.shifted_ms(ROLL_OVER_MS) } else { time }
}

fn pairs(text: &str) -> Option<[i8; 3]> {
    let (first, rest) = text.split_at_checked(2)?;
    let (second, third) = rest.split_at_checked(2)?;
    let pair = |text: &str| if text.len() == 2 { i8::try_from(digits(text)?).ok() } else { None };
    Some([pair(first)?, pair(second)?, pair(third)?])
}

/// Degrees and minutes (`ddmm.mmmm`) in 1e-7 degrees. The minutes are the two digits before the
/// point and what follows it; the degrees are what stands before, with or without leading zeros.
pub(crate) fn degrees_minutes_e7(field: &'static str, text: &str) -> Result<i64, DecodeError> {
    let malformed = || DecodeError::malformed(field, text);
    let point = text.find('.').unwrap_or(text.len());
    let (degrees, minutes) = text.split_at_checked(point.saturating_sub(2)).ok_or_else(malformed)?;
    let degrees = if degrees.is_empty() { 0 } else { digits(degrees).ok_or_else(malformed)? };
    let minutes_e9 = scaled(minutes, 9).ok_or_else(malformed)?;
    if degrees > 180 || minutes_e9 >= 60_000_000_000 {
        return Err(DecodeError::out_of_range("position", text));
    }
    // 1e-9 minutes are 1 / 6,000 of 1e-7 degrees.
    let minutes_e7 = minutes_e9.saturating_add(3_000) / 6_000;
    Ok(i64::from(degrees).saturating_mul(10_000_000).saturating_add(minutes_e7))
}

/// The place at these 1e-7 degrees.
pub(crate) fn position(lat_e7: i64, lon_e7: i64) -> Result<Position, DecodeError> {
    let place = || Position::from_e7(i32::try_from(lat_e7).ok()?, i32::try_from(lon_e7).ok()?);
    place().ok_or_else(|| DecodeError::out_of_range("position", format!("{lat_e7}e-7, {lon_e7}e-7")))
}

/// Checks a speed.
pub(crate) fn speed_mps(value: f64) -> Result<f32, DecodeError> {
    let speed = value as f32;
    let is_speed = (0.0..=SPEED_MPS_MAX).contains(&speed);
    if is_speed { Ok(speed) } else { Err(DecodeError::out_of_range("speed_mps", value)) }
}

/// Adds how the device moves. Standing, or without a speed, it has no course.
pub(crate) fn moving(report: PositionReport, speed_mps: Option<f32>, course_deg: Option<f32>) -> PositionReport {
    let is_moving = speed_mps.is_some_and(|speed| speed > 0.0);
    let course_deg =
        course_deg.filter(|course| is_moving && (0.0..=360.0).contains(course)).map(|course| course % 360.0);
    PositionReport { speed_mps, course_deg, ..report }
}

/// A report of `position` by a satellite receiver. 0 N 0 E is no fix, whatever the receiver says.
pub(crate) fn report(position: Position, is_fixed: bool, time: Option<Timestamp>, mut flags: Flags) -> PositionReport {
    let valid = is_fixed && !position.is_null_island();
    flags.set_if(is_fixed && !valid, Flags::NULL_PLACE);
    flags.set_if(time.is_none(), Flags::TIME_MISSING);
    let time_basis = match time {
        None => TimeBasis::Receipt,
        Some(_) if valid => TimeBasis::Gnss,
        Some(_) => TimeBasis::Device,
    };
    PositionReport { time, time_basis, valid, flags, ..PositionReport::at(position) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::from_rfc3339(text).unwrap()
    }

    #[test]
    fn a_time_of_day_takes_the_day_that_puts_it_nearest() {
        let second = |text: &str| time_of_day_ms(text).unwrap();
        for (time, received, dated) in [
            ("235959.5", "2026-11-24T00:00:03Z", "2026-11-23T23:59:59.500Z"),
            ("000002", "2026-11-23T23:59:58Z", "2026-11-24T00:00:02.000Z"),
            ("120000.9999", "2026-11-23T12:00:00Z", "2026-11-23T12:00:00.999Z"),
            ("110000", "1969-12-31T23:59:59Z", "1970-01-01T11:00:00.000Z"),
        ] {
            assert_eq!(near(second(time), at(received)).to_string(), dated);
        }
        assert_eq!(time_of_day_ms("240000").unwrap_err().reason(), "out_of_range");
        for text in ["", "12", "12000", "1200000", "120000.x", "12+000", "1é345"] {
            assert_eq!(time_of_day_ms(text).unwrap_err().reason(), "malformed", "{text}");
        }
    }

    #[test]
    fn a_date_1024_weeks_early_is_put_right_once() {
        let received = at("2022-06-24T10:00:00Z");
        assert_eq!(unrolled(at("2002-11-08T07:44:46Z"), received), at("2022-06-24T07:44:46Z"));
        for honest in ["2009-05-05T12:57:35Z", "2022-06-24T10:00:30Z", "2040-01-01T00:00:00Z"] {
            assert_eq!(unrolled(at(honest), received), at(honest));
        }
        assert_eq!(of_date("060180", 0), Ok(Some(at("1980-01-06T00:00:00Z"))));
        assert_eq!(of_date("060179", 0), Ok(Some(at("2079-01-06T00:00:00Z"))));
        assert_eq!(of_date("000000", 0), Ok(None));
    }

    #[test]
    fn minutes_are_the_two_digits_before_the_point() {
        for (text, e7) in [
            ("1353.52", 138_920_000),
            ("01353.52", 138_920_000),
            ("4650.5156500", 468_419_275),
            ("38.6508", 6_441_800),
            ("9.6", 1_600_000),
            ("6010", 601_666_667),
            ("18000.0000000001", 1_800_000_000),
        ] {
            assert_eq!(degrees_minutes_e7("longitude", text), Ok(e7), "{text}");
        }
        assert_eq!(degrees_minutes_e7("longitude", "4860.0").unwrap_err().reason(), "position");
        assert_eq!(degrees_minutes_e7("longitude", "18100.0").unwrap_err().reason(), "position");
        for text in ["", ".", "-4828.10", "48 28.1", "4828.1.0", "4828,1", "４８28.1", "99999999999999999999.0"] {
            assert_eq!(degrees_minutes_e7("longitude", text).unwrap_err().reason(), "malformed", "{text}");
        }
    }

    proptest! {
        /// Every 1e-7 degree, written with nine decimals of a minute, is read as itself.
        #[test]
        fn degrees_and_minutes_are_exact(e7 in 0i64..=1_800_000_000) {
            let minutes_e9 = (e7 % 10_000_000) * 6_000;
            let text = format!("{:03}{:02}.{:09}", e7 / 10_000_000, minutes_e9 / 1_000_000_000, minutes_e9 % 1_000_000_000);
            prop_assert_eq!(degrees_minutes_e7("longitude", &text), Ok(e7));
        }
    }
}
