use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::Timestamp;
use model::limits::TLS_FILE_BYTES_MAX;
use ring::digest::{Context, SHA256};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::server::{ClientCertVerifierBuilder, NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};

use super::clients::{Clients, Names};
use super::ends::ends_at;
use super::{Port, TlsConfig};
use crate::small_file;

/// Why certificates cannot be used. The operator's fault; the message names key and file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file is not there, not readable or too long.
    #[error("`{key}`: cannot read {}: {error}", path.display())]
    Unreadable {
        /// The key of the configuration.
        key: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file does not hold what it should.
    #[error("`{key}`: {}: {problem}", path.display())]
    Content {
        /// The key of the configuration.
        key: &'static str,
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
}

/// A file and the key that names it.
#[derive(Debug)]
struct Source {
    key: &'static str,
    path: PathBuf,
}

impl Source {
    fn read(&self) -> Result<Vec<u8>, TlsError> {
        let read = small_file::read(&self.path, TLS_FILE_BYTES_MAX);
        read.map_err(|error| TlsError::Unreadable { key: self.key, path: self.path.clone(), error })
    }

    fn wrong(&self, problem: impl ToString) -> TlsError {
        TlsError::Content { key: self.key, path: self.path.clone(), problem: problem.to_string() }
    }

    /// All of one kind that a file holds.
    fn all<T: PemObject>(&self, bytes: &[u8], what: &str) -> Result<Vec<T>, TlsError> {
        let all: Vec<T> = T::pem_slice_iter(bytes).collect::<Result<_, _>>().map_err(|error| self.wrong(error))?;
        if all.is_empty() { Err(self.wrong(format!("holds no {what} (PEM)"))) } else { Ok(all) }
    }
}

/// The certificates of a file that sign others.
///
/// # Errors
/// [`TlsError`] names key and file.
pub(crate) fn roots(key: &'static str, path: &Path) -> Result<RootCertStore, TlsError> {
    let source = Source { key, path: path.to_owned() };
    signing(&source, &source.read()?)
}

fn signing(source: &Source, bytes: &[u8]) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in source.all::<CertificateDer<'static>>(bytes, "certificate")? {
        roots.add(certificate).map_err(|error| source.wrong(error))?;
    }
    Ok(roots)
}

/// Where the certificates are.
#[derive(Debug)]
pub(super) struct Files {
    certificate: Source,
    key: Source,
    client_ca: Option<Source>,
    client_crl: Option<Source>,
    names: Names,
}

/// The bytes of all files, of one look.
pub(super) struct Bytes {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
    client_crl: Option<Vec<u8>>,
}

impl Bytes {
    /// The same for the same bytes only.
    pub(super) fn digest(&self) -> Vec<u8> {
        let mut context = Context::new(&SHA256);
        let optional = [&self.client_ca, &self.client_crl].map(|bytes| bytes.as_deref().unwrap_or_default());
        for bytes in [self.certificate.as_slice(), self.key.as_slice()].into_iter().chain(optional) {
            context.update(&(bytes.len() as u64).to_le_bytes());
            context.update(bytes);
        }
        context.finish().as_ref().to_vec()
    }
}

/// What a listener needs of the files.
pub(super) struct Material {
    http: Arc<ServerConfig>,
    grpc: Arc<ServerConfig>,
    muster: Arc<ServerConfig>,
    /// When the server's own certificate ends, where it says so.
    pub(super) ends: Option<Timestamp>,
    /// Who checks the certificates of connections that are open.
    pub(super) clients: Option<Arc<Clients>>,
}

impl Material {
    pub(super) fn server(&self, port: Port) -> Arc<ServerConfig> {
        Arc::clone(match port {
            Port::Http => &self.http,
            Port::Grpc => &self.grpc,
            Port::Muster => &self.muster,
        })
    }
}

impl Files {
    pub(super) fn of(config: &TlsConfig) -> Option<Self> {
        let source = |key, path: &Option<PathBuf>| path.clone().map(|path| Source { key, path });
        Some(Self {
            certificate: source("tls_certificate", &config.certificate)?,
            key: source("tls_key", &config.key)?,
            client_ca: source("tls_client_ca", &config.client_ca),
            client_crl: source("tls_client_crl", &config.client_crl),
            names: Names::of(&config.client_names, &config.client_devices),
        })
    }

    pub(super) fn read(&self) -> Result<Bytes, TlsError> {
        let optional = |source: &Option<Source>| source.as_ref().map(Source::read).transpose();
        Ok(Bytes {
            certificate: self.certificate.read()?,
            key: self.key.read()?,
            client_ca: optional(&self.client_ca)?,
            client_crl: optional(&self.client_crl)?,
        })
    }

    /// Whatever `bytes` are good for.
    pub(super) fn material(&self, bytes: &Bytes) -> Result<Material, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let chain = self.certificate.all::<CertificateDer<'static>>(&bytes.certificate, "certificate")?;
        let key = PrivateKeyDer::from_pem_slice(&bytes.key).map_err(|error| self.key.wrong(error))?;
        let clients = self.clients(bytes, &provider)?;
        let server = |rule: Presence| {
            let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
            let builder =
                builder.with_safe_default_protocol_versions().map_err(|error| self.certificate.wrong(error))?;
            let builder = match &clients {
                None => builder.with_no_client_auth(),
                Some(clients) => builder.with_client_cert_verifier(Arc::new(clients.at_the_door(rule))),
            };
            let single = builder.with_single_cert(chain.clone(), key.clone_key());
            let mut server = single.map_err(|error| self.certificate.wrong(format!("with its key: {error}")))?;
            if clients.is_some() {
                // A session that is resumed is not checked: whoever was revoked since would come in.
                server.session_storage = Arc::new(NoServerSessionStorage {});
                server.send_tls13_tickets = 0;
            }
            Ok(server)
        };
        let api = server(Presence::Optional)?;
        let speaking = |protocols: &[&str]| {
            let mut server = api.clone();
            server.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
            Arc::new(server)
        };
        Ok(Material {
            ends: chain.first().and_then(|own| ends_at(own)),
            http: speaking(&["h2", "http/1.1"]),
            grpc: speaking(&["h2"]),
            muster: Arc::new(server(Presence::Required)?),
            clients: clients.map(Arc::new),
        })
    }

    fn clients(&self, bytes: &Bytes, provider: &Arc<CryptoProvider>) -> Result<Option<Clients>, TlsError> {
        let (Some(source), Some(ca)) = (&self.client_ca, &bytes.client_ca) else { return Ok(None) };
        let roots = Arc::new(signing(source, ca)?);
        let crls = match (&self.client_crl, &bytes.client_crl) {
            (Some(source), Some(crl)) => {
                source.all::<CertificateRevocationListDer<'static>>(crl, "list of revocations")?
            }
            _ => Vec::new(),
        };
        let builder = || {
            let builder = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(provider));
            builder.with_crls(crls.iter().cloned()).only_check_end_entity_revocation()
        };
        let built = |builder: ClientCertVerifierBuilder| builder.build().map_err(|error| source.wrong(error));
        // A list that is overdue lets nobody new in, and throws nobody out.
        let door = built(builder().enforce_revocation_expiration())?;
        Ok(Some(Clients { door, inside: built(builder())?, names: self.names.clone() }))
    }
}

/// Whether a client must have a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    /// It may log on by token.
    Optional,
    Required,
}
