//! Muster's own format: the messages of `proto/muster/v1/ingest.proto`, over TCP each preceded by its
//! length as a varint, over UDP one a datagram.
//!
//! Batches are numbered by their gateway: `batch_sequence` counts for the `gateway` of the message, or
//! of the last one before it that named one. 0 is how the format says nothing, so it is no number; nor
//! is a number that no gateway owns up to.

use bytes::Bytes;
use model::limits::{BATCH_REPORTS_MAX, MUSTER_FRAME_BYTES_MAX};
use model::{
    AccuracyBasis, Altitude, AltitudeRef, DeviceId, DeviceSignal, Flags, Position, PositionReport, SenderName,
    SignalKind, TimeBasis, Timestamp,
};
use prost::Message as _;

use crate::frame::{Datagram, Framing, length_delimited};
use crate::proto::{self, gateway_down, gateway_up};
use crate::{Context, DecodeError, Decoded, Decoder, FrameNumber, Modulus, Protocol, Reply, Transport};

/// The entry in the list of protocols.
pub const PROTOCOL: Protocol = Protocol {
    name: "muster",
    title: "Muster gateway batches",
    transports: &[Transport::Tcp, Transport::Udp],
    framing: Framing { bytes_max: MUSTER_FRAME_BYTES_MAX, cut: length_delimited, datagram: Datagram::OneMessage },
    decoder: || Box::new(Session::default()),
};

/// Most device names that one connection may introduce by columnar batches.
const SESSION_DEVICES_MAX: usize = 1 << 20;
/// In a columnar batch: not known.
const UNKNOWN: u32 = 65_535;

/// What is remembered between the messages of one connection. gRPC streams use it too.
#[derive(Debug, Default)]
pub struct Session {
    /// Names that the gateway numbered; `None` where the name is no name.
    devices: Vec<Option<DeviceId>>,
    /// The gateway that the last message with a name named; `None` where the name is no name.
    gateway: Option<SenderName>,
}

impl Decoder for Session {
    fn decode(&mut self, frame: &[u8], context: &Context, decoded: &mut Decoded) -> Result<(), DecodeError> {
        let up = proto::GatewayUp::decode(Bytes::copy_from_slice(frame))
            .map_err(|error| DecodeError::malformed("message", &error.to_string()))?;
        self.read(up, context, decoded)
    }
}

impl Session {
    /// Adds what one message says to `decoded`, which the caller has cleared.
    ///
    /// # Errors
    /// [`DecodeError`] when the message as a whole is refused. A bad report costs itself: it is in `decoded.faults`.
    pub fn read(&mut self, up: proto::GatewayUp, _: &Context, decoded: &mut Decoded) -> Result<(), DecodeError> {
        use gateway_up::Payload;
        if !up.gateway.is_empty() {
            self.gateway = SenderName::of_gateway(&up.gateway).ok();
        }
        decoded.number = up.payload.as_ref().and_then(|payload| self.number(payload));
        match up.payload {
            Some(Payload::Reports(batch)) => reports(batch, decoded),
            Some(Payload::Columns(batch)) => self.columns(&batch, decoded),
            Some(Payload::Presence(presence)) => {
                decoded.kind = "presence";
                let kind = if presence.present { SignalKind::Contact } else { SignalKind::LogOut };
                signal(&presence.device, kind, presence.time_ms, decoded)
            }
            Some(Payload::Emergency(emergency)) => {
                decoded.kind = "emergency";
                let kind = SignalKind::Emergency { delayed: emergency.backlog };
                signal(&emergency.device, kind, emergency.time_ms, decoded)
            }
            Some(Payload::Status(_)) => {
                decoded.kind = "status";
                Ok(())
            }
            Some(Payload::Heartbeat(_)) => {
                decoded.kind = "heartbeat";
                Ok(())
            }
            None => Err(DecodeError::Truncated { field: "payload" }),
        }
    }

    /// The number of a batch, where it has one and a gateway that gave it.
    fn number(&self, payload: &gateway_up::Payload) -> Option<FrameNumber> {
        let number = match payload {
            gateway_up::Payload::Reports(batch) => batch.batch_sequence,
            gateway_up::Payload::Columns(batch) => batch.batch_sequence,
            _ => 0,
        };
        let sender = self.gateway.as_ref().filter(|_| number != 0)?;
        Some(FrameNumber { sender: sender.clone(), number, modulus: Modulus::TwoTo64 })
    }

    fn columns(&mut self, batch: &proto::ColumnarBatch, decoded: &mut Decoded) -> Result<(), DecodeError> {
        decoded.kind = "columnar_batch";
        let count = batch.device_index.len();
        limit_reports(count)?;
        let columns = Columns::new(batch, count)?;
        if self.devices.len().saturating_add(batch.new_devices.len()) > SESSION_DEVICES_MAX {
            return Err(DecodeError::out_of_range("new_devices", batch.new_devices.len()));
        }
        self.devices.extend(batch.new_devices.iter().map(|name| device(name).ok()));
        for (place, row) in (0u32..).zip(columns) {
            let known = usize::try_from(row.device_index).ok().and_then(|at| self.devices.get(at));
            match known.cloned().flatten() {
                None => decoded.faults.push((place, DecodeError::out_of_range("device_index", row.device_index))),
                Some(device) => take(place, row.report(&device), device, decoded),
            }
        }
        decoded.replies.push(Reply::BatchAck { batch_sequence: batch.batch_sequence });
        Ok(())
    }
}

/// Gives the bytes of an acknowledgement on TCP: its length, then the message.
#[must_use]
pub fn ack(batch_sequence: u64, refused: Vec<proto::Refused>) -> Vec<u8> {
    let ack = proto::Ack { batch_sequence, refused };
    proto::GatewayDown { payload: Some(gateway_down::Payload::Ack(ack)) }.encode_length_delimited_to_vec()
}

/// Gives the bytes that say on TCP that a batch is not stored: their length, then the message.
#[must_use]
pub fn not_stored(batch: proto::NotStored) -> Vec<u8> {
    proto::GatewayDown { payload: Some(gateway_down::Payload::NotStored(batch)) }.encode_length_delimited_to_vec()
}

/// A device as a gateway names it: `protocol:id`, or an id of its own.
fn device(name: &str) -> Result<DeviceId, DecodeError> {
    let id = if name.contains(':') { DeviceId::new(name) } else { DeviceId::of(PROTOCOL.name, name) };
    id.map_err(|_| DecodeError::malformed("device", name))
}

fn limit_reports(count: usize) -> Result<(), DecodeError> {
    if count > BATCH_REPORTS_MAX { Err(DecodeError::out_of_range("reports in a batch", count)) } else { Ok(()) }
}

fn signal(name: &str, kind: SignalKind, time_ms: Option<i64>, decoded: &mut Decoded) -> Result<(), DecodeError> {
    let device = device(name)?;
    decoded.device = Some(device.clone());
    let time = time_ms.and_then(Timestamp::from_unix_ms);
    decoded.signals.push(DeviceSignal { device: Some(device), kind, time });
    Ok(())
}

fn reports(batch: proto::ReportBatch, decoded: &mut Decoded) -> Result<(), DecodeError> {
    decoded.kind = "batch";
    limit_reports(batch.reports.len())?;
    for (place, report) in (0u32..).zip(batch.reports) {
        match device(&report.device) {
            Err(error) => decoded.faults.push((place, error)),
            Ok(device) => take(place, row_of(&report).report(&device), device, decoded),
        }
    }
    decoded.replies.push(Reply::BatchAck { batch_sequence: batch.batch_sequence });
    Ok(())
}

/// Keeps a report, or its fault; the button rings either way.
fn take(place: u32, report: Result<PositionReport, (DecodeError, Flags)>, device: DeviceId, decoded: &mut Decoded) {
    let (flags, time) = match &report {
        Ok(report) => (report.flags, report.time),
        Err((_, flags)) => (*flags, None),
    };
    if flags.contains(Flags::EMERGENCY) {
        let kind = SignalKind::Emergency { delayed: flags.contains(Flags::BACKLOG) };
        decoded.signals.push(DeviceSignal { device: Some(device), kind, time });
    }
    match report {
        Ok(report) => decoded.push(place, report),
        Err((error, _)) => decoded.faults.push((place, error)),
    }
}

/// One report, from either kind of batch, before it is checked.
#[derive(Debug, Clone, Copy)]
struct Row {
    device_index: u32,
    time_ms: Option<i64>,
    time_basis: TimeBasis,
    lat_e7: i32,
    lon_e7: i32,
    has_fix: bool,
    speed_mps: Option<f32>,
    course_deg: Option<f32>,
    altitude: Option<Altitude>,
    accuracy_m: Option<f32>,
    flags: Flags,
}

impl Row {
    fn report(self, device: &DeviceId) -> Result<PositionReport, (DecodeError, Flags)> {
        let fault = |field, value: String| (DecodeError::out_of_range(field, value), self.flags);
        let position = Position::from_e7(self.lat_e7, self.lon_e7)
            .ok_or_else(|| fault("position", format!("{}e-7, {}e-7", self.lat_e7, self.lon_e7)))?;
        let checked = |field, value: Option<f32>, max: f32| match value {
            Some(number) if !(0.0..=max).contains(&number) => Err(fault(field, number.to_string())),
            other => Ok(other),
        };
        let speed_mps = checked("speed_mps", self.speed_mps, 1_000.0)?;
        let course_deg = checked("course_deg", self.course_deg, 360.0)?.map(|course| course % 360.0);
        let accuracy_m = checked("accuracy_m", self.accuracy_m, 10_000_000.0)?;
        if let Some(altitude) = self.altitude.filter(|altitude| !(-20_000.0..=100_000.0).contains(&altitude.metres)) {
            return Err(fault("altitude_m", altitude.metres.to_string()));
        }
        let time = match self.time_ms {
            None => None,
            Some(ms) => Some(Timestamp::from_unix_ms(ms).ok_or_else(|| fault("time_ms", ms.to_string()))?),
        };
        let mut flags = self.flags;
        flags.set_if(self.has_fix && position.is_null_island(), Flags::NULL_PLACE);
        Ok(PositionReport {
            device: Some(device.clone()),
            time,
            time_basis: self.time_basis,
            position,
            valid: self.has_fix && !position.is_null_island(),
            speed_mps,
            course_deg: course_deg.filter(|_| speed_mps != Some(0.0)),
            altitude: self.altitude,
            accuracy_m,
            accuracy_basis: accuracy_m.map(|_| AccuracyBasis::Gateway),
            flags,
        })
    }
}

fn row_of(report: &proto::Report) -> Row {
    let mut flags = Flags::default();
    flags.set_if(report.emergency, Flags::EMERGENCY);
    flags.set_if(report.backlog, Flags::BACKLOG);
    let reference = match report.altitude_ref() {
        proto::AltitudeRef::Unspecified | proto::AltitudeRef::Msl => AltitudeRef::Msl,
        proto::AltitudeRef::Ellipsoid => AltitudeRef::Ellipsoid,
        proto::AltitudeRef::Pressure => AltitudeRef::Pressure,
        proto::AltitudeRef::Agl => AltitudeRef::Agl,
    };
    Row {
        device_index: 0,
        time_ms: report.time_ms,
        time_basis: match report.time_basis() {
            _ if report.time_ms.is_none() => TimeBasis::Receipt,
            proto::TimeBasis::Unspecified | proto::TimeBasis::Device => TimeBasis::Device,
            proto::TimeBasis::Gnss => TimeBasis::Gnss,
            proto::TimeBasis::Gateway => TimeBasis::Gateway,
            proto::TimeBasis::Receipt => TimeBasis::Receipt,
        },
        lat_e7: report.lat_e7,
        lon_e7: report.lon_e7,
        has_fix: !report.no_fix,
        speed_mps: report.speed_mps,
        course_deg: report.course_deg,
        altitude: report.altitude_m.map(|metres| Altitude { metres, reference }),
        accuracy_m: report.accuracy_m,
        flags,
    }
}

/// Walks the columns of a batch row by row, adding up the differences.
struct Columns<'a> {
    batch: &'a proto::ColumnarBatch,
    at: usize,
    time_ms: i64,
    lat_e7: i32,
    lon_e7: i32,
}

impl<'a> Columns<'a> {
    fn new(batch: &'a proto::ColumnarBatch, count: usize) -> Result<Self, DecodeError> {
        let must = [("lat_e7_delta", batch.lat_e7_delta.len()), ("lon_e7_delta", batch.lon_e7_delta.len())];
        let may = [
            ("time_ms_delta", batch.time_ms_delta.len()),
            ("speed_cmps", batch.speed_cmps.len()),
            ("course_cdeg", batch.course_cdeg.len()),
            ("accuracy_dm", batch.accuracy_dm.len()),
            ("flags", batch.flags.len()),
        ];
        let wrong = must.into_iter().chain(may.into_iter().filter(|(_, found)| *found > 0));
        match wrong.into_iter().find(|(_, found)| *found != count) {
            Some((field, found)) => Err(DecodeError::Length { field, declared: count, found }),
            None => Ok(Self { batch, at: 0, time_ms: 0, lat_e7: 0, lon_e7: 0 }),
        }
    }
}

impl Iterator for Columns<'_> {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        let (batch, at) = (self.batch, self.at);
        let device_index = *batch.device_index.get(at)?;
        self.at = at.saturating_add(1);
        // Sums saturate: what a wrong difference makes is out of range, and refused as such.
        self.lat_e7 = self.lat_e7.saturating_add(*batch.lat_e7_delta.get(at)?);
        self.lon_e7 = self.lon_e7.saturating_add(*batch.lon_e7_delta.get(at)?);
        let delta = batch.time_ms_delta.get(at);
        self.time_ms = self.time_ms.saturating_add(delta.copied().unwrap_or(0));
        let known = |column: &[u32]| column.get(at).copied().filter(|value| *value != UNKNOWN);
        let scaled = |column: &[u32], step: f32| known(column).map(|value| value as f32 * step);
        let bits = batch.flags.get(at).copied().unwrap_or(0);
        let mut flags = Flags::default();
        flags.set_if(bits & 2 != 0, Flags::EMERGENCY);
        flags.set_if(bits & 4 != 0, Flags::BACKLOG);
        Some(Row {
            device_index,
            time_ms: delta.map(|_| self.time_ms),
            time_basis: if delta.is_some() { TimeBasis::Device } else { TimeBasis::Receipt },
            lat_e7: self.lat_e7,
            lon_e7: self.lon_e7,
            has_fix: bits & 1 == 0,
            speed_mps: scaled(&batch.speed_cmps, 0.01),
            course_deg: scaled(&batch.course_cdeg, 0.01),
            altitude: None,
            accuracy_m: scaled(&batch.accuracy_dm, 0.1),
            flags,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTEXT: Context = Context { received: Timestamp::MIN };

    fn report(device: &str, lat_e7: i32) -> proto::Report {
        proto::Report { device: device.into(), lat_e7, lon_e7: 1_083_000_000, ..Default::default() }
    }

    fn decode(session: &mut Session, payload: gateway_up::Payload) -> Result<Decoded, DecodeError> {
        let up = proto::GatewayUp { gateway: "g".into(), payload: Some(payload) };
        let mut decoded = Decoded::default();
        session.decode(&up.encode_to_vec(), &CONTEXT, &mut decoded).map(|()| decoded)
    }

    #[test]
    fn a_bad_report_costs_itself_and_is_named_by_its_place() {
        let mut reports =
            vec![report("cot:a", 228_000_000), report("cot:b", 910_000_000), report("", 1), report("x", 1)];
        reports[1].emergency = true;
        reports.push(proto::Report { speed_mps: Some(f32::NAN), ..report("y", 1) });
        let batch = proto::ReportBatch { batch_sequence: 7, reports };
        let decoded = decode(&mut Session::default(), gateway_up::Payload::Reports(batch)).unwrap();
        assert_eq!(decoded.report_places, [0, 3]);
        assert_eq!(decoded.reports[1].device.as_ref().unwrap().as_str(), "muster:x");
        let faults: Vec<_> = decoded.faults.iter().map(|(place, error)| (*place, error.reason())).collect();
        assert_eq!(faults, [(1, "position"), (2, "malformed"), (4, "out_of_range")]);
        assert_eq!(decoded.signals[0].kind, SignalKind::Emergency { delayed: false });
        assert_eq!(decoded.replies, [Reply::BatchAck { batch_sequence: 7 }]);
    }

    #[test]
    fn columns_say_the_same_as_rows() {
        let batch = proto::ColumnarBatch {
            batch_sequence: 1,
            new_devices: vec!["cot:a".into(), "cot:b".into()],
            device_index: vec![0, 1, 9],
            time_ms_delta: vec![1_000_000, 500, 0],
            lat_e7_delta: vec![228_000_000, -10, 0],
            lon_e7_delta: vec![1_083_000_000, 20, 0],
            speed_cmps: vec![100, UNKNOWN, UNKNOWN],
            ..Default::default()
        };
        let mut session = Session::default();
        let decoded = decode(&mut session, gateway_up::Payload::Columns(batch.clone())).unwrap();
        let second = &decoded.reports[1];
        assert_eq!(second.time, Timestamp::from_unix_ms(1_000_500));
        assert_eq!(second.position, Position::from_e7(227_999_990, 1_083_000_020).unwrap());
        assert_eq!((decoded.reports[0].speed_mps, second.speed_mps), (Some(1.0), None));
        assert_eq!(decoded.faults[0].1.to_string(), "`device_index` is 9, out of range");
        let short = proto::ColumnarBatch { new_devices: vec![], lon_e7_delta: vec![1], ..batch };
        let error = decode(&mut session, gateway_up::Payload::Columns(short)).unwrap_err();
        assert_eq!(error, DecodeError::Length { field: "lon_e7_delta", declared: 3, found: 1 });
    }

    #[test]
    fn a_batch_is_numbered_by_the_gateway_that_was_named_last() {
        let mut session = Session::default();
        let mut number = |gateway: &str, payload: gateway_up::Payload| {
            let mut decoded = Decoded::default();
            let up = proto::GatewayUp { gateway: gateway.into(), payload: Some(payload) };
            let _ = session.read(up, &CONTEXT, &mut decoded);
            decoded.number.map(|number| (number.sender.to_string(), number.number, number.modulus))
        };
        let rows =
            |batch_sequence| gateway_up::Payload::Reports(proto::ReportBatch { batch_sequence, reports: Vec::new() });
        let columns = |batch_sequence| {
            gateway_up::Payload::Columns(proto::ColumnarBatch { batch_sequence, ..Default::default() })
        };
        let of = |name: &str, number| Some((format!("gateway:{name}"), number, Modulus::TwoTo64));
        assert_eq!(number("", rows(1)), None, "nobody was named yet");
        assert_eq!(number("north", gateway_up::Payload::Heartbeat(proto::Heartbeat {})), None, "not numbered");
        assert_eq!(number("", rows(2)), of("north", 2));
        assert_eq!(number("", columns(u64::MAX)), of("north", u64::MAX));
        assert_eq!(number("", rows(0)), None, "absent and 0 are the same bytes");
        assert_eq!(number("south", columns(7)), of("south", 7));
        assert_eq!(number("not a name", rows(8)), None, "and not south's either");
        let refused = proto::ColumnarBatch { batch_sequence: 9, device_index: vec![0], ..Default::default() };
        assert_eq!(number("south", gateway_up::Payload::Columns(refused)), of("south", 9), "refused, but it arrived");
    }

    #[test]
    fn too_many_reports_are_refused_as_one() {
        let batch =
            proto::ReportBatch { batch_sequence: 1, reports: vec![proto::Report::default(); BATCH_REPORTS_MAX + 1] };
        let error = decode(&mut Session::default(), gateway_up::Payload::Reports(batch)).unwrap_err();
        assert_eq!(error.to_string(), "`reports in a batch` is 4097, out of range");
    }
}
