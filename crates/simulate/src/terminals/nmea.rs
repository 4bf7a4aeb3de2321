//! NMEA 0183 sentences: `$` type, comma fields, `*` XOR of what lies between, CR LF.

use std::fmt::Write as _;

use super::push_xor_hex;
use crate::Fix;

/// Knots in a metre a second.
const KNOTS: f32 = 3_600.0 / 1_852.0;
const DAY_MS: i64 = 86_400_000;

/// The sentence by which a unit says who it is, first on its connection.
pub(crate) fn identity(number: &str) -> String {
    sentence(&format!("PGID,{number}"))
}

/// Recommended minimum: time, place, speed, course and date.
pub(crate) fn rmc(fix: &Fix) -> String {
    let course = fix.course_deg.map(|degrees| format!("{degrees:.1}")).unwrap_or_default();
    let (year, month, day) = fix.time.date();
    let (time, place, knots) = (time(fix), place(fix), fix.speed_mps * KNOTS);
    sentence(&format!("GPRMC,{time},A,{place},{knots:.2},{course},{day:02}{month:02}{:02},,,A", year.rem_euclid(100)))
}

/// Fix data: time, place, quality and altitude.
pub(crate) fn gga(fix: &Fix) -> String {
    sentence(&format!("GPGGA,{},{},1,09,0.9,{:.1},M,-22.0,M,,", time(fix), place(fix), fix.altitude_m))
}

fn sentence(content: &str) -> String {
    let mut text = format!("${content}*");
    push_xor_hex(&mut text, content);
    text.push_str("\r\n");
    text
}

fn time(fix: &Fix) -> String {
    let ms = fix.time.unix_ms().rem_euclid(DAY_MS);
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1_000 % 60);
    format!("{hour:02}{minute:02}{second:02}.{:03}", ms % 1_000)
}

fn place(fix: &Fix) -> String {
    let mut text = String::with_capacity(28);
    for (value_e7, digits, [positive, negative]) in
        [(fix.position.lat_e7(), 2, ['N', 'S']), (fix.position.lon_e7(), 3, ['E', 'W'])]
    {
        // 1e-7 degrees to 1e-5 minutes, rounded: integers, so that 59.99999 never becomes 60.
        let minutes_e5 = (u64::from(value_e7.unsigned_abs()) * 60 + 50) / 100;
        let (degrees, minutes_e5) = (minutes_e5 / 6_000_000, minutes_e5 % 6_000_000);
        let side = if value_e7 < 0 { negative } else { positive };
        let (minutes, rest) = (minutes_e5 / 100_000, minutes_e5 % 100_000);
        let comma = if text.is_empty() { "" } else { "," };
        let _ = write!(text, "{comma}{degrees:0digits$}{minutes:02}.{rest:05},{side}");
    }
    text
}

#[cfg(test)]
mod tests {
    use model::{Position, Timestamp};

    use super::*;

    fn fix(lat_deg: f64, lon_deg: f64) -> Fix {
        Fix {
            time: Timestamp::from_rfc3339("2009-05-05T12:57:35Z").unwrap(),
            position: Position::from_degrees(lat_deg, lon_deg).unwrap(),
            altitude_m: 78.25,
            speed_mps: 1.0 / KNOTS,
            course_deg: Some(101.7),
            accuracy_m: 10.0,
            emergency: false,
        }
    }

    /// Vectors of nmea-taip.md, whose checksums were verified there: the rule, not our own sentences.
    #[test]
    fn checksum_is_the_one_of_published_sentences() {
        let published = [
            "$GPRMC,064411.000,A,3717.240078,N,00603.046984,W,0.000,1,010313,,,A*6C\r\n",
            "$GPRMC,125735.000,A,6010.34349,N,02445.72838,E,1.0,101.7,050509,6.9,W,A*1F\r\n",
            "$GPVTG,054.7,T,034.4,M,005.5,N,010.2,K*48\r\n",
            "$PGID,359853000144328*0F\r\n",
        ];
        for text in published {
            let content = text.trim_start_matches('$').split_once('*').unwrap().0;
            assert_eq!(sentence(content), text);
        }
        assert_eq!(identity("359853000144328"), published[3]);
    }

    #[test]
    fn rmc_has_time_place_speed_course_and_date() {
        let text = rmc(&fix(60.172_391_5, 24.762_139_7));
        assert!(text.starts_with("$GPRMC,125735.000,A,6010.34349,N,02445.72838,E,1.00,101.7,050509,,,A*"), "{text}");
        let still = Fix { course_deg: None, speed_mps: 0.0, ..fix(-0.000_000_1, -179.999_999_99) };
        let text = rmc(&still);
        assert!(text.contains(",A,0000.00001,S,18000.00000,W,0.00,,050509"), "{text}");
    }

    #[test]
    fn minutes_never_reach_sixty() {
        assert!(rmc(&fix(22.999_999_99, 108.999_999_9)).contains(",2300.00000,N,10859.99999,E,"));
    }

    #[test]
    fn gga_has_the_altitude() {
        let text = gga(&fix(22.5, 108.25));
        assert!(text.starts_with("$GPGGA,125735.000,2230.00000,N,10815.00000,E,1,09,0.9,78.2,M,-22.0,M,,*"), "{text}");
    }
}
