use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use model::DeviceId;

use super::Force;

/// A wire format that the city's devices can speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// Muster's own batches, through gateways: radios, hand-held terminals, phones, aircraft.
    Muster,
    /// JT/T 808 vehicle terminals: patrol cars and armed cars.
    Jt808,
    /// NMEA 0183 sentences: every other motorcycle.
    Nmea,
    /// TAIP modems: the other motorcycles.
    Taip,
}

/// A word that is no protocol of this simulator. The caller's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no device of the city speaks {word:?}; known are: muster, jt808, nmea, taip")]
pub struct UnknownProtocol {
    /// The word.
    pub word: String,
}

impl Protocol {
    /// All of them, in order.
    pub const ALL: [Self; 4] = [Self::Muster, Self::Jt808, Self::Nmea, Self::Taip];

    /// The word for it on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Muster => "muster",
            Self::Jt808 => "jt808",
            Self::Nmea => "nmea",
            Self::Taip => "taip",
        }
    }
}

impl FromStr for Protocol {
    type Err = UnknownProtocol;

    fn from_str(text: &str) -> Result<Self, UnknownProtocol> {
        let found = Self::ALL.into_iter().find(|protocol| protocol.as_str() == text);
        found.ok_or_else(|| UnknownProtocol { word: text.chars().take(64).collect() })
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a unit carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its name, `protocol:id`. The protocol in the name is the device's own; it reaches the server by [`Self::protocol`].
    pub id: DeviceId,
    /// The wire format in which its reports reach the server.
    pub protocol: Protocol,
    /// Time between two reports.
    pub interval: Duration,
}

impl Device {
    fn new(name: &str, number: &str, protocol: Protocol, interval_s: u64) -> Self {
        let id = DeviceId::of(name, number).expect("our devices have names without blanks");
        Self { id, protocol, interval: Duration::from_secs(interval_s) }
    }

    /// The id as its protocol gives it: the part of the name behind the colon.
    #[must_use]
    pub fn number(&self) -> &str {
        self.id.as_str().split_once(':').map_or("", |(_, number)| number)
    }
}

/// The devices of unit `ordinal` (from 0) of a force.
pub(super) fn of(force: Force, ordinal: usize) -> Vec<Device> {
    let number = ordinal + 1;
    match force {
        Force::Officer => {
            let radio = if ordinal.is_multiple_of(2) { "tetra-lip" } else { "lrrp" };
            let terminal = format!("ANDROID-{number:08}");
            vec![
                Device::new(radio, &format!("{}", 2_650_000 + number), Protocol::Muster, 60),
                Device::new("cot", &terminal, Protocol::Muster, 10),
            ]
        }
        Force::Car => vec![Device::new("jt808", &format!("139{number:08}"), Protocol::Jt808, 5)],
        Force::ArmedCar => vec![Device::new("jt808", &format!("138{number:08}"), Protocol::Jt808, 2)],
        Force::Motorcycle if ordinal.is_multiple_of(2) => {
            vec![Device::new("nmea", &format!("3598530{number:08}"), Protocol::Nmea, 5)]
        }
        Force::Motorcycle => vec![Device::new("taip", &format!("{}", 10_000 + number), Protocol::Taip, 5)],
        Force::Helicopter => vec![Device::new("sbs", &format!("78{number:04X}"), Protocol::Muster, 1)],
        Force::Drone => vec![Device::new("mavlink", &format!("{number}"), Protocol::Muster, 1)],
        Force::Community => vec![Device::new("owntracks", &format!("community-{number:05}"), Protocol::Muster, 60)],
    }
}
