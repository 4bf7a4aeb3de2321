//! The devices that load a victim. A report says by its place which source it is of, and by its time its number.

use model::{Position, PositionReport, Timestamp};
use wire::proto;

/// The first instant of all sources, 2024-01-01 in UTC.
const BEGAN_MS: i64 = 1_704_067_200_000;
/// Every source has a parallel of its own, eleven metres apart, in 1e-7 degrees.
const SOUTH_E7: i32 = 200_000_000;
const APART_E7: i32 = 1_000;
/// And moves eastwards, in 1e-7 degrees a report.
const WEST_E7: i32 = 1_000_000_000;
const STEP_E7: i32 = 10;

/// How a source speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Speech {
    /// In batches of a gateway.
    Muster,
    /// As a terminal, which dates by whole seconds.
    Jt808,
    /// In JSON.
    Json,
}

/// One device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Source {
    /// Its place among all, from 0.
    pub at: usize,
    /// How it speaks.
    pub speech: Speech,
}

impl Source {
    /// The name under which the server knows it.
    #[must_use]
    pub fn device(self) -> String {
        match self.speech {
            Speech::Muster => format!("muster:m-{}", self.at),
            Speech::Jt808 => format!("jt808:{}", 700_000_000 + self.at),
            Speech::Json => format!("muster:j-{}", self.at),
        }
    }

    /// When its report of this number was true.
    ///
    /// # Panics
    /// When it has sent for thousands of years.
    #[must_use]
    pub fn time(self, number: u64) -> Timestamp {
        let ms = BEGAN_MS + self.step_ms() * number as i64;
        Timestamp::from_unix_ms(ms).expect("a number of a test is small")
    }

    const fn step_ms(self) -> i64 {
        match self.speech {
            Speech::Jt808 => 1_000,
            Speech::Muster | Speech::Json => 10,
        }
    }

    /// Where it was then.
    ///
    /// # Panics
    /// When it has gone around the earth.
    #[must_use]
    pub fn place(self, number: u64) -> Position {
        let (lat_e7, lon_e7) = self.place_e7(number);
        Position::from_e7(lat_e7, lon_e7).expect("a number of a test is small")
    }

    fn place_e7(self, number: u64) -> (i32, i32) {
        (SOUTH_E7 + APART_E7 * self.at as i32, WEST_E7 + STEP_E7 * number as i32)
    }

    /// The report of this number, for a gateway's batch.
    #[must_use]
    pub fn report(self, number: u64) -> proto::Report {
        let (lat_e7, lon_e7) = self.place_e7(number);
        let time_ms = Some(self.time(number).unix_ms());
        proto::Report { device: self.device(), time_ms, lat_e7, lon_e7, ..proto::Report::default() }
    }

    /// The same in JSON.
    #[must_use]
    pub fn json(self, number: u64) -> serde_json::Value {
        let place = self.place(number);
        serde_json::json!({
            "device": self.device(),
            "time": self.time(number).to_string(),
            "lat": place.lat_deg(),
            "lon": place.lon_deg(),
        })
    }

    /// The same as a frame 0x0200 with this serial number.
    #[must_use]
    pub fn location(self, number: u64, serial: u16) -> Vec<u8> {
        let (lat_e7, lon_e7) = self.place_e7(number);
        // No alarm; the receiver is on and has a fix.
        let mut body = vec![0, 0, 0, 0, 0, 0, 0, 3];
        body.extend((lat_e7 / 10).to_be_bytes());
        body.extend((lon_e7 / 10).to_be_bytes());
        body.extend([0; 6]);
        body.extend(local_bcd(self.time(number)));
        self.frame(0x0200, serial, &body)
    }

    /// A frame 0x0002, which asks for nothing but an answer.
    #[must_use]
    pub fn heartbeat(self, serial: u16) -> Vec<u8> {
        self.frame(0x0002, serial, &[])
    }

    fn frame(self, id: u16, serial: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = id.to_be_bytes().to_vec();
        bytes.extend((body.len() as u16).to_be_bytes());
        bytes.extend(bcd(&format!("{:012}", 700_000_000 + self.at)));
        bytes.extend(serial.to_be_bytes());
        bytes.extend(body);
        bytes.push(bytes.iter().fold(0, |sum, byte| sum ^ byte));
        let mut frame = vec![0x7E];
        for byte in bytes {
            match byte {
                0x7E => frame.extend([0x7D, 2]),
                0x7D => frame.extend([0x7D, 1]),
                other => frame.push(other),
            }
        }
        frame.push(0x7E);
        frame
    }
}

/// All sources of one victim.
#[derive(Debug, Clone)]
pub struct Sources(Vec<Source>);

impl Sources {
    /// So many of each speech, in this order.
    #[must_use]
    pub fn of(counts: &[(Speech, usize)]) -> Self {
        let speeches = counts.iter().flat_map(|(speech, count)| std::iter::repeat_n(*speech, *count));
        Self(speeches.enumerate().map(|(at, speech)| Source { at, speech }).collect())
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> &[Source] {
        &self.0
    }

    /// Those that speak so.
    #[must_use]
    pub fn speaking(&self, speech: Speech) -> Vec<Source> {
        self.0.iter().copied().filter(|source| source.speech == speech).collect()
    }

    /// The source and number of a report with this place and time; `None` when no source ever sent it.
    #[must_use]
    pub fn origin(&self, place: Position, time: Option<Timestamp>) -> Option<(Source, u64)> {
        let at = usize::try_from((place.lat_e7() - SOUTH_E7) / APART_E7).ok()?;
        let source = *self.0.get(at)?;
        let number = u64::try_from((place.lon_e7() - WEST_E7) / STEP_E7).ok()?;
        let is_whole = source.place(number) == place && time == Some(source.time(number));
        is_whole.then_some((source, number))
    }

    /// The same of a report of the log.
    #[must_use]
    pub fn origin_of(&self, report: &PositionReport) -> Option<(Source, u64)> {
        self.origin(report.position, report.time)
    }
}

/// Terminals date in GMT+8: YYMMDDhhmmss, two digits a byte.
fn local_bcd(time: Timestamp) -> Vec<u8> {
    let text = time.shifted_ms(8 * 3_600_000).to_string();
    bcd(&text.chars().take(19).filter(char::is_ascii_digit).skip(2).collect::<String>())
}

fn bcd(digits: &str) -> Vec<u8> {
    digits.as_bytes().chunks(2).map(|pair| (pair[0] - b'0') << 4 | (pair[1] - b'0')).collect()
}
