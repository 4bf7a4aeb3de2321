//! TAIP reports of position and velocity.

use super::push_xor_hex;
use crate::Fix;

/// Miles an hour in a metre a second.
const MPH: f32 = 3_600.0 / 1_609.344;

/// A fix as `>RPV..;ID=..;*hh<`; `number` has four to fifteen digits.
///
/// ```text
/// >RPV ttttt saaaaaaa soooooooo vvv hhh s a ;ID=nnnn ;*xx <
/// t UTC second of day, a and o 1e-5 degrees with sign, v mph, h heading, s source (1 = 3D), a age (2 = fresh)
/// xx XOR of everything from > to *, both included
/// ```
pub(crate) fn rpv(fix: &Fix, number: &str) -> String {
    let second = fix.time.unix_ms().div_euclid(1_000).rem_euclid(86_400);
    let (lat_e5, lon_e5) = (hundredth(fix.position.lat_e7()), hundredth(fix.position.lon_e7()));
    let mph = (fix.speed_mps * MPH).round().clamp(0.0, 999.0) as u16;
    let heading = fix.course_deg.unwrap_or(0.0).round() as u16 % 360;
    let mut text = format!(">RPV{second:05}{lat_e5:+08}{lon_e5:+09}{mph:03}{heading:03}12;ID={number};*");
    let content = text.clone();
    push_xor_hex(&mut text, &content);
    text.push('<');
    text
}

/// 1e-7 to 1e-5 degrees, rounded to the nearest.
fn hundredth(value_e7: i32) -> i32 {
    (value_e7 + 50 * value_e7.signum()) / 100
}

#[cfg(test)]
mod tests {
    use model::{Position, Timestamp};

    use super::*;

    /// Vector 1 of nmea-taip.md, from a Trimble manual.
    #[test]
    fn fix_of_the_manual_is_the_frame_of_the_manual() {
        let fix = Fix {
            time: Timestamp::from_rfc3339("2026-11-23T04:21:54Z").unwrap(),
            position: Position::from_degrees(37.39438, -122.03846).unwrap(),
            altitude_m: 0.0,
            speed_mps: 15.0 / MPH,
            course_deg: Some(126.0),
            accuracy_m: 10.0,
            emergency: false,
        };
        assert_eq!(rpv(&fix, "1234"), ">RPV15714+3739438-1220384601512612;ID=1234;*7F<");
        let north = Fix { course_deg: Some(359.7), ..fix };
        assert!(rpv(&north, "1234").contains("01500012;ID"), "359.7 degrees round to north");
    }

    #[test]
    fn degrees_are_rounded_away_from_zero_on_both_sides() {
        assert_eq!([hundredth(149), hundredth(150), hundredth(-149), hundredth(-150)], [1, 2, -1, -2]);
    }
}
