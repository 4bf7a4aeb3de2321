//! The only place where live state changes. One writer thread applies batches; readers ask [`Live`].

mod counters;
mod emergency;
mod fusion;
mod live;
mod roster;
pub mod rules;
mod writer;

pub use emergency::{Emergencies, Emergency};
pub use live::{Live, UnitView};
pub use roster::{Roster, RosterError};
pub use writer::{Full, Settlement, Stopped};

use std::sync::Arc;
use std::thread::JoinHandle;

use model::{Binding, Clock, DeviceId, Heard, Unit, UnitName};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tracing::{info, warn};
use writer::Message;

/// What to do with a device that no unit carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownDevices {
    /// Refuse its reports. Its emergency rings all the same.
    Refuse,
    /// Make a unit of its name. For demo and loopback.
    Admit,
}

/// The running engine.
pub struct Engine {
    live: Arc<Live>,
    unknown: UnknownDevices,
    queue: mpsc::Sender<Message>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Engine {
    /// Starts the writer thread.
    ///
    /// # Panics
    /// When the machine has no room for one more thread.
    #[must_use]
    pub fn start(clock: Arc<dyn Clock>, unknown: UnknownDevices) -> Self {
        let live = Arc::new(Live::new(clock));
        let (queue, messages) = mpsc::channel(model::limits::ENGINE_QUEUE_BATCHES_MAX);
        let seen = Arc::clone(&live);
        let thread = std::thread::Builder::new().name("muster-writer".into());
        let writer = thread.spawn(move || writer::run(&seen, messages)).expect("the writer thread starts");
        Self { live, unknown, queue, writer: Mutex::new(Some(writer)) }
    }

    /// What readers ask.
    #[must_use]
    pub const fn live(&self) -> &Arc<Live> {
        &self.live
    }

    /// Who `device` is. With [`UnknownDevices::Admit`] an unknown one becomes a unit of its name.
    #[must_use]
    pub fn resolve(&self, device: &DeviceId) -> Option<Binding> {
        let known = self.live.roster.binding(device);
        if known.is_some() || self.unknown == UnknownDevices::Refuse {
            return known;
        }
        let name = UnitName::new(device.as_str()).expect("a device name is a unit name: the same rule checks both");
        match self.enrol(Unit::named(name), std::slice::from_ref(device)) {
            Ok(()) => self.live.roster.binding(device),
            Err(error) => {
                warn!(%device, %error, "Unknown device not admitted.");
                None
            }
        }
    }

    /// Adds or changes a unit; `devices` come on top of those that it carries.
    ///
    /// # Errors
    /// [`RosterError`] when a limit is reached or another unit carries a device.
    pub fn enrol(&self, unit: Unit, devices: &[DeviceId]) -> Result<(), RosterError> {
        let (handle, traits) = self.live.roster.enrol(unit, devices)?;
        self.live.index.enrol(handle, traits);
        Ok(())
    }

    /// Takes a unit off the map; its devices are unknown from then on. `false` when there is none of that name.
    pub async fn retire(&self, name: &UnitName) -> bool {
        let Some(handle) = self.live.roster.remove(name) else { return false };
        // The place goes through the writer, behind the reports that are already on their way.
        let _ = self.queue.send(Message::Retire(handle)).await;
        true
    }

    /// An emergency button: rings at once, whatever the queue holds and whoever the device is.
    pub fn ring(&self, press: Emergency) {
        let device = press.device.clone();
        if self.live.emergencies.ring(press) {
            info!(%device, "Emergency raised.");
        }
    }

    /// Hands over a batch, waiting for room in the queue.
    ///
    /// # Errors
    /// [`Stopped`] when the engine is stopped.
    pub async fn submit(&self, batch: Vec<Heard>) -> Result<Settlement, Stopped> {
        let (message, settlement) = writer::batch(batch);
        self.queue.send(message).await.map_err(|_| Stopped)?;
        Ok(settlement)
    }

    /// Hands over a batch if there is room now.
    ///
    /// # Errors
    /// [`Full`] when there is none, or when the engine is stopped.
    pub fn try_submit(&self, batch: Vec<Heard>) -> Result<Settlement, Full> {
        let (message, settlement) = writer::batch(batch);
        self.queue.try_send(message).map_err(|_| Full)?;
        Ok(settlement)
    }

    /// Applies what is in the queue and stops. What comes later is not settled.
    pub async fn stop(&self) {
        let _ = self.queue.send(Message::Stop).await;
        let writer = self.writer.lock().take();
        if let Some(writer) = writer {
            let ended = tokio::task::spawn_blocking(move || writer.join()).await;
            assert!(matches!(ended, Ok(Ok(()))), "the writer thread ends without a panic");
        }
    }
}
