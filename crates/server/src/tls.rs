//! Encryption, and who is at the other end: one acceptor for HTTP, gRPC and the `muster` format. Files are read again when they
//! change; what is open goes on with what it was opened with, as long as the certificate of its client holds.

mod clients;
mod ends;
mod files;
mod incoming;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ingest::{Allowed, AllowedError};
use model::Timestamp;
use model::limits::{CERTIFICATE_ENDS_SOON, TLS_LOOK_INTERVAL, TLS_RECHECK_INTERVAL};
use parking_lot::Mutex;
use rustls::ServerConfig;
use tracing::{error, info};

use crate::config::Settings;
pub(crate) use clients::Client;
pub use files::TlsError;
pub(crate) use files::roots;
use files::{Files, Material};
pub(crate) use incoming::{Incoming, Presented, presented};

/// What encrypts, and whose certificates count.
#[derive(Debug, Clone, Default)]
pub struct TlsConfig {
    /// Certificates of the server, its own first (PEM). Key `tls_certificate`.
    pub certificate: Option<PathBuf>,
    /// Its private key (PEM). Key `tls_key`.
    pub key: Option<PathBuf>,
    /// Certificates that sign those of gateways (PEM). Key `tls_client_ca`.
    pub client_ca: Option<PathBuf>,
    /// What was revoked of them (PEM). Key `tls_client_crl`.
    pub client_crl: Option<PathBuf>,
    /// Names that gateways may have; empty: any that their certificates give them. Key `tls_client_names`.
    pub client_names: Vec<String>,
    /// The devices that gateways may report for, by the names in their certificates; one that is not named: all. Key `tls_client_devices`.
    pub client_devices: BTreeMap<String, Arc<Allowed>>,
}

impl TlsConfig {
    /// Lays what one origin sets over this.
    ///
    /// # Errors
    /// [`AllowedError`] of `tls_client_devices`.
    pub(crate) fn lay(&mut self, settings: &Settings) -> Result<(), AllowedError> {
        let lay = |own: &mut Option<PathBuf>, set: &Option<PathBuf>| {
            if set.is_some() {
                own.clone_from(set);
            }
        };
        lay(&mut self.certificate, &settings.tls_certificate);
        lay(&mut self.key, &settings.tls_key);
        lay(&mut self.client_ca, &settings.tls_client_ca);
        lay(&mut self.client_crl, &settings.tls_client_crl);
        if let Some(names) = &settings.tls_client_names {
            self.client_names.clone_from(names);
        }
        if let Some(devices) = &settings.tls_client_devices {
            let read =
                |(name, patterns): (&String, &Vec<String>)| Ok((name.clone(), Arc::new(Allowed::new(&[], patterns)?)));
            self.client_devices = devices.iter().map(read).collect::<Result<_, _>>()?;
        }
        Ok(())
    }

    /// Whether anything is encrypted.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.certificate.is_some()
    }

    /// Whether gateways log on by certificate.
    #[must_use]
    pub const fn knows_clients(&self) -> bool {
        self.is_on() && self.client_ca.is_some()
    }

    /// The key that needs another one which is not there, and what to do.
    pub(crate) fn missing(&self) -> Option<(&'static str, &'static str)> {
        let has_devices = !self.client_devices.is_empty();
        let has_clients = self.client_crl.is_some() || !self.client_names.is_empty() || has_devices;
        match (&self.certificate, &self.key) {
            (Some(_), None) => Some(("tls_certificate", "needs its private key: set `tls_key`")),
            (None, Some(_)) => Some(("tls_key", "needs its certificate: set `tls_certificate`")),
            (None, None) if self.client_ca.is_some() => {
                Some(("tls_client_ca", "needs TLS: set `tls_certificate` and `tls_key`"))
            }
            _ if has_clients && self.client_ca.is_none() => {
                let key = match (&self.client_crl, has_devices) {
                    (Some(_), _) => "tls_client_crl",
                    (None, true) => "tls_client_devices",
                    (None, false) => "tls_client_names",
                };
                Some((key, "needs those who sign: set `tls_client_ca`"))
            }
            _ => None,
        }
    }
}

/// Who is served over a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Port {
    Http,
    Grpc,
    /// Nobody without a certificate, if gateways have any.
    Muster,
}

impl Port {
    /// Under which word its connections are counted.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Grpc => "grpc",
            Self::Muster => "muster",
        }
    }
}

/// The certificates in use, and the files they came from.
pub(crate) struct Tls {
    files: Files,
    used: Mutex<Used>,
    /// Rises when certificates of clients are to be checked anew.
    epoch: AtomicU64,
    is_stale: AtomicBool,
}

struct Used {
    material: Arc<Material>,
    /// Of the bytes it was made of.
    good: Vec<u8>,
    /// Of the bytes that were tried last, good or bad.
    tried: Vec<u8>,
}

impl Tls {
    /// Reads the files; `None` where nothing is encrypted.
    ///
    /// # Errors
    /// [`TlsError`] names key and file.
    pub(crate) fn of(config: &TlsConfig) -> Result<Option<Arc<Self>>, TlsError> {
        let Some(files) = Files::of(config) else { return Ok(None) };
        let read = files.read()?;
        let (material, good) = (Arc::new(files.material(&read)?), read.digest());
        let used = Used { material, tried: good.clone(), good };
        let (epoch, is_stale) = (AtomicU64::new(1), AtomicBool::new(false));
        Ok(Some(Arc::new(Self { files, used: Mutex::new(used), epoch, is_stale })))
    }

    /// Whether the files hold what cannot be used, so that older certificates are in use.
    pub(crate) fn is_stale(&self) -> bool {
        self.is_stale.load(Ordering::Relaxed)
    }

    /// Whether the certificate of the server ends within [`CERTIFICATE_ENDS_SOON`] from `now`, or has ended.
    pub(crate) fn ends_soon(&self, now: Timestamp) -> bool {
        self.used.lock().material.ends.is_some_and(|ends| now.after(CERTIFICATE_ENDS_SOON) >= ends)
    }

    fn material(&self) -> Arc<Material> {
        Arc::clone(&self.used.lock().material)
    }

    fn server(&self, port: Port) -> Arc<ServerConfig> {
        self.material().server(port)
    }

    fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Reads the files again. What cannot be used is an alarm, and changes nothing.
    pub(crate) fn look(&self) {
        let read = self.files.read().and_then(|read| {
            let tried = read.digest();
            let mut used = self.used.lock();
            if used.tried == tried {
                // What could not be read for a while may be there again as it was.
                self.is_stale.store(used.good != tried, Ordering::Relaxed);
                return Ok(None);
            }
            used.tried.clone_from(&tried);
            Ok(Some((self.files.material(&read)?, tried)))
        });
        match read {
            Ok(None) => {}
            Ok(Some((material, good))) => {
                let mut used = self.used.lock();
                (used.material, used.good) = (Arc::new(material), good);
                drop(used);
                self.epoch.fetch_add(1, Ordering::Release);
                self.is_stale.store(false, Ordering::Relaxed);
                info!("Certificates were read again.");
            }
            Err(error) => {
                if !self.is_stale.swap(true, Ordering::Relaxed) {
                    error!(%error, "NEW CERTIFICATES CANNOT BE USED: the old ones stay in use.");
                }
            }
        }
    }

    /// Looks at the files as long as the server runs.
    pub(crate) async fn watch(self: Arc<Self>) {
        let every = TLS_RECHECK_INTERVAL.as_secs() / TLS_LOOK_INTERVAL.as_secs();
        let mut tick = tokio::time::interval(TLS_LOOK_INTERVAL);
        for looked in 1u64.. {
            tick.tick().await;
            let tls = Arc::clone(&self);
            // Files may be on a slow disk.
            let _ = tokio::task::spawn_blocking(move || tls.look()).await;
            if looked.is_multiple_of(every) {
                self.epoch.fetch_add(1, Ordering::Release);
            }
        }
    }
}

#[cfg(test)]
mod tests;
