//! Muster's own format: the messages of `proto/muster/v1/ingest.proto`, over TCP each preceded by its
//! length as a varint, over UDP one a datagram.
//!
//! Batches are numbered by their gateway: `batch_sequence` counts for the `gateway` of the message, or
//! of the last one before it that named one. 0 is how the format says nothing, so it is no number; nor
//! is a number that no gateway owns up to.

mod columns;
mod row;

use model::limits::{BATCH_REPORTS_MAX, MUSTER_FRAME_BYTES_MAX, SESSION_DEVICES_MAX};
use model::{
    DeviceId, DeviceSignal, Flags, PositionReport, SenderName, SignalKind, Status, TerminalStatus, Timestamp, UnitName,
};
use prost::Message as _;

use self::columns::{Columns, Packed};
use self::row::{Row, row_of};

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

/// The kind of a columnar batch.
const COLUMNAR_BATCH: &str = "columnar_batch";

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
        if self.packed(frame, decoded).is_some() {
            return Ok(());
        }
        self.unpacked(frame, context, decoded)
    }

    fn devices(&self) -> &[Option<DeviceId>] {
        &self.devices
    }

    fn gateway(&self) -> Option<&SenderName> {
        self.gateway.as_ref()
    }

    fn forget_numbers(&mut self) {
        self.devices = Vec::new();
    }

    fn last_word(&self, detail: &str) -> Option<Vec<u8>> {
        let fault = proto::Fault { detail: detail.to_owned() };
        Some(proto::GatewayDown { payload: Some(gateway_down::Payload::Fault(fault)) }.encode_length_delimited_to_vec())
    }
}

impl Session {
    /// Adds what one message says to `decoded`, which the caller has cleared.
    ///
    /// # Errors
    /// [`DecodeError`] when the message as a whole is refused. A bad report costs itself: it is in `decoded.faults`.
    pub fn read(&mut self, up: proto::GatewayUp, _: &Context, decoded: &mut Decoded) -> Result<(), DecodeError> {
        use gateway_up::Payload;
        self.name(&up.gateway);
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
            Some(Payload::Status(change)) => {
                decoded.kind = "status";
                decoded.statuses.push(status(change)?);
                Ok(())
            }
            Some(Payload::Heartbeat(_)) => {
                decoded.kind = "heartbeat";
                Ok(())
            }
            None => Err(DecodeError::Truncated { field: "payload" }),
        }
    }

    /// Reads any message. A batch that is refused may have held names, and then every later number would be of the device before
    /// it; it gets no acknowledgement either, and those behind it would overtake it. So the stream ends with it. What is no message
    /// may have been such a batch.
    fn unpacked(&mut self, frame: &[u8], context: &Context, decoded: &mut Decoded) -> Result<(), DecodeError> {
        use gateway_up::Payload;
        let up = proto::GatewayUp::decode(frame);
        let may_be_batch =
            up.as_ref().map_or(true, |up| matches!(up.payload, Some(Payload::Reports(_) | Payload::Columns(_))));
        let read = match up {
            Ok(up) => self.read(up, context, decoded),
            Err(error) => Err(DecodeError::malformed("message", &error.to_string())),
        };
        if let (true, Err(error)) = (may_be_batch, &read) {
            decoded.last_word = self.last_word(&error.to_string());
        }
        read
    }

    /// The number of a batch, where it has one and a gateway that gave it.
    fn number(&self, payload: &gateway_up::Payload) -> Option<FrameNumber> {
        let number = match payload {
            gateway_up::Payload::Reports(batch) => batch.batch_sequence,
            gateway_up::Payload::Columns(batch) => batch.batch_sequence,
            _ => 0,
        };
        self.numbered(number)
    }

    fn numbered(&self, number: u64) -> Option<FrameNumber> {
        let sender = self.gateway.as_ref().filter(|_| number != 0)?;
        Some(FrameNumber { sender: sender.clone(), number, modulus: Modulus::TwoTo64 })
    }

    /// Takes the name of the gateway, if the message has one.
    fn name(&mut self, gateway: &str) {
        let is_same = |known: &SenderName| known.as_str().strip_prefix("gateway:") == Some(gateway);
        if !gateway.is_empty() && !self.gateway.as_ref().is_some_and(is_same) {
            self.gateway = SenderName::of_gateway(gateway).ok();
        }
    }

    /// Reads a columnar batch where it lies, without memory for each report. `None`: it is another message, or refused, and nothing
    /// has changed.
    fn packed(&mut self, frame: &[u8], decoded: &mut Decoded) -> Option<()> {
        let batch = Packed::read(frame)?;
        let devices_before = self.devices.len();
        if devices_before.saturating_add(batch.new_devices.len()) > SESSION_DEVICES_MAX {
            return None;
        }
        self.devices.extend(batch.new_devices.iter().map(|name| device(name).ok()));
        let mut rows = batch.rows();
        self.rows(rows.by_ref().take(BATCH_REPORTS_MAX), decoded);
        if !rows.is_whole() {
            self.devices.truncate(devices_before);
            decoded.clear();
            return None;
        }
        decoded.kind = COLUMNAR_BATCH;
        self.name(batch.gateway);
        decoded.number = self.numbered(batch.batch_sequence);
        decoded.replies.push(Reply::BatchAck { batch_sequence: batch.batch_sequence });
        Some(())
    }

    fn rows(&self, rows: impl Iterator<Item = Row>, decoded: &mut Decoded) {
        for (place, row) in (0u32..).zip(rows) {
            let known = usize::try_from(row.device_index).ok().and_then(|at| self.devices.get(at));
            match known.and_then(Option::as_ref) {
                None => decoded.faults.push((place, DecodeError::out_of_range("device_index", row.device_index))),
                Some(device) => {
                    if take(place, row.report(), device, decoded) {
                        decoded.numbered.push(row.device_index);
                    }
                }
            }
        }
    }

    fn columns(&mut self, batch: &proto::ColumnarBatch, decoded: &mut Decoded) -> Result<(), DecodeError> {
        decoded.kind = COLUMNAR_BATCH;
        let count = batch.device_index.len();
        limit_reports(count)?;
        let columns = Columns::new(batch, count)?;
        let devices = self.devices.len().saturating_add(batch.new_devices.len());
        if devices > SESSION_DEVICES_MAX {
            return Err(DecodeError::out_of_range("new_devices", devices));
        }
        self.devices.extend(batch.new_devices.iter().map(|name| device(name).ok()));
        self.rows(columns, decoded);
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

/// A status without a meaning is refused: taking it for `unknown` would put a unit back among those who can be sent.
fn status(change: proto::StatusChange) -> Result<TerminalStatus, DecodeError> {
    let status = match change.status() {
        proto::UnitStatus::Available => Status::Available,
        proto::UnitStatus::Busy => Status::Busy,
        proto::UnitStatus::OffDuty => Status::OffDuty,
        proto::UnitStatus::Unspecified => return Err(DecodeError::out_of_range("status", change.status)),
    };
    let time = change.time_ms.map(|ms| Timestamp::from_unix_ms(ms).ok_or(DecodeError::out_of_range("time_ms", ms)));
    Ok(TerminalStatus {
        unit: UnitName::new(&change.unit).map_err(|_| DecodeError::malformed("unit", &change.unit))?,
        status,
        time: time.transpose()?,
        idempotency_key: change.idempotency_key,
    })
}

fn reports(batch: proto::ReportBatch, decoded: &mut Decoded) -> Result<(), DecodeError> {
    decoded.kind = "batch";
    limit_reports(batch.reports.len())?;
    for (place, report) in (0u32..).zip(batch.reports) {
        match device(&report.device) {
            Err(error) => decoded.faults.push((place, error)),
            Ok(device) => {
                if take(place, row_of(&report).report(), &device, decoded) {
                    decoded.named.push(device);
                }
            }
        }
    }
    decoded.replies.push(Reply::BatchAck { batch_sequence: batch.batch_sequence });
    Ok(())
}

/// Keeps a report, or its fault; the button rings either way. Says whether it was kept.
fn take(
    place: u32,
    report: Result<PositionReport, (DecodeError, Flags)>,
    device: &DeviceId,
    decoded: &mut Decoded,
) -> bool {
    let (flags, time) = match &report {
        Ok(report) => (report.flags, report.time),
        Err((_, flags)) => (*flags, None),
    };
    if flags.contains(Flags::EMERGENCY) {
        let kind = SignalKind::Emergency { delayed: flags.contains(Flags::BACKLOG) };
        decoded.signals.push(DeviceSignal { device: Some(device.clone()), kind, time });
    }
    match report {
        Ok(report) => {
            decoded.push(place, report);
            true
        }
        Err((error, _)) => {
            decoded.faults.push((place, error));
            false
        }
    }
}

#[cfg(test)]
mod oracle;
#[cfg(test)]
mod tests;
