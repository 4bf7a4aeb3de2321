//! Device listeners: how they are written, and what binds beyond loopback need.

use std::net::SocketAddr;
use std::sync::Arc;

use ingest::{Allowed, DeviceRates, ListenAddress};
use model::limits::{DEVICE_FIXES_BURST, DEVICE_FIXES_PER_S};
use serde::Deserialize;
use wire::Transport;

use super::{Config, ConfigError, Origin, Settings, wrong};

/// A listener, who may speak there, and its own exception from the rule for binds.
#[derive(Debug, Clone)]
pub struct Listen {
    /// What and where.
    pub address: ListenAddress,
    /// Binds beyond loopback although device formats know neither encryption nor identity.
    pub insecure: bool,
    /// From which networks, and for which devices. Everybody unless written.
    pub allowed: Arc<Allowed>,
}

impl Listen {
    /// A listener where everybody may speak.
    #[must_use]
    pub fn at(address: ListenAddress) -> Self {
        Self { address, insecure: false, allowed: Arc::default() }
    }
}

/// Whether JT/T 808 terminals must show the code that their registration gave them (0x8100, then 0x0102).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Jt808Auth {
    /// A wrong code keeps a terminal's reports out, and beyond loopback so does none.
    Checked,
    /// Any code is right: for terminals that keep one from another platform and do not register again.
    Off,
}

impl Jt808Auth {
    pub(super) fn of(word: &str) -> Result<Self, String> {
        match word {
            "checked" => Ok(Self::Checked),
            "off" => Ok(Self::Off),
            _ => Err(format!("{word:?} is neither checked nor off")),
        }
    }
}

/// How many fixes a device may bring; what is over it is refused, counted as `rate` and answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceRate {
    /// Fixes a second, sustained; 0: no limit. Default 20 for listeners beyond loopback, and no limit on loopback. Key `device_rate`.
    pub per_s: Option<u32>,
    /// Fixes at once. Default 200; key `device_burst`. A fix of a backlog counts for a tenth.
    pub burst: u32,
}

impl Default for DeviceRate {
    fn default() -> Self {
        Self { per_s: None, burst: DEVICE_FIXES_BURST }
    }
}

impl DeviceRate {
    pub(super) fn lay(&mut self, settings: &Settings) -> Result<(), (&'static str, String)> {
        let within = |key, value: u32, low: u32, high: u32| {
            if (low..=high).contains(&value) {
                Ok(value)
            } else {
                Err((key, format!("{value} is not {low} to {high}")))
            }
        };
        if let Some(per_s) = settings.device_rate {
            self.per_s = Some(within("device_rate", per_s, 0, DeviceRates::PER_S_MAX)?);
        }
        if let Some(burst) = settings.device_burst {
            self.burst = within("device_burst", burst, 1, DeviceRates::BURST_MAX)?;
        }
        Ok(())
    }

    /// The account of all devices.
    pub(crate) fn account(self) -> Arc<DeviceRates> {
        Arc::new(DeviceRates::new(self.per_s.unwrap_or(DEVICE_FIXES_PER_S), self.burst))
    }

    /// Whether it counts at a listener on `address`.
    pub(crate) fn holds_at(self, address: SocketAddr) -> bool {
        self.per_s.map_or(!address.ip().is_loopback(), |per_s| per_s > 0)
    }
}

/// A listener as it is written under `listen`: `"jt808=tcp://127.0.0.1:6808"`, or a table with `address` in this form.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum ListenSetting {
    /// Only the address.
    Address(String),
    /// With who may speak there.
    Table(ListenTable),
}

/// A listener with more than an address.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenTable {
    address: String,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    networks: Vec<String>,
    #[serde(default)]
    devices: Vec<String>,
}

/// A listener as it is written under `[[listener]]`, part by part.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenerTable {
    protocol: String,
    transport: String,
    address: String,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    networks: Vec<String>,
    #[serde(default)]
    devices: Vec<String>,
}

impl From<ListenSetting> for ListenTable {
    fn from(setting: ListenSetting) -> Self {
        match setting {
            ListenSetting::Address(address) => {
                Self { address, insecure: false, networks: Vec::new(), devices: Vec::new() }
            }
            ListenSetting::Table(table) => table,
        }
    }
}

impl From<ListenerTable> for ListenTable {
    fn from(table: ListenerTable) -> Self {
        let ListenerTable { protocol, transport, address, insecure, networks, devices } = table;
        Self { address: format!("{protocol}={transport}://{address}"), insecure, networks, devices }
    }
}

/// Reads the listeners of one origin, those of `listen` first.
pub(super) fn listeners(
    listen: Vec<ListenSetting>,
    tables: Vec<ListenerTable>,
    origin: &Origin,
) -> Result<Vec<Listen>, ConfigError> {
    let one = |key: &str, table: ListenTable| {
        let address = table.address.parse().map_err(|error| wrong(key, origin, error))?;
        let problem = |error| wrong(key, origin, format!("{}: {error}", table.address));
        let allowed = Allowed::new(&table.networks, &table.devices).map_err(problem)?;
        Ok(Listen { address, insecure: table.insecure, allowed: Arc::new(allowed) })
    };
    let listen = listen.into_iter().map(|setting| one("listen", setting.into()));
    listen.chain(tables.into_iter().map(|table| one("listener", table.into()))).collect()
}

/// Who may speak at `listen`, and whether it must show a code first: beyond loopback, unless its network is closed.
pub(crate) fn allowed(config: &Config, listen: &Listen) -> Arc<Allowed> {
    let is_open = config.insecure || listen.insecure || listen.address.address.ip().is_loopback();
    let has_codes = listen.address.protocol.name == wire::jt808::PROTOCOL.name;
    if is_open || !has_codes || config.jt808_auth == Jt808Auth::Off {
        return Arc::clone(&listen.allowed);
    }
    Arc::new((*listen.allowed).clone().needing_codes())
}

/// Refuses device listeners beyond loopback that nobody asked for.
pub(super) fn validate(config: &Config, origin: &Origin) -> Result<(), ConfigError> {
    let is_beyond = |one: &&Listen| !one.address.address.ip().is_loopback() && !config.insecure;
    for one in config.listen.iter().filter(is_beyond) {
        let is_muster = one.address.protocol.name == "muster";
        let advice = match one.address.transport {
            Transport::Tcp if is_muster && config.tls.knows_clients() => continue,
            Transport::Tcp if is_muster => {
                "is beyond loopback, which needs `tls_certificate`, `tls_key` and `tls_client_ca`: \
                 set them, bind to 127.0.0.1, or say `insecure` (--insecure)"
            }
            Transport::Udp if is_muster => {
                "is beyond loopback, and datagrams are not encrypted: listen over tcp, bind to 127.0.0.1, \
                 or say `insecure` (--insecure)"
            }
            _ if one.insecure => continue,
            _ if !one.allowed.names_networks() => {
                "is beyond loopback, and device formats know neither encryption nor identity: \
                 write `networks` that may speak there into a [[listener]] table of the configuration file, \
                 or set `insecure = true` on this listener if its network is closed"
            }
            _ if config.admit_unknown => {
                "is beyond loopback, where unknown devices are refused: leave `admit_unknown` away, \
                 or set `insecure = true` on this listener if its network is closed"
            }
            _ => continue,
        };
        return Err(wrong("listen", origin, format!("{} {advice}", one.address)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{complaint, file};
    use super::*;

    const TABLE: &str = "[[listener]]\nprotocol = \"jt808\"\ntransport = \"tcp\"\naddress = \"0.0.0.0:6808\"\n";

    fn valid(text: &str) -> Result<(), String> {
        file(text).and_then(|config| config.validate(&Origin::Flag)).map_err(|error| error.to_string())
    }

    #[test]
    fn a_listener_is_written_in_parts_with_who_may_speak_there() {
        let text = format!(
            "listen = [\"taip=udp://127.0.0.1:1\"]\n{TABLE}networks = [\"10.0.0.0/8\"]\ndevices = [\"jt808:139*\"]\n"
        );
        let config = file(&text).unwrap();
        let addresses: Vec<_> = config.listen.iter().map(|one| one.address.to_string()).collect();
        assert_eq!(addresses, ["taip=udp://127.0.0.1:1", "jt808=tcp://0.0.0.0:6808"]);
        let allowed = &config.listen[1].allowed;
        assert!(allowed.has_address([10, 1, 2, 3].into()) && !allowed.has_address([11, 1, 2, 3].into()));
        assert!(!allowed.has_device(&model::DeviceId::new("jt808:138").unwrap()));
        assert!(config.listen[0].allowed.has_address([11, 1, 2, 3].into()));
        let as_table = "listen = [{ address = \"jt808=tcp://0.0.0.0:1\", networks = [\"10.0.0.0/8\"] }]";
        assert!(valid(as_table).is_ok());
    }

    #[test]
    fn a_terminal_beyond_loopback_must_show_its_code_unless_the_file_says_otherwise() {
        let needs = |text: &str| {
            let config = file(text).unwrap();
            allowed(&config, &config.listen[0]).needs_codes()
        };
        let beyond = format!("{TABLE}networks = [\"10.0.0.0/8\"]\n");
        assert!(needs(&beyond));
        assert!(!needs(&beyond.replace("\"0.0.0.0", "\"127.0.0.1")));
        assert!(!needs(&format!("{TABLE}insecure = true\n")));
        assert!(!needs(&format!("insecure = true\n{beyond}")));
        assert!(!needs(&format!("jt808_auth = \"off\"\n{beyond}")));
        assert!(!needs(&beyond.replace("jt808", "taip")), "it knows no codes");
        assert!(complaint(file("jt808_auth = \"on\"\n")).contains("neither checked nor off"));
    }

    #[test]
    fn devices_are_limited_beyond_loopback_and_elsewhere_by_the_file() {
        let holds = |text: &str, address: &str| file(text).unwrap().device_rate.holds_at(address.parse().unwrap());
        assert!(holds("", "10.0.0.1:1") && !holds("", "127.0.0.1:1"));
        assert!(holds("device_rate = 50\n", "127.0.0.1:1") && !holds("device_rate = 0\n", "10.0.0.1:1"));
        assert!(complaint(file("device_rate = 1001\n")).contains("1001 is not 0 to 1000"));
        assert!(complaint(file("device_burst = 0\n")).contains("`device_burst`"));
    }

    #[test]
    fn a_wrong_part_of_a_listener_is_named() {
        let text = complaint(file(&format!("{TABLE}networks = [\"10.0.0.1/8\"]\n")));
        assert!(text.starts_with("`listener` (file") && text.contains("jt808=tcp://0.0.0.0:6808: "), "{text}");
        assert!(text.contains("write 10.0.0.0/8"), "{text}");
        assert!(complaint(file(&format!("{TABLE}devices = [\"139\"]\n"))).contains("names no device"));
        assert!(complaint(file(&format!("{TABLE}network = []\n"))).contains("network"));
        assert!(complaint(file("[[listener]]\nprotocol = \"jt808\"\n")).contains("transport"));
    }

    #[test]
    fn a_device_listener_beyond_loopback_needs_networks_and_refuses_unknown_devices() {
        let text = valid(TABLE).unwrap_err();
        assert!(text.contains("`networks`") && text.contains("`insecure = true`"), "{text}");
        assert!(valid(&format!("{TABLE}networks = [\"10.0.0.0/8\"]\n")).is_ok());
        assert!(valid(&format!("{TABLE}devices = [\"jt808:139*\"]\n")).is_err(), "names are not enough");
        let text = valid(&format!("admit_unknown = true\n{TABLE}networks = [\"10.0.0.0/8\"]\n")).unwrap_err();
        assert!(text.contains("unknown devices are refused"), "{text}");
        assert!(valid(&format!("admit_unknown = true\n{TABLE}insecure = true\n")).is_ok());
        assert!(valid(&TABLE.replace("0.0.0.0", "[::ffff:127.0.0.1]")).is_err(), "mapped is not taken for loopback");
        let muster = TABLE.replace("jt808", "muster");
        assert!(valid(&format!("{muster}networks = [\"10.0.0.0/8\"]\n")).is_err(), "our own format has TLS");
    }
}
