//! One POST of a webhook: the name is looked up once, every address is checked, and the connection goes to one of those.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body::Body as _;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use model::WebhookSecret;
use model::limits::{WEBHOOK_ANSWER_BYTES_MAX, WEBHOOK_CONNECT_DEADLINE, WEBHOOK_POST_DEADLINE};
use ring::hmac;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use super::destination::{Networks, Target, TargetError};

/// Addresses of one name that are tried.
const ADDRESSES_TRIED_MAX: usize = 4;
/// Bytes of the head of an answer, and header lines in it.
const HEAD_BYTES_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;

/// Calls receivers.
pub(crate) struct Poster {
    networks: Networks,
    tls: Option<TlsConnector>,
}

/// Why a POST did not come to an answer. The receiver's fault, the network's, or its owner's.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PostError {
    /// Which address it was is not told: that would say what is in the network of the server.
    #[error("{host} has an address that is not public, and not in `webhook_networks`")]
    NotAllowed { host: String },
    #[error("{0}")]
    Target(#[from] TargetError),
    #[error("{host} has no address: {error}")]
    Unresolved { host: String, error: io::Error },
    #[error("no connection to {host}: {error}")]
    Unreachable { host: String, error: io::Error },
    #[error("no encrypted connection to {host}: {error}")]
    NotEncrypted { host: String, error: io::Error },
    #[error("no connection within {} s", WEBHOOK_CONNECT_DEADLINE.as_secs())]
    ConnectTimedOut,
    #[error("no answer within {} s", WEBHOOK_POST_DEADLINE.as_secs())]
    TimedOut,
    #[error("no answer that can be read: {0}")]
    Exchange(#[from] hyper::Error),
}

/// A connection, encrypted or not.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Poster {
    /// Calls public addresses and those of `networks`; with TLS those whose certificates `roots` sign.
    pub(crate) fn new(networks: Networks, roots: Option<RootCertStore>) -> Self {
        let tls = roots.map(|roots| {
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
            let builder = builder.expect("ring knows the protocol versions of rustls");
            TlsConnector::from(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
        });
        Self { networks, tls }
    }

    /// Refuses what can be seen to be wrong before anything is sent.
    pub(crate) fn check(&self, target: &Target) -> Result<(), TargetError> {
        if target.is_encrypted && self.tls.is_none() {
            return Err(TargetError::NoRoots);
        }
        match target.address() {
            Some(address) if !self.networks.has(address) => Err(TargetError::NotAllowed { address }),
            _ => Ok(()),
        }
    }

    /// Sends `body` and returns the status of the answer, redirects among them. What else it says is read and dropped.
    pub(crate) async fn post(&self, target: &Target, headers: HeaderMap, body: Bytes) -> Result<StatusCode, PostError> {
        let exchange = async {
            let connecting = tokio::time::timeout(WEBHOOK_CONNECT_DEADLINE, self.connect(target));
            let stream = connecting.await.map_err(|_| PostError::ConnectTimedOut)??;
            exchange(stream, target, headers, body).await
        };
        tokio::time::timeout(WEBHOOK_POST_DEADLINE, exchange).await.map_err(|_| PostError::TimedOut)?
    }

    async fn connect(&self, target: &Target) -> Result<Box<dyn Stream>, PostError> {
        self.check(target)?;
        let host = || target.host.clone();
        let found = tokio::net::lookup_host((target.host.as_str(), target.port)).await;
        let found = found.map_err(|error| PostError::Unresolved { host: host(), error })?;
        let addresses: Vec<SocketAddr> = found.collect();
        if self.networks.refused(&addresses).is_some() {
            return Err(PostError::NotAllowed { host: host() });
        }
        let mut stream = Err(io::Error::new(io::ErrorKind::NotFound, "its name has no address"));
        for address in addresses.into_iter().take(ADDRESSES_TRIED_MAX) {
            stream = TcpStream::connect(address).await;
            if stream.is_ok() {
                break;
            }
        }
        let stream = stream.map_err(|error| PostError::Unreachable { host: host(), error })?;
        let Some(tls) = self.tls.as_ref().filter(|_| target.is_encrypted) else { return Ok(Box::new(stream)) };
        let not_encrypted = |error| PostError::NotEncrypted { host: host(), error };
        let name = ServerName::try_from(target.host.clone());
        let name = name.map_err(|error| not_encrypted(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
        Ok(Box::new(tls.connect(name, stream).await.map_err(not_encrypted)?))
    }
}

async fn exchange(
    stream: Box<dyn Stream>,
    target: &Target,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, PostError> {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEAD_BYTES_MAX).max_headers(HEADERS_MAX);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
    // Ends with this function, whatever the other side does.
    let mut driven = JoinSet::new();
    driven.spawn(connection);
    let mut request = Request::new(Body::from(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = target.path_and_query.parse().expect("it was cut out of a URL");
    *request.headers_mut() = headers;
    let host = HeaderValue::from_str(&target.authority).expect("it was cut out of a URL");
    request.headers_mut().insert(header::HOST, host);
    let response = sender.send_request(request).await?;
    let status = response.status();
    let dropped = drop_body(response.into_body());
    // The status has settled it: a receiver that talks on does not change that.
    let _ = tokio::time::timeout(WEBHOOK_POST_DEADLINE / 10, dropped).await;
    Ok(status)
}

/// Reads a body to its end, or until it has said too much.
async fn drop_body(mut body: hyper::body::Incoming) {
    let mut left = WEBHOOK_ANSWER_BYTES_MAX;
    while left > 0 {
        let frame = std::future::poll_fn(|context| std::pin::Pin::new(&mut body).poll_frame(context)).await;
        let Some(Ok(frame)) = frame else { return };
        left = left.saturating_sub(frame.data_ref().map_or(1, |data| data.len().max(1)));
    }
}

/// What a receiver computes too: `v1=` and the HMAC with SHA-256 of the timestamp, a dot and the body, in hexadecimal.
pub(crate) fn signature(secret: &WebhookSecret, timestamp: &str, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
    let mut context = hmac::Context::with_key(&key);
    for part in [timestamp.as_bytes(), b".", body] {
        context.update(part);
    }
    let hex: String = context.sign().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("v1={hex}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with Python's `hmac`.
    #[test]
    fn a_signature_is_what_other_programs_compute() {
        let secret = WebhookSecret::new("sixteen bytes or more").unwrap();
        assert_eq!(signature(&secret, "1796040000", b"[{\"number\":1}]"), EXPECTED);
    }

    const EXPECTED: &str = "v1=fb4f1f0324eb204dfec8a99ac952d30b7a95bfe66ae72e7547be91e0d46bd794";

    /// The configuration opens loopback; the name may mean more than one address of it.
    #[tokio::test]
    async fn nothing_is_sent_to_an_address_that_is_not_allowed() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let poster = Poster::new(Networks::default(), None);
        for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433"] {
            let target = Target::of(&format!("http://{host}:{port}/")).unwrap();
            let posted = poster.post(&target, HeaderMap::new(), Bytes::from_static(b"[]")).await;
            let refused = matches!(&posted, Err(PostError::NotAllowed { .. } | PostError::Target(_)));
            // A name that cannot be looked up at all is as good.
            assert!(refused || matches!(&posted, Err(PostError::Unresolved { .. })), "{host}: {posted:?}");
        }
        let target = Target::of("https://127.0.0.1/").unwrap();
        assert_eq!(poster.check(&target), Err(TargetError::NoRoots));
        assert!(futures_util::FutureExt::now_or_never(listener.accept()).is_none(), "nobody came");
    }

    /// A receiver with this certificate, on this machine; it takes all that it is sent.
    async fn encrypted(own: &rcgen::CertifiedKey<rcgen::KeyPair>) -> (Target, tokio::task::JoinHandle<()>) {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let key = rustls::pki_types::PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
        let builder = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let config = builder.with_single_cert(vec![own.cert.der().clone()], key).unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = Target::of(&format!("https://{}/", listener.local_addr().unwrap())).unwrap();
        let served = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                if let Ok(mut stream) = acceptor.accept(stream).await {
                    assert!(stream.read(&mut [0; 4_096]).await.unwrap() > 0);
                    stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
                    let _ = stream.shutdown().await;
                }
            }
        });
        (target, served)
    }

    #[tokio::test]
    async fn an_encrypted_receiver_is_one_whose_certificate_is_signed_by_the_configured_ones() {
        let named = || rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        let (own, other) = (named(), named());
        let (target, served) = encrypted(&own).await;
        let post = async |signer: &rcgen::CertifiedKey<rcgen::KeyPair>| {
            let mut roots = RootCertStore::empty();
            roots.add(signer.cert.der().clone()).unwrap();
            let networks = Networks(ingest::Allowed::new(&["127.0.0.0/8".to_owned()], &[]).unwrap());
            Poster::new(networks, Some(roots)).post(&target, HeaderMap::new(), Bytes::from_static(b"[]")).await
        };
        let (taken, refused) = (post(&own).await, post(&other).await);
        assert!(matches!(taken, Ok(StatusCode::NO_CONTENT)), "{taken:?}");
        assert!(matches!(refused, Err(PostError::NotEncrypted { .. })), "{refused:?}");
        served.abort();
    }
}
