//! What listeners to events cost: none, 100, 1,000 and 10,000 over SSE at a server of its own process. How soon the last of them has an
//! event, how many are delivered a second, what one of them takes of memory, and what is left of the reports.
//!
//! `cargo bench -p muster-benches --bench listeners`; `LISTENERS=10000` for one size, `LISTENERS_FLIPS=30`. Needs 10,100 open files.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use muster_benches::pipe::Pace;
use muster_benches::quantile;
use muster_benches::served::{Journal, Served};
use muster_benches::trace::Trace;
use prost::Message as _;
use rustix::event::epoll;
use wire::proto::{GatewayUp, Report, ReportBatch, gateway_up};

const SIZES: [usize; 4] = [0, 100, 1_000, 10_000];
/// Units that report all the time and cross no border.
const UNITS: usize = 20_000;
/// Cars that cross one together in a burst.
const BURST: usize = 100;
const BURSTS: usize = 3;
/// Between two crossings of a car: twelve metres in it are no jump.
const REST: Duration = Duration::from_millis(600);
const PATIENCE: Duration = Duration::from_secs(60);

fn number(variable: &str) -> Option<usize> {
    std::env::var(variable).ok().and_then(|text| text.parse().ok())
}

fn main() {
    // An even number, so that all cars are on the same side before a burst.
    let flips = number("LISTENERS_FLIPS").unwrap_or(30).next_multiple_of(2);
    println!(
        "| listeners | ms to the last listener p50 | p99 | events/s delivered in a burst | KiB a listener | reports/s, no events | with 2 events/s |"
    );
    println!("|---|---|---|---|---|---|---|");
    for size in number("LISTENERS").map_or(SIZES.to_vec(), |size| vec![size]) {
        measure(size, flips);
    }
}

fn measure(size: usize, flips: usize) {
    let served = Served::start(Journal::On).expect("the server starts");
    put_zone(served.http);
    let mut cars = Cars::at(served.gateways);
    // Everybody is known and stands outside before anything is measured.
    cars.flip(BURST);
    let mut feed = served.feed(500, 8, 0, &Trace::new(UNITS).reports(0, 1));
    feed.run(Pace::FlatOut, Duration::from_secs(2));
    let before = served.process.memory_bytes();
    let mut crowd = Crowd::of(size, served.http);
    let quiet = rate(&mut feed);
    let after = served.process.memory_bytes();
    let mut last_ms: Vec<f64> =
        (0..flips).map(|_| cars.until_all_hear(&mut crowd, 1).as_secs_f64() * 1_000.0).collect();
    let burst: Duration = (0..BURSTS).map(|_| cars.until_all_hear(&mut crowd, BURST)).sum();
    let delivered = (size * BURST * BURSTS) as f64 / burst.as_secs_f64();
    let stirred = std::thread::scope(|scope| {
        let feed = scope.spawn(move || rate(&mut feed));
        while !feed.is_finished() {
            cars.until_all_hear(&mut crowd, 1);
        }
        feed.join().expect("it reports")
    });
    let kib = after.saturating_sub(before) as f64 / 1_024.0 / size.max(1) as f64;
    println!(
        "| {size} | {:.1} | {:.1} | {delivered:.0} | {} | {quiet:.0} | {stirred:.0} |",
        quantile(&mut last_ms, 0.5),
        quantile(&mut last_ms, 0.99),
        if size == 0 { "-".to_owned() } else { format!("{kib:.1}") },
    );
}

/// Reports a second, for three seconds.
fn rate(feed: &mut muster_benches::pipe::Feed) -> f64 {
    let (reports, time) = feed.run(Pace::FlatOut, Duration::from_secs(3));
    reports as f64 / time.as_secs_f64()
}

/// A square of a degree, far from all that report, whose border is crossed by four metres.
fn put_zone(http: SocketAddr) {
    let body = r#"{"type":"Feature","datum":"wgs84","properties":{"layer":1,"settle":{"margin_m":1,"time_s":30}},
        "geometry":{"type":"Polygon","coordinates":[[[10,10],[11,10],[11,11],[10,11],[10,10]]]}}"#;
    let mut stream = TcpStream::connect(http).expect("the server listens");
    let head = format!(
        "PUT /v1/zones/border HTTP/1.1\r\nhost: {http}\r\nconnection: close\r\ncontent-type: application/json\r\n"
    );
    write!(stream, "{head}content-length: {}\r\n\r\n{body}", body.len()).expect("the server reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the server answers");
    assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");
}

/// Cars at a border, which they cross together.
struct Cars {
    stream: TcpStream,
    is_inside: bool,
    batch: u64,
    flipped: Instant,
}

impl Cars {
    fn at(gateways: SocketAddr) -> Self {
        let stream = TcpStream::connect(gateways).expect("the server listens");
        stream.set_nodelay(true).expect("a socket option");
        Self { stream, is_inside: true, batch: 0, flipped: Instant::now() }
    }

    /// So many of them cross.
    fn flip(&mut self, count: usize) -> Instant {
        std::thread::sleep(REST.saturating_sub(self.flipped.elapsed()));
        (self.is_inside, self.batch) = (!self.is_inside, self.batch + 1);
        let lon_e7 = if self.is_inside { 100_000_550 } else { 99_999_450 };
        let report = |at: usize| Report {
            device: format!("bench:car-{at}"),
            lat_e7: 105_000_000 + 1_000 * at as i32,
            lon_e7,
            ..Report::default()
        };
        let batch = ReportBatch { batch_sequence: self.batch, reports: (0..count).map(report).collect() };
        let up = GatewayUp { gateway: "cars".to_owned(), payload: Some(gateway_up::Payload::Reports(batch)) };
        self.flipped = Instant::now();
        self.stream.write_all(&up.encode_length_delimited_to_vec()).expect("the server reads");
        self.flipped
    }

    /// So many cross, there or back; how long it takes until everybody has heard of each.
    fn until_all_hear(&mut self, crowd: &mut Crowd, count: usize) -> Duration {
        let sent = self.flip(count);
        crowd.hear(count, sent)
    }
}

/// All listeners.
struct Crowd {
    poll: rustix::fd::OwnedFd,
    listeners: Vec<Listener>,
}

struct Listener {
    stream: TcpStream,
    /// Events that it has heard.
    heard: usize,
    /// The end of what came, where the beginning of an event may be.
    tail: Vec<u8>,
}

impl Crowd {
    fn of(size: usize, http: SocketAddr) -> Self {
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC).expect("the system gives one");
        let ask = format!("GET /v1/events?kind=enter,exit HTTP/1.1\r\nhost: {http}\r\n\r\n");
        let listener = |at: usize| {
            let mut stream = TcpStream::connect(http).expect("the server listens");
            stream.write_all(ask.as_bytes()).expect("the server reads");
            let mut first = Vec::new();
            let mut chunk = [0; 1_024];
            while !first.windows(9).any(|bytes| bytes == b"listening") {
                let came = stream.read(&mut chunk).expect("the server answers");
                assert!(came > 0, "a listener is turned away: {}", String::from_utf8_lossy(&first));
                first.extend_from_slice(&chunk[..came]);
            }
            stream.set_nonblocking(true).expect("a socket option");
            epoll::add(&poll, &stream, epoll::EventData::new_u64(at as u64), epoll::EventFlags::IN).expect("it is new");
            Listener { stream, heard: 0, tail: Vec::new() }
        };
        let listeners = (0..size).map(listener).collect();
        Self { poll, listeners }
    }

    /// Waits until each listener has heard so many more; since when, and how long that took.
    fn hear(&mut self, count: usize, since: Instant) -> Duration {
        let mut missing = self.listeners.len();
        self.listeners.iter_mut().for_each(|one| one.heard = 0);
        let mut ready = Vec::with_capacity(1_024);
        while missing > 0 {
            assert!(since.elapsed() < PATIENCE, "{missing} listeners have not heard {count} events");
            ready.clear();
            let second = rustix::event::Timespec { tv_sec: 1, tv_nsec: 0 };
            epoll::wait(&self.poll, rustix::buffer::spare_capacity(&mut ready), Some(&second)).expect("it waits");
            for event in &ready {
                let data: epoll::Event = *event;
                let listener = &mut self.listeners[data.data.u64() as usize];
                let before = listener.heard;
                listener.read();
                missing -= usize::from(before < count && listener.heard >= count);
            }
        }
        since.elapsed()
    }
}

impl Listener {
    fn read(&mut self) {
        const MARK: &[u8] = b"\nid: ";
        let mut chunk = [0; 64 << 10];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(0) => panic!("the server closed a stream"),
                Ok(came) => self.tail.extend_from_slice(&chunk[..came]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("a stream is lost: {error}"),
            }
        }
        self.heard += self.tail.windows(MARK.len()).filter(|bytes| *bytes == MARK).count();
        self.tail.drain(..self.tail.len().saturating_sub(MARK.len() - 1));
    }
}
