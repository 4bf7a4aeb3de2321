//! NMEA 0183 from radios and vehicle modems, with the ways in which they say who they are.
//!
//! ```text
//! [identity] $ talker type , field , ... [* XOR [, tail]] CR LF
//! ```
//! The talker has two letters, the type three; the XOR is over the characters between `$` and `*`, and
//! a sentence without one is taken. Fields are read by their commas, never by their width: units
//! leave out leading zeros and send more decimals than the standard shows.
//!
//! Nothing in a standard sentence says who sent it. These do, and what they say holds for the rest
//! of the session:
//!
//! | where | which |
//! |---|---|
//! | in front of the `$` | the last run of 15 letters or digits, else the longest of 6 to 32 with a digit in it |
//! | behind the checksum | the first field of 15 digits |
//! | a sentence of its own | `$PGID,` `$DEVID,` `$PSIWMDID,` `$PCPTI,` `$IMEI=` and, behind the place it signs, `$GPFID,` |
//! | a line of its own | `IMEI nnn`, or 8 to 20 hexadecimal digits |
//! | the first field | `$ID,` and `QZE,` |
//!
//! A place that came before anybody signed is given without a device, and the caller refuses it; the
//! last such one is given again, now signed, when a `$GPFID` follows.

use std::str::Split;

use model::limits::DEVICE_FRAME_BYTES_MAX;
use model::{Altitude, AltitudeRef, DeviceId, DeviceSignal, Flags, Position, PositionReport, SignalKind, Timestamp};

use crate::fix::{self, degrees_minutes_e7, time_of_day_ms};
use crate::frame::{Datagram, Framing, lines};
use crate::text::{self, digits, hex_byte, scaled, scaled_signed, xor};
use crate::{Context, DecodeError, Decoded, Decoder, Protocol, Transport};

/// The entry in the list of protocols.
pub const PROTOCOL: Protocol = Protocol {
    name: "nmea",
    title: "NMEA 0183 sentences",
    transports: &[Transport::Tcp, Transport::Udp],
    framing: Framing { bytes_max: DEVICE_FRAME_BYTES_MAX, cut: lines, datagram: Datagram::AsStream },
    decoder: || Box::new(Session::default()),
};

/// What is remembered between the lines of one session.
#[derive(Debug, Default)]
struct Session {
    device: Option<DeviceId>,
    /// How far the last dated fix lay after its receipt; it dates what has a time of day only.
    lead_ms: i64,
    /// The last report that came before anybody signed.
    unsigned: Option<PositionReport>,
}

impl Decoder for Session {
    fn decode(&mut self, frame: &[u8], context: &Context, decoded: &mut Decoded) -> Result<(), DecodeError> {
        let start = frame.iter().rposition(|byte| *byte == b'$');
        let (front, rest) = frame.split_at_checked(start.unwrap_or(0)).unwrap_or((&[], frame));
        let text =
            std::str::from_utf8(rest).map_err(|_| DecodeError::malformed("line", &rest.escape_ascii().to_string()))?;
        let place = match text.strip_prefix('$') {
            Some(sentence) => {
                let (content, tail) = checked(sentence)?;
                let signed = id_in_front(front).or_else(|| id_in_tail(tail));
                self.sentence(content, signed, context.received, decoded)
            }
            None => self.line(text.trim(), context.received, decoded),
        };
        decoded.device.clone_from(&self.device);
        if let Some(report) = place? {
            self.push(report, decoded);
        }
        if let Some(device) = &self.device {
            let contact = DeviceSignal { device: Some(device.clone()), kind: SignalKind::Contact, time: None };
            decoded.signals.push(contact);
        }
        Ok(())
    }
}

/// What a line says of a place.
type Place = Result<Option<PositionReport>, DecodeError>;

impl Session {
    /// A line without `$`.
    fn line(&mut self, line: &str, received: Timestamp, decoded: &mut Decoded) -> Place {
        if line.starts_with("QZE,") {
            return self.sentence(line, None, received, decoded);
        }
        let digits =
            line.bytes().all(|byte| byte.is_ascii_hexdigit()) && line.bytes().any(|byte| byte.is_ascii_digit());
        let id = match line.strip_prefix("IMEI") {
            Some(rest) => Some(rest.trim_start_matches([' ', ':', '='])),
            None => (digits && (8..=20).contains(&line.len())).then_some(line),
        };
        let id = id.ok_or_else(|| DecodeError::malformed("line", line))?;
        decoded.kind = "identity";
        self.sign(id)?;
        Ok(None)
    }

    /// What stands between `$` and `*`.
    fn sentence(&mut self, content: &str, signed: Option<&str>, received: Timestamp, decoded: &mut Decoded) -> Place {
        let end = content.find([',', '=']).unwrap_or(content.len());
        let (address, rest) = content.split_at_checked(end).unwrap_or((content, ""));
        let is_address = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
        if !(2..=12).contains(&address.len()) || !address.bytes().all(is_address) {
            return Err(DecodeError::malformed("sentence", content));
        }
        if let Some(id) = signed {
            self.sign(id)?;
        }
        let mut fields = Fields::over(rest.get(1..).unwrap_or_default());
        let (kind, place) = match address {
            "PGID" | "DEVID" | "PSIWMDID" | "PCPTI" | "IMEI" => {
                ("identity", self.sign(fields.take("identity")?).map(|()| None))
            }
            "GPFID" => ("identity", self.sign_what_came_before(fields.take("identity")?)),
            "PUBX" => ("pubx", self.pubx(&mut fields, received)),
            "TRCCR" => ("trccr", trccr(&mut fields, received)),
            "QZE" => ("qze", self.qze(&mut fields, received)),
            "ID" => ("wmcs", self.wmcs(&mut fields, received)),
            _ => match sentence_type(address) {
                "RMC" => ("rmc", self.rmc(&mut fields, received)),
                "GGA" => ("gga", self.gga(&mut fields, received)),
                "GLL" => ("gll", self.gll(&mut fields, received)),
                "RMA" => ("rma", rma(&mut fields)),
                "VTG" => ("vtg", Ok(None)),
                _ => ("other", Ok(None)),
            },
        };
        decoded.kind = kind;
        place
    }

    /// From now on the session belongs to `id`.
    fn sign(&mut self, id: &str) -> Result<(), DecodeError> {
        self.unsigned = None;
        if !self.device.as_ref().is_some_and(|device| text::is_called(device, PROTOCOL.name, id)) {
            self.device = Some(text::device(PROTOCOL.name, id)?);
        }
        Ok(())
    }

    /// `$GPFID`: signs the place before it as well.
    fn sign_what_came_before(&mut self, id: &str) -> Place {
        let unsigned = self.unsigned.take();
        self.sign(id).map(|()| unsigned)
    }

    fn push(&mut self, report: PositionReport, decoded: &mut Decoded) {
        self.unsigned = self.device.is_none().then_some(report);
        decoded.push(0, report);
    }

    /// A time of day with the day that puts it nearest to where the session's clock should be now:
    /// its last dated fix and the time since then; the receipt, if there was none.
    fn dated(&self, time: &str, received: Timestamp) -> Result<Option<Timestamp>, DecodeError> {
        if time.is_empty() {
            return Ok(None);
        }
        Ok(Some(fix::near(time_of_day_ms(time)?, received.shifted_ms(self.lead_ms))))
    }

    /// ```text
    /// time , A|V , lat , N|S , lon , E|W , knots , course , ddmmyy [, variation , E|W [, mode [, status]]]
    /// ```
    fn rmc(&mut self, fields: &mut Fields<'_>, received: Timestamp) -> Place {
        let time = fields.take("time")?;
        let is_fixed = is_fixed(fields.take("status")?)?;
        let place = fields.place()?;
        let speed_mps = speed(fields.take("speed")?, KNOT_MPS)?;
        let course_deg = decimal("course", fields.take("course")?)?;
        let date = fields.take("date")?;
        let mode = fields.after(2);
        let time = match (time, date) {
            ("", _) | (_, "") => self.dated(time, received)?,
            _ => fix::of_date(date, time_of_day_ms(time)?)?.map(|time| fix::unrolled(time, received)),
        };
        let Some(position) = place else { return Ok(None) };
        let report = fix::report(position, is_fixed && mode != "N", time, mode_flags(mode));
        // A receiver without a fix may never have known the date.
        if let (true, Some(time)) = (report.valid, time) {
            self.lead_ms = time.ms_since(received);
        }
        Ok(Some(fix::moving(report, speed_mps, course_deg)))
    }

    /// ```text
    /// time , lat , N|S , lon , E|W , quality , satellites , HDOP , altitude above the sea , M , ...
    /// ```
    fn gga(&self, fields: &mut Fields<'_>, received: Timestamp) -> Place {
        let time = self.dated(fields.take("time")?, received)?;
        let place = fields.place()?;
        let quality = match fields.take("quality")? {
            "" => 0,
            quality => digits(quality).ok_or_else(|| DecodeError::malformed("quality", quality))?,
        };
        fields.take("satellites")?;
        fields.take("dilution")?;
        let altitude = altitude(fields.take("altitude")?, AltitudeRef::Msl)?;
        fields.take("altitude unit")?;
        let Some(position) = place else { return Ok(None) };
        let mut flags = Flags::default();
        // 6 dead reckoning, 7 typed in by hand, 8 simulated.
        flags.set_if((6..=8).contains(&quality), Flags::ESTIMATED);
        Ok(Some(PositionReport { altitude, ..fix::report(position, quality != 0, time, flags) }))
    }

    /// ```text
    /// lat , N|S , lon , E|W , time , A|V [, mode]
    /// ```
    fn gll(&self, fields: &mut Fields<'_>, received: Timestamp) -> Place {
        let place = fields.place()?;
        let time = self.dated(fields.take("time")?, received)?;
        let is_fixed = is_fixed(fields.take("status")?)?;
        let mode = fields.after(0);
        let Some(position) = place else { return Ok(None) };
        Ok(Some(fix::report(position, is_fixed && mode != "N", time, mode_flags(mode))))
    }

    /// u-blox; only message 00 has a place. Its accuracy is left out: the confidence of it is not stated.
    ///
    /// ```text
    /// 00 , time , lat , N|S , lon , E|W , altitude above the ellipsoid , status , accuracy 2 , km/h , course , ...
    /// ```
    fn pubx(&self, fields: &mut Fields<'_>, received: Timestamp) -> Place {
        if fields.take("message")? != "00" {
            return Ok(None);
        }
        let time = self.dated(fields.take("time")?, received)?;
        let place = fields.place()?;
        let altitude = altitude(fields.take("altitude")?, AltitudeRef::Ellipsoid)?;
        let status = fields.take("status")?;
        fields.take("horizontal accuracy")?;
        fields.take("vertical accuracy")?;
        let speed_mps = speed(fields.take("speed")?, KMH_MPS)?;
        let course_deg = decimal("course", fields.take("course")?)?;
        let Some(position) = place else { return Ok(None) };
        let mut flags = Flags::default();
        flags.set_if(matches!(status, "DR" | "RK"), Flags::ESTIMATED);
        // NF: no fix; TT: time only.
        let report = fix::report(position, !matches!(status, "NF" | "TT"), time, flags);
        Ok(Some(fix::moving(PositionReport { altitude, ..report }, speed_mps, course_deg)))
    }

    /// Speed and course are left out: their units are not known.
    ///
    /// ```text
    /// identity , event , ddmmyyyy , hhmmss , degrees , degrees , speed , course , A|V , ...
    /// ```
    fn qze(&mut self, fields: &mut Fields<'_>, received: Timestamp) -> Place {
        self.sign(fields.take("identity")?)?;
        fields.take("event")?;
        let date = fields.take("date")?;
        let time = time_of_day_ms(fields.take("time")?)?;
        let position = fields.place_in_degrees()?;
        fields.take("speed")?;
        fields.take("course")?;
        let is_fixed = is_fixed(fields.take("status")?)?;
        let malformed = || DecodeError::malformed("date", date);
        let (day_month, year) = date.split_at_checked(4).ok_or_else(malformed)?;
        let (day, month) = day_month.split_at_checked(2).ok_or_else(malformed)?;
        let time = civil(year, month, day, time).ok_or_else(malformed)?.map(|time| fix::unrolled(time, received));
        Ok(Some(fix::report(position, is_fixed, time, Flags::default())))
    }

    /// Fields after their names, in no order we rely on; what is not read here is skipped.
    ///
    /// ```text
    /// identity , ... GPSEX , A|V , D , ddmmyy , T , hhmmss , La , degrees , N|S , Lo , degrees , E|W
    /// ```
    fn wmcs(&mut self, fields: &mut Fields<'_>, received: Timestamp) -> Place {
        self.sign(fields.take("identity")?)?;
        let (mut is_fix, mut date, mut time) = (false, "", "");
        let (mut lat_e7, mut lon_e7) = (None, None);
        while let Some(name) = fields.next() {
            match name {
                "GPSEX" => is_fix = is_fixed(fields.take("status")?)?,
                "D" => date = fields.take("date")?,
                "T" => time = fields.take("time")?,
                "La" => lat_e7 = Some(fields.signed_degrees("latitude", ["N", "S"])?),
                "Lo" => lon_e7 = Some(fields.signed_degrees("longitude", ["E", "W"])?),
                _ => {}
            }
        }
        let (Some(lat_e7), Some(lon_e7)) = (lat_e7, lon_e7) else { return Ok(None) };
        let position = fix::position(lat_e7, lon_e7)?;
        let time = fix::of_date(date, time_of_day_ms(time)?)?.map(|time| fix::unrolled(time, received));
        Ok(Some(fix::report(position, is_fix, time, Flags::default())))
    }
}

/// LORAN-C units send it; it has no time at all.
///
/// ```text
/// A|V , lat , N|S , lon , E|W , difference A , difference B , knots , course , ...
/// ```
fn rma(fields: &mut Fields<'_>) -> Place {
    let is_fixed = is_fixed(fields.take("status")?)?;
    let place = fields.place()?;
    fields.take("difference a")?;
    fields.take("difference b")?;
    let speed_mps = speed(fields.take("speed")?, KNOT_MPS)?;
    let course_deg = decimal("course", fields.take("course")?)?;
    let report = |position| fix::report(position, is_fixed, None, Flags::default());
    Ok(place.map(|position| fix::moving(report(position), speed_mps, course_deg)))
}

/// Speed, course and altitude follow, in units that are not known: they are left out.
///
/// ```text
/// yyyymmddhhmmss.sss , A|V , degrees , degrees , ...
/// ```
fn trccr(fields: &mut Fields<'_>, received: Timestamp) -> Place {
    let stamp = fields.take("time")?;
    let is_fixed = is_fixed(fields.take("status")?)?;
    let position = fields.place_in_degrees()?;
    let malformed = || DecodeError::malformed("time", stamp);
    let (date, time) = stamp.split_at_checked(8).ok_or_else(malformed)?;
    let (year, month_day) = date.split_at_checked(4).ok_or_else(malformed)?;
    let (month, day) = month_day.split_at_checked(2).ok_or_else(malformed)?;
    let time = civil(year, month, day, time_of_day_ms(time)?).ok_or_else(malformed)?;
    Ok(Some(fix::report(position, is_fixed, time.map(|time| fix::unrolled(time, received)), Flags::default())))
}

/// `None` for what are no digits, `Some(None)` for what is no date.
fn civil(year: &str, month: &str, day: &str, time_of_day_ms: i64) -> Option<Option<Timestamp>> {
    let year = i16::try_from(digits(year)?).ok()?;
    let pair = |text: &str| i8::try_from(digits(text)?).ok();
    Some(fix::of_civil(year, pair(month)?, pair(day)?, time_of_day_ms))
}

/// Takes the checksum off a sentence: gives what is before it, and the tail behind it.
fn checked(sentence: &str) -> Result<(&str, &str), DecodeError> {
    let Some((content, rest)) = sentence.split_once('*') else { return Ok((sentence.trim(), "")) };
    let (content, rest) = (content.trim_end(), rest.trim());
    let (digits, tail) = rest.split_at_checked(2).ok_or(DecodeError::Truncated { field: "checksum" })?;
    let found = hex_byte(digits).ok_or_else(|| DecodeError::malformed("checksum", rest))?;
    let computed = xor(content.as_bytes());
    if found == computed { Ok((content, tail)) } else { Err(DecodeError::Checksum { found, computed }) }
}

/// The type of a standard sentence, whoever talks. A `P` in front makes a sentence a maker's own:
/// Garmin's `PGRMC` is no RMC.
fn sentence_type(address: &str) -> &str {
    match address.split_at_checked(2) {
        Some((talker, kind)) if kind.len() == 3 && !talker.starts_with('P') => kind,
        _ => "",
    }
}

/// Who signed in front of the `$`: `123456789`, `990000561287964,`, `4711/022789000688081/`. Line noise is nobody.
fn id_in_front(front: &[u8]) -> Option<&str> {
    let front = std::str::from_utf8(front).ok().filter(|front| front.is_ascii() && !front.contains('$'))?;
    let is_id = |run: &&str| (6..=32).contains(&run.len()) && run.bytes().any(|byte| byte.is_ascii_digit());
    let runs = || front.split(|c: char| !c.is_ascii_alphanumeric()).filter(is_id);
    runs().rfind(|run| run.len() == IMEI_DIGITS).or_else(|| runs().max_by_key(|run| run.len()))
}

/// Who signed behind the checksum: `,11,865733027593268,1,090,086`.
fn id_in_tail(tail: &str) -> Option<&str> {
    let is_imei = |field: &&str| field.len() == IMEI_DIGITS && field.bytes().all(|byte| byte.is_ascii_digit());
    tail.split(',').find(is_imei)
}

const IMEI_DIGITS: usize = 15;
const KNOT_MPS: f64 = 1_852.0 / 3_600.0;
const KMH_MPS: f64 = 1.0 / 3.6;

/// `D` is a fix with corrections.
fn is_fixed(status: &str) -> Result<bool, DecodeError> {
    match status {
        "A" | "D" => Ok(true),
        "V" => Ok(false),
        other => Err(DecodeError::malformed("status", other)),
    }
}

/// Mode of NMEA 2.3: E dead reckoning, M typed in by hand, S simulated.
fn mode_flags(mode: &str) -> Flags {
    if matches!(mode, "E" | "M" | "S") { Flags::ESTIMATED } else { Flags::default() }
}

fn speed(text: &str, unit_mps: f64) -> Result<Option<f32>, DecodeError> {
    if text.is_empty() {
        return Ok(None);
    }
    let value_e6 = scaled(text, 6).ok_or_else(|| DecodeError::malformed("speed", text))?;
    fix::speed_mps(value_e6 as f64 * unit_mps / 1e6).map(Some)
}

fn decimal(field: &'static str, text: &str) -> Result<Option<f32>, DecodeError> {
    if text.is_empty() {
        return Ok(None);
    }
    let value_e6 = scaled_signed(text, 6).ok_or_else(|| DecodeError::malformed(field, text))?;
    Ok(Some((value_e6 as f64 / 1e6) as f32))
}

fn altitude(text: &str, reference: AltitudeRef) -> Result<Option<Altitude>, DecodeError> {
    let Some(metres) = decimal("altitude", text)? else { return Ok(None) };
    let is_altitude = (-20_000.0..=100_000.0).contains(&metres);
    if is_altitude {
        Ok(Some(Altitude { metres, reference }))
    } else {
        Err(DecodeError::out_of_range("altitude_m", text))
    }
}

/// Reads the fields of a sentence in order, without the blanks around them.
#[derive(Debug)]
struct Fields<'a> {
    rest: Split<'a, char>,
}

impl<'a> Fields<'a> {
    fn over(text: &'a str) -> Self {
        Self { rest: text.split(',') }
    }

    fn next(&mut self) -> Option<&'a str> {
        self.rest.next().map(str::trim)
    }

    /// The next field, which may be empty but must be there.
    fn take(&mut self, field: &'static str) -> Result<&'a str, DecodeError> {
        self.next().ok_or(DecodeError::Truncated { field })
    }

    /// The field behind `skipped` more; empty when it is not there.
    fn after(&mut self, skipped: usize) -> &'a str {
        self.rest.nth(skipped).map_or("", str::trim)
    }

    /// Latitude and longitude in degrees and minutes; `None` when both are empty.
    fn place(&mut self) -> Result<Option<Position>, DecodeError> {
        let (lat, north) = (self.take("latitude")?, self.take("hemisphere")?);
        let (lon, east) = (self.take("longitude")?, self.take("hemisphere")?);
        if lat.is_empty() && lon.is_empty() {
            return Ok(None);
        }
        let lat_e7 = signed(degrees_minutes_e7("latitude", lat)?, north, ["N", "S"])?;
        let lon_e7 = signed(degrees_minutes_e7("longitude", lon)?, east, ["E", "W"])?;
        fix::position(lat_e7, lon_e7).map(Some)
    }

    /// Latitude and longitude in degrees with a sign.
    fn place_in_degrees(&mut self) -> Result<Position, DecodeError> {
        let mut degrees_e7 = |field| {
            let text = self.take(field)?;
            scaled_signed(text, 7).ok_or_else(|| DecodeError::malformed(field, text))
        };
        let (lat_e7, lon_e7) = (degrees_e7("latitude")?, degrees_e7("longitude")?);
        fix::position(lat_e7, lon_e7)
    }

    /// Degrees in 1e-7, and the hemisphere behind them.
    fn signed_degrees(&mut self, field: &'static str, hemispheres: [&str; 2]) -> Result<i64, DecodeError> {
        let text = self.take(field)?;
        let degrees_e7 = scaled(text, 7).ok_or_else(|| DecodeError::malformed(field, text))?;
        signed(degrees_e7, self.take("hemisphere")?, hemispheres)
    }
}

fn signed(magnitude: i64, hemisphere: &str, [plus, minus]: [&str; 2]) -> Result<i64, DecodeError> {
    match hemisphere {
        letter if letter == plus => Ok(magnitude),
        letter if letter == minus => Ok(magnitude.saturating_neg()),
        other => Err(DecodeError::malformed("hemisphere", other)),
    }
}

#[cfg(test)]
mod tests;
