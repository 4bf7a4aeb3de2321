//! Bytes to reports and replies, without I/O: a framer cuts frames out of a stream, a decoder reads one frame.
//!
//! Input is hostile: nothing here indexes, unwraps or calculates unchecked on what came from a socket.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::arithmetic_side_effects
)]
#![cfg_attr(
    test,
    expect(
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::panic,
        clippy::arithmetic_side_effects,
        reason = "a test may stop at its first surprise"
    )
)]

mod cursor;
mod error;
mod fix;
mod frame;
mod protocol;
mod text;

pub mod jt808;
pub mod muster;
pub mod nmea;
pub mod taip;

pub use error::{DecodeError, FrameError};
pub use frame::{Cut, Datagram, Framing};
pub use protocol::{Context, Decoded, Decoder, FrameNumber, Modulus, Protocol, Reply, Transport};

/// The messages of `proto/muster/v1`.
pub mod proto {
    #![expect(missing_docs, reason = "the comments are in the .proto files")]
    include!(concat!(env!("OUT_DIR"), "/muster.v1.rs"));
}

/// Every protocol that Muster speaks. This is the only list: listeners, `muster decode`, the
/// simulator's targets and the documentation read it.
pub static PROTOCOLS: &[Protocol] = &[muster::PROTOCOL, jt808::PROTOCOL, nmea::PROTOCOL, taip::PROTOCOL];

/// The protocol called `name`.
#[must_use]
pub fn protocol(name: &str) -> Option<&'static Protocol> {
    PROTOCOLS.iter().find(|protocol| protocol.name == name)
}
