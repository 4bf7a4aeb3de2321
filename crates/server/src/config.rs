//! Configuration: defaults, then the file, then the environment, then flags. Every error names the key
//! and where it was set.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use model::Shards;
use model::limits::SHARDS_MAX;
use serde::Deserialize;

pub(crate) mod listeners;

pub use listeners::{DeviceRate, Jt808Auth, Listen, ListenSetting, ListenTable, ListenerTable};

pub use crate::access::{JwtConfig, LogOnRule};
pub use crate::contract::ContractConfig;
pub use crate::storage::{Data, JournalConfig};
pub use crate::tls::TlsConfig;
pub use crate::webhooks::WebhookConfig;

/// Where a setting came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A configuration file.
    File(PathBuf),
    /// An environment variable.
    Environment,
    /// The command line.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Environment => f.write_str("environment"),
            Self::Flag => f.write_str("command line"),
        }
    }
}

/// Why a configuration is refused. The operator's fault; the message says what to change.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file is not there or not readable.
    #[error("cannot read {}: {error}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The file is no TOML, or has an unknown key. The message names key, line and column.
    #[error("{}: {error}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: Box<toml::de::Error>,
    },
    /// A value that is not allowed.
    #[error("`{key}` ({origin}): {problem}")]
    Value {
        /// The key.
        key: String,
        /// Where it was set.
        origin: Origin,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// An environment variable `MUSTER_...` that means nothing.
    #[error("`{key}` (environment) is no setting; known are: {known}")]
    UnknownVariable {
        /// The variable.
        key: String,
        /// All of them.
        known: String,
    },
}

/// What the server runs with. `Default` is loopback only.
#[derive(Debug, Clone)]
pub struct Config {
    /// HTTP and the page. Default 127.0.0.1:8080. Key `http`.
    pub http: SocketAddr,
    /// gRPC. Default 127.0.0.1:8081; key `grpc`.
    pub grpc: Option<SocketAddr>,
    /// Names by which browsers may call the server, besides its address and localhost. Key `hosts`.
    pub hosts: Vec<String>,
    /// Device listeners. Keys `listen` and `[[listener]]`; those of one origin replace those of the one before.
    pub listen: Vec<Listen>,
    /// Whether JT/T 808 terminals must show the code of their registration. Default checked; key `jt808_auth`: `checked` or `off`.
    pub jt808_auth: Jt808Auth,
    /// Requests a second of one principal; 0: no limit. Default 2,000; key `requests_per_s`. Those of the dispatch and emergency lanes
    /// have ten times as many, and are counted apart.
    pub requests_per_s: u32,
    /// How many fixes a device may bring.
    pub device_rate: DeviceRate,
    /// Make a unit of each unknown device. Default false; key `admit_unknown`.
    pub admit_unknown: bool,
    /// Bind beyond loopback without encryption and tokens. Default false; key `insecure`.
    pub insecure: bool,
    /// Units to enrol at the start: JSON as in `PUT /v1/units/{unit}`, a list with `unit` in each. Key `units_file`.
    pub units_file: Option<PathBuf>,
    /// Where the journal is. Default the folder `muster-data`; key `data`, `"off"` stores nothing.
    pub data: Data,
    /// How the journal is kept.
    pub journal: JournalConfig,
    /// Whether callers must log on. Default off, which is for loopback; key `log_on`: `off` or `required`.
    pub log_on: LogOnRule,
    /// An identity provider whose tokens count. Keys `jwt_...`.
    pub jwt: JwtConfig,
    /// Encryption, and gateways that log on by certificate. Keys `tls_...`.
    pub tls: TlsConfig,
    /// Where events are sent to. Keys `webhook_...`.
    pub webhooks: WebhookConfig,
    /// Metres beyond the borders of its territory that an organisation sees. Default 2,000; key `border_strip_m`.
    pub border_strip_m: f64,
    /// How fast answers ought to be, when they are too late, and how many searches run at once.
    pub contract: ContractConfig,
    /// Shards of live state, each with a writer of its own. Default 1: more pay where a core is free for each; key `shards`, 1 to 64.
    pub shards: Shards,
    /// Most connections of one listener. Key `connections_max`.
    pub connections_max: usize,
    /// Milliseconds a new connection has for its first frame. Key `first_frame_ms`.
    pub first_frame_ms: u64,
    /// Milliseconds a connection may be silent. Key `idle_ms`.
    pub idle_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        let ms = |duration: std::time::Duration| duration.as_millis() as u64;
        Self {
            http: SocketAddr::from(([127, 0, 0, 1], 8080)),
            grpc: Some(SocketAddr::from(([127, 0, 0, 1], 8081))),
            hosts: Vec::new(),
            listen: Vec::new(),
            jt808_auth: Jt808Auth::Checked,
            requests_per_s: model::limits::REQUESTS_PER_S,
            device_rate: DeviceRate::default(),
            admit_unknown: false,
            insecure: false,
            units_file: None,
            data: Data::Folder("muster-data".into()),
            journal: JournalConfig::default(),
            log_on: LogOnRule::Off,
            jwt: JwtConfig::default(),
            tls: TlsConfig::default(),
            webhooks: WebhookConfig::default(),
            border_strip_m: model::limits::BORDER_STRIP_M,
            contract: ContractConfig::default(),
            shards: Shards::ONE,
            connections_max: model::limits::CONNECTIONS_MAX,
            first_frame_ms: ms(model::limits::FIRST_FRAME_DEADLINE),
            idle_ms: ms(model::limits::IDLE_DEADLINE),
        }
    }
}

/// What one origin sets. Also the shape of the file.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// See [`Config::data`].
    pub data: Option<PathBuf>,
    /// See [`Config::journal`]: `live_unacked` or `stop`.
    pub on_journal_failure: Option<String>,
    /// See [`JournalConfig::segment_bytes`].
    pub journal_segment_mib: Option<u32>,
    /// See [`JournalConfig::group_time`].
    pub journal_group_us: Option<u64>,
    /// See [`JournalConfig::retention`].
    pub journal_retain_hours: Option<u64>,
    /// See [`JournalConfig::retention`].
    pub journal_retain_mib: Option<u64>,
    /// See [`JournalConfig::events`].
    pub events_retain_days: Option<u64>,
    /// See [`JournalConfig::events`].
    pub events_retain_mib: Option<u64>,
    /// See [`JournalConfig::retention`].
    pub snapshot_every_mib: Option<u64>,
    /// See [`ContractConfig::contract`].
    pub nearest_objective_ms: Option<u64>,
    /// See [`ContractConfig::contract`].
    pub nearest_deadline_ms: Option<u64>,
    /// See [`ContractConfig::contract`].
    pub within_objective_ms: Option<u64>,
    /// See [`ContractConfig::contract`].
    pub within_deadline_ms: Option<u64>,
    /// See [`ContractConfig::room`].
    pub query_seats: Option<usize>,
    /// See [`Config::shards`].
    pub shards: Option<usize>,
    /// See [`Config::http`].
    pub http: Option<String>,
    /// See [`Config::grpc`]; `"off"` turns it off.
    pub grpc: Option<String>,
    /// See [`Config::log_on`].
    pub log_on: Option<String>,
    /// See [`JwtConfig::jwks`].
    pub jwt_jwks: Option<PathBuf>,
    /// See [`JwtConfig::issuer`].
    pub jwt_issuer: Option<String>,
    /// See [`JwtConfig::audience`].
    pub jwt_audience: Option<String>,
    /// See [`TlsConfig::certificate`].
    pub tls_certificate: Option<PathBuf>,
    /// See [`TlsConfig::key`].
    pub tls_key: Option<PathBuf>,
    /// See [`TlsConfig::client_ca`].
    pub tls_client_ca: Option<PathBuf>,
    /// See [`TlsConfig::client_crl`].
    pub tls_client_crl: Option<PathBuf>,
    /// See [`TlsConfig::client_names`].
    pub tls_client_names: Option<Vec<String>>,
    /// See [`TlsConfig::client_devices`]: patterns such as `tetra-lip:*` by name.
    pub tls_client_devices: Option<BTreeMap<String, Vec<String>>>,
    /// See [`WebhookConfig::networks`].
    pub webhook_networks: Option<Vec<String>>,
    /// See [`WebhookConfig::ca`].
    pub webhook_ca: Option<PathBuf>,
    /// See [`WebhookConfig::give_up`].
    pub webhook_give_up_hours: Option<u64>,
    /// See [`Config::border_strip_m`].
    pub border_strip_m: Option<f64>,
    /// See [`Config::hosts`].
    pub hosts: Option<Vec<String>>,
    /// See [`Config::listen`].
    pub listen: Vec<ListenSetting>,
    /// See [`Config::listen`]: on top of those of `listen`.
    pub listener: Vec<ListenerTable>,
    /// See [`Config::jt808_auth`].
    pub jt808_auth: Option<String>,
    /// See [`Config::requests_per_s`].
    pub requests_per_s: Option<u32>,
    /// See [`DeviceRate::per_s`].
    pub device_rate: Option<u32>,
    /// See [`DeviceRate::burst`].
    pub device_burst: Option<u32>,
    /// See [`Config::admit_unknown`].
    pub admit_unknown: Option<bool>,
    /// See [`Config::insecure`].
    pub insecure: Option<bool>,
    /// See [`Config::units_file`].
    pub units_file: Option<PathBuf>,
    /// See [`Config::connections_max`].
    pub connections_max: Option<usize>,
    /// See [`Config::first_frame_ms`].
    pub first_frame_ms: Option<u64>,
    /// See [`Config::idle_ms`].
    pub idle_ms: Option<u64>,
}

/// Widest strip beside a territory that may be configured, in metres.
const BORDER_STRIP_M_MAX: f64 = 100_000.0;

const VARIABLES: [&str; 12] = [
    "MUSTER_LOG_ON",
    "MUSTER_HTTP",
    "MUSTER_GRPC",
    "MUSTER_HOSTS",
    "MUSTER_LISTEN",
    "MUSTER_ADMIT_UNKNOWN",
    "MUSTER_INSECURE",
    "MUSTER_UNITS_FILE",
    "MUSTER_DATA",
    "MUSTER_ON_JOURNAL_FAILURE",
    "MUSTER_CONFIG",
    "MUSTER_LOG",
];

impl Settings {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// [`ConfigError`] names the file, and key, line and column of what is wrong.
    pub fn of_file(path: &Path) -> Result<Self, ConfigError> {
        let text =
            std::fs::read_to_string(path).map_err(|error| ConfigError::Unreadable { path: path.to_owned(), error })?;
        toml::from_str(&text).map_err(|error| ConfigError::File { path: path.to_owned(), error: Box::new(error) })
    }

    /// Reads `MUSTER_...` variables; lists are separated by commas.
    ///
    /// # Errors
    /// [`ConfigError`] names the variable.
    pub fn of_environment(variables: impl Iterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        let mut settings = Self::default();
        let list = |value: &str| value.split(',').map(|one| one.trim().to_owned()).collect::<Vec<_>>();
        for (key, value) in variables.filter(|(key, _)| key.starts_with("MUSTER_")) {
            match key.as_str() {
                "MUSTER_HTTP" => settings.http = Some(value),
                "MUSTER_GRPC" => settings.grpc = Some(value),
                "MUSTER_LOG_ON" => settings.log_on = Some(value),
                "MUSTER_HOSTS" => settings.hosts = Some(list(&value)),
                "MUSTER_LISTEN" => settings.listen = list(&value).into_iter().map(ListenSetting::Address).collect(),
                "MUSTER_ADMIT_UNKNOWN" => settings.admit_unknown = Some(truth(&key, &value)?),
                "MUSTER_INSECURE" => settings.insecure = Some(truth(&key, &value)?),
                "MUSTER_UNITS_FILE" => settings.units_file = Some(value.into()),
                "MUSTER_DATA" => settings.data = Some(value.into()),
                "MUSTER_ON_JOURNAL_FAILURE" => settings.on_journal_failure = Some(value),
                // Read by the program itself.
                "MUSTER_CONFIG" | "MUSTER_LOG" => {}
                _ => return Err(ConfigError::UnknownVariable { key, known: VARIABLES.join(", ") }),
            }
        }
        Ok(settings)
    }
}

fn truth(key: &str, value: &str) -> Result<bool, ConfigError> {
    match value {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(wrong(key, &Origin::Environment, format!("{value:?} is neither true nor false"))),
    }
}

fn wrong(key: &str, origin: &Origin, problem: impl fmt::Display) -> ConfigError {
    ConfigError::Value { key: key.to_owned(), origin: origin.clone(), problem: problem.to_string() }
}

impl Config {
    /// Lays `settings` over this configuration. Lists replace, they do not add.
    ///
    /// # Errors
    /// [`ConfigError`] names key and origin.
    pub fn lay(mut self, settings: Settings, origin: &Origin) -> Result<Self, ConfigError> {
        let address = |key: &str, text: String| {
            let advice = "is no ADDRESS:PORT, as in 127.0.0.1:8080";
            text.parse::<SocketAddr>().map_err(|_| wrong(key, origin, format!("{text:?} {advice}")))
        };
        self.journal.lay(&settings).map_err(|(key, problem)| wrong(key, origin, problem))?;
        self.device_rate.lay(&settings).map_err(|(key, problem)| wrong(key, origin, problem))?;
        self.tls.lay(&settings).map_err(|error| wrong("tls_client_devices", origin, error))?;
        self.jwt.lay(&settings);
        self.webhooks.lay(&settings).map_err(|(key, problem)| wrong(key, origin, problem))?;
        self.contract.lay(&settings).map_err(|(key, problem)| wrong(key, origin, problem))?;
        if let Some(count) = settings.shards {
            let problem = || wrong("shards", origin, format!("{count} is not 1 to {SHARDS_MAX}"));
            self.shards = Shards::new(count).ok_or_else(problem)?;
        }
        if let Some(text) = settings.http {
            self.http = address("http", text)?;
        }
        if let Some(text) = settings.grpc {
            self.grpc = if text == "off" { None } else { Some(address("grpc", text)?) };
        }
        if !settings.listen.is_empty() || !settings.listener.is_empty() {
            self.listen = listeners::listeners(settings.listen, settings.listener, origin)?;
        }
        match settings.log_on.as_deref() {
            None => {}
            Some("off") => self.log_on = LogOnRule::Off,
            Some("required") => self.log_on = LogOnRule::Required,
            Some(other) => return Err(wrong("log_on", origin, format!("{other:?} is neither off nor required"))),
        }
        if let Some(word) = settings.jt808_auth {
            self.jt808_auth = Jt808Auth::of(&word).map_err(|problem| wrong("jt808_auth", origin, problem))?;
        }
        if let Some(metres) = settings.border_strip_m {
            if !(0.0..=BORDER_STRIP_M_MAX).contains(&metres) {
                return Err(wrong("border_strip_m", origin, format!("{metres} is not 0 to {BORDER_STRIP_M_MAX}")));
            }
            self.border_strip_m = metres;
        }
        self.requests_per_s = settings.requests_per_s.unwrap_or(self.requests_per_s);
        self.hosts = settings.hosts.unwrap_or(self.hosts);
        self.admit_unknown = settings.admit_unknown.unwrap_or(self.admit_unknown);
        self.insecure = settings.insecure.unwrap_or(self.insecure);
        self.units_file = settings.units_file.or(self.units_file);
        self.data = settings.data.map_or(self.data, Data::from);
        self.connections_max = settings.connections_max.unwrap_or(self.connections_max);
        self.first_frame_ms = settings.first_frame_ms.unwrap_or(self.first_frame_ms);
        self.idle_ms = settings.idle_ms.unwrap_or(self.idle_ms);
        let positive = [
            ("connections_max", self.connections_max as u64),
            ("first_frame_ms", self.first_frame_ms),
            ("idle_ms", self.idle_ms),
        ];
        match positive.iter().find(|(_, value)| *value == 0) {
            Some((key, _)) => Err(wrong(key, origin, "must be above 0")),
            None => Ok(self),
        }
    }

    /// Refuses binds beyond loopback that nobody asked for.
    ///
    /// # Errors
    /// [`ConfigError`] names the key and what to do.
    pub fn validate(&self, origin: &Origin) -> Result<(), ConfigError> {
        if let Some((key, problem)) = self.tls.missing() {
            return Err(wrong(key, origin, problem));
        }
        if let Some(key) = self.jwt.missing() {
            return Err(wrong(key, origin, "is not set: `jwt_jwks`, `jwt_issuer` and `jwt_audience` go together"));
        }
        let beyond = |address: SocketAddr| !address.ip().is_loopback() && !self.insecure;
        let api = [("http", self.http)].into_iter().chain(self.grpc.map(|grpc| ("grpc", grpc)));
        let is_guarded = self.tls.is_on() && self.log_on == LogOnRule::Required;
        for (key, address) in api.filter(|_| !is_guarded) {
            if beyond(address) {
                let advice = "is beyond loopback, which needs `tls_certificate`, `tls_key` and `log_on = \"required\"`: \
                              set them, bind to 127.0.0.1 behind a proxy, or say `insecure` (--insecure)";
                return Err(wrong(key, origin, format!("{address} {advice}")));
            }
        }
        listeners::validate(self, origin)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    pub(super) fn file(text: &str) -> Result<Config, ConfigError> {
        static FILES: AtomicU32 = AtomicU32::new(0);
        // Tests run at the same time: texts of equal length once shared a folder, and one test removed the file of the other.
        let number = FILES.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("muster-config-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("muster.toml");
        std::fs::write(&path, text).unwrap();
        let config = Settings::of_file(&path).and_then(|set| Config::default().lay(set, &Origin::File(path)));
        std::fs::remove_dir_all(folder).unwrap();
        config
    }

    pub(super) fn complaint(result: Result<Config, ConfigError>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn an_unknown_key_is_refused_by_name_and_place() {
        let text = complaint(file("http = \"127.0.0.1:1\"\nhtpp = 1\n"));
        assert!(text.contains("muster.toml") && text.contains("htpp") && text.contains("line 2"), "{text}");
    }

    #[test]
    fn a_wrong_value_names_key_and_origin() {
        let text = complaint(file("listen = [\"jt808=tcp://localhost:1\"]\n"));
        assert!(text.contains("`listen` (file") && text.contains("localhost:1"), "{text}");
        let settings = Settings { http: Some("8080".into()), ..Settings::default() };
        let text = complaint(Config::default().lay(settings, &Origin::Flag));
        assert_eq!(text, "`http` (command line): \"8080\" is no ADDRESS:PORT, as in 127.0.0.1:8080");
    }

    #[test]
    fn a_contract_is_checked_as_a_whole() {
        let config = file("nearest_objective_ms = 2\nnearest_deadline_ms = 50\nquery_seats = 3\n").unwrap();
        let nearest = config.contract.contract(query::Class::Nearest);
        assert_eq!((nearest.objective().as_millis(), nearest.deadline().as_millis()), (2, 50));
        let text = complaint(file("within_objective_ms = 300\n"));
        assert!(text.contains("`within_objective_ms` (file") && text.contains("300 with a deadline of 250"), "{text}");
        assert!(complaint(file("query_seats = 0\n")).contains("`query_seats`"));
    }

    #[test]
    fn shards_are_one_unless_the_file_says_how_many() {
        assert_eq!(file("").unwrap().shards, Shards::ONE);
        assert_eq!(file("shards = 64\n").unwrap().shards.count(), 64);
        let text = complaint(file("shards = 65\n"));
        assert!(text.contains("`shards` (file") && text.ends_with("65 is not 1 to 64"), "{text}");
        assert!(file("shards = 0\n").is_err());
    }

    #[test]
    fn unknown_variables_are_refused_and_known_ones_read() {
        let variables = |key: &str, value: &str| vec![(key.to_owned(), value.to_owned())].into_iter();
        let error = Settings::of_environment(variables("MUSTER_HTPP", "x")).unwrap_err().to_string();
        assert!(error.contains("MUSTER_HTPP") && error.contains("MUSTER_HTTP"), "{error}");
        let settings =
            Settings::of_environment(variables("MUSTER_LISTEN", "taip=udp://127.0.0.1:0, nmea=tcp://127.0.0.1:0"));
        let config = Config::default().lay(settings.unwrap(), &Origin::Environment).unwrap();
        assert_eq!(config.listen.len(), 2);
        assert!(Settings::of_environment(variables("MUSTER_INSECURE", "yes")).is_err());
    }

    #[test]
    fn keys_that_go_together_are_refused_apart() {
        let set = |text: &str| complaint(file(text).and_then(|set| set.validate(&Origin::Flag).map(|()| set)));
        assert!(set("tls_certificate = \"c\"").contains("set `tls_key`"));
        assert!(set("tls_key = \"k\"").contains("set `tls_certificate`"));
        assert!(set("tls_client_ca = \"a\"").starts_with("`tls_client_ca`"));
        assert!(
            set("tls_certificate = \"c\"\ntls_key = \"k\"\ntls_client_crl = \"r\"").contains("set `tls_client_ca`")
        );
        assert!(set("jwt_jwks = \"j\"\njwt_issuer = \"i\"").starts_with("`jwt_audience`"));
    }

    #[test]
    fn binds_beyond_loopback_need_a_word() {
        let set = |text: &str| file(text).unwrap().validate(&Origin::Flag).map_err(|error| error.to_string());
        assert!(set("http = \"0.0.0.0:8080\"").unwrap_err().contains("--insecure"));
        assert!(set("http = \"0.0.0.0:8080\"\ninsecure = true").is_ok());
        let tls = "tls_certificate = \"c\"\ntls_key = \"k\"\n";
        let http = "http = \"0.0.0.0:8080\"\n";
        assert!(set(&format!("{http}{tls}")).unwrap_err().contains("`log_on = \"required\"`"));
        assert!(set(&format!("{http}log_on = \"required\"")).unwrap_err().contains("`tls_certificate`"));
        assert!(set(&format!("{http}{tls}log_on = \"required\"")).is_ok());
        let muster = |transport: &str| format!("listen = [\"muster={transport}://0.0.0.0:1\"]\n{tls}");
        assert!(set(&muster("tcp")).unwrap_err().contains("`tls_client_ca`"));
        assert!(set(&(muster("tcp") + "tls_client_ca = \"a\"")).is_ok());
        assert!(set(&(muster("udp") + "tls_client_ca = \"a\"")).unwrap_err().contains("not encrypted"));
        assert!(set("listen = [\"jt808=tcp://0.0.0.0:1\"]").unwrap_err().contains("insecure = true"));
        assert!(set("listen = [{ address = \"jt808=tcp://0.0.0.0:1\", insecure = true }]").is_ok());
        assert!(set("listen = [{ address = \"muster=tcp://0.0.0.0:1\", insecure = true }]").is_err());
    }
}
