//! TAIP, the Trimble ASCII Interface Protocol, from vehicle modems.
//!
//! ```text
//! > R PV ttttt aaaaaaaa ooooooooo sss hhh f a ;ID=1234 ;*7F <
//! ```
//! qualifier, two letters, columns, then the tail. The checksum is the XOR of all from `>` to `*`, both
//! included; some makers leave the `*` out of it.

use model::limits::DEVICE_FRAME_BYTES_MAX;
use model::{
    Altitude, AltitudeRef, DeviceId, DeviceSignal, Flags, Position, PositionReport, SignalKind, TimeBasis, Timestamp,
};

use crate::civil::nearest_day;
use crate::frame::{Datagram, Framing, between_angles};
use crate::text::{Columns, xor};
use crate::{Context, DecodeError, Decoded, Decoder, Protocol, Reply, Transport};

/// The entry in the list of protocols.
pub const PROTOCOL: Protocol = Protocol {
    name: "taip",
    title: "Trimble TAIP",
    transports: &[Transport::Tcp, Transport::Udp],
    framing: Framing { bytes_max: DEVICE_FRAME_BYTES_MAX, cut: between_angles, datagram: Datagram::AsStream },
    decoder: || Box::new(Session::default()),
};

const MPH_MPS: f32 = 0.447_04;
const FOOT_M: f32 = 0.304_8;
/// 1980-01-06T00:00:00Z, where satellite weeks begin.
const GPS_EPOCH_MS: i64 = 315_964_800_000;
const DAY_S: i64 = 86_400;

/// What is remembered between the messages of one connection.
#[derive(Debug, Default)]
struct Session {
    device: Option<DeviceId>,
}

/// What follows the columns.
#[derive(Debug, Default)]
struct Tail<'a> {
    id: Option<&'a str>,
    /// `#0002` or `#IP1:089F`: the sender wants an answer.
    number: Option<&'a str>,
}

impl Decoder for Session {
    fn decode(&mut self, frame: &[u8], context: &Context, decoded: &mut Decoded) -> Result<(), DecodeError> {
        let line = std::str::from_utf8(frame).map_err(|_| DecodeError::malformed("message", "not ASCII"))?.trim();
        if !line.is_ascii() {
            return Err(DecodeError::malformed("message", line));
        }
        let line = line.strip_suffix('<').unwrap_or(line);
        let content = line.strip_prefix('>').ok_or_else(|| DecodeError::malformed("message", line))?;
        check(line)?;
        let (body, tail) = content.split_once(';').unwrap_or((content, ""));
        let tail = tail_of(tail);
        if let Some(id) = tail.id {
            let id = DeviceId::of(PROTOCOL.name, id).map_err(|_| DecodeError::malformed("ID", id))?;
            self.device = Some(id);
        }
        let mut columns = Columns::over(body);
        let (qualifier, word) = (columns.text("qualifier", 1)?, columns.text("message", 2)?);
        let report = match (qualifier, word) {
            ("R" | "D", "PV") => Some(short(columns, |columns| time_of_day(columns, context))?),
            ("R" | "D", "EV") => Some(short(columns, event_time)?),
            ("R" | "D", "LN") => Some(long(columns, context)?),
            ("R" | "D", "GP") => Some(dated(columns)?),
            ("R" | "D", "CQ" | "CV" | "BR") => {
                columns.unsigned("event", 2)?;
                Some(dated(columns)?)
            }
            _ => None,
        };
        decoded.kind = match (report.is_some(), word) {
            (true, "PV") => "position_velocity",
            (true, "EV") => "event",
            (true, "LN") => "long_navigation",
            (true, _) => "dated_position",
            (false, _) => "other",
        };
        decoded.device.clone_from(&self.device);
        if let Some(report) = report {
            decoded.push(0, PositionReport { device: self.device.clone(), ..report });
        }
        if let Some(device) = self.device.clone() {
            decoded.signals.push(DeviceSignal { device: Some(device), kind: SignalKind::Contact, time: None });
        }
        decoded.replies.extend(answer(&tail).map(Reply::Always));
        Ok(())
    }
}

/// No checksum is accepted: many modems are set to leave it out.
fn check(line: &str) -> Result<(), DecodeError> {
    let Some((summed, sum)) = line.rsplit_once('*') else { return Ok(()) };
    let found = u8::from_str_radix(sum.trim(), 16).map_err(|_| DecodeError::malformed("checksum", sum))?;
    let without = xor(summed.as_bytes());
    let with = without ^ b'*';
    if found == with || found == without { Ok(()) } else { Err(DecodeError::Checksum { found, computed: with }) }
}

fn tail_of(tail: &str) -> Tail<'_> {
    let mut found = Tail::default();
    for part in tail.split(';') {
        if let Some(id) = part.strip_prefix("ID=") {
            // `ID=0005;..` and `ID=5555*51`: the checksum may follow without its semicolon.
            found.id = id.split('*').next().filter(|id| !id.is_empty());
        } else if part.starts_with('#') {
            found.number = part.split('*').next();
        }
    }
    found
}

/// A numbered message is acknowledged by its number, `#IP..` in its own way.
fn answer(tail: &Tail<'_>) -> Option<Vec<u8>> {
    let (id, number) = (tail.id?, tail.number?);
    if number.starts_with("#IP") {
        return Some(format!(">SAK;ID={id};{number}<").into_bytes());
    }
    let summed = format!(">ACK;ID={id};{number};*");
    let sum = xor(summed.as_bytes());
    Some(format!("{summed}{sum:02X}<").into_bytes())
}

/// PV and EV after their time: latitude sign 2.5, longitude sign 3.5, mph 3, degrees 3, source 1, age 1.
fn short(
    mut columns: Columns<'_>,
    time: impl FnOnce(&mut Columns<'_>) -> Result<Timestamp, DecodeError>,
) -> Result<PositionReport, DecodeError> {
    let time = time(&mut columns)?;
    let (lat_e5, lon_e5) = (columns.signed("latitude", 7)?, columns.signed("longitude", 8)?);
    let (mph, heading) = (columns.unsigned("speed", 3)?, columns.unsigned("heading", 3)?);
    let (source, age) = (columns.unsigned("source", 1)?, columns.unsigned("age", 1)?);
    let position = Position::from_e5(lat_e5, lon_e5)
        .ok_or_else(|| DecodeError::out_of_range("position", format!("{lat_e5}e-5, {lon_e5}e-5")))?;
    let mut report = fix(position, source != 9 && age != 0, Some(time));
    motion(&mut report, mph as f32, heading as f32);
    report.flags.set_if(matches!(source, 6 | 8), Flags::ESTIMATED);
    report.flags.set_if(age == 1, Flags::OLD);
    Ok(report)
}

/// LN: time 5.3, latitude sign 2.7, longitude sign 3.7, altitude sign 6.2 feet, mph 3.1, vertical sign 3.1,
/// heading 3.1, then satellites, and source and age at the end.
fn long(mut columns: Columns<'_>, context: &Context) -> Result<PositionReport, DecodeError> {
    let second = i64::from(columns.unsigned("time", 5)?);
    let ms = second_of_day(second)?.saturating_add(i64::from(columns.unsigned("time", 3)?));
    let (lat_e7, lon_e7) = (columns.signed("latitude", 9)?, columns.signed("longitude", 10)?);
    let altitude_cft = columns.signed("altitude", 8)?;
    let dmph = columns.unsigned("speed", 4)?;
    columns.signed("vertical speed", 4)?;
    let heading_d = columns.unsigned("heading", 4)?;
    let range = || DecodeError::out_of_range("position", format!("{lat_e7}e-7, {lon_e7}e-7"));
    let (Ok(lat), Ok(lon)) = (i32::try_from(lat_e7), i32::try_from(lon_e7)) else { return Err(range()) };
    let position = Position::from_e7(lat, lon).ok_or_else(range)?;
    let mut end = columns.rest().chars().rev();
    let (age, source) = (end.next(), end.next());
    let mut report = fix(position, source != Some('9') && age != Some('0'), Some(nearest_day(ms, context.received)));
    motion(&mut report, dmph as f32 / 10.0, heading_d as f32 / 10.0);
    report.altitude = Some(Altitude { metres: altitude_cft as f32 / 100.0 * FOOT_M, reference: AltitudeRef::Msl });
    report.flags.set_if(age == Some('1'), Flags::OLD);
    Ok(report)
}

/// GP, and CQ, CV, BR behind an event number: ddmmyy hhmmss (zeros before the first fix of a cold unit), latitude sign 2.5, longitude sign 3.5, speed 3, heading 3; what follows is the maker's.
fn dated(mut columns: Columns<'_>) -> Result<PositionReport, DecodeError> {
    let mut two = |field| columns.unsigned(field, 2).and_then(|value| small(field, value));
    let (day, month, year) = (two("date")?, two("date")?, two("date")?);
    let (hour, minute, second) = (two("time")?, two("time")?, two("time")?);
    let time = Timestamp::from_civil((i16::from(year).saturating_add(2000), month, day), (hour, minute, second), 0);
    let (lat_e5, lon_e5) = (columns.signed("latitude", 7)?, columns.signed("longitude", 8)?);
    let position = Position::from_e5(lat_e5, lon_e5)
        .ok_or_else(|| DecodeError::out_of_range("position", format!("{lat_e5}e-5, {lon_e5}e-5")))?;
    Ok(fix(position, true, time))
}

fn small(field: &'static str, value: u32) -> Result<i8, DecodeError> {
    i8::try_from(value).map_err(|_| DecodeError::out_of_range(field, value))
}

fn fix(position: Position, valid: bool, time: Option<Timestamp>) -> PositionReport {
    let is_null = valid && position.is_null_island();
    let mut report = PositionReport::at(position);
    report.valid = valid && !is_null;
    report.time = time;
    report.time_basis = TimeBasis::Gnss;
    report.flags.set_if(time.is_none(), Flags::TIME_MISSING);
    report.flags.set_if(is_null, Flags::NULL_PLACE);
    report
}

fn motion(report: &mut PositionReport, mph: f32, heading_deg: f32) {
    report.speed_mps = Some(mph * MPH_MPS);
    report.course_deg = (mph > 0.0 && heading_deg < 360.0).then_some(heading_deg);
}

fn second_of_day(second: i64) -> Result<i64, DecodeError> {
    if second >= DAY_S {
        return Err(DecodeError::out_of_range("time", second));
    }
    Ok(second.saturating_mul(1_000))
}

fn time_of_day(columns: &mut Columns<'_>, context: &Context) -> Result<Timestamp, DecodeError> {
    let second = i64::from(columns.unsigned("time", 5)?);
    Ok(nearest_day(second_of_day(second)?, context.received))
}

/// EV: event 2, week 4, day of the week 1, second 5. Leap seconds are not taken off: units differ.
fn event_time(columns: &mut Columns<'_>) -> Result<Timestamp, DecodeError> {
    columns.unsigned("event", 2)?;
    let (week, day) = (i64::from(columns.unsigned("week", 4)?), i64::from(columns.unsigned("day", 1)?));
    let second = i64::from(columns.unsigned("time", 5)?);
    let ms = second_of_day(second)?;
    if day > 6 {
        return Err(DecodeError::out_of_range("day", day));
    }
    let days = week.saturating_mul(7).saturating_add(day);
    let since = days.saturating_mul(DAY_S).saturating_mul(1_000).saturating_add(ms);
    let time = Timestamp::from_unix_ms(GPS_EPOCH_MS.saturating_add(since));
    time.ok_or_else(|| DecodeError::out_of_range("week", week))
}

#[cfg(test)]
mod tests;
