//! What an acknowledgement costs: reports a second with the journal and without, on one connection and on 1,000; the time of an
//! acknowledgement beside the bare `fdatasync` of the same disk; and nearest queries while every sync stalls for a second.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use engine::{Engine, Recovery, Retention, Storage, UnknownDevices};
use journal::{FolderDisk, Log as _};
use model::{Clock, DeviceId, Disk, DiskFile, Heard, Position, PositionReport, What};
use prost::Message as _;
use query::{NearestAsk, Scope};
use server::config::{Config, Data, Listen};
use server::{Server, SystemClock};
use testkit::{Seeded, Shape};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use wire::proto::{GatewayDown, GatewayUp, Report, ReportBatch, gateway_down, gateway_up};

const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_secs(3);
/// Open loop: so many reports a second in all.
const OFFERED_PER_S: u64 = 5_000;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime starts");
    println!("| reports/s with acknowledgements, batches of | journal | none | kept |\n|---|---|---|---|");
    for (connections, reports, window) in [(1, 100, 64), (1, 1, 64), (1_000, 10, 1), (1_000, 1, 1)] {
        let (mut with, mut without) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            with.push(runtime.block_on(throughput(true, connections, reports, window)));
            without.push(runtime.block_on(throughput(false, connections, reports, window)));
        }
        let (with, without) = (spread(&mut with), spread(&mut without));
        let row = format!("{connections} connections, {reports} (window {window})");
        println!("| {row} | {} | {} | {:.0} % |", with.1, without.1, 100.0 * with.0 / without.0);
    }
    println!(
        "\n| open loop, {OFFERED_PER_S} single reports/s, ms from the planned time | p50 | p99 | goal for p99 |\n|---|---|---|---|"
    );
    for connections in [1, 1_000] {
        let mut syncs = bare_syncs();
        let mut acks = runtime.block_on(ack_times(connections));
        syncs.extend(bare_syncs());
        let (sync_p50, sync_p99) = (quantile(&mut syncs, 0.5), quantile(&mut syncs, 0.99));
        println!("| bare fdatasync of 4 KiB, preallocated | {sync_p50:.2} | {sync_p99:.2} | |");
        let (p50, p99) = (quantile(&mut acks, 0.5), quantile(&mut acks, 0.99));
        println!("| acknowledgement, {connections} connections | {p50:.2} | {p99:.2} | {:.2} |", 2.0 * sync_p99 + 5.0);
    }
    println!("\n| nearest-10 of 100,000 units while 20,000 reports/s come in, us | p50 | p99 |\n|---|---|---|");
    for stalls in [false, true, false, true] {
        let mut times = nearest_times(stalls);
        let (p50, p99) = (quantile(&mut times, 0.5) * 1e3, quantile(&mut times, 0.99) * 1e3);
        println!("| {} | {p50:.0} | {p99:.0} |", if stalls { "every sync stalls for a second" } else { "no stall" });
    }
}

async fn serve(folder: Option<&Path>) -> (Server, SocketAddr) {
    let listen = "muster=tcp://127.0.0.1:0".parse().expect("an address");
    let mut journal = server::config::JournalConfig::default();
    if let Some(us) = std::env::var("GROUP_US").ok().and_then(|text| text.parse().ok()) {
        journal.group_time = Duration::from_micros(us);
    }
    let config = Config {
        journal,
        http: SocketAddr::from(([127, 0, 0, 1], 0)),
        grpc: None,
        listen: vec![Listen::at(listen)],
        admit_unknown: true,
        data: folder.map_or(Data::Off, |folder| Data::Folder(folder.to_owned())),
        ..Config::default()
    };
    let server = Server::start(&config).await.expect("the server starts");
    let address = server.addresses().listen[0].address;
    (server, address)
}

/// A gateway with devices of its own.
struct Gateway {
    stream: TcpStream,
    number: usize,
    sequence: u64,
    inbox: Vec<u8>,
}

impl Gateway {
    async fn connect(address: SocketAddr, number: usize) -> Self {
        let stream = TcpStream::connect(address).await.expect("the server listens");
        stream.set_nodelay(true).expect("a socket option");
        Self { stream, number, sequence: 0, inbox: Vec::new() }
    }

    async fn send(&mut self, reports: usize) {
        self.sequence += 1;
        let unix_ms = SystemClock::default().now().unix_ms();
        let report = |at: usize| Report {
            device: format!("bench:{}-{at}", self.number),
            time_ms: Some(unix_ms),
            lat_e7: 228_000_000 + (self.sequence % 1_000) as i32,
            lon_e7: 1_083_000_000 + self.number as i32 * 100 + at as i32,
            speed_mps: Some(8.0),
            ..Report::default()
        };
        let batch = ReportBatch { batch_sequence: self.sequence, reports: (0..reports).map(report).collect() };
        let up = GatewayUp { gateway: format!("g{}", self.number), payload: Some(gateway_up::Payload::Reports(batch)) };
        self.stream.write_all(&up.encode_length_delimited_to_vec()).await.expect("the server reads");
    }

    /// Waits for the next acknowledgements; returns how many came.
    async fn hear(&mut self) -> u64 {
        let mut acks = 0;
        while acks == 0 {
            self.stream.read_buf(&mut self.inbox).await.expect("the server answers");
            let mut rest = &self.inbox[..];
            let mut left = rest.len();
            while let Ok(down) = GatewayDown::decode_length_delimited(&mut rest) {
                assert!(matches!(down.payload, Some(gateway_down::Payload::Ack(ack)) if ack.refused.is_empty()));
                acks += 1;
                left = rest.len();
            }
            self.inbox.drain(..self.inbox.len() - left);
        }
        acks
    }
}

/// Acknowledged reports a second, closed loop.
async fn throughput(is_stored: bool, connections: usize, reports: usize, window: u64) -> f64 {
    let folder = tempfile::tempdir_in(".").expect("the current folder takes a folder");
    let (server, address) = serve(is_stored.then_some(folder.path())).await;
    let (acked, until) = (Arc::new(AtomicU64::new(0)), Instant::now() + ROUND);
    let began = Instant::now();
    let gateways = (0..connections).map(|number| {
        let acked = Arc::clone(&acked);
        tokio::spawn(async move {
            let mut gateway = Gateway::connect(address, number).await;
            let mut waiting = 0;
            while Instant::now() < until {
                while waiting < window {
                    gateway.send(reports).await;
                    waiting += 1;
                }
                let acks = gateway.hear().await;
                waiting -= acks;
                acked.fetch_add(acks * reports as u64, Ordering::Relaxed);
            }
        })
    });
    for gateway in gateways.collect::<Vec<_>>() {
        gateway.await.expect("a gateway ends well");
    }
    let rate = acked.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64();
    server.stop().await;
    rate
}

/// Milliseconds from the planned sending of a single report to its acknowledgement.
async fn ack_times(connections: usize) -> Vec<f64> {
    let folder = tempfile::tempdir_in(".").expect("the current folder takes a folder");
    let (server, address) = serve(Some(folder.path())).await;
    let every = Duration::from_secs(connections as u64) / OFFERED_PER_S as u32;
    let rounds = (2 * ROUND).as_nanos() / every.as_nanos();
    let start = Instant::now() + Duration::from_millis(500);
    let gateways = (0..connections).map(|number| {
        tokio::spawn(async move {
            let mut gateway = Gateway::connect(address, number).await;
            let phase = every * number as u32 / connections as u32;
            let planned = |at: u32| start + phase + every * at;
            let (mut sent, mut heard, mut times) = (0u32, 0u32, Vec::new());
            while u128::from(heard) < rounds {
                let is_open = u128::from(sent) < rounds;
                tokio::select! {
                    () = tokio::time::sleep_until(planned(sent).into()), if is_open => {
                        // A timer wakes to the millisecond: what is due by now goes now.
                        while u128::from(sent) < rounds && planned(sent) <= Instant::now() {
                            gateway.send(1).await;
                            sent += 1;
                        }
                    }
                    acks = gateway.hear(), if heard < sent => {
                        for at in heard..heard + acks as u32 {
                            times.push(planned(at).elapsed().as_secs_f64() * 1e3);
                        }
                        heard += acks as u32;
                    }
                }
            }
            times
        })
    });
    let mut all = Vec::new();
    for gateway in gateways.collect::<Vec<_>>() {
        all.extend(gateway.await.expect("a gateway ends well"));
    }
    server.stop().await;
    all
}

/// Milliseconds of single syncs of a file that the journal's disk would hold.
fn bare_syncs() -> Vec<f64> {
    let folder = tempfile::tempdir_in(".").expect("the current folder takes a folder");
    let file = std::fs::File::create_new(folder.path().join("bare")).expect("the folder is new");
    file.write_all_at(&vec![0; 8 << 20], 0).and_then(|()| file.sync_all()).expect("the disk has room");
    let sync = |at: u64| {
        file.write_all_at(&[7; 4_096], at * 4_096).expect("the disk writes");
        let began = Instant::now();
        file.sync_data().expect("the disk syncs");
        began.elapsed().as_secs_f64() * 1e3
    };
    (0..1_000).map(sync).collect()
}

/// A disk whose syncs stall for a second while it is told to.
struct Stalling {
    disk: FolderDisk,
    stalls: Arc<AtomicBool>,
}

struct StallingFile {
    file: Box<dyn DiskFile>,
    stalls: Arc<AtomicBool>,
}

impl Stalling {
    fn stalling(&self, file: io::Result<Box<dyn DiskFile>>) -> io::Result<Box<dyn DiskFile>> {
        let stalls = Arc::clone(&self.stalls);
        file.map(|file| Box::new(StallingFile { file, stalls }) as Box<dyn DiskFile>)
    }
}

impl Disk for Stalling {
    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.stalling(self.disk.create(name))
    }
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.stalling(self.disk.open(name))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }
    fn sync_folder(&self) -> io::Result<()> {
        self.disk.sync_folder()
    }
}

impl DiskFile for StallingFile {
    fn bytes(&self) -> io::Result<u64> {
        self.file.bytes()
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_at(bytes, offset)
    }
    fn resize(&self, bytes: u64) -> io::Result<()> {
        self.file.resize(bytes)
    }
    fn sync(&self) -> io::Result<()> {
        if self.stalls.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_secs(1));
        }
        self.file.sync()
    }
}

/// Milliseconds of nearest queries, 1,000 planned a second, while 100,000 units report at 20,000/s.
fn nearest_times(stalls: bool) -> Vec<f64> {
    const UNITS: usize = 100_000;
    let folder = tempfile::tempdir_in(".").expect("the current folder takes a folder");
    let is_stalling = Arc::new(AtomicBool::new(false));
    let disk = Stalling {
        disk: FolderDisk::take(folder.path()).expect("the folder is ours"),
        stalls: Arc::clone(&is_stalling),
    };
    let storage = Storage {
        disk: Arc::new(disk),
        options: journal::Options::default(),
        retention: Retention::default(),
        on_failure: engine::OnJournalFailure::LiveUnacked,
        events: None,
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let engine = Engine::open(Arc::clone(&clock), UnknownDevices::Admit, &storage, &Recovery::default());
    let engine = Arc::new(engine.expect("the folder is empty"));
    let fleet = testkit::seeded_fleet(42, UNITS, Shape::City);
    let bindings: Vec<_> = (0..UNITS)
        .map(|unit| engine.resolve(&DeviceId::of("bench", &unit.to_string()).expect("a name")).expect("admitted"))
        .collect();
    let heard = |unit: usize| {
        let received = clock.now();
        let position =
            Position::from_e7(fleet[unit].lat_e7() + (received.unix_ms() % 900) as i32, fleet[unit].lon_e7());
        let report =
            PositionReport { time: Some(received), ..PositionReport::at(position.expect("a city is not at the pole")) };
        Heard { binding: bindings[unit], received, what: What::Report(report) }
    };
    for some in (0..UNITS).collect::<Vec<_>>().chunks(1_000) {
        while engine.try_submit(some.iter().map(|unit| heard(*unit)).collect()).is_err() {
            std::thread::yield_now();
        }
    }
    is_stalling.store(stalls, Ordering::Relaxed);
    let is_over = AtomicBool::new(false);
    let times = std::thread::scope(|scope| {
        scope.spawn(|| {
            let start = Instant::now();
            for batch in 0u32.. {
                std::thread::sleep(
                    (start + Duration::from_millis(5) * batch).saturating_duration_since(Instant::now()),
                );
                let first = batch as usize * 100 % UNITS;
                let _ = engine.try_submit((first..first + 100).map(heard).collect());
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        let times = asked(&engine, &fleet);
        is_over.store(true, Ordering::Relaxed);
        times
    });
    assert!(engine.log().is_some_and(|log| log.status() == journal::Status::Open));
    is_stalling.store(false, Ordering::Relaxed);
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime starts").block_on(engine.stop());
    times
}

fn asked(engine: &Engine, fleet: &[Position]) -> Vec<f64> {
    let mut random = Seeded::new(3);
    let (start, mut times) = (Instant::now(), Vec::new());
    for at in 0..6_000 {
        let planned = start + Duration::from_millis(1) * at;
        std::thread::sleep(planned.saturating_duration_since(Instant::now()));
        let centre = fleet[(random.next() % fleet.len() as u64) as usize];
        let found = engine
            .live()
            .nearest(&NearestAsk::new(centre, Scope::everything()), Duration::from_secs(10))
            .expect("in time");
        assert_eq!(found.found.len(), 10);
        times.push(planned.elapsed().as_secs_f64() * 1e3);
    }
    times
}

fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() as f64 * share) as usize).min(values.len() - 1)]
}

/// The median, and it with the extremes as text.
fn spread(values: &mut [f64]) -> (f64, String) {
    let median = quantile(values, 0.5);
    (median, format!("{median:.0} ({:.0} - {:.0})", values[0], values[values.len() - 1]))
}
