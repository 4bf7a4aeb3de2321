use std::net::IpAddr;
use std::str::FromStr;

use model::DeviceId;
use model::limits::{LISTENER_DEVICES_MAX, LISTENER_NETWORKS_MAX};

use crate::Counters;

/// Who may speak at one listener: from which networks, and for which devices. An empty list lets everybody pass.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowed {
    networks: Vec<Network>,
    devices: Vec<DevicePattern>,
    is_code_needed: bool,
}

/// Why a list of who may speak is refused. The operator's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AllowedError {
    /// Not of the form `ADDRESS/BITS`.
    #[error("{text:?} is no network, as in 10.0.0.0/8 or fd00::/8; one address has /32 or /128")]
    Network {
        /// What was written.
        text: String,
    },
    /// The address has bits set beyond the network's: one of the two is a mistake.
    #[error("{text:?} is an address in a network: write {network} for the whole of it")]
    Host {
        /// What was written.
        text: String,
        /// What it lies in.
        network: String,
    },
    /// Not of the form `PROTOCOL:ID` or `PROTOCOL:START*`.
    #[error("{text:?} names no device: write jt808:13900000001, or jt808:139* for all that start so")]
    Device {
        /// What was written.
        text: String,
    },
    /// More entries than one listener may have.
    #[error("{count} {what} are more than the {most} that one listener may have")]
    TooMany {
        /// `networks` or `devices`.
        what: &'static str,
        /// How many.
        count: usize,
        /// The limit.
        most: usize,
    },
}

impl Allowed {
    /// Reads both lists.
    ///
    /// # Errors
    /// [`AllowedError`] names the entry and what to write instead.
    pub fn new(networks: &[String], devices: &[String]) -> Result<Self, AllowedError> {
        let few = |what, count, most| {
            if count > most { Err(AllowedError::TooMany { what, count, most }) } else { Ok(()) }
        };
        few("networks", networks.len(), LISTENER_NETWORKS_MAX)?;
        few("devices", devices.len(), LISTENER_DEVICES_MAX)?;
        Ok(Self {
            networks: networks.iter().map(|text| text.parse()).collect::<Result<_, _>>()?,
            devices: devices.iter().map(|text| text.parse()).collect::<Result<_, _>>()?,
            is_code_needed: false,
        })
    }

    /// The same, but of a terminal whose protocol knows codes nothing is taken before it has shown its own.
    #[must_use]
    pub const fn needing_codes(mut self) -> Self {
        self.is_code_needed = true;
        self
    }

    /// Whether nothing is taken of a terminal before it has shown its code.
    #[must_use]
    pub const fn needs_codes(&self) -> bool {
        self.is_code_needed
    }

    /// Whether senders of some networks only may speak.
    #[must_use]
    pub const fn names_networks(&self) -> bool {
        !self.networks.is_empty()
    }

    /// Whether a sender at `address` may speak. Its IPv4 address counts, also where an IPv6 socket shows it mapped.
    #[must_use]
    pub fn has_address(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks.is_empty() || self.networks.iter().any(|network| network.holds(address))
    }

    /// Whether somebody may speak for every device.
    #[must_use]
    pub const fn has_all_devices(&self) -> bool {
        self.devices.is_empty()
    }

    /// Whether somebody may speak for `device`.
    #[must_use]
    pub fn has_device(&self, device: &DeviceId) -> bool {
        self.devices.is_empty() || self.devices.iter().any(|pattern| pattern.matches(device))
    }
}

/// What stands between a socket and its listener: refuses connections by address, and counts them.
#[derive(Debug, Clone, Copy)]
pub struct Door<'a> {
    allowed: &'a Allowed,
    counters: &'a Counters,
    protocol: &'static str,
}

impl<'a> Door<'a> {
    /// The door of a listener of `protocol`.
    #[must_use]
    pub const fn of(allowed: &'a Allowed, counters: &'a Counters, protocol: &'static str) -> Self {
        Self { allowed, counters, protocol }
    }

    /// Whether a connection of `peer` is served; one that is not is counted and must be closed before anything is read of it.
    #[must_use]
    pub fn lets_in(&self, peer: IpAddr) -> bool {
        let is_let_in = self.allowed.has_address(peer);
        if !is_let_in {
            self.counters.turned_away(self.protocol, "network");
        }
        is_let_in
    }
}

/// All addresses that begin alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Network {
    /// Canonical: IPv4 where it is IPv4 in IPv6.
    address: IpAddr,
    /// How many leading bits count, of 32 or 128.
    bits: u32,
}

/// Bits before the IPv4 address in one that is mapped into IPv6.
const MAPPED_BITS: u32 = 96;

impl Network {
    fn holds(&self, canonical: IpAddr) -> bool {
        match (self.address, canonical) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let differing = u128::from(network.to_bits() ^ address.to_bits());
                starts_alike(differing, 32, self.bits)
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                starts_alike(network.to_bits() ^ address.to_bits(), 128, self.bits)
            }
            _ => false,
        }
    }

    /// The network that the address lies in.
    fn whole(self) -> String {
        let Self { address, bits } = self;
        match address {
            IpAddr::V4(address) => {
                let kept = address.to_bits().unbounded_shr(32 - bits).unbounded_shl(32 - bits);
                format!("{}/{bits}", std::net::Ipv4Addr::from_bits(kept))
            }
            IpAddr::V6(address) => {
                let kept = address.to_bits().unbounded_shr(128 - bits).unbounded_shl(128 - bits);
                format!("{}/{bits}", std::net::Ipv6Addr::from_bits(kept))
            }
        }
    }
}

/// Whether the first `bits` of `width` bits are 0 in `differing`. A shift over the whole width leaves none.
const fn starts_alike(differing: u128, width: u32, bits: u32) -> bool {
    differing.unbounded_shr(width.saturating_sub(bits)) == 0
}

impl FromStr for Network {
    type Err = AllowedError;

    fn from_str(text: &str) -> Result<Self, AllowedError> {
        let wrong = || AllowedError::Network { text: text.to_owned() };
        let (address, bits) = text.split_once('/').ok_or_else(wrong)?;
        let written: IpAddr = address.parse().map_err(|_| wrong())?;
        let is_decimal = !bits.is_empty() && bits.bytes().all(|digit| digit.is_ascii_digit());
        let bits: u32 = bits.parse().ok().filter(|_| is_decimal).ok_or_else(wrong)?;
        let width = if written.is_ipv4() { 32 } else { 128 };
        if bits > width {
            return Err(wrong());
        }
        // Peers are compared by their IPv4 address, so a network of mapped ones is one of IPv4, or it would hold nobody.
        let network = match written.to_canonical() {
            IpAddr::V4(address) if written.is_ipv6() => {
                Self { address: address.into(), bits: bits.checked_sub(MAPPED_BITS).ok_or_else(wrong)? }
            }
            address => Self { address, bits },
        };
        let whole = network.whole();
        if whole.split_once('/').and_then(|(start, _)| start.parse().ok()) == Some(network.address) {
            Ok(network)
        } else {
            Err(AllowedError::Host { text: text.to_owned(), network: whole })
        }
    }
}

/// One device, or all whose names start alike.
#[derive(Debug, Clone, PartialEq, Eq)]
enum DevicePattern {
    Exactly(String),
    Starting(String),
}

impl DevicePattern {
    fn matches(&self, device: &DeviceId) -> bool {
        match self {
            Self::Exactly(name) => device.as_str() == name,
            Self::Starting(start) => device.as_str().starts_with(start.as_str()),
        }
    }
}

impl FromStr for DevicePattern {
    type Err = AllowedError;

    fn from_str(text: &str) -> Result<Self, AllowedError> {
        let wrong = || AllowedError::Device { text: text.to_owned() };
        let start = text.strip_suffix('*');
        let name = start.unwrap_or(text);
        let (protocol, id) = name.split_once(':').ok_or_else(wrong)?;
        let is_name = DeviceId::new(name).is_ok() && !protocol.is_empty() && !name.contains('*');
        match start {
            Some(start) if is_name => Ok(Self::Starting(start.to_owned())),
            None if is_name && !id.is_empty() => Ok(Self::Exactly(name.to_owned())),
            _ => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(texts: &[&str]) -> Result<Allowed, AllowedError> {
        Allowed::new(&texts.iter().map(ToString::to_string).collect::<Vec<_>>(), &[])
    }

    fn devices(texts: &[&str]) -> Result<Allowed, AllowedError> {
        Allowed::new(&[], &texts.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    fn has(allowed: &Allowed, address: &str) -> bool {
        allowed.has_address(address.parse().unwrap())
    }

    #[test]
    fn a_network_holds_its_addresses_and_no_others() {
        let allowed = networks(&["10.0.0.0/8", "192.168.7.1/32", "fd00::/8"]).unwrap();
        for inside in ["10.0.0.0", "10.255.255.255", "192.168.7.1", "fd12::1", "fdff:ffff::"] {
            assert!(has(&allowed, inside), "{inside}");
        }
        for outside in ["9.255.255.255", "11.0.0.0", "192.168.7.0", "192.168.7.2", "fc00::1", "fe80::1", "::1"] {
            assert!(!has(&allowed, outside), "{outside}");
        }
    }

    /// A socket for both families shows an IPv4 peer as `::ffff:a.b.c.d`.
    #[test]
    fn an_address_that_is_mapped_into_ipv6_counts_as_its_ipv4_address() {
        let allowed = networks(&["10.0.0.0/8"]).unwrap();
        assert!(has(&allowed, "::ffff:10.1.2.3"));
        assert!(!has(&allowed, "::ffff:11.1.2.3"));
        let all_of_six = networks(&["::/0"]).unwrap();
        assert!(has(&all_of_six, "2001:db8::1"));
        assert!(!has(&all_of_six, "::ffff:10.1.2.3") && !has(&all_of_six, "10.1.2.3"), "it does not slip in as IPv6");
        let mapped = networks(&["::ffff:10.0.0.0/104"]).unwrap();
        assert_eq!(mapped, networks(&["10.0.0.0/8"]).unwrap());
        assert!(networks(&["::ffff:0.0.0.0/95"]).is_err());
        let all_of_four = networks(&["0.0.0.0/0"]).unwrap();
        assert!(has(&all_of_four, "203.0.113.9") && !has(&all_of_four, "2001:db8::1"));
    }

    #[test]
    fn no_list_lets_everybody_pass() {
        assert!(has(&Allowed::default(), "203.0.113.9"));
        assert!(Allowed::default().has_device(&DeviceId::new("jt808:1").unwrap()));
    }

    #[test]
    fn a_network_that_is_none_says_what_to_write() {
        for text in ["10.0.0.0", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/+8", "fd00::/129", "ten/8", "", "10.0.0/8"] {
            assert!(matches!(networks(&[text]), Err(AllowedError::Network { .. })), "{text}");
        }
        let error = networks(&["10.1.2.3/8"]).unwrap_err().to_string();
        assert!(error.ends_with("write 10.0.0.0/8 for the whole of it"), "{error}");
        assert!(networks(&["fd00::1/8"]).unwrap_err().to_string().contains("fd00::/8"));
        let many = vec!["10.0.0.0/8"; LISTENER_NETWORKS_MAX + 1];
        assert!(matches!(networks(&many), Err(AllowedError::TooMany { what: "networks", .. })));
    }

    #[test]
    fn a_device_passes_by_name_or_by_how_its_name_starts() {
        let allowed = devices(&["jt808:139*", "jt808:13800000001"]).unwrap();
        let has = |name: &str| allowed.has_device(&DeviceId::new(name).unwrap());
        assert!(has("jt808:13900000001") && has("jt808:13800000001") && has("jt808:139"));
        assert!(!has("jt808:13800000002") && !has("jt808:138000000010") && !has("nmea:13900000001"));
        let all = devices(&["taip:*"]).unwrap();
        assert!(all.has_device(&DeviceId::new("taip:1").unwrap()));
        for text in ["*", "jt808", "jt808*", ":1", "jt808:", "jt808:1*9", "jt808:**", "a b:1", ""] {
            assert!(matches!(devices(&[text]), Err(AllowedError::Device { .. })), "{text}");
        }
    }
}
