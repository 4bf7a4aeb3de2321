use std::sync::Arc;

use model::Timestamp;
use tracing::debug;
use wire::{Context, Decoded, Decoder, FrameError, FrameNumber, Protocol};

use crate::{Admission, Admitter, Allowed, Intake, Setting};

/// One connection, or one sender of datagrams: its decoder and what it was admitted as.
pub struct Session<I> {
    protocol: &'static Protocol,
    decoder: Box<dyn Decoder>,
    admitter: Admitter<I>,
    decoded: Decoded,
    counters: Arc<crate::Counters>,
}

impl<I: Intake> Session<I> {
    /// A new session of `protocol`.
    #[must_use]
    pub fn new(protocol: &'static Protocol, setting: &Setting<I>) -> Self {
        Self {
            protocol,
            decoder: (protocol.decoder)(),
            admitter: Admitter::new(setting, protocol.name),
            decoded: Decoded::default(),
            counters: setting.counters.clone(),
        }
    }

    /// The same session over a connection, whose end is a sign.
    #[must_use]
    pub fn connected(self) -> Self {
        Self { admitter: self.admitter.connected(), ..self }
    }

    /// The same for the devices of `own` only, whatever the listener allows.
    #[must_use]
    pub fn only(self, own: Arc<Allowed>) -> Self {
        Self { admitter: self.admitter.only(own), ..self }
    }

    /// Decodes and admits one frame, and adds to `admission` what became of it. One that is dropped (and counted) adds nothing:
    /// it gets no answer.
    pub fn take(&mut self, frame: &[u8], received: Timestamp, admission: &mut Admission) {
        self.counters.frame(self.protocol.name);
        self.decoded.clear();
        match self.decoder.decode(frame, &Context { received }, &mut self.decoded) {
            Ok(()) => {
                self.admitter.hear(self.decoder.gateway());
                self.admitter.admit(&mut self.decoded, self.decoder.devices(), received, admission);
            }
            Err(error) => {
                self.counters.frame_dropped(self.protocol.name, error.reason());
                debug!(protocol = self.protocol.name, %error, "Frame dropped.");
            }
        }
    }

    /// The number of the frame that was taken last, dropped or not; gives it once.
    pub fn take_number(&mut self) -> Option<FrameNumber> {
        self.decoded.number.take()
    }

    /// Ends a datagram: the devices that it numbered are forgotten, with the memory that it took.
    pub fn forget_numbers(&mut self) {
        self.decoder.forget_numbers();
        self.admitter.forget_numbers();
        self.decoded = Decoded::default();
    }

    /// What to send before the connection is closed, when it cannot be followed after the frame that was taken last; gives it once.
    pub fn take_last_word(&mut self) -> Option<Vec<u8>> {
        self.decoded.last_word.take()
    }

    /// What to send before the connection is closed because no frame can be found any more.
    #[must_use]
    pub fn last_word(&self, error: FrameError) -> Option<Vec<u8>> {
        self.decoder.last_word(&error.to_string())
    }
}
