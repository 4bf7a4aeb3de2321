//! A gateway's stream over gRPC.

use std::io;
use std::net::SocketAddr;
use std::task::Poll;

use tokio::runtime::Runtime;
use tokio::sync::mpsc::{Sender, channel};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Request, Streaming};
use wire::proto::{GatewayDown, GatewayUp, NearestRequest, NearestResponse, gateway_down};

use crate::victim::PATIENCE;

/// Messages that may wait for the connection.
const AHEAD: usize = 16;

/// One stream to one server. Drives its connection on a thread of its own.
#[derive(Debug)]
pub struct Stream {
    runtime: Runtime,
    up: Sender<GatewayUp>,
    down: Streaming<GatewayDown>,
}

impl Stream {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens, or the call is refused.
    ///
    /// # Panics
    /// When the machine has no room for a thread.
    pub fn to(server: SocketAddr) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let (up, messages) = channel(AHEAD);
        let down = runtime.block_on(async {
            let mut client = client(server).await?;
            let path = "/muster.v1.Ingest/Connect".parse().expect("a path");
            let codec = tonic_prost::ProstCodec::default();
            let called = client.streaming(Request::new(ReceiverStream::new(messages)), path, codec).await;
            called.map(tonic::Response::into_inner).map_err(io::Error::other)
        })?;
        Ok(Self { runtime, up, down })
    }

    /// Sends a message.
    ///
    /// # Errors
    /// When the stream has ended.
    pub fn write(&self, message: GatewayUp) -> io::Result<()> {
        self.up.blocking_send(message).map_err(io::Error::other)
    }

    /// Reads a message.
    ///
    /// # Errors
    /// When the stream ends.
    ///
    /// # Panics
    /// When none comes, or one that says nothing.
    pub fn message(&mut self) -> io::Result<gateway_down::Payload> {
        let Self { runtime, down, .. } = self;
        let message = runtime.block_on(async { tokio::time::timeout(PATIENCE, down.message()).await });
        let message = message.expect("an answer that is due does not come").map_err(io::Error::other)?;
        let message = message.ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(message.payload.expect("a message says something"))
    }

    /// Whether nothing has come that was not read.
    pub fn is_silent(&mut self) -> bool {
        let Self { runtime, down, .. } = self;
        runtime.block_on(async {
            let mut message = std::pin::pin!(down.message());
            std::future::poll_fn(|context| Poll::Ready(message.as_mut().poll(context).is_pending())).await
        })
    }
}

/// Asks who is nearest, on a connection of its own.
///
/// # Errors
/// When no answer comes.
pub fn nearest(server: SocketAddr, ask: NearestRequest) -> io::Result<NearestResponse> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut client = client(server).await?;
        let path = "/muster.v1.Query/Nearest".parse().expect("a path");
        let codec = tonic_prost::ProstCodec::default();
        let called = client.unary(Request::new(ask), path, codec).await;
        called.map(tonic::Response::into_inner).map_err(io::Error::other)
    })
}

async fn client(server: SocketAddr) -> io::Result<tonic::client::Grpc<Channel>> {
    let channel = Channel::from_shared(format!("http://{server}")).map_err(io::Error::other)?;
    let mut client = tonic::client::Grpc::new(channel.connect().await.map_err(io::Error::other)?);
    client.ready().await.map_err(io::Error::other)?;
    Ok(client)
}
