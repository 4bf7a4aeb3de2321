use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use engine::{Engine, Recovery, UnknownDevices};
use ingest::{Allowed, Counters, DeviceRates, Gateways, Holders, ListenAddress, SessionLimits, Setting};
use journal::Status;
use model::{Clock, DeviceId, Disk, Unit};
use store::events::Events;
use store::{Store, StoreError};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::{info, warn};
use wire::Transport;

use crate::access::{Auditor, Glass, LogOn, LogOnRule, Pace, Provider, Scopes};
use crate::codes::TerminalCodes;
use crate::config::{Config, Jt808Auth, Listen, Origin, listeners};
use crate::figures::QueryFigures;
use crate::http::{Gate, Hosts, Problem, Rates};
use crate::intake::EngineIntake;
use crate::level::{self, Level};
use crate::listeners::Listeners;
use crate::metrics::Metrics;
use crate::quarantine::Quarantine;
use crate::seats::Seats;
use crate::standing::{self, Standings};
use crate::tasked::Tasked;
use crate::terminal_statuses;
use crate::tls::{Incoming, Port, Presented, Tls};
use crate::webhooks::{self, Webhooks};
use crate::zones::Zones;
use crate::{SystemClock, UnitsFileError, grpc, http, storage, units_file};

/// How long open requests may take after the server was told to stop.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// A wall clock that is set back by more than this is an alarm, in milliseconds.
const CLOCK_BEHIND_MS_MAX: i64 = 1_000;

/// What every handler shares.
pub(crate) struct Service {
    pub(crate) engine: Arc<Engine>,
    pub(crate) setting: Setting<EngineIntake>,
    pub(crate) metrics: Metrics,
    pub(crate) hosts: Hosts,
    pub(crate) rates: Rates,
    pub(crate) seats: Arc<Seats>,
    pub(crate) figures: Arc<QueryFigures>,
    pub(crate) store: Arc<Store>,
    pub(crate) log_on: LogOn,
    pub(crate) scopes: Scopes,
    pub(crate) auditor: Auditor,
    pub(crate) glass: Glass,
    pub(crate) pace: Pace,
    pub(crate) quarantine: Arc<Quarantine>,
    pub(crate) tasked: Arc<Tasked>,
    pub(crate) level: Level,
    pub(crate) zones: Zones,
    pub(crate) listeners: Listeners,
    pub(crate) standings: Standings,
    pub(crate) events: Arc<Events>,
    pub(crate) webhooks: Arc<Webhooks>,
    pub(crate) tls: Option<Arc<Tls>>,
    pub(crate) provider: Option<Arc<Provider>>,
    clock: Arc<SystemClock>,
    ready: AtomicBool,
}

impl Service {
    fn new(
        config: &Config,
        engine: Arc<Engine>,
        store: Arc<Store>,
        codes: Option<TerminalCodes>,
        outside: &Outside,
        http: SocketAddr,
    ) -> Self {
        let clock = Arc::clone(&outside.clock);
        let (quarantine, tasked) = (Arc::new(Quarantine::default()), Arc::<Tasked>::default());
        let is_limited = [Some(http), config.grpc].into_iter().flatten().any(|one| config.device_rate.holds_at(one));
        let pace = Pace::of(config.requests_per_s);
        let intake = EngineIntake::new(&engine, &quarantine, &tasked, codes);
        let setting = Setting {
            intake: Arc::new(intake),
            counters: Arc::clone(&outside.counters),
            gaps: Arc::default(),
            gateways: Arc::new(Gateways::new(Arc::clone(&clock) as Arc<dyn Clock>)),
            holders: Arc::new(Holders::new(Arc::clone(&clock) as Arc<dyn Clock>)),
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            limits: SessionLimits {
                connections_max: config.connections_max,
                first_frame: Duration::from_millis(config.first_frame_ms),
                idle: Duration::from_millis(config.idle_ms),
            },
            rates: is_limited.then(|| Arc::clone(&outside.device_rates)),
            allowed: Arc::default(),
        };
        let (figures, standings) = (Arc::new(QueryFigures::default()), Standings::default());
        let timer = Arc::clone(&clock) as Arc<dyn Clock>;
        let seats = Arc::new(Seats::new(&config.contract, Arc::clone(&timer)));
        Self {
            metrics: Metrics::new(&engine, &setting.counters, &figures, &seats, standings.figures(), &outside.webhooks)
                .showing(
                    "requests_refused_rate",
                    "Requests refused because their principal made too many in a second",
                    &pace.refused,
                ),
            pace,
            hosts: Hosts::new(http, &config.hosts),
            rates: Rates::default(),
            seats,
            figures,
            log_on: LogOn::new(config.log_on, Arc::clone(&store), outside.provider.clone(), Arc::clone(&timer)),
            scopes: Scopes::new(config.border_strip_m),
            auditor: Auditor::start(Arc::clone(&store)),
            glass: Glass::default(),
            quarantine,
            tasked,
            level: Level::default(),
            zones: Zones::default(),
            listeners: Listeners::default(),
            standings,
            events: Arc::clone(&outside.events),
            webhooks: Arc::clone(&outside.webhooks),
            tls: outside.tls.clone(),
            provider: outside.provider.clone(),
            store,
            clock,
            engine,
            setting,
            ready: AtomicBool::new(false),
        }
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire) && !self.engine.has_broken()
    }

    /// Trouble of the server itself, as stable words. Everybody is told them: what concerns an organisation is not among them.
    pub(crate) fn alarms(&self) -> Vec<&'static str> {
        let journal = match self.engine.journal_status() {
            Some(Status::Low { .. }) => Some("journal_low"),
            Some(Status::Full { .. }) => Some("journal_full"),
            Some(Status::Failed { .. }) => Some("journal_failed"),
            Some(Status::Open) | None => None,
        };
        let clock = (self.clock.behind_ms() > CLOCK_BEHIND_MS_MAX).then_some("clock_set_back");
        let engine = self.engine.has_broken().then_some("engine_stopped");
        let events = self.engine.watch().filter(|watch| watch.figures().has_failed).map(|_| "events_failed");
        let keys = self.provider.as_ref().filter(|provider| provider.is_stale()).map(|_| "token_keys");
        let certificate = self.tls.as_ref().filter(|tls| tls.is_stale()).map(|_| "certificate");
        let expiring = self.tls.as_ref().filter(|tls| tls.ends_soon(self.engine.live().now()));
        engine
            .into_iter()
            .chain(journal)
            .chain(events)
            .chain(clock)
            .chain(certificate)
            .chain(expiring.map(|_| "certificate_expiring"))
            .chain(keys)
            .collect()
    }

    /// Returns once every change made before is stored.
    pub(crate) async fn settle(&self) -> Result<(), Problem> {
        let settlement = ingest::Intake::submit(&*self.setting.intake, Vec::new()).await;
        let settled = async { settlement?.await };
        settled.await.map_err(|error| Problem::not_settled(&error))
    }
}

/// What the server has of the world outside before it has anything to serve.
struct Outside {
    clock: Arc<SystemClock>,
    counters: Arc<Counters>,
    device_rates: Arc<DeviceRates>,
    tls: Option<Arc<Tls>>,
    provider: Option<Arc<Provider>>,
    events: Arc<Events>,
    webhooks: Arc<Webhooks>,
}

impl Outside {
    fn of(config: &Config, events: Events) -> Result<Self, StartError> {
        let clock = Arc::<SystemClock>::default();
        let webhooks = Webhooks::of(&config.webhooks, &(Arc::clone(&clock) as Arc<dyn Clock>))?;
        Ok(Self {
            clock,
            counters: Arc::default(),
            device_rates: config.device_rate.account(),
            tls: Tls::of(&config.tls)?,
            provider: Provider::of(&config.jwt)?,
            events: Arc::new(events),
            webhooks: Arc::new(webhooks),
        })
    }

    fn incoming(&self, socket: TcpListener, port: Port) -> Incoming {
        Incoming::new(socket, port, self.tls.as_ref(), &self.counters)
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
    /// The folder of the journal cannot be used.
    #[error(transparent)]
    Data(#[from] journal::FolderError),
    /// The file of tokens, organisations and the audit cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Units and organisations of the store cannot be read.
    #[error("the store cannot be read: {0}")]
    Level(String),
    /// The keys of the identity provider cannot be used.
    #[error(transparent)]
    Jwks(#[from] crate::JwksError),
    /// The certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] crate::TlsError),
    /// What is stored cannot be read; nothing was changed.
    #[error(transparent)]
    Recovery(#[from] engine::RecoveryError),
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
    one_time: Option<String>,
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
    /// Binds everything, rebuilds what is stored, then serves. `/readyz` answers 503 until then. Nothing is bound when this fails.
    ///
    /// # Errors
    /// [`StartError`] says what to change.
    pub async fn start(config: &Config) -> Result<Self, StartError> {
        config.validate(&Origin::Flag)?;
        let disk = storage::take(&config.data)?;
        Self::start_with(config, disk, storage::store(&config.data)?, storage::events(&config.data, &config.journal)?)
            .await
    }

    /// The same with a journal on a disk of the caller's, and who is known in memory; `None` stores nothing.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_on(config: &Config, disk: Option<Arc<dyn Disk>>) -> Result<Self, StartError> {
        config.validate(&Origin::Flag)?;
        Self::start_with(config, disk, Store::in_memory()?, Events::in_memory()?).await
    }

    async fn start_with(
        config: &Config,
        disk: Option<Arc<dyn Disk>>,
        store: Store,
        events: Events,
    ) -> Result<Self, StartError> {
        let outside = Outside::of(config, events)?;
        let codes = match config.jt808_auth {
            Jt808Auth::Checked => Some(TerminalCodes::of(&store, &*outside.clock)?),
            Jt808Auth::Off => None,
        };
        let store = Arc::new(store);
        let http = bind_tcp(config.http, "http")?;
        let grpc = config.grpc.map(|address| bind_tcp(address, "grpc")).transpose()?;
        let devices = config.listen.iter().map(|one| Bound::of(config, one)).collect::<Result<Vec<_>, _>>()?;
        let addresses = Addresses {
            http: local(&http, config.http),
            grpc: grpc.as_ref().zip(config.grpc).map(|(socket, asked)| local(socket, asked)),
            listen: devices.iter().map(|device| device.address).collect(),
        };
        let (stop, stopped) = watch::channel(false);
        let recovery = Arc::new(Recovery::default());
        let gate = Gate::before(&recovery);
        let http = outside.incoming(http, Port::Http);
        let mut api = vec![tokio::spawn(serve_http(http, gate.router(), stopped.clone()))];
        let clock = Arc::clone(&outside.clock);
        let engine =
            match open(config, disk, Arc::clone(&outside.events), Arc::clone(&clock) as Arc<dyn Clock>, recovery).await
            {
                Ok(engine) => engine,
                Err(error) => {
                    api.iter().for_each(JoinHandle::abort);
                    return Err(error);
                }
            };
        let one_time = match config.log_on {
            LogOnRule::Required => store.bootstrap(clock.now())?,
            LogOnRule::Off => None,
        };
        let service = Arc::new(Service::new(config, engine, store, codes, &outside, addresses.http));
        if let Err(problem) = service.level_all().await {
            api.iter().for_each(JoinHandle::abort);
            return Err(StartError::Level(problem.detail().to_owned()));
        }
        gate.open(http::router(&service));
        let grpc = grpc.map(|socket| outside.incoming(socket, Port::Grpc));
        api.extend(grpc.map(|calls| tokio::spawn(grpc::serve(calls, Arc::clone(&service), stopped.clone()))));
        let serve = |device: Bound| device.serve(&outside, service.setting.clone());
        let mut listeners: Vec<_> = devices.into_iter().map(serve).collect();
        listeners.push(tokio::spawn(level::follow(Arc::clone(&service))));
        listeners.push(tokio::spawn(webhooks::follow(Arc::clone(&service))));
        listeners.push(tokio::spawn(terminal_statuses::follow(Arc::clone(&service))));
        listeners.push(tokio::spawn(level::follow_gateways(Arc::clone(&service))));
        listeners.push(tokio::spawn(standing::follow(Arc::clone(&service))));
        listeners.extend(outside.tls.map(|tls| tokio::spawn(tls.watch())));
        listeners.extend(outside.provider.map(|provider| tokio::spawn(provider.watch())));
        if config.insecure {
            listeners.push(tokio::spawn(remind_of_insecurity()));
        }
        service.ready.store(true, Ordering::Release);
        Ok(Self { service, addresses, one_time, stop, listeners, api })
    }

    /// What every handler shares.
    #[cfg(test)]
    pub(crate) const fn service(&self) -> &Arc<Service> {
        &self.service
    }

    /// Where it listens.
    #[must_use]
    pub const fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// The one-time token of a first start where log-on is required. It makes the first token of an administrator.
    #[must_use]
    pub fn one_time_token(&self) -> Option<&str> {
        self.one_time.as_deref()
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
        self.service.listeners.end();
        self.listeners.iter().for_each(JoinHandle::abort);
        self.service.webhooks.end().await;
        for task in self.api {
            if tokio::time::timeout(STOP_GRACE, task).await.is_err() {
                warn!("Open requests were cut after {} s.", STOP_GRACE.as_secs());
            }
        }
        self.service.engine.stop().await;
    }
}

/// Starts the engine on what is stored, and enrols the units of the file.
async fn open(
    config: &Config,
    disk: Option<Arc<dyn Disk>>,
    events: Arc<Events>,
    clock: Arc<dyn Clock>,
    recovery: Arc<Recovery>,
) -> Result<Arc<Engine>, StartError> {
    let unknown = if config.admit_unknown { UnknownDevices::Admit } else { UnknownDevices::Refuse };
    let options = engine::Options { unknown, shards: config.shards };
    let engine = match disk {
        None => Engine::start_watching(clock, options, events)?,
        Some(disk) => {
            let storage = config.journal.on(disk, events);
            let told = Arc::clone(&recovery);
            let telling = tokio::spawn(async move { tell_recovery(&told).await });
            let opened = tokio::task::spawn_blocking(move || Engine::open(clock, options, &storage, &recovery)).await;
            telling.abort();
            opened.expect("recovery ends without a panic")?
        }
    };
    let engine = Arc::new(engine);
    if let Some(path) = &config.units_file {
        let units = units_file::enrol(path, &engine)?;
        info!(units, path = %path.display(), "Units enrolled.");
    }
    Ok(engine)
}

async fn tell_recovery(recovery: &Recovery) {
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    tick.tick().await;
    loop {
        tick.tick().await;
        let (done, total) = recovery.entries();
        info!("Reading what is stored: {done} of {total} entries.");
    }
}

async fn serve_http(incoming: Incoming, router: Router, mut stopped: watch::Receiver<bool>) {
    let ended = async move {
        let _ = stopped.wait_for(|stopped| *stopped).await;
    };
    let router = router.into_make_service_with_connect_info::<Presented>();
    let served = axum::serve(incoming, router).with_graceful_shutdown(ended).await;
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
    allowed: Arc<Allowed>,
    is_limited: bool,
    socket: Socket,
}

enum Socket {
    Stream(TcpListener),
    Datagrams(UdpSocket),
}

impl Bound {
    fn of(config: &Config, listen: &Listen) -> Result<Self, StartError> {
        let (mut address, allowed) = (listen.address, listeners::allowed(config, listen));
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
        Ok(Self { address, allowed, is_limited: config.device_rate.holds_at(asked), socket })
    }

    /// Device formats know no encryption; ours does.
    fn serve(self, outside: &Outside, setting: Setting<EngineIntake>) -> JoinHandle<()> {
        let protocol = self.address.protocol;
        let rates = self.is_limited.then(|| Arc::clone(&outside.device_rates));
        let setting = Setting { allowed: self.allowed, rates, ..setting };
        match self.socket {
            Socket::Stream(socket) if protocol.name == Port::Muster.as_str() => {
                tokio::spawn(ingest::listen_stream(outside.incoming(socket, Port::Muster), protocol, setting))
            }
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
