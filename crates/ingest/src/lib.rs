//! From sockets to admitted batches: listeners, sessions, admission.
//!
//! `ingest` refuses by value only (an impossible place, an unknown device, a full queue) and counts
//! each refusal. Order, duplicates and jumps are the engine's affair; `ingest` knows it as an [`Intake`].

mod address;
mod admit;
mod allowed;
mod by_number;
mod codes;
mod counters;
mod datagram;
mod gaps;
mod gateways;
mod holders;
mod intake;
mod rates;
mod session;
mod stream;

pub use address::{AddressError, ListenAddress};
pub use admit::{Admission, Admitter, Answer, Refusal};
pub use allowed::{Allowed, AllowedError, Door};
pub use counters::Counters;
pub use datagram::listen_datagrams;
pub use gaps::{Gaps, SenderGaps};
pub use gateways::{GatewayView, Gateways, LostGateways};
pub use holders::{Holders, SecondSession};
pub use intake::{Intake, NotSettled, QueueFull};
pub use rates::DeviceRates;
pub use session::Session;
pub use stream::{Incoming, listen_stream};

use std::sync::Arc;
use std::time::Duration;

use model::{Clock, limits};

/// What every listener shares.
pub struct Setting<I> {
    /// Where admitted batches go.
    pub intake: Arc<I>,
    /// Where everything is counted.
    pub counters: Arc<Counters>,
    /// What datagrams never came, by sender.
    pub gaps: Arc<Gaps>,
    /// Who brings in what others say, and whether it is heard.
    pub gateways: Arc<Gateways>,
    /// Which session speaks for each device.
    pub holders: Arc<Holders>,
    /// Receipt times.
    pub clock: Arc<dyn Clock>,
    /// The limits of a session.
    pub limits: SessionLimits,
    /// How many fixes each device may bring; `None`: as many as it likes.
    pub rates: Option<Arc<DeviceRates>>,
    /// Who may speak at this listener.
    pub allowed: Arc<Allowed>,
}

impl<I> Setting<I> {
    /// One of `intake` with the default limits, where everybody may speak and nothing was counted yet.
    #[must_use]
    pub fn of(intake: Arc<I>, clock: Arc<dyn Clock>) -> Self {
        Self {
            intake,
            gateways: Arc::new(Gateways::new(Arc::clone(&clock))),
            holders: Arc::new(Holders::new(Arc::clone(&clock))),
            clock,
            counters: Arc::default(),
            gaps: Arc::default(),
            limits: SessionLimits::default(),
            rates: None,
            allowed: Arc::default(),
        }
    }
}

impl<I> Clone for Setting<I> {
    fn clone(&self) -> Self {
        Self {
            intake: Arc::clone(&self.intake),
            counters: Arc::clone(&self.counters),
            gaps: Arc::clone(&self.gaps),
            gateways: Arc::clone(&self.gateways),
            holders: Arc::clone(&self.holders),
            clock: Arc::clone(&self.clock),
            limits: self.limits,
            rates: self.rates.clone(),
            allowed: Arc::clone(&self.allowed),
        }
    }
}

/// What one listener and one connection may take.
#[derive(Debug, Clone, Copy)]
pub struct SessionLimits {
    /// Most connections of a listener at once.
    pub connections_max: usize,
    /// How long the first frame may take.
    pub first_frame: Duration,
    /// How long a connection may be silent, or leave our answers unread.
    pub idle: Duration,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self {
            connections_max: limits::CONNECTIONS_MAX,
            first_frame: limits::FIRST_FRAME_DEADLINE,
            idle: limits::IDLE_DEADLINE,
        }
    }
}
