//! Who signs in tests, a folder with what the server reads, and clients.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
    date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::config::{Config, Data, LogOnRule};
use crate::tls::TlsConfig;

/// Who signs.
pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate with its key.
pub(super) struct Pair {
    pub(super) pem: String,
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: KeyPair,
}

impl Authority {
    pub(super) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = named(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(super) fn sign(&self, params: &CertificateParams) -> Pair {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Pair { pem: certificate.pem(), chain: vec![certificate.der().clone()], key }
    }

    /// A list that says that these numbers are revoked, until the next one in `year`.
    pub(super) fn revoke(&self, numbers: &[u64], year: i32) -> String {
        let revoked = |number: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*number),
            revocation_time: date_time_ymd(2020, 1, 2),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(year, 1, 1),
            crl_number: SerialNumber::from(1u64),
            issuing_distribution_point: None,
            revoked_certs: numbers.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.0).unwrap().pem().unwrap()
    }
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

/// Of a gateway, or of a server at 127.0.0.1.
pub(super) fn of(dns: &[&str], usage: ExtendedKeyUsagePurpose, number: u64) -> CertificateParams {
    let names: Vec<_> = dns.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.extended_key_usages = vec![usage];
    params.serial_number = Some(SerialNumber::from(number));
    params
}

pub(super) fn gateway(dns: &[&str], number: u64) -> CertificateParams {
    of(dns, ExtendedKeyUsagePurpose::ClientAuth, number)
}

/// A name in the subject instead of a DNS name.
pub(super) fn common(name: &str, number: u64) -> CertificateParams {
    let mut params = gateway(&[], number);
    params.distinguished_name = named(name);
    params
}

/// A folder with all files of the server's, and who signed what is in them.
pub(super) struct Scene {
    folder: PathBuf,
    pub(super) authority: Authority,
    pub(super) gateways: Authority,
}

impl Scene {
    pub(super) fn new() -> Self {
        static FOLDERS: AtomicU32 = AtomicU32::new(0);
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("muster-tls-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let scene = Self { folder, authority: Authority::new("root"), gateways: Authority::new("gateways") };
        scene.install(1);
        scene.write("ca.pem", &scene.gateways.0.pem());
        scene.write("crl.pem", &scene.gateways.revoke(&[666], 2100));
        scene
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.join(name), text).unwrap();
    }

    /// A new pair for the server, with this number.
    pub(super) fn install(&self, number: u64) {
        self.install_of(&of(&["127.0.0.1"], ExtendedKeyUsagePurpose::ServerAuth, number));
    }

    /// One that ends with the year before `year`.
    pub(super) fn install_until(&self, number: u64, year: i32) {
        let mut params = of(&["127.0.0.1"], ExtendedKeyUsagePurpose::ServerAuth, number);
        (params.not_before, params.not_after) = (rcgen::date_time_ymd(2019, 1, 1), rcgen::date_time_ymd(year, 1, 1));
        self.install_of(&params);
    }

    fn install_of(&self, params: &CertificateParams) {
        let pair = self.authority.sign(params);
        self.write("server.pem", &pair.pem);
        self.write("server.key", &pair.key.serialize_pem());
    }

    pub(super) fn tls(&self, names: &[&str]) -> TlsConfig {
        let file = |name: &str| Some(self.folder.join(name));
        TlsConfig {
            certificate: file("server.pem"),
            key: file("server.key"),
            client_ca: file("ca.pem"),
            client_crl: file("crl.pem"),
            client_names: names.iter().map(ToString::to_string).collect(),
            client_devices: std::collections::BTreeMap::new(),
        }
    }

    pub(super) fn config(&self, names: &[&str]) -> Config {
        let any = "127.0.0.1:0".parse().unwrap();
        let listen = vec![crate::config::Listen::at("muster=tcp://127.0.0.1:0".parse().unwrap())];
        let (tls, log_on) = (self.tls(names), LogOnRule::Required);
        let config = Config { http: any, grpc: Some(any), listen, tls, log_on, ..Config::default() };
        Config { data: Data::Off, admit_unknown: true, ..config }
    }

    pub(super) fn client(&self, pair: Option<&Pair>) -> TlsConnector {
        self.client_of(pair, rustls::ALL_VERSIONS)
    }

    pub(super) fn client_of(
        &self,
        pair: Option<&Pair>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.0.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
        let builder = builder.with_root_certificates(roots);
        let client = match pair {
            None => builder.with_no_client_auth(),
            Some(pair) => {
                let key = PrivateKeyDer::try_from(pair.key.serialize_der()).unwrap();
                builder.with_client_auth_cert(pair.chain.clone(), key).unwrap()
            }
        };
        TlsConnector::from(Arc::new(client))
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

pub(super) async fn connect(address: SocketAddr, client: &TlsConnector) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from("127.0.0.1").unwrap();
    client.connect(name, TcpStream::connect(address).await?).await
}

/// Sends `bytes` over `stream` and says what came back first, if anything did.
pub(super) async fn exchange(stream: &mut TlsStream<TcpStream>, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
    stream.write_all(bytes).await?;
    let mut answer = vec![0; 4_096];
    let read = stream.read(&mut answer).await?;
    answer.truncate(read);
    if answer.is_empty() { Err(std::io::ErrorKind::UnexpectedEof.into()) } else { Ok(answer) }
}

/// One HTTP/1.1 request on a connection of its own.
pub(super) async fn ask(address: SocketAddr, client: &TlsConnector, head: &str, body: &str) -> std::io::Result<String> {
    let mut stream = connect(address, client).await?;
    ask_on(&mut stream, head, body).await
}

pub(super) async fn ask_on(stream: &mut TlsStream<TcpStream>, head: &str, body: &str) -> std::io::Result<String> {
    let length = body.len();
    let request = format!(
        "{head}\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    exchange(stream, request.as_bytes()).await.map(|answer| String::from_utf8(answer).unwrap())
}
