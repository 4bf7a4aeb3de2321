//! The way of a report from the socket to its slot, stop by stop: the bare socket, decoding and admission, the engine without and
//! with a journal, and all of it together through a real server. Every stop gets the same reports; rounds are interleaved.
//!
//! `PATH_ONLY=<part of a row's name>` runs those rows alone, for a profiler; `PATH_ROUNDS` sets the number of rounds,
//! `PATH_SHARDS=1,2` the numbers of shards: the engine's rows are then there once for each.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use engine::{Engine, Recovery, Retention, Storage, UnknownDevices};
use ingest::{Admission, Intake, NotSettled, QueueFull, Session, Setting};
use journal::FolderDisk;
use model::{Binding, Clock, DeviceId, Heard, Position, PositionReport, Press, Shards, Timestamp, What};
use prost::Message as _;
use server::config::{Config, Data, Listen};
use server::{Server, SystemClock};
use testkit::{Seeded, Shape};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::{TcpListener, TcpStream};
use wire::proto::{ColumnarBatch, GatewayDown, GatewayUp, Report, ReportBatch, gateway_down, gateway_up};

const ROUNDS: usize = 7;
/// Devices of the one gateway, each carried by its own unit.
const DEVICES: usize = 60_000;
/// Reports of one round, twice around the fleet.
const REPORTS: usize = 2 * DEVICES;
/// What a connection of the server reads at once, in bytes.
const READ_BYTES: usize = 16 * 1024;

/// How reports are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Columns(usize),
    Rows(usize),
}

impl Form {
    const ALL: [Self; 3] = [Self::Columns(1_000), Self::Columns(100), Self::Rows(100)];

    fn name(self) -> String {
        match self {
            Self::Columns(reports) => format!("columns of {reports}"),
            Self::Rows(reports) => format!("`ReportBatch` of {reports}"),
        }
    }

    const fn reports(self) -> usize {
        match self {
            Self::Columns(reports) | Self::Rows(reports) => reports,
        }
    }
}

/// The fleet: each round moves it twice, a second apart, by some ten metres.
struct Fleet {
    places: Vec<Position>,
    random: Seeded,
    time_ms: i64,
    sequence: u64,
}

impl Fleet {
    fn new() -> Self {
        // An hour ago: whatever the number of rounds, no report is from the future.
        let time_ms = SystemClock::default().now().unix_ms() - 3_600_000;
        let places = testkit::seeded_fleet(42, DEVICES, Shape::City);
        Self { places, random: Seeded::new(7), time_ms, sequence: 0 }
    }

    fn step(&mut self) {
        self.time_ms += 1_000;
        for place in &mut self.places {
            let mut moved = |e7: i32| e7 + self.random.between(-1_000.0, 1_000.0) as i32;
            *place = Position::from_e7(moved(place.lat_e7()), moved(place.lon_e7())).unwrap_or(*place);
        }
    }

    /// The frames of one round with their lengths. Those of columns that begin a connection bring the names.
    fn round(&mut self, form: Form, names: Names) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        for _ in 0..REPORTS / DEVICES {
            let is_first = frames.is_empty();
            self.step();
            for first in (0..DEVICES).step_by(form.reports()) {
                let devices = first..first + form.reports();
                self.sequence += 1;
                let payload = match form {
                    Form::Rows(_) => gateway_up::Payload::Reports(self.rows(devices)),
                    Form::Columns(_) => {
                        let named = if is_first && names == Names::New { devices.clone() } else { 0..0 };
                        let new_devices = named.map(name).collect();
                        gateway_up::Payload::Columns(ColumnarBatch { new_devices, ..self.columns(devices) })
                    }
                };
                let up = GatewayUp { gateway: "bench".into(), payload: Some(payload) };
                frames.push(up.encode_length_delimited_to_vec());
            }
        }
        frames
    }

    fn rows(&self, devices: std::ops::Range<usize>) -> ReportBatch {
        let report = |device: usize| Report {
            device: name(device),
            time_ms: Some(self.time_ms),
            lat_e7: self.places[device].lat_e7(),
            lon_e7: self.places[device].lon_e7(),
            speed_mps: Some(8.0),
            course_deg: Some(90.0),
            accuracy_m: Some(10.0),
            ..Report::default()
        };
        ReportBatch { batch_sequence: self.sequence, reports: devices.map(report).collect() }
    }

    fn columns(&self, devices: std::ops::Range<usize>) -> ColumnarBatch {
        let count = devices.len();
        let deltas = |of: fn(&Position) -> i32| {
            let mut before = 0;
            let delta = |place: &Position| of(place) - std::mem::replace(&mut before, of(place));
            self.places[devices.clone()].iter().map(delta).collect()
        };
        let mut time_ms_delta = vec![0; count];
        time_ms_delta[0] = self.time_ms;
        ColumnarBatch {
            batch_sequence: self.sequence,
            new_devices: Vec::new(),
            device_index: devices.clone().map(|device| device as u32).collect(),
            time_ms_delta,
            lat_e7_delta: deltas(|place| place.lat_e7()),
            lon_e7_delta: deltas(|place| place.lon_e7()),
            speed_cmps: vec![800; count],
            course_cdeg: vec![9_000; count],
            accuracy_dm: vec![100; count],
            flags: Vec::new(),
        }
    }
}

/// Whether the connection knows the devices by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Names {
    New,
    Known,
}

fn name(device: usize) -> String {
    format!("bench:{device:06}")
}

/// When something began, by the clock and by the CPU time of this process, its client's too.
struct Start {
    at: Instant,
    cpu_s: f64,
}

/// What a round cost.
struct Cost {
    reports_per_s: f64,
    cpu_s: f64,
}

impl Start {
    fn now() -> Self {
        Self { at: Instant::now(), cpu_s: cpu_s() }
    }

    /// The cost of a round that ends now.
    fn cost(&self) -> Cost {
        Cost { reports_per_s: REPORTS as f64 / self.at.elapsed().as_secs_f64(), cpu_s: cpu_s() - self.cpu_s }
    }
}

/// CPU time that this process has used, in seconds, to a hundredth: it tells more than the clock when others use the machine.
/// 0 where the system does not say.
fn cpu_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let ticks = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    ticks.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// The bare socket: the same bytes, the same reads, and nothing done with them.
struct Discard {
    client: TcpStream,
    server: TcpStream,
}

impl Discard {
    async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a port");
        let address = listener.local_addr().expect("it is bound");
        let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        Self { client: client.expect("it listens"), server: accepted.expect("somebody came").0 }
    }

    async fn round(&mut self, frames: &[Vec<u8>]) -> Cost {
        let Self { client, server } = self;
        let bytes: usize = frames.iter().map(Vec::len).sum();
        let (began, mut buffer) = (Start::now(), BytesMut::new());
        let write = async {
            for frame in frames {
                client.write_all(frame).await.expect("it is read");
            }
        };
        let read = async {
            let mut left = bytes;
            while left > 0 {
                buffer.clear();
                buffer.reserve(READ_BYTES);
                left -= server.read_buf(&mut buffer).await.expect("it is written");
            }
        };
        tokio::join!(write, read);
        began.cost()
    }
}

/// The engine as the server shows it to its sessions.
struct Direct(Arc<Engine>);

impl Intake for Direct {
    type Settlement = std::future::Ready<Result<(), NotSettled>>;

    fn resolve(&self, device: &DeviceId) -> Option<Binding> {
        self.0.resolve(device)
    }

    fn generation(&self) -> u32 {
        self.0.live().roster().generation()
    }

    fn ring(&self, _: Press) {
        unreachable!("nobody presses a button here")
    }

    async fn submit(&self, _: Vec<Heard>) -> Result<Self::Settlement, NotSettled> {
        Err(NotSettled::Stopped)
    }

    fn try_submit(&self, _: Vec<Heard>) -> Result<Self::Settlement, QueueFull> {
        Err(QueueFull)
    }
}

/// Frame, decode, admit, and no further.
struct Decode {
    session: Session<Direct>,
}

impl Decode {
    fn open(engine: &Arc<Engine>) -> Self {
        let setting = Setting::of(Arc::new(Direct(Arc::clone(engine))), Arc::new(SystemClock::default()));
        let protocol = wire::protocol("muster").expect("it is in the list");
        Self { session: Session::new(protocol, &setting) }
    }

    fn round(&mut self, frames: &[Vec<u8>]) -> Cost {
        let framing = wire::protocol("muster").expect("it is in the list").framing;
        let received = SystemClock::default().now();
        let (began, mut admission) = (Start::now(), Admission::default());
        let mut admitted = 0;
        for bytes in frames {
            let wire::Cut::Frame { frame, .. } = framing.cut(bytes) else { panic!("a whole frame") };
            self.session.take(&bytes[frame], received, &mut admission);
            admitted += admission.heard.len();
            admission.heard.clear();
            admission.answers.clear();
        }
        let cost = began.cost();
        assert_eq!(admitted, REPORTS);
        cost
    }
}

/// Batches from memory through the writer, until all are settled.
struct Apply {
    engine: Arc<Engine>,
    bindings: Vec<Binding>,
    fleet: Fleet,
    _folder: Option<tempfile::TempDir>,
}

impl Apply {
    fn open(shards: Shards, folder: Option<tempfile::TempDir>) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        let options = engine::Options { unknown: UnknownDevices::Admit, shards };
        let engine = match &folder {
            None => Engine::start(clock, options),
            Some(folder) => {
                let storage = Storage {
                    disk: Arc::new(FolderDisk::take(folder.path()).expect("the folder is ours")),
                    options: journal::Options::default(),
                    retention: Retention::default(),
                    on_failure: engine::OnJournalFailure::LiveUnacked,
                    events: None,
                };
                let opened = Engine::open(clock, options, &storage, &Recovery::default());
                opened.expect("the folder is empty")
            }
        };
        let resolve = |device| engine.resolve(&DeviceId::new(&name(device)).expect("a name")).expect("admitted");
        let bindings = (0..DEVICES).map(resolve).collect();
        Self { engine: Arc::new(engine), bindings, fleet: Fleet::new(), _folder: folder }
    }

    async fn round(&mut self, reports: usize) -> Cost {
        let Self { engine, bindings, fleet, .. } = self;
        let mut batches = Vec::new();
        for _ in 0..REPORTS / DEVICES {
            fleet.step();
            let time = Timestamp::from_unix_ms(fleet.time_ms);
            let received = SystemClock::default().now();
            for devices in (0..DEVICES).collect::<Vec<_>>().chunks(reports) {
                let heard = |device: &usize| {
                    let report = PositionReport { time, ..PositionReport::at(fleet.places[*device]) };
                    Heard { binding: bindings[*device], received, what: What::Report(report) }
                };
                batches.push(devices.iter().map(heard).collect::<Vec<_>>());
            }
        }
        let (before, began) = (newest(engine), Start::now());
        let mut settlements = Vec::with_capacity(batches.len());
        for batch in batches {
            settlements.push(engine.submit(batch).await.expect("the engine runs"));
        }
        for settlement in settlements {
            settlement.await.expect("everything is stored");
        }
        let cost = began.cost();
        assert_eq!(newest(engine) - before, REPORTS as u64, "each report is the newest of its device");
        cost
    }
}

fn newest(engine: &Engine) -> u64 {
    engine.live().counters().reports().find(|(word, _)| *word == "newest").map_or(0, |(_, count)| count)
}

/// All of it: a client writes to the socket of a server and reads the acknowledgements.
struct Whole {
    server: Server,
    client: TcpStream,
    _folder: Option<tempfile::TempDir>,
}

impl Whole {
    async fn open(shards: Shards, folder: Option<tempfile::TempDir>) -> Self {
        let listen = "muster=tcp://127.0.0.1:0".parse().expect("an address");
        let config = Config {
            http: SocketAddr::from(([127, 0, 0, 1], 0)),
            grpc: None,
            listen: vec![Listen::at(listen)],
            admit_unknown: true,
            shards,
            data: folder.as_ref().map_or(Data::Off, |folder| Data::Folder(folder.path().to_owned())),
            ..Config::default()
        };
        let server = Server::start(&config).await.expect("the server starts");
        let client = TcpStream::connect(server.addresses().listen[0].address).await.expect("the server listens");
        client.set_nodelay(true).expect("a socket option");
        Self { server, client, _folder: folder }
    }

    async fn round(self, frames: Vec<Vec<u8>>) -> (Cost, Self) {
        let count = frames.len();
        let (mut from, mut to) = self.client.into_split();
        let began = Start::now();
        let write = tokio::spawn(async move {
            for frame in &frames {
                to.write_all(frame).await.expect("the server reads");
            }
            to
        });
        hear(&mut from, count).await;
        let cost = began.cost();
        let to = write.await.expect("the client ends well");
        (cost, Self { client: from.reunite(to).expect("one stream"), ..self })
    }
}

/// Waits for so many acknowledgements; nothing may have been refused.
async fn hear(from: &mut OwnedReadHalf, mut acks: usize) {
    let mut inbox = BytesMut::new();
    while acks > 0 {
        from.read_buf(&mut inbox).await.expect("the server answers");
        let mut rest = &inbox[..];
        let mut left = rest.len();
        while let Ok(down) = GatewayDown::decode_length_delimited(&mut rest) {
            assert!(matches!(down.payload, Some(gateway_down::Payload::Ack(ack)) if ack.refused.is_empty()));
            acks -= 1;
            left = rest.len();
        }
        let done = inbox.len() - left;
        bytes::Buf::advance(&mut inbox, done);
    }
}

/// One form of batch at every stop.
struct Lane {
    form: Form,
    fleet: Fleet,
    discard: Discard,
    decode: Decode,
    /// Without a journal and with one, for each number of shards.
    whole: Vec<Option<Whole>>,
    rows: Vec<Row>,
}

/// What was measured at one stop.
struct Row {
    name: String,
    rates: Vec<f64>,
    cpu_s: f64,
}

/// Stops before the engine.
const BEFORE: [&str; 2] = ["socket, received and discarded", "decode and admit"];
/// Stops in it, for each number of shards.
const STOPS: [&str; 4] =
    ["engine, no journal", "engine, journal", "socket to slot, no journal", "socket to slot, journal"];

/// The rows of a table, in order.
fn names(all: &[Shards]) -> Vec<String> {
    let of = |shards: &Shards| {
        let suffix = if all.len() > 1 { format!(", shards: {}", shards.count()) } else { String::new() };
        STOPS.map(|stop| format!("{stop}{suffix}"))
    };
    BEFORE.map(str::to_owned).into_iter().chain(all.iter().flat_map(of)).collect()
}

/// Whether `PATH_ONLY` has this row.
fn is_asked_for(only: &str, name: &str, form: Form) -> bool {
    format!("{name}, {}", form.name()).contains(only)
}

impl Lane {
    async fn open(form: Form, engine: &Arc<Engine>, all: &[Shards]) -> Self {
        let mut whole = Vec::new();
        for shards in all {
            whole.extend([Some(Whole::open(*shards, None).await), Some(Whole::open(*shards, Some(folder())).await)]);
        }
        let (discard, decode) = (Discard::open().await, Decode::open(engine));
        let rows = names(all).into_iter().map(|name| Row { name, rates: Vec::new(), cpu_s: 0.0 }).collect();
        let mut lane = Self { form, fleet: Fleet::new(), discard, decode, whole, rows };
        // Names become known and memory is touched before anything is measured.
        let frames = lane.fleet.round(form, Names::New);
        lane.decode.round(&frames);
        for whole in &mut lane.whole {
            *whole = Some(whole.take().expect("it is put back").round(frames.clone()).await.1);
        }
        lane
    }

    async fn round(&mut self, only: &str, apply: &mut [Apply]) {
        let frames = self.fleet.round(self.form, Names::Known);
        for (at, row) in self.rows.iter_mut().enumerate() {
            if !is_asked_for(only, &row.name, self.form) {
                continue;
            }
            let in_engine = at.saturating_sub(BEFORE.len());
            let (shards, stop) = (in_engine / STOPS.len(), in_engine % STOPS.len());
            let cost = match (at, stop) {
                (0, _) => self.discard.round(&frames).await,
                (1, _) => self.decode.round(&frames),
                (_, 0 | 1) => apply[2 * shards + stop].round(self.form.reports()).await,
                _ => {
                    let place = &mut self.whole[2 * shards + stop - 2];
                    let (cost, whole) = place.take().expect("it is put back").round(frames.clone()).await;
                    *place = Some(whole);
                    cost
                }
            };
            row.cpu_s += cost.cpu_s;
            row.rates.push(cost.reports_per_s);
        }
    }

    fn print(&mut self, bytes: f64) {
        let mut socket = None;
        for (at, Row { name, rates, cpu_s }) in self.rows.iter_mut().enumerate() {
            rates.sort_by(f64::total_cmp);
            let [least, .., most] = rates[..] else { continue };
            let median = rates[rates.len() / 2];
            socket = if at == 0 { Some(median) } else { socket };
            let (ns, cpu) = (1e9 / median, *cpu_s * 1e9 / (rates.len() * REPORTS) as f64);
            let share = socket.map_or(String::new(), |all| format!("{:.1} %", 100.0 * median / all));
            println!(
                "| {}, {bytes:.0} B a report | {name} | {:.2} ({:.2} - {:.2}) | {ns:.0} | {cpu:.0} | {share} |",
                self.form.name(),
                median / 1e6,
                least / 1e6,
                most / 1e6
            );
        }
    }
}

/// The numbers of shards in `PATH_SHARDS`; 1 where it says nothing.
fn shards() -> Vec<Shards> {
    let text = std::env::var("PATH_SHARDS").unwrap_or_else(|_| "1".to_owned());
    let shards = |text: &str| text.trim().parse().ok().and_then(Shards::new);
    text.split(',').map(|one| shards(one).expect("PATH_SHARDS has numbers from 1 to 64")).collect()
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in(".").expect("the current folder takes a folder")
}

async fn measure() {
    let only = std::env::var("PATH_ONLY").unwrap_or_default();
    let rounds = std::env::var("PATH_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(ROUNDS);
    let all = shards();
    let open = |shards: &Shards| [Apply::open(*shards, None), Apply::open(*shards, Some(folder()))];
    let mut apply: Vec<_> = all.iter().flat_map(open).collect();
    let mut lanes = Vec::new();
    let is_asked = |form: &Form| names(&all).iter().any(|name| is_asked_for(&only, name, *form));
    for form in Form::ALL.into_iter().filter(is_asked) {
        lanes.push(Lane::open(form, &apply[0].engine, &all).await);
    }
    for _ in 0..rounds {
        for lane in &mut lanes {
            lane.round(&only, &mut apply).await;
        }
    }
    println!(
        "| batches | stop | million reports/s (least - most of {rounds}) | ns a report | CPU ns a report | of the bare socket |"
    );
    println!("|---|---|---|---|---|---|");
    for mut lane in lanes {
        let frames = lane.fleet.round(lane.form, Names::Known);
        lane.print(frames.iter().map(Vec::len).sum::<usize>() as f64 / REPORTS as f64);
        for whole in lane.whole.into_iter().flatten() {
            whole.server.stop().await;
        }
    }
    for one in apply {
        one.engine.stop().await;
    }
}

fn main() {
    // `cargo test` runs benches once with `--test`; there is nothing to measure then.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime starts");
    runtime.block_on(async { tokio::spawn(measure()).await.expect("the bench ends well") });
}
