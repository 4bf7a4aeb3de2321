use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::extract::ConnectInfo;
use axum::extract::connect_info::Connected;
use axum::http::Extensions;
use axum::serve::IncomingStream;
use ingest::{Allowed, Counters, Door};
use model::limits::{TLS_HANDSHAKE_DEADLINE, TLS_HANDSHAKES_MAX};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio::time::Sleep;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{debug, warn};

use super::{Client, Port, Tls};

/// After a connection that could not be accepted: descriptors may be free again then.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The connections of one socket, encrypted where there is TLS. Half-open handshakes are few and short, and when there are too
/// many the oldest makes room: they keep nobody out for longer than it takes them to come.
pub(crate) struct Incoming {
    socket: TcpListener,
    port: Port,
    tls: Option<Arc<Tls>>,
    counters: Arc<Counters>,
    handshakes: JoinSet<Result<Stream, Failed>>,
    /// Oldest first. Some have ended.
    order: VecDeque<AbortHandle>,
    /// How many may be open at once.
    room: usize,
    pause: Option<Pin<Box<Sleep>>>,
}

#[derive(Debug)]
enum Failed {
    Late,
    Handshake(io::Error),
}

impl Incoming {
    pub(crate) fn new(socket: TcpListener, port: Port, tls: Option<&Arc<Tls>>, counters: &Arc<Counters>) -> Self {
        Self {
            socket,
            port,
            tls: tls.cloned(),
            counters: Arc::clone(counters),
            handshakes: JoinSet::new(),
            order: VecDeque::new(),
            room: TLS_HANDSHAKES_MAX,
            pause: None,
        }
    }

    /// The next connection, after its handshake. Never fails: what does is counted.
    fn poll_next(&mut self, context: &mut Context<'_>, door: Option<Door<'_>>) -> Poll<Stream> {
        loop {
            if let Poll::Ready(Some(ended)) = self.handshakes.poll_join_next(context) {
                match self.counted(ended) {
                    Some(stream) => return Poll::Ready(stream),
                    None => continue,
                }
            }
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(context));
                self.pause = None;
            }
            match ready!(self.socket.poll_accept(context)) {
                // Before the handshake: strangers take none of its room.
                Ok((_, peer)) if door.is_some_and(|door| !door.lets_in(peer.ip())) => {}
                Ok((stream, _)) => {
                    // An answer is one write: it must not wait for the caller's word that it has the one before.
                    let _ = stream.set_nodelay(true);
                    match &self.tls {
                        None => return Poll::Ready(Stream::Plain(stream)),
                        Some(tls) => self.shake(stream, Arc::clone(tls)),
                    }
                }
                Err(error) => {
                    warn!(port = self.port.as_str(), %error, "Connection not accepted.");
                    self.counters.turned_away(self.port.as_str(), "accept_error");
                    self.pause = Some(Box::pin(tokio::time::sleep(ACCEPT_PAUSE)));
                }
            }
        }
    }

    fn shake(&mut self, stream: TcpStream, tls: Arc<Tls>) {
        if self.order.len() >= self.room {
            self.order.retain(|handshake| !handshake.is_finished());
        }
        if self.order.len() >= self.room
            && let Some(oldest) = self.order.pop_front()
        {
            oldest.abort();
        }
        self.order.push_back(self.handshakes.spawn(handshake(stream, self.port, tls)));
    }

    fn counted(&self, ended: Result<Result<Stream, Failed>, JoinError>) -> Option<Stream> {
        let reason = match ended {
            Ok(Ok(stream)) => return Some(stream),
            Ok(Err(Failed::Late)) => "handshake_deadline",
            Ok(Err(Failed::Handshake(error))) => {
                debug!(port = self.port.as_str(), %error, "No handshake.");
                "handshake"
            }
            Err(error) => {
                assert!(error.is_cancelled(), "a handshake ends without a panic");
                "handshakes_max"
            }
        };
        self.counters.turned_away(self.port.as_str(), reason);
        None
    }
}

async fn handshake(stream: TcpStream, port: Port, tls: Arc<Tls>) -> Result<Stream, Failed> {
    // Before the certificates are taken: what changes meanwhile is checked again.
    let epoch = tls.epoch();
    let accepted = TlsAcceptor::from(tls.server(port)).accept(stream);
    let accepted = tokio::time::timeout(TLS_HANDSHAKE_DEADLINE, accepted).await.map_err(|_| Failed::Late)?;
    let stream = accepted.map_err(Failed::Handshake)?;
    let client = match stream.get_ref().1.peer_certificates() {
        None => None,
        Some(chain) => {
            let unnamed = || Failed::Handshake(io::Error::other("the certificate does not hold any more"));
            Some(Arc::new(Client::of(&tls, epoch, chain).ok_or_else(unnamed)?))
        }
    };
    Ok(Stream::Encrypted(Box::new(stream), client))
}

impl axum::serve::Listener for Incoming {
    type Io = Stream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Stream, SocketAddr) {
        let stream = poll_fn(|context| self.poll_next(context, None)).await;
        // Whoever is gone already has no address.
        let peer = stream.tcp().peer_addr().unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], 0)));
        (stream, peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

impl ingest::Incoming for Incoming {
    type Stream = Stream;

    async fn accept(&mut self, door: Door<'_>) -> io::Result<Stream> {
        Ok(poll_fn(|context| self.poll_next(context, Some(door))).await)
    }

    fn own_devices(stream: &Stream) -> Arc<Allowed> {
        stream.client().map_or_else(Arc::default, |client| Arc::clone(client.devices()))
    }
}

impl tokio_stream::Stream for Incoming {
    type Item = Result<Stream, std::convert::Infallible>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_next(context, None).map(|stream| Some(Ok(stream)))
    }
}

/// One connection.
pub(crate) enum Stream {
    Plain(TcpStream),
    /// With who presented a certificate.
    Encrypted(Box<TlsStream<TcpStream>>, Option<Arc<Client>>),
}

impl Stream {
    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Encrypted(stream, _) => stream.get_ref().0,
        }
    }

    fn client(&self) -> Option<Arc<Client>> {
        match self {
            Self::Plain(_) => None,
            Self::Encrypted(_, client) => client.clone(),
        }
    }
}

impl AsyncRead for Stream {
    /// Nothing is read from a client whose certificate does not hold any more.
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Encrypted(stream, client) => {
                ready!(Pin::new(stream.as_mut()).poll_read(context, buffer))?;
                if client.as_ref().is_some_and(|client| !client.holds()) {
                    buffer.clear();
                    let problem = "the certificate of the client does not hold any more";
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::PermissionDenied, problem)));
                }
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Encrypted(stream, _) => Pin::new(stream.as_mut()).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(context, parts),
            Self::Encrypted(stream, _) => Pin::new(stream.as_mut()).poll_write_vectored(context, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Encrypted(stream, _) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Encrypted(stream, _) => Pin::new(stream.as_mut()).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Encrypted(stream, _) => Pin::new(stream.as_mut()).poll_shutdown(context),
        }
    }
}

/// Who presented a certificate on a connection.
#[derive(Debug, Clone)]
pub(crate) struct Presented(Option<Arc<Client>>);

impl Connected<IncomingStream<'_, Incoming>> for Presented {
    fn connect_info(stream: IncomingStream<'_, Incoming>) -> Self {
        Self(stream.io().client())
    }
}

impl tonic::transport::server::Connected for Stream {
    type ConnectInfo = Presented;

    fn connect_info(&self) -> Presented {
        Presented(self.client())
    }
}

/// Who presented a certificate on the connection of a request with these extensions.
pub(crate) fn presented(extensions: &Extensions) -> Option<&Arc<Client>> {
    let of_http = || extensions.get::<ConnectInfo<Presented>>().map(|ConnectInfo(presented)| presented);
    extensions.get::<Presented>().or_else(of_http)?.0.as_ref()
}

#[cfg(test)]
impl Incoming {
    /// With room for fewer handshakes.
    pub(super) fn narrow(self, room: usize) -> Self {
        Self { room, ..self }
    }
}
