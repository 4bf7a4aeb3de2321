//! TAIP, Trimble's ASCII interface, as vehicle modems speak it.
//!
//! ```text
//! > R id data ;ID=name ;#number ;*hh <
//! ```
//! `R` is an answer or report; other qualifiers are for the receiver and have no place. The checksum
//! is the XOR of all from `>` to `*`; Lantrix units leave the `*` out of it, so either is right. A
//! message without one is taken, and so is one without `<` at the end of a datagram. The name holds
//! for the rest of the session.
//!
//! A unit that numbers its messages (`;#xxxx`) sends them again until it is answered.

use model::limits::DEVICE_FRAME_BYTES_MAX;
use model::{Altitude, AltitudeRef, DeviceId, DeviceSignal, Flags, PositionReport, SignalKind, Timestamp};

use crate::fix::{self, degrees_minutes_e7, time_of_day_ms};
use crate::frame::{Datagram, Framing, between_angles};
use crate::text::{self, Columns, hex_byte, xor};
use crate::{Context, DecodeError, Decoded, Decoder, Protocol, Reply, Transport};

/// The entry in the list of protocols.
pub const PROTOCOL: Protocol = Protocol {
    name: "taip",
    title: "TAIP (Trimble ASCII interface)",
    transports: &[Transport::Tcp, Transport::Udp],
    framing: Framing { bytes_max: DEVICE_FRAME_BYTES_MAX, cut: between_angles, datagram: Datagram::AsStream },
    decoder: || Box::new(Session::default()),
};

const MPH_MPS: f64 = 0.447_04;
const KMH_MPS: f64 = 1.0 / 3.6;
const DAY_MS: i64 = 86_400_000;
/// 1980-01-06, where GPS weeks begin.
const GPS_EPOCH_MS: i64 = 315_964_800_000;
/// Longest message number that is sent back.
const NUMBER_BYTES_MAX: usize = 16;

/// What is remembered between the messages of one session.
#[derive(Debug, Default)]
struct Session {
    device: Option<DeviceId>,
}

impl Decoder for Session {
    fn decode(&mut self, frame: &[u8], context: &Context, decoded: &mut Decoded) -> Result<(), DecodeError> {
        let message = Message::read(frame)?;
        if let Some(id) = message.id
            && !self.device.as_ref().is_some_and(|device| text::is_called(device, PROTOCOL.name, id))
        {
            self.device = Some(text::device(PROTOCOL.name, id)?);
        }
        decoded.device.clone_from(&self.device);
        let (kind, place) = place(message.data, context.received);
        decoded.kind = kind;
        match place {
            Ok(None) => {}
            Ok(Some(report)) => decoded.push(0, report),
            // What is numbered is answered whatever it holds, or it would come again for ever.
            Err(error) if message.number.is_some() => decoded.faults.push((0, error)),
            Err(error) => return Err(error),
        }
        if let Some(device) = &self.device {
            let contact = DeviceSignal { device: Some(device.clone()), kind: SignalKind::Contact, time: None };
            decoded.signals.push(contact);
        }
        decoded.replies.extend(message.reply().map(Reply::Always));
        Ok(())
    }
}

/// A message taken apart.
#[derive(Debug, Clone, Copy)]
struct Message<'a> {
    /// From the qualifier to the first `;`.
    data: &'a str,
    id: Option<&'a str>,
    /// With its `#`.
    number: Option<&'a str>,
    /// Whether the number stands before the name, as it then does in the answer.
    is_number_first: bool,
    /// Whether its checksum leaves the `*` out.
    is_lantrix: bool,
}

impl<'a> Message<'a> {
    fn read(frame: &'a [u8]) -> Result<Self, DecodeError> {
        let malformed = || DecodeError::malformed("message", &frame.escape_ascii().to_string());
        let text =
            std::str::from_utf8(frame).ok().map(str::trim).filter(|text| text.is_ascii()).ok_or_else(malformed)?;
        let text = text.strip_suffix('<').unwrap_or(text);
        let (summed, is_lantrix) = checked(text)?;
        let mut parts = summed.strip_prefix('>').ok_or_else(malformed)?.split(';');
        let data = parts.next().unwrap_or_default();
        let mut message = Self { data, id: None, number: None, is_number_first: false, is_lantrix };
        for part in parts {
            if let Some(id) = part.strip_prefix("ID=") {
                message.id = Some(id);
            } else if part.starts_with('#') {
                message.number = Some(part);
                message.is_number_first = message.id.is_none();
            }
        }
        Ok(message)
    }

    /// `>ACK;ID=..;#xxxx;*hh<`, or `>SAK;ID=..;#IP..<` to units that number with `#IP`. The checksum is
    /// made as the unit makes its own.
    fn reply(&self) -> Option<Vec<u8>> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b':' || byte == b'#';
        let number = self.number.filter(|number| number.len() <= NUMBER_BYTES_MAX && number.bytes().all(is_plain))?;
        let is_ip = number.starts_with("#IP");
        let word = if is_ip { "SAK" } else { "ACK" };
        let mut reply = match self.id {
            None => format!(">{word};{number}"),
            Some(id) if self.is_number_first => format!(">{word};{number};ID={id}"),
            Some(id) => format!(">{word};ID={id};{number}"),
        };
        if !is_ip {
            reply.push(';');
            let sum = xor(reply.as_bytes()) ^ if self.is_lantrix { 0 } else { b'*' };
            reply.push_str(&format!("*{sum:02X}"));
        }
        reply.push('<');
        Some(reply.into_bytes())
    }
}

/// Takes the checksum off a message; says whether it was made without the `*`.
fn checked(text: &str) -> Result<(&str, bool), DecodeError> {
    let Some((summed, digits)) = text.rsplit_once('*') else { return Ok((text, false)) };
    if digits.len() < 2 {
        return Err(DecodeError::Truncated { field: "checksum" });
    }
    let found = hex_byte(digits).ok_or_else(|| DecodeError::malformed("checksum", digits))?;
    let without_star = xor(summed.as_bytes());
    let computed = without_star ^ b'*';
    if found != computed && found != without_star {
        return Err(DecodeError::Checksum { found, computed });
    }
    Ok((summed, found == without_star))
}

/// What a message says of a place.
type Place = Result<Option<PositionReport>, DecodeError>;

/// Reads the data of a message and says of which kind it is.
fn place(data: &str, received: Timestamp) -> (&'static str, Place) {
    let Some((code, body)) = data.split_at_checked(3) else {
        return ("", Err(DecodeError::Truncated { field: "message" }));
    };
    match code {
        "RPV" => ("pv", position_velocity(body, received)),
        "RLN" => ("ln", long_navigation(body, received)),
        "REV" => ("ev", event(body, received)),
        "RGP" => ("gp", dated(body, Tail::FixAndAge, received)),
        "RUS" => ("us", dated(body, Tail::FixAndAge, received)),
        "RCQ" => ("cq", dated(body, Tail::Unread, received)),
        "RCV" => ("cv", dated(body, Tail::Unread, received)),
        "RBR" => ("br", dated(body, Tail::Unread, received)),
        "RPI" => ("pi", dated(body, Tail::Unread, received)),
        "RUV" => ("uv", dated(body, Tail::UnreadKmh, received)),
        _ if code.bytes().all(|byte| byte.is_ascii_alphanumeric()) => ("other", Ok(None)),
        _ => ("", Err(DecodeError::malformed("message", data))),
    }
}

/// ```text
/// ttttt aaaaaaaa ooooooooo vvv hhh s a    t second of the day   a, o 1e-5 degrees, signed   v mph   h degrees
/// ```
fn position_velocity(body: &str, received: Timestamp) -> Place {
    let mut columns = Columns::over(body);
    let time = fix::near(second_of_day_ms(&mut columns)?, received);
    motion_with_source(&mut columns, Some(time))
}

/// ```text
/// ee wwww d sssss, then as PV from the latitude    w week   d day of it   s second of that
/// ```
/// GPS runs 18 s ahead of UTC; units take that out themselves, or nobody does.
fn event(body: &str, received: Timestamp) -> Place {
    let mut columns = Columns::over(body);
    columns.unsigned("event", 2)?;
    let week = i64::from(columns.unsigned("week", 4)?);
    let day = i64::from(columns.unsigned("day", 1)?);
    let second_ms = second_of_day_ms(&mut columns)?;
    if day > 6 {
        return Err(DecodeError::out_of_range("day", day));
    }
    let days = week.saturating_mul(7).saturating_add(day);
    let time =
        Timestamp::from_unix_ms(GPS_EPOCH_MS.saturating_add(days.saturating_mul(DAY_MS)).saturating_add(second_ms));
    motion_with_source(&mut columns, time.map(|time| fix::unrolled(time, received)))
}

fn second_of_day_ms(columns: &mut Columns<'_>) -> Result<i64, DecodeError> {
    let second = columns.unsigned("time", 5)?;
    if second > 86_400 {
        return Err(DecodeError::out_of_range("time", second));
    }
    Ok(i64::from(second).saturating_mul(1_000))
}

/// The part that PV and EV share, from the latitude.
fn motion_with_source(columns: &mut Columns<'_>, time: Option<Timestamp>) -> Place {
    let lat_e7 = columns.signed("latitude", 7)?.saturating_mul(100);
    let lon_e7 = columns.signed("longitude", 8)?.saturating_mul(100);
    let speed_mps = fix::speed_mps(f64::from(columns.unsigned("speed", 3)?) * MPH_MPS)?;
    let course_deg = columns.unsigned("course", 3)? as f32;
    let (is_fixed, flags) = source_and_age(columns)?;
    let report = fix::report(fix::position(lat_e7, lon_e7)?, is_fixed, time, flags);
    Ok(Some(fix::moving(report, Some(speed_mps), Some(course_deg))))
}

/// Source 6 and 8 are dead reckoning, 9 is unknown; age 2 is fresh, 1 older than 10 s, 0 says not to use it.
fn source_and_age(columns: &mut Columns<'_>) -> Result<(bool, Flags), DecodeError> {
    let (source, age) = (columns.unsigned("source", 1)?, columns.unsigned("age", 1)?);
    let mut flags = Flags::default();
    flags.set_if(matches!(source, 6 | 8), Flags::ESTIMATED);
    flags.set_if(age == 1, Flags::OLD);
    Ok((source != 9 && age != 0, flags))
}

/// ```text
/// tttttttt aaaaaaaaaa ooooooooooo mmmmmmmmm vvvv uuuuu hhhh nn, 4 a satellite, 10, s a
/// t millisecond of the day   a, o 1e-7 degrees, signed   m 0.01 ft, signed   v, u, h tenths of mph and degrees
/// ```
fn long_navigation(body: &str, received: Timestamp) -> Place {
    let mut columns = Columns::over(body);
    let millisecond = i64::from(columns.unsigned("time", 8)?);
    if millisecond > DAY_MS {
        return Err(DecodeError::out_of_range("time", millisecond));
    }
    let lat_e7 = columns.signed("latitude", 9)?;
    let lon_e7 = columns.signed("longitude", 10)?;
    let altitude_m = columns.signed("altitude", 8)? as f64 * 0.003_048;
    let speed_mps = fix::speed_mps(f64::from(columns.unsigned("speed", 4)?) * MPH_MPS / 10.0)?;
    columns.signed("vertical speed", 4)?;
    let course_deg = columns.unsigned("course", 4)? as f32 / 10.0;
    let satellites = usize::try_from(columns.unsigned("satellites", 2)?).unwrap_or(0);
    columns.text("satellites", satellites.saturating_mul(4).saturating_add(10))?;
    let (is_fixed, flags) = source_and_age(&mut columns)?;
    if !(-20_000.0..=100_000.0).contains(&altitude_m) {
        return Err(DecodeError::out_of_range("altitude_m", altitude_m));
    }
    let time = fix::near(millisecond, received);
    let report = fix::report(fix::position(lat_e7, lon_e7)?, is_fixed, Some(time), flags);
    let altitude = Some(Altitude { metres: altitude_m as f32, reference: AltitudeRef::Msl });
    Ok(Some(fix::moving(PositionReport { altitude, ..report }, Some(speed_mps), Some(course_deg))))
}

/// What we know of the columns behind the course of a dated message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tail {
    /// One digit for the kind of fix, two hexadecimal ones for its age in seconds, held at FF.
    FixAndAge,
    /// Nothing.
    Unread,
    /// Nothing, but the speed is in km/h.
    UnreadKmh,
}

/// The family of dated messages of South American units. What stands before the date differs by
/// message and unit, so the date is found as the twelve digits in front of a sign.
///
/// ```text
/// ... ddmmyyhhmmss aaaaaaaa ooooooooo vvv hhh ...    or with degrees and minutes, sddmm.mmmm sdddmm.mmmm
/// ```
fn dated(body: &str, tail: Tail, received: Timestamp) -> Place {
    let Some((date, rest)) = date_and_place(body) else { return Ok(None) };
    let mut columns = Columns::over(rest);
    let (ddmmyy, hhmmss) = date.split_at_checked(6).ok_or(DecodeError::Truncated { field: "date" })?;
    let time = fix::of_date(ddmmyy, time_of_day_ms(hhmmss)?)?.map(|time| fix::unrolled(time, received));
    let (lat_e7, lon_e7) = if rest.as_bytes().get(5) == Some(&b'.') {
        (minutes_e7(&mut columns, "latitude", 9)?, minutes_e7(&mut columns, "longitude", 10)?)
    } else {
        let e7 = |e5: i64| e5.saturating_mul(100);
        (e7(columns.signed("latitude", 7)?), e7(columns.signed("longitude", 8)?))
    };
    let unit_mps = if tail == Tail::UnreadKmh { KMH_MPS } else { MPH_MPS };
    let speed_mps = fix::speed_mps(f64::from(columns.unsigned("speed", 3)?) * unit_mps)?;
    let course_deg = columns.unsigned("course", 3)? as f32;
    let age_s = if tail == Tail::FixAndAge { age_s(&mut columns)? } else { 0 };
    let mut flags = Flags::default();
    flags.set_if(age_s >= 10, Flags::OLD);
    // A clock that was never set belongs to a receiver that never had a fix.
    let is_fixed = time.is_some() && age_s < 0xFF;
    let report = fix::report(fix::position(lat_e7, lon_e7)?, is_fixed, time, flags);
    Ok(Some(fix::moving(report, Some(speed_mps), Some(course_deg))))
}

fn date_and_place(body: &str) -> Option<(&str, &str)> {
    let signs = body.match_indices(['+', '-']);
    signs
        .filter_map(|(at, _)| Some((body.get(at.checked_sub(12)?..at)?, body.get(at..)?)))
        .find(|(date, _)| date.bytes().all(|byte| byte.is_ascii_digit()))
}

/// A sign, then degrees and minutes of `width` characters.
fn minutes_e7(columns: &mut Columns<'_>, field: &'static str, width: usize) -> Result<i64, DecodeError> {
    let sign = columns.text(field, 1)?;
    let magnitude = degrees_minutes_e7(field, columns.text(field, width)?)?;
    match sign {
        "+" => Ok(magnitude),
        "-" => Ok(magnitude.saturating_neg()),
        other => Err(DecodeError::malformed(field, other)),
    }
}

fn age_s(columns: &mut Columns<'_>) -> Result<u8, DecodeError> {
    columns.unsigned("fix", 1)?;
    let age = columns.text("age", 2)?;
    hex_byte(age).ok_or_else(|| DecodeError::malformed("age", age))
}

#[cfg(test)]
mod tests;
