//! Frames of JT/T 808: `7E header body checksum 7E`, the terminal's side.

use bytes::{Buf as _, BytesMut};

use crate::Fix;
use crate::terminals::Fault;

pub(crate) const TERMINAL_ACK: u16 = 0x0001;
pub(crate) const HEARTBEAT: u16 = 0x0002;
pub(crate) const REGISTER: u16 = 0x0100;
pub(crate) const AUTHENTICATE: u16 = 0x0102;
pub(crate) const LOCATION: u16 = 0x0200;
pub(crate) const LOCATION_ANSWER: u16 = 0x0201;
pub(crate) const PLATFORM_ACK: u16 = 0x8001;
pub(crate) const REGISTER_ANSWER: u16 = 0x8100;

const FLAG: u8 = 0x7E;
/// Longest answer that is waited for, in bytes as sent.
const ANSWER_BYTES_MAX: usize = 4_096;
const LOCAL_OFFSET_MS: i64 = 8 * 3_600_000;
const DAY_MS: i64 = 86_400_000;

/// Which issue of the standard a terminal follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Issue {
    Of2013,
    Of2019,
}

/// What a terminal says of itself when it registers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Registration<'a> {
    pub(crate) province: u16,
    pub(crate) city: u16,
    pub(crate) maker: &'a str,
    pub(crate) model: &'a str,
    pub(crate) terminal: &'a str,
    pub(crate) colour: u8,
    /// In GBK.
    pub(crate) plate: &'a [u8],
}

/// What a location says besides the fix.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extras {
    /// Status bits other than south (2) and west (3).
    pub(crate) status: u32,
    /// In 0.1 km.
    pub(crate) mileage_dkm: u32,
    pub(crate) signal: u8,
    pub(crate) satellites: u8,
}

/// A message from the platform, unescaped and checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) id: u16,
    pub(crate) serial: u16,
    pub(crate) body: Vec<u8>,
}

/// One frame. `phone` has at most 12 digits (2013) or 20 (2019).
///
/// ```text
/// 2013: id 2 | properties 2 |           phone BCD 6  | serial 2
/// 2019: id 2 | properties 2 | version 1 | phone BCD 10 | serial 2     bit 14 of the properties set
/// ```
pub(crate) fn frame(issue: Issue, phone: &str, id: u16, serial: u16, body: &[u8]) -> Vec<u8> {
    let mut content = Vec::with_capacity(body.len() + 20);
    content.extend(id.to_be_bytes());
    let length = u16::try_from(body.len()).expect("bodies are short") & 0x03FF;
    let phone_digits = match issue {
        Issue::Of2013 => {
            content.extend(length.to_be_bytes());
            12
        }
        Issue::Of2019 => {
            content.extend((length | 1 << 14).to_be_bytes());
            content.push(1);
            20
        }
    };
    let digits = format!("{phone:0>phone_digits$}").into_bytes();
    content.extend(digits.chunks(2).map(|two| (two[0] - b'0') << 4 | (two[1] - b'0')));
    content.extend(serial.to_be_bytes());
    content.extend(body);
    content.push(content.iter().fold(0, |sum, byte| sum ^ byte));
    escaped(&content)
}

fn escaped(content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(content.len() + 8);
    bytes.push(FLAG);
    for byte in content {
        match byte {
            0x7E => bytes.extend([0x7D, 0x02]),
            0x7D => bytes.extend([0x7D, 0x01]),
            other => bytes.push(*other),
        }
    }
    bytes.push(FLAG);
    bytes
}

/// Body of 0x0100: province, city, maker, model, terminal id, plate colour, plate.
pub(crate) fn register_body(issue: Issue, registration: &Registration<'_>) -> Vec<u8> {
    let [maker, model, terminal] = match issue {
        Issue::Of2013 => [5, 20, 7],
        Issue::Of2019 => [11, 30, 30],
    };
    let mut body = Vec::with_capacity(96);
    body.extend(registration.province.to_be_bytes());
    body.extend(registration.city.to_be_bytes());
    push_padded(&mut body, registration.maker, maker);
    push_padded(&mut body, registration.model, model);
    push_padded(&mut body, registration.terminal, terminal);
    body.push(registration.colour);
    body.extend(registration.plate);
    body
}

/// Body of 0x0102: the code; in 2019 with its length, the IMEI and the version of the software.
pub(crate) fn authenticate_body(issue: Issue, code: &[u8], imei: &str, software: &str) -> Vec<u8> {
    match issue {
        Issue::Of2013 => code.to_vec(),
        Issue::Of2019 => {
            let code = &code[..code.len().min(255)];
            let mut body = vec![code.len() as u8];
            body.extend(code);
            push_padded(&mut body, imei, 15);
            push_padded(&mut body, software, 20);
            body
        }
    }
}

fn push_padded(body: &mut Vec<u8>, text: &str, bytes: usize) {
    let text = &text.as_bytes()[..text.len().min(bytes)];
    body.extend(text);
    body.resize(body.len() + bytes - text.len(), 0);
}

/// Body of 0x0200. Coordinates are unsigned; south and west are status bits. Time is GMT+8.
///
/// ```text
/// alarm 4 | status 4 | latitude 4 | longitude 4 (1e-6 degree) | altitude 2 m | speed 2 (0.1 km/h) | direction 2 | BCD YYMMDDhhmmss | items
/// ```
pub(crate) fn location_body(fix: &Fix, extras: &Extras) -> Vec<u8> {
    let (lat_e7, lon_e7) = (fix.position.lat_e7(), fix.position.lon_e7());
    let e6 = |value_e7: i32| (value_e7.unsigned_abs() + 5) / 10;
    let mut status = extras.status;
    status |= u32::from(lat_e7 < 0) << 2 | u32::from(lon_e7 < 0) << 3;
    let mut body = Vec::with_capacity(48);
    body.extend(u32::from(fix.emergency).to_be_bytes());
    body.extend(status.to_be_bytes());
    body.extend(e6(lat_e7).to_be_bytes());
    body.extend(e6(lon_e7).to_be_bytes());
    // Below the sea as terminals do it: two's complement.
    body.extend((fix.altitude_m.round() as i16).to_be_bytes());
    body.extend(((fix.speed_mps * 36.0).round() as u16).to_be_bytes());
    body.extend((fix.course_deg.unwrap_or(0.0).round() as u16 % 360).to_be_bytes());
    body.extend(bcd_time(fix));
    body.extend([0x01, 4]);
    body.extend(extras.mileage_dkm.to_be_bytes());
    body.extend([0x25, 4, 0, 0, 0, 0, 0x30, 1, extras.signal, 0x31, 1, extras.satellites]);
    body
}

fn bcd_time(fix: &Fix) -> [u8; 6] {
    let local = fix.time.shifted_ms(LOCAL_OFFSET_MS);
    let (year, month, day) = local.date();
    let second = local.unix_ms().rem_euclid(DAY_MS) / 1_000;
    let bcd = |value: i64| (((value / 10) << 4) | (value % 10)) as u8;
    let year = i64::from(year.rem_euclid(100));
    [year, month.into(), day.into(), second / 3_600, second / 60 % 60, second % 60].map(bcd)
}

/// Takes the first whole message off `inbox`; `None` when there is none yet.
pub(crate) fn next_answer(inbox: &mut BytesMut) -> Result<Option<Answer>, Fault> {
    let garbled = |detail: &str| Fault::Garbled { detail: detail.to_owned() };
    loop {
        match inbox.first() {
            None => return Ok(None),
            Some(&FLAG) => {}
            Some(_) => return Err(garbled("no 7E at the start of a message")),
        }
        match inbox.iter().skip(1).position(|byte| *byte == FLAG) {
            None if inbox.len() > ANSWER_BYTES_MAX => return Err(garbled("message without an end")),
            None => return Ok(None),
            Some(0) => inbox.advance(1),
            Some(length) => {
                let answer = parse(&inbox[1..=length]).ok_or_else(|| garbled("checksum or length is wrong"));
                inbox.advance(length + 2);
                return answer.map(Some);
            }
        }
    }
}

fn parse(escaped: &[u8]) -> Option<Answer> {
    let mut bytes = Vec::with_capacity(escaped.len());
    let mut rest = escaped.iter();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            0x7D => rest.next().and_then(|code| match code {
                0x01 => Some(0x7D),
                0x02 => Some(0x7E),
                _ => None,
            })?,
            other => *other,
        });
    }
    // The XOR over everything, the checksum included, is 0.
    if bytes.iter().fold(0, |sum, byte| sum ^ byte) != 0 {
        return None;
    }
    bytes.pop();
    let two = |at: usize| Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]));
    let properties = two(2)?;
    let header = if properties & 1 << 14 == 0 { 12 } else { 17 };
    let body = bytes.get(header..)?.to_vec();
    (body.len() == usize::from(properties & 0x03FF)).then_some(())?;
    Some(Answer { id: two(0)?, serial: two(header - 2)?, body })
}
