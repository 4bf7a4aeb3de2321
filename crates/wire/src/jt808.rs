//! JT/T 808-2011, -2013 and -2019: vehicle terminals and body-worn recorders.
//!
//! ```text
//! 7E | id 2 | properties 2 | [version 1] | phone 6 or 10 | serial 2 | [total 2, number 2] | body | XOR | 7E
//! ```
//! The version byte and the long phone are of 2019 (properties bit 14); total and number are there in
//! a sub-packaged message (bit 13). A terminal counts every frame by its serial, each packet included,
//! from 0; after 65,535 it goes on at 0. All integers are big-endian; between the flags 7E is sent as
//! 7D 02 and 7D as 7D 01, the checksum included.

use model::limits::DEVICE_FRAME_BYTES_MAX;
use model::{
    Altitude, AltitudeRef, DeviceId, DeviceSignal, Flags, Position, PositionReport, SenderName, SignalKind, TimeBasis,
    Timestamp,
};

use crate::cursor::{Cursor, bcd};
use crate::frame::{Datagram, Framing, between_flags};
use crate::text::xor;
use crate::{Context, DecodeError, Decoded, Decoder, FrameNumber, Modulus, Protocol, Reply, Transport};

/// The entry in the list of protocols.
pub const PROTOCOL: Protocol = Protocol {
    name: "jt808",
    title: "JT/T 808 vehicle terminal",
    transports: &[Transport::Tcp, Transport::Udp],
    framing: Framing { bytes_max: DEVICE_FRAME_BYTES_MAX, cut: between_flags, datagram: Datagram::AsStream },
    decoder: || Box::new(Session::default()),
};

/// Terminals date their fixes in GMT+8, wherever they are.
const LOCAL_OFFSET_MS: i64 = 8 * 3_600_000;
/// A body that comes in more packets than this is refused (a batch of 0x0704 needs a few).
const PACKETS_MAX: u16 = 64;

const REGISTER: u16 = 0x0100;
const LOG_OUT: u16 = 0x0003;
const HEARTBEAT: u16 = 0x0002;
const TERMINAL_ACK: u16 = 0x0001;
const AUTHENTICATE: u16 = 0x0102;
const LOCATION: u16 = 0x0200;
const LOCATION_ANSWER: u16 = 0x0201;
const BATCH: u16 = 0x0704;
const PLATFORM_ACK: u16 = 0x8001;
const REGISTER_ANSWER: u16 = 0x8100;

const DONE: u8 = 0;
const FAILED: u8 = 1;
const NOT_SUPPORTED: u8 = 3;
/// Result of 0x8100: no such terminal.
const NO_SUCH_TERMINAL: u8 = 4;

/// The answer to a registration that waits for the code which it gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    envelope: Envelope,
    /// Ours, then the terminal's.
    serial: u16,
    asked: u16,
}

/// What an answer has in common with what it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Envelope {
    phone: Vec<u8>,
    version: Option<u8>,
}

impl Registration {
    /// The terminal is one of ours, and shows `code` from now on; `None`: one that nobody checks.
    #[must_use]
    pub fn granted(&self, code: Option<&[u8]>) -> Vec<u8> {
        let unchecked = || auth_code(&self.envelope.phone);
        self.answer(DONE, &code.map_or_else(unchecked, <[u8]>::to_vec))
    }

    /// There is no such terminal.
    #[must_use]
    pub fn refused(&self) -> Vec<u8> {
        self.answer(NO_SUCH_TERMINAL, &[])
    }

    fn answer(&self, result: u8, code: &[u8]) -> Vec<u8> {
        let [high, low] = self.asked.to_be_bytes();
        downlink(&self.envelope, REGISTER_ANSWER, self.serial, &[&[high, low, result], code].concat())
    }
}

/// What is remembered between the frames of one connection.
#[derive(Debug, Default)]
struct Session {
    /// Serial number of our next message.
    serial: u16,
    parts: Option<Parts>,
}

/// A sub-packaged message on its way.
#[derive(Debug)]
struct Parts {
    id: u16,
    first_serial: u16,
    bodies: Vec<Option<Vec<u8>>>,
}

/// The front of a message, and its body.
#[derive(Debug, Clone, Copy)]
struct Message<'a> {
    id: u16,
    /// As sent: 6 bytes, or 10 after a 2019 header with this version byte.
    phone: &'a [u8],
    version: Option<u8>,
    serial: u16,
    /// Total and number, from 1.
    packet: Option<(u16, u16)>,
    encrypted: bool,
    body: &'a [u8],
}

impl Message<'_> {
    fn envelope(&self) -> Envelope {
        Envelope { phone: self.phone.to_vec(), version: self.version }
    }
}

impl Decoder for Session {
    fn decode(&mut self, frame: &[u8], _: &Context, decoded: &mut Decoded) -> Result<(), DecodeError> {
        let bytes = unescaped(frame)?;
        let message = message(&bytes)?;
        let device = device_of(message.phone)?;
        decoded.device = Some(device.clone());
        decoded.number = Some(FrameNumber {
            sender: SenderName::of_device(&device),
            number: u64::from(message.serial),
            modulus: Modulus::TwoTo16,
        });
        if message.encrypted {
            return Err(DecodeError::Encrypted);
        }
        let whole = match message.packet {
            None => Some(message.body.to_vec()),
            Some(packet) => self.assemble(&message, packet)?,
        };
        let result = match &whole {
            Some(body) => read_body(message.id, body, &device, decoded)?,
            None => {
                decoded.kind = "packet";
                DONE
            }
        };
        decoded.signals.push(DeviceSignal { device: Some(device), kind: contact_of(message.id), time: None });
        self.reply(&message, whole.as_deref().unwrap_or_default(), result, decoded);
        Ok(())
    }
}

impl Session {
    /// Keeps one packet; gives the whole body with the last one. A packet of another message drops
    /// what was there: a terminal sends one message at a time and resends what was not answered.
    fn assemble(&mut self, message: &Message<'_>, (total, number): (u16, u16)) -> Result<Option<Vec<u8>>, DecodeError> {
        let place = usize::from(number).checked_sub(1).filter(|_| number <= total);
        let place = place.ok_or_else(|| DecodeError::out_of_range("packet number", number))?;
        if total > PACKETS_MAX {
            return Err(DecodeError::out_of_range("packet total", total));
        }
        let first_serial = message.serial.wrapping_sub(number).wrapping_add(1);
        let fresh = || Parts { id: message.id, first_serial, bodies: vec![None; usize::from(total)] };
        let same = |parts: &Parts| {
            parts.id == message.id && parts.first_serial == first_serial && parts.bodies.len() == usize::from(total)
        };
        let mut parts = self.parts.take().filter(same).unwrap_or_else(fresh);
        if let Some(slot) = parts.bodies.get_mut(place) {
            *slot = Some(message.body.to_vec());
        }
        if parts.bodies.iter().all(Option::is_some) {
            return Ok(Some(parts.bodies.into_iter().flatten().flatten().collect()));
        }
        self.parts = Some(parts);
        Ok(None)
    }

    /// The answer that a real terminal waits for. What it does not get it sends again, and then it hangs up.
    fn reply(&mut self, message: &Message<'_>, body: &[u8], result: u8, decoded: &mut Decoded) {
        if message.id == TERMINAL_ACK || (message.id == REGISTER && decoded.kind != "register") {
            return;
        }
        let serial = self.serial;
        self.serial = serial.wrapping_add(1);
        if message.id == REGISTER {
            let registration = Registration { envelope: message.envelope(), serial, asked: message.serial };
            decoded.replies.push(Reply::Registration(registration));
            return;
        }
        let [serial_high, serial_low] = message.serial.to_be_bytes();
        let [id_high, id_low] = message.id.to_be_bytes();
        let envelope = message.envelope();
        let ack =
            |result| downlink(&envelope, PLATFORM_ACK, serial, &[serial_high, serial_low, id_high, id_low, result]);
        decoded.replies.push(if decoded.kind == "authenticate" {
            let shown = shown_code(message.version, body).to_vec();
            Reply::ByCode { shown, right: ack(result), wrong: ack(FAILED) }
        } else {
            Reply::Always(ack(result))
        });
    }
}

/// Undoes the escapes and checks the XOR. Some terminals forget to escape: bytes whose checksum is
/// right as they stand are taken as they stand.
fn unescaped(frame: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let frame = frame.strip_prefix(&[0x7E]).unwrap_or(frame);
    let frame = frame.strip_suffix(&[0x7E]).unwrap_or(frame);
    let mut bytes = Vec::with_capacity(frame.len());
    let mut rest = frame.iter();
    while let Some(byte) = rest.next() {
        bytes.push(match (byte, rest.as_slice().first()) {
            (0x7D, Some(0x01)) => {
                rest.next();
                0x7D
            }
            (0x7D, Some(0x02)) => {
                rest.next();
                0x7E
            }
            _ => *byte,
        });
    }
    let (Some((found, content)), as_sent) = (bytes.split_last(), frame.split_last()) else {
        return Err(DecodeError::Truncated { field: "checksum" });
    };
    let computed = xor(content);
    if computed == *found {
        bytes.pop();
        return Ok(bytes);
    }
    match as_sent {
        Some((found, content)) if xor(content) == *found => Ok(content.to_vec()),
        _ => Err(DecodeError::Checksum { found: *found, computed }),
    }
}

/// Reads the header. Bit 14 announces the header of 2019, but terminals with the old header set it
/// too: when the length then does not fit and the old reading does, the old one is right.
fn message(bytes: &[u8]) -> Result<Message<'_>, DecodeError> {
    let properties = Cursor::over(bytes.get(2..).unwrap_or_default()).u16("properties")?;
    if properties & (1 << 14) == 0 {
        return header(bytes, 6);
    }
    header(bytes, 10).or_else(|error| header(bytes, 6).map_err(|_| error))
}

fn header(bytes: &[u8], phone_bytes: usize) -> Result<Message<'_>, DecodeError> {
    let mut cursor = Cursor::over(bytes);
    let id = cursor.u16("message id")?;
    let properties = cursor.u16("properties")?;
    let version = if phone_bytes == 10 { Some(cursor.u8("version")?) } else { None };
    let phone = cursor.take("phone", phone_bytes)?;
    let serial = cursor.u16("serial")?;
    let packet = match properties & (1 << 13) {
        0 => None,
        _ => Some((cursor.u16("packet total")?, cursor.u16("packet number")?)),
    };
    let (declared, found) = (usize::from(properties & 0x03FF), cursor.remaining());
    if declared != found {
        return Err(DecodeError::Length { field: "body length", declared, found });
    }
    let encrypted = properties & (0b111 << 10) != 0;
    Ok(Message { id, phone, version, serial, packet, encrypted, body: cursor.rest() })
}

/// The phone number without its padding. Six bytes that are no decimal number are an IMEI without
/// its check digit in binary, as some makers send it.
fn device_of(phone: &[u8]) -> Result<DeviceId, DecodeError> {
    let hex = phone.iter().map(|byte| format!("{byte:02X}")).collect::<String>();
    let id = if hex.bytes().all(|digit| digit.is_ascii_digit()) {
        hex.trim_start_matches('0').to_owned()
    } else {
        let number = phone.iter().try_fold(0u64, |sum, byte| sum.checked_mul(256)?.checked_add(u64::from(*byte)));
        let number = number.ok_or_else(|| DecodeError::malformed("phone", &hex))?.to_string();
        let check = luhn_digit(&number);
        format!("{number}{check}")
    };
    let id = if id.is_empty() { "0" } else { &id };
    DeviceId::of(PROTOCOL.name, id).map_err(|_| DecodeError::malformed("phone", &hex))
}

fn luhn_digit(digits: &str) -> u32 {
    let doubled = |place: usize, digit: u32| if place.is_multiple_of(2) { digit.wrapping_mul(2) } else { digit };
    let fold = |value: u32| if value > 9 { value.wrapping_sub(9) } else { value };
    let digits = digits.chars().rev().filter_map(|digit| digit.to_digit(10));
    let sum = digits.enumerate().fold(0u32, |sum, (place, digit)| sum.wrapping_add(fold(doubled(place, digit))));
    (10u32.wrapping_sub(sum % 10)) % 10
}

/// Reads a body and says with which result it is acknowledged.
fn read_body(id: u16, body: &[u8], device: &DeviceId, decoded: &mut Decoded) -> Result<u8, DecodeError> {
    decoded.kind = match id {
        LOCATION => {
            location_item(Cursor::over(body), Flags::default(), device, 0, decoded);
            "location"
        }
        LOCATION_ANSWER => {
            let mut cursor = Cursor::over(body);
            cursor.u16("serial of the query")?;
            location_item(cursor, Flags::POLLED, device, 0, decoded);
            "location_answer"
        }
        BATCH => {
            batch(body, device, decoded)?;
            "batch"
        }
        REGISTER => register(body)?,
        AUTHENTICATE => "authenticate",
        HEARTBEAT => "heartbeat",
        LOG_OUT => "log_out",
        TERMINAL_ACK => "terminal_ack",
        _ => {
            decoded.kind = "other";
            return Ok(NOT_SUPPORTED);
        }
    };
    Ok(DONE)
}

fn contact_of(id: u16) -> SignalKind {
    if id == LOG_OUT { SignalKind::LogOut } else { SignalKind::Contact }
}

/// Checks that the fixed part of a registration is there; what it says is for the roster.
fn register(body: &[u8]) -> Result<&'static str, DecodeError> {
    // 25, 37 and 76 bytes before the plate in 2011, 2013 and 2019: anything shorter is none of them.
    if body.len() < 25 { Err(DecodeError::Truncated { field: "register" }) } else { Ok("register") }
}

/// 0x0704: count 2, type 1 (1 = backlog), then length 2 and a location each. One bad item costs itself.
fn batch(body: &[u8], device: &DeviceId, decoded: &mut Decoded) -> Result<(), DecodeError> {
    let mut cursor = Cursor::over(body);
    let count = cursor.u16("item count")?;
    let flags = if cursor.u8("batch type")? == 1 { Flags::BACKLOG } else { Flags::default() };
    for place in 0..u32::from(count) {
        let length = cursor.u16("item length")?;
        let item = cursor.take("item", usize::from(length))?;
        location_item(Cursor::over(item), flags, device, place, decoded);
    }
    Ok(())
}

/// A location that cannot be used is a fault of its own: the frame is acknowledged all the same,
/// or the terminal would send it for ever.
fn location_item(cursor: Cursor<'_>, flags: Flags, device: &DeviceId, place: u32, decoded: &mut Decoded) {
    if let Err(error) = location(cursor, flags, device, place, decoded) {
        decoded.faults.push((place, error));
    }
}

/// 0x0200 body. What follows the first 28 bytes are items that never fail the frame: makers repeat
/// ids, use two-byte lengths and append fixed tails.
///
/// ```text
/// alarm 4 | status 4 | latitude 4 | longitude 4 (1e-6 degree, unsigned) | altitude 2 m | speed 2 (0.1 km/h) | direction 2 | BCD YYMMDDhhmmss, GMT+8
/// ```
fn location(
    mut cursor: Cursor<'_>,
    mut flags: Flags,
    device: &DeviceId,
    place: u32,
    decoded: &mut Decoded,
) -> Result<(), DecodeError> {
    let alarm = cursor.u32("alarm")?;
    let status = cursor.u32("status")?;
    let bit = |number: u32| status & 1u32.wrapping_shl(number) != 0;
    let signed = |value: u32, negative: bool| if negative { i64::from(value).wrapping_neg() } else { i64::from(value) };
    let lat_e6 = signed(cursor.u32("latitude")?, bit(2));
    let lon_e6 = signed(cursor.u32("longitude")?, bit(3));
    let altitude_m = cursor.u16("altitude")?;
    let speed_dkmh = cursor.u16("speed")?;
    let direction_deg = cursor.u16("direction")?;
    let time = bcd_time(cursor.array("time")?);

    let emergency = alarm & 1 != 0;
    if emergency {
        let delayed = flags.contains(Flags::BACKLOG);
        let kind = SignalKind::Emergency { delayed };
        decoded.signals.push(DeviceSignal { device: Some(device.clone()), kind, time });
    }
    let position = Position::from_e6(lat_e6, lon_e6)
        .ok_or_else(|| DecodeError::out_of_range("position", format!("{lat_e6}e-6, {lon_e6}e-6")))?;
    // Bit 1 says whether there is a fix; bit 5 says that a plug-in encrypted the coordinates.
    let fixed = bit(1) && !bit(5);
    flags.set_if(emergency, Flags::EMERGENCY);
    flags.set_if(fixed && position.is_null_island(), Flags::NULL_PLACE);
    flags.set_if(time.is_none(), Flags::TIME_MISSING);
    let valid = fixed && !position.is_null_island();
    let is_moving = speed_dkmh > 0;
    let course = f32::from(direction_deg);
    decoded.push(
        place,
        PositionReport {
            time,
            time_basis: if valid { TimeBasis::Gnss } else { TimeBasis::Device },
            valid,
            speed_mps: Some(f32::from(speed_dkmh) / 36.0),
            course_deg: (is_moving && direction_deg < 360).then_some(course),
            altitude: Some(Altitude { metres: altitude(altitude_m), reference: AltitudeRef::Msl }),
            flags,
            ..PositionReport::at(position)
        },
    );
    Ok(())
}

/// Unsigned by the standard; terminals below the sea send two's complement, so what is above 60,000 is negative.
fn altitude(raw: u16) -> f32 {
    if raw > 60_000 { f32::from(raw.cast_signed()) } else { f32::from(raw) }
}

/// `None` for the zero date before the first fix and for what is no date.
fn bcd_time([year, month, day, hour, minute, second]: [u8; 6]) -> Option<Timestamp> {
    let year = i16::from(bcd(year)?).checked_add(2000)?;
    let local = Timestamp::from_civil((year, bcd(month)?, bcd(day)?), (bcd(hour)?, bcd(minute)?, bcd(second)?), 0)?;
    Some(local.shifted_ms(LOCAL_OFFSET_MS.wrapping_neg()))
}

/// The code in a body of 0x0102: all of it, or since 2019 behind its length, before IMEI and software version. A length that
/// does not fit is none.
fn shown_code(version: Option<u8>, body: &[u8]) -> &[u8] {
    let counted = || {
        let (length, rest) = body.split_first()?;
        rest.get(..usize::from(*length))
    };
    let code = version.and_then(|_| counted()).unwrap_or(body);
    // Some terminals fill up with zeros.
    let end = code.iter().rposition(|byte| *byte != 0).map_or(0, |last| last.saturating_add(1));
    code.get(..end).unwrap_or(code)
}

/// The code that a terminal is given where none is checked.
fn auth_code(phone: &[u8]) -> Vec<u8> {
    let mut code = b"MUSTER".to_vec();
    code.extend(phone.iter().rev().take(3).flat_map(|byte| format!("{byte:02X}").into_bytes()));
    code
}

/// A message to the terminal, with the header and the phone bytes of what it answers.
fn downlink(message: &Envelope, id: u16, serial: u16, body: &[u8]) -> Vec<u8> {
    let mut properties = u16::try_from(body.len()).unwrap_or(0x03FF) & 0x03FF;
    if message.version.is_some() {
        properties |= 1 << 14;
    }
    let mut bytes = Vec::with_capacity(body.len().saturating_add(20));
    bytes.extend(id.to_be_bytes());
    bytes.extend(properties.to_be_bytes());
    bytes.extend(message.version);
    bytes.extend(&message.phone);
    bytes.extend(serial.to_be_bytes());
    bytes.extend(body);
    bytes.push(xor(&bytes));
    let mut frame = Vec::with_capacity(bytes.len().saturating_add(8));
    frame.push(0x7E);
    for byte in bytes {
        match byte {
            0x7E => frame.extend([0x7D, 0x02]),
            0x7D => frame.extend([0x7D, 0x01]),
            other => frame.push(other),
        }
    }
    frame.push(0x7E);
    frame
}

#[cfg(test)]
mod tests;
