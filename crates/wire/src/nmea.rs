//! NMEA 0183 from vehicle modems and radios, and the ways in which they say who they are.
//!
//! ```text
//! $ talker type , fields ... * XOR      $GPRMC,064411.000,A,3717.240078,N,00603.046984,W,0.000,1,010313,,,A*6C
//! ```
//! The sentences carry no identity: it is glued in front, or a line of its own comes before (or after) them.

use model::limits::DEVICE_FRAME_BYTES_MAX;
use model::{
    Altitude, AltitudeRef, DeviceId, DeviceSignal, Flags, Position, PositionReport, SignalKind, TimeBasis, Timestamp,
};

use crate::civil::nearest_day;
use crate::frame::{Datagram, Framing, lines};
use crate::text::xor;
use crate::{Context, DecodeError, Decoded, Decoder, Protocol, Transport};

/// The entry in the list of protocols.
pub const PROTOCOL: Protocol = Protocol {
    name: "nmea",
    title: "NMEA 0183 sentences",
    transports: &[Transport::Tcp, Transport::Udp],
    framing: Framing { bytes_max: DEVICE_FRAME_BYTES_MAX, cut: lines, datagram: Datagram::AsStream },
    decoder: || Box::new(Session::default()),
};

const KNOT_MPS: f32 = 1_852.0 / 3_600.0;
/// Satellite receivers count weeks to 1024: a date this much too early is one turn behind.
const WEEK_TURN_MS: i64 = 1_024 * 7 * 86_400_000;
/// An RMC older than this has turned (19 years; units of 2009 that report the truth stay as they are).
const TURNED_MS: i64 = 19 * 365 * 86_400_000;

/// What is remembered between the lines of one connection.
#[derive(Debug, Default)]
struct Session {
    device: Option<DeviceId>,
    /// Time of the last RMC: it dates sentences that have no date.
    dated: Option<Timestamp>,
    /// The last place that nobody's name went with; an identity that comes after it claims it.
    unnamed: Option<PositionReport>,
}

impl Decoder for Session {
    fn decode(&mut self, frame: &[u8], context: &Context, decoded: &mut Decoded) -> Result<(), DecodeError> {
        let line = std::str::from_utf8(frame).map_err(|_| DecodeError::malformed("line", "not ASCII"))?.trim();
        if !line.is_ascii() {
            return Err(DecodeError::malformed("line", line));
        }
        match line.find('$') {
            None => self.identity_line(line, decoded)?,
            Some(at) => {
                let (front, sentence) = line.split_at_checked(at).unwrap_or(("", line));
                if let Some(id) = glued_id(front) {
                    self.device = Some(device(id)?);
                }
                self.sentence(sentence, context, decoded)?;
            }
        }
        decoded.device.clone_from(&self.device);
        if self.device.is_some() {
            let device = self.device.clone();
            decoded.signals.push(DeviceSignal { device, kind: SignalKind::Contact, time: None });
        }
        Ok(())
    }
}

impl Session {
    /// `$PGID,..`, `$DEVID,..`, `$IMEI=..`, `$PCPTI,..`, `$GPFID,ID..`: an identity; else a sentence.
    fn sentence(&mut self, sentence: &str, context: &Context, decoded: &mut Decoded) -> Result<(), DecodeError> {
        let (content, tail) = checked(sentence)?;
        let mut fields = content.split([',', '=']);
        let word = fields.next().unwrap_or_default();
        let id = match word {
            "PGID" | "DEVID" | "IMEI" => fields.next().map(|id| id.trim_start_matches("0x")),
            "PCPTI" => fields.next().and_then(|name| name.split(' ').next_back()),
            "GPFID" => fields.next().map(|id| id.strip_prefix("ID").unwrap_or(id)),
            _ => None,
        };
        if let Some(id) = id {
            return self.identify(id, decoded);
        }
        if let Some(id) = tail_id(tail) {
            self.device = Some(device(id)?);
        }
        let fields: Vec<&str> = content.split(',').collect();
        let kind = word.get(2..).unwrap_or_default();
        let report = match kind {
            "RMC" => self.rmc(&fields, context)?,
            "GGA" => self.gga(&fields, context)?,
            "GLL" => self.gll(&fields, context)?,
            _ => {
                decoded.kind = "other";
                return Ok(());
            }
        };
        decoded.kind = match kind {
            "RMC" => "rmc",
            "GGA" => "gga",
            _ => "gll",
        };
        let Some(report) = report else { return Ok(()) };
        self.unnamed = if self.device.is_none() { Some(report.clone()) } else { None };
        decoded.push(0, PositionReport { device: self.device.clone(), ..report });
        Ok(())
    }

    /// An identity claims the place that came before it without one.
    fn identify(&mut self, id: &str, decoded: &mut Decoded) -> Result<(), DecodeError> {
        decoded.kind = "identity";
        self.device = Some(device(id)?);
        if let Some(report) = self.unnamed.take() {
            decoded.push(0, PositionReport { device: self.device.clone(), ..report });
        }
        Ok(())
    }

    /// A line without a sentence: `IMEI 351467108700000`, or a bare number of at least eight digits.
    fn identity_line(&mut self, line: &str, decoded: &mut Decoded) -> Result<(), DecodeError> {
        let id = line.strip_prefix("IMEI").map_or(line, str::trim);
        let is_number = id.len() >= 8 && id.bytes().all(|digit| digit.is_ascii_hexdigit());
        if is_number { self.identify(id, decoded) } else { Err(DecodeError::malformed("line", line)) }
    }

    /// RMC: time, status, latitude, N/S, longitude, E/W, knots, course, date ddmmyy. An empty place is none.
    fn rmc(&mut self, fields: &[&str], context: &Context) -> Result<Option<PositionReport>, DecodeError> {
        let date = date(field(fields, 9))?;
        let time = match (date, ms_of_day(field(fields, 1))?) {
            (Some(date), Some(ms)) => Some(turned(date.shifted_ms(ms), context.received)),
            _ => None,
        };
        self.dated = time.or(self.dated);
        let Some(position) = place(fields, 3)? else { return Ok(None) };
        let speed_mps = number("speed", field(fields, 7))?.map(|knots| knots * KNOT_MPS);
        let course_deg = number("course", field(fields, 8))?.filter(|_| speed_mps.is_some_and(|speed| speed > 0.0));
        let mut report = fix(position, field(fields, 2) == "A", time);
        report.speed_mps = speed_mps;
        report.course_deg = course_deg.map(|course| course.rem_euclid(360.0));
        Ok(Some(report))
    }

    /// GGA: time, latitude, N/S, longitude, E/W, quality, satellites, HDOP, altitude. Its date is the last RMC's.
    fn gga(&self, fields: &[&str], context: &Context) -> Result<Option<PositionReport>, DecodeError> {
        let Some(position) = place(fields, 2)? else { return Ok(None) };
        let quality = field(fields, 6);
        let mut report = fix(position, !matches!(quality, "" | "0"), self.undated(field(fields, 1), context)?);
        report.flags.set_if(quality == "6", Flags::ESTIMATED);
        let altitude = number("altitude", field(fields, 9))?;
        report.altitude = altitude.map(|metres| Altitude { metres, reference: AltitudeRef::Msl });
        Ok(Some(report))
    }

    /// GLL: latitude, N/S, longitude, E/W, time, status.
    fn gll(&self, fields: &[&str], context: &Context) -> Result<Option<PositionReport>, DecodeError> {
        let Some(position) = place(fields, 1)? else { return Ok(None) };
        Ok(Some(fix(position, field(fields, 6) == "A", self.undated(field(fields, 5), context)?)))
    }

    /// A time of day on the day nearest to the last RMC, or to the receipt where there was none.
    fn undated(&self, text: &str, context: &Context) -> Result<Option<Timestamp>, DecodeError> {
        let anchor = self.dated.unwrap_or(context.received);
        Ok(ms_of_day(text)?.map(|ms| nearest_day(ms, anchor)))
    }
}

fn fix(position: Position, valid: bool, time: Option<Timestamp>) -> PositionReport {
    let is_null = valid && position.is_null_island();
    let mut report = PositionReport::at(position);
    report.valid = valid && !is_null;
    report.time = time;
    report.time_basis = if report.valid { TimeBasis::Gnss } else { TimeBasis::Device };
    report.flags.set_if(is_null, Flags::NULL_PLACE);
    report.flags.set_if(time.is_none(), Flags::TIME_MISSING);
    report
}

/// A date one or more turns of the week counter too early, set right.
fn turned(time: Timestamp, received: Timestamp) -> Timestamp {
    if received.ms_since(time) > TURNED_MS { time.shifted_ms(WEEK_TURN_MS) } else { time }
}

/// The content between `$` and `*`, and what follows the checksum. No `*` is no checksum, and is accepted:
/// real modems leave it out.
fn checked(sentence: &str) -> Result<(&str, &str), DecodeError> {
    let content = sentence.strip_prefix('$').unwrap_or(sentence);
    let Some((content, after)) = content.split_once('*') else { return Ok((content, "")) };
    let after = after.trim_start();
    let digits = after.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(after.len()).min(2);
    let (sum, tail) = after.split_at_checked(digits).unwrap_or((after, ""));
    let found = u8::from_str_radix(sum, 16).map_err(|_| DecodeError::malformed("checksum", after))?;
    // Some put blanks around the `*`, outside of what they summed.
    let computed = [content, content.trim_end()].map(|content| xor(content.as_bytes()));
    match computed.contains(&found) {
        true => Ok((content.trim_end(), tail)),
        false => Err(DecodeError::Checksum { found, computed: xor(content.as_bytes()) }),
    }
}

/// `123456789$..`, `990000561287964,$..`, `4711/022789000688081/$..`: the last element is the device.
fn glued_id(front: &str) -> Option<&str> {
    front.trim_end_matches([',', '/']).rsplit(['/', ',']).next().filter(|id| !id.is_empty())
}

/// `*71,11,865733027593268,1,090,086`: the field of 15 digits is the IMEI.
fn tail_id(tail: &str) -> Option<&str> {
    tail.split(',').find(|field| field.len() == 15 && field.bytes().all(|digit| digit.is_ascii_digit()))
}

fn device(id: &str) -> Result<DeviceId, DecodeError> {
    DeviceId::of(PROTOCOL.name, id).map_err(|_| DecodeError::malformed("identity", id))
}

fn field<'a>(fields: &[&'a str], at: usize) -> &'a str {
    fields.get(at).map_or("", |field| field.trim())
}

fn number(name: &'static str, text: &str) -> Result<Option<f32>, DecodeError> {
    if text.is_empty() {
        return Ok(None);
    }
    let number = text.parse::<f32>().ok().filter(|number| number.is_finite());
    number.map(Some).ok_or_else(|| DecodeError::malformed(name, text))
}

/// Latitude, N/S, longitude, E/W from field `at` on; `None` when both are empty.
fn place(fields: &[&str], at: usize) -> Result<Option<Position>, DecodeError> {
    let from = |offset: usize| field(fields, at.saturating_add(offset));
    if from(0).is_empty() && from(2).is_empty() {
        return Ok(None);
    }
    let lat_e7 = degrees_e7("latitude", from(0), from(1), ["N", "S"])?;
    let lon_e7 = degrees_e7("longitude", from(2), from(3), ["E", "W"])?;
    let range = || DecodeError::out_of_range("position", format!("{lat_e7}e-7, {lon_e7}e-7"));
    let (Ok(lat), Ok(lon)) = (i32::try_from(lat_e7), i32::try_from(lon_e7)) else { return Err(range()) };
    Position::from_e7(lat, lon).map(Some).ok_or_else(range)
}

/// `dddmm.mmmm`, exact to 1e-7 degree: the last two digits before the point are minutes, all before
/// them degrees; widths vary between makers.
fn degrees_e7(name: &'static str, text: &str, letter: &str, [plus, minus]: [&str; 2]) -> Result<i64, DecodeError> {
    let bad = || DecodeError::malformed(name, text);
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let all_digits = |text: &str| text.bytes().all(|digit| digit.is_ascii_digit());
    if whole.is_empty() || whole.len() > 5 || !all_digits(whole) || !all_digits(fraction) {
        return Err(bad());
    }
    let (degrees, minutes) = whole.split_at_checked(whole.len().saturating_sub(2)).ok_or_else(bad)?;
    let degrees: i64 = if degrees.is_empty() { 0 } else { degrees.parse().map_err(|_| bad())? };
    let minutes: i64 = minutes.parse().map_err(|_| bad())?;
    if minutes >= 60 {
        return Err(DecodeError::out_of_range(name, text));
    }
    // Nine decimals of a minute are far below 1e-7 degree.
    let padded: String = fraction.chars().chain(std::iter::repeat('0')).take(9).collect();
    let nano_minutes = minutes.saturating_mul(1_000_000_000).saturating_add(padded.parse::<i64>().map_err(|_| bad())?);
    // 1e-9 minute is 1/6 of 1e-9 * 100 of 1e-7 degree; half up.
    let e7 = degrees.saturating_mul(10_000_000).saturating_add(nano_minutes.saturating_add(3_000).wrapping_div(6_000));
    match letter {
        letter if letter == plus => Ok(e7),
        letter if letter == minus => Ok(e7.saturating_neg()),
        other => Err(DecodeError::malformed("hemisphere", other)),
    }
}

/// `hhmmss` with decimals, as milliseconds after midnight; `None` when empty.
fn ms_of_day(text: &str) -> Result<Option<i64>, DecodeError> {
    if text.is_empty() {
        return Ok(None);
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let [hour, minute, second] = pairs("time", whole)?;
    if hour > 23 || minute > 59 || second > 60 {
        return Err(DecodeError::out_of_range("time", text));
    }
    let padded: String = fraction.chars().chain(std::iter::repeat('0')).take(3).collect();
    let ms: i64 = padded.parse().map_err(|_| DecodeError::malformed("time", text))?;
    let seconds = hour.saturating_mul(3_600).saturating_add(minute.saturating_mul(60)).saturating_add(second);
    Ok(Some(seconds.saturating_mul(1_000).saturating_add(ms)))
}

/// `ddmmyy` as midnight UTC: 80 to 99 are of the last century. `None` when empty.
fn date(text: &str) -> Result<Option<Timestamp>, DecodeError> {
    if text.is_empty() {
        return Ok(None);
    }
    let [day, month, year] = pairs("date", text)?;
    let century = if year >= 80 { 1900 } else { 2000 };
    let parts = (i16::try_from(year.saturating_add(century)), i8::try_from(month), i8::try_from(day));
    let (Ok(year), Ok(month), Ok(day)) = parts else { return Err(DecodeError::out_of_range("date", text)) };
    let midnight = Timestamp::from_civil((year, month, day), (0, 0, 0), 0);
    midnight.map(Some).ok_or_else(|| DecodeError::out_of_range("date", text))
}

/// Three pairs of digits.
fn pairs(name: &'static str, text: &str) -> Result<[i64; 3], DecodeError> {
    let mut columns = crate::text::Columns::over(text);
    let mut next = || columns.unsigned(name, 2).map(i64::from);
    let three = [next()?, next()?, next()?];
    if columns.rest().is_empty() { Ok(three) } else { Err(DecodeError::malformed(name, text)) }
}

#[cfg(test)]
mod tests;
