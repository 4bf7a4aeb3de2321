use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use engine::{Engine, UnknownDevices};
use ingest::{Counters, ListenAddress, SessionLimits, Setting};
use model::{Clock, DeviceId, Unit};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::{info, warn};
use wire::Transport;

use crate::config::{Config, Origin};
use crate::http::{Hosts, Rates};
use crate::intake::EngineIntake;
use crate::metrics::Metrics;
use crate::{SystemClock, UnitsFileError, grpc, http, units_file};

/// How long open requests may take after the server was told to stop.
const STOP_GRACE: Duration = Duration::from_secs(5);

/// What every handler shares.
pub(crate) struct Service {
    pub(crate) engine: Arc<Engine>,
    pub(crate) setting: Setting<EngineIntake>,
    pub(crate) metrics: Metrics,
    pub(crate) hosts: Hosts,
    pub(crate) rates: Rates,
    ready: AtomicBool,
}

impl Service {
    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }
}

/// Why the server did not start. The operator's fault; the message says what to change.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration is refused.
    #[error(transparent)]
    Config(#[from] crate::config::ConfigError),
    /// The file of units is refused.
    #[error(transparent)]
    Units(#[from] UnitsFileError),
    /// An address cannot be bound.
    #[error("cannot listen on {address} for {what}: {error}{}", advice(error))]
    Bind {
        /// Which address.
        address: SocketAddr,
        /// For what.
        what: String,
        /// Why.
        error: io::Error,
    },
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "; another program has this port: stop it, or choose another (port 0 takes any free one)"
        }
        io::ErrorKind::PermissionDenied => "; ports below 1024 need a right of their own: choose a higher one",
        _ => "",
    }
}

/// Where the server listens, ports resolved.
#[derive(Debug, Clone)]
pub struct Addresses {
    /// HTTP and the page.
    pub http: SocketAddr,
    /// gRPC.
    pub grpc: Option<SocketAddr>,
    /// Devices.
    pub listen: Vec<ListenAddress>,
}

/// A running server.
pub struct Server {
    service: Arc<Service>,
    addresses: Addresses,
    stop: watch::Sender<bool>,
    listeners: Vec<JoinHandle<()>>,
    api: Vec<JoinHandle<()>>,
}

/// Live figures for a person.
#[derive(Debug, Clone, Copy)]
pub struct Figures {
    /// Units on the roster.
    pub units: usize,
    /// Units with a place.
    pub located: usize,
    /// Positions applied since the start.
    pub reports_total: u64,
    /// Positions a second.
    pub reports_per_s: f64,
    /// Half of the shown places are younger, seconds.
    pub fix_age_p50_s: Option<f64>,
    /// 99 of 100 shown places are younger, seconds.
    pub fix_age_p99_s: Option<f64>,
    /// Emergencies that nobody cleared.
    pub emergencies: usize,
}

impl Server {
    /// Binds everything, then serves. Nothing is bound when this fails.
    ///
    /// # Errors
    /// [`StartError`] says what to change.
    pub async fn start(config: &Config) -> Result<Self, StartError> {
        config.validate(&Origin::Flag)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        let unknown = if config.admit_unknown { UnknownDevices::Admit } else { UnknownDevices::Refuse };
        let engine = Arc::new(Engine::start(Arc::clone(&clock), unknown));
        if let Some(path) = &config.units_file {
            let units = units_file::enrol(path, &engine)?;
            info!(units, path = %path.display(), "Units enrolled.");
        }
        let setting = Setting {
            intake: Arc::new(EngineIntake(Arc::clone(&engine))),
            counters: Arc::new(Counters::default()),
            clock,
            limits: SessionLimits {
                connections_max: config.connections_max,
                first_frame: Duration::from_millis(config.first_frame_ms),
                idle: Duration::from_millis(config.idle_ms),
            },
        };
        let http = bind_tcp(config.http, "http")?;
        let grpc = config.grpc.map(|address| bind_tcp(address, "grpc")).transpose()?;
        let devices = config.listen.iter().map(|one| Bound::of(one.address)).collect::<Result<Vec<_>, _>>()?;
        let addresses = Addresses {
            http: local(&http, config.http),
            grpc: grpc.as_ref().zip(config.grpc).map(|(socket, asked)| local(socket, asked)),
            listen: devices.iter().map(|device| device.address).collect(),
        };
        let service = Arc::new(Service {
            metrics: Metrics::new(engine.live(), &setting.counters),
            hosts: Hosts::new(addresses.http, &config.hosts),
            rates: Rates::default(),
            engine,
            setting,
            ready: AtomicBool::new(false),
        });
        let (stop, stopped) = watch::channel(false);
        let mut api = vec![tokio::spawn(serve_http(http, Arc::clone(&service), stopped.clone()))];
        api.extend(grpc.map(|socket| tokio::spawn(grpc::serve(socket, Arc::clone(&service), stopped.clone()))));
        let mut listeners: Vec<_> = devices.into_iter().map(|device| device.serve(service.setting.clone())).collect();
        if config.insecure {
            listeners.push(tokio::spawn(remind_of_insecurity()));
        }
        service.ready.store(true, Ordering::Release);
        Ok(Self { service, addresses, stop, listeners, api })
    }

    /// Where it listens.
    #[must_use]
    pub const fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Adds or changes a unit with its devices.
    ///
    /// # Errors
    /// [`engine::RosterError`] when a limit is reached or another unit carries a device.
    pub fn enrol(&self, unit: Unit, devices: &[DeviceId]) -> Result<(), engine::RosterError> {
        self.service.engine.enrol(unit, devices)
    }

    /// Live figures, at most a second old.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let stats = self.service.rates.stats(&self.service);
        Figures {
            units: stats.units,
            located: stats.located,
            reports_total: stats.reports_total,
            reports_per_s: stats.reports_per_s,
            fix_age_p50_s: stats.fix_age_s.map(|age| age.p50),
            fix_age_p99_s: stats.fix_age_s.map(|age| age.p99),
            emergencies: stats.emergencies,
        }
    }

    /// Positions by what became of them, each with its stable word.
    #[must_use]
    pub fn outcomes(&self) -> Vec<(&'static str, u64)> {
        self.service.engine.live().counters().reports().collect()
    }

    /// Stops: no new connections, open requests end, what is in the queue is applied and answered.
    pub async fn stop(self) {
        self.service.ready.store(false, Ordering::Release);
        let _ = self.stop.send(true);
        self.listeners.iter().for_each(JoinHandle::abort);
        for task in self.api {
            if tokio::time::timeout(STOP_GRACE, task).await.is_err() {
                warn!("Open requests were cut after {} s.", STOP_GRACE.as_secs());
            }
        }
        self.service.engine.stop().await;
    }
}

async fn serve_http(socket: TcpListener, service: Arc<Service>, mut stopped: watch::Receiver<bool>) {
    let ended = async move {
        let _ = stopped.wait_for(|stopped| *stopped).await;
    };
    let served = axum::serve(socket, http::router(&service)).with_graceful_shutdown(ended).await;
    if let Err(error) = served {
        warn!(%error, "HTTP ended.");
    }
}

async fn remind_of_insecurity() {
    loop {
        warn!("INSECURE: this server may be bound beyond loopback without encryption and tokens.");
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
}

fn bind_tcp(address: SocketAddr, what: &str) -> Result<TcpListener, StartError> {
    let bound = || {
        let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(1_024)?;
        TcpListener::from_std(socket.into())
    };
    bound().map_err(|error| StartError::Bind { address, what: what.to_owned(), error })
}

fn local(socket: &TcpListener, asked: SocketAddr) -> SocketAddr {
    socket.local_addr().unwrap_or(asked)
}

/// A device listener that is bound and not yet served.
struct Bound {
    address: ListenAddress,
    socket: Socket,
}

enum Socket {
    Stream(TcpListener),
    Datagrams(UdpSocket),
}

impl Bound {
    fn of(mut address: ListenAddress) -> Result<Self, StartError> {
        let what = format!("{} over {}", address.protocol.name, address.transport.as_str());
        let asked = address.address;
        let socket = match address.transport {
            Transport::Tcp => Socket::Stream(bind_tcp(asked, &what)?),
            Transport::Udp => {
                Socket::Datagrams(bind_udp(asked).map_err(|error| StartError::Bind { address: asked, what, error })?)
            }
        };
        let bound = match &socket {
            Socket::Stream(socket) => socket.local_addr(),
            Socket::Datagrams(socket) => socket.local_addr(),
        };
        address.address = bound.unwrap_or(asked);
        Ok(Self { address, socket })
    }

    fn serve(self, setting: Setting<EngineIntake>) -> JoinHandle<()> {
        let protocol = self.address.protocol;
        match self.socket {
            Socket::Stream(socket) => tokio::spawn(ingest::listen_stream(socket, protocol, setting)),
            Socket::Datagrams(socket) => tokio::spawn(ingest::listen_datagrams(socket, protocol, setting)),
        }
    }
}

fn bind_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    /// Bursts of a second at full rate fit.
    const RECEIVE_BYTES: usize = 4 * 1024 * 1024;
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::DGRAM, None)?;
    // The kernel may give less; that is its limit, not an error.
    let _ = socket.set_recv_buffer_size(RECEIVE_BYTES);
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}
