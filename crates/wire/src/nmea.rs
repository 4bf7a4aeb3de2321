//! NMEA. In progress.
use crate::frame::{Datagram, Framing, lines};
use crate::{Context, DecodeError, Decoded, Decoder, Protocol, Transport};
use model::limits::DEVICE_FRAME_BYTES_MAX;

/// The entry in the list of protocols.
pub const PROTOCOL: Protocol = Protocol {
    name: "nmea",
    title: "NMEA",
    transports: &[Transport::Tcp, Transport::Udp],
    framing: Framing { bytes_max: DEVICE_FRAME_BYTES_MAX, cut: lines, datagram: Datagram::AsStream },
    decoder: || Box::new(Session::default()),
};
#[derive(Debug, Default)]
struct Session {}
impl Decoder for Session {
    fn decode(&mut self, _: &[u8], _: &Context, _: &mut Decoded) -> Result<(), DecodeError> {
        Err(DecodeError::Truncated { field: "x" })
    }
}
