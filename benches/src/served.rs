//! `muster serve` as a child of a bench, and how it is told and asked: columnar batches over TCP, questions for
//! `Query.NearestStream`.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::SystemTime;

use model::Position;
use prost::Message as _;
use wire::proto::{self, gateway_down, gateway_up};

use crate::pipe::{Batch, Feed, Pipe, Reply};
use crate::process::{Process, folder, programs};
use crate::trace::Report;

/// Names in one message; the frame is limited.
const NAMES: usize = 4_096;
/// The first byte of an answer that has units; one that has none has another field first.
pub const HAS_UNITS: u8 = 0x0A;

/// Whether what is told is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Journal {
    /// An acknowledgement means synced.
    On,
    /// It means applied.
    Off,
}

/// A running server.
#[derive(Debug)]
pub struct Served {
    /// Its process, which ends with it.
    pub process: Process,
    /// Takes reports.
    pub gateways: SocketAddr,
    /// Takes questions.
    pub grpc: SocketAddr,
    /// Shows the figures.
    pub http: SocketAddr,
}

impl Served {
    /// Builds the program of this checkout, so that it is never an older one, and starts it on free loopback ports.
    ///
    /// # Errors
    /// It does not build or start.
    ///
    /// # Panics
    /// When the system gives no folder or no pipe.
    pub fn start(journal: Journal) -> Result<Self, String> {
        let (program, folder) = (program()?, folder());
        let mut child = Command::new(program);
        child.args(["serve", "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--listen", "muster=tcp://127.0.0.1:0"]);
        child.args(["--admit-unknown", "--data", if journal == Journal::On { "data" } else { "off" }]);
        let child = child.current_dir(folder.path()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut child = child.map_err(|error| format!("muster does not start: {error}"))?;
        let out = child.stdout.take().expect("it is piped");
        let process = Process::of(child, "-TERM", folder);
        let (mut gateways, mut grpc, mut http) = (None, None, None);
        for line in BufReader::new(out).lines().map_while(Result::ok).take_while(|line| line != "ready") {
            let address = line.rsplit("//").next().and_then(|address| address.parse().ok());
            match line.split_whitespace().next() {
                Some("gRPC") => grpc = address,
                Some("devices") => gateways = address,
                Some("map") => http = address,
                _ => {}
            }
        }
        let ((gateways, grpc), http) = gateways.zip(grpc).zip(http).ok_or("muster did not say where it listens")?;
        Ok(Self { process, gateways, grpc, http })
    }

    /// A new connection that reports the rounds of `lane` in batches of so many `reports`, at most `window` of them open.
    ///
    /// # Panics
    /// When the server has gone.
    #[must_use]
    pub fn feed(&self, reports: usize, window: usize, lane: usize, rounds: &[Vec<Report>]) -> Feed {
        let mut pipe = Pipe::connect(self.gateways, skim_ack);
        // Every unit is in the first round: its place there is its number on this connection.
        let mut numbers = HashMap::new();
        for some in rounds[0].chunks(NAMES) {
            let mut names = proto::ColumnarBatch::default();
            for (unit, _) in some {
                numbers.insert(*unit, numbers.len() as u32);
                names.new_devices.push(format!("bench:u{unit}"));
            }
            let payload = Some(gateway_up::Payload::Columns(names));
            let up = proto::GatewayUp { gateway: format!("lane-{lane}"), payload };
            pipe.call(&up.encode_length_delimited_to_vec());
        }
        let chunks = rounds.iter().flat_map(|round| round.chunks(reports));
        let batch = |some: &[Report]| {
            let differences = |of: fn(&Report) -> i32| {
                let before = [0].into_iter().chain(some.iter().map(of));
                some.iter().map(of).zip(before).map(|(now, before)| now - before).collect()
            };
            let columns = proto::ColumnarBatch {
                device_index: some.iter().map(|(unit, _)| numbers[unit]).collect(),
                time_ms_delta: vec![0; some.len() - 1],
                lat_e7_delta: differences(|(_, place)| place.lat_e7()),
                lon_e7_delta: differences(|(_, place)| place.lon_e7()),
                ..Default::default()
            };
            Batch { bytes: columns.encode_to_vec(), reports: some.len(), replies: 1 }
        };
        Feed::new(pipe, chunks.map(batch).collect(), window, lay)
    }

    /// What `/metrics` says now.
    ///
    /// # Panics
    /// When the server has gone.
    #[must_use]
    pub fn metrics(&self) -> String {
        let mut stream = TcpStream::connect(self.http).expect("the server listens");
        let ask = format!("GET /metrics HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.http);
        stream.write_all(ask.as_bytes()).expect("the server reads");
        let mut metrics = String::new();
        stream.read_to_string(&mut metrics).expect("the server answers");
        metrics
    }
}

/// The encoded question for the ten nearest to `centre`.
#[must_use]
pub fn question(centre: Position) -> Vec<u8> {
    let centre = Some(proto::Place { lat_e7: centre.lat_e7(), lon_e7: centre.lon_e7() });
    proto::NearestRequest { centre, k: 10, ..Default::default() }.encode_to_vec()
}

fn program() -> Result<PathBuf, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--release", "-p", "muster"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    if !build.status().is_ok_and(|status| status.success()) {
        return Err("`cargo build --release -p muster` failed".into());
    }
    Ok(programs().join("muster"))
}

/// Lays a batch with its number and the time of now. A message may be laid in two parts: lists go on in the second.
fn lay(out: &mut Vec<u8>, batch: &Batch, number: u64) {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("it is after 1970");
    let now = i64::try_from(since.as_millis()).expect("it is before the year 292 million");
    let head = proto::ColumnarBatch { batch_sequence: number, time_ms_delta: vec![now], ..Default::default() };
    let columns_bytes = head.encoded_len() + batch.bytes.len();
    let columns_length = prost::length_delimiter_len(columns_bytes);
    // Field 3 of GatewayUp, with its length.
    let up_bytes = 1 + columns_length + columns_bytes;
    prost::encode_length_delimiter(up_bytes, out).expect("a vector grows");
    out.push(3 << 3 | 2);
    prost::encode_length_delimiter(columns_bytes, out).expect("a vector grows");
    head.encode(out).expect("a vector grows");
    out.extend_from_slice(&batch.bytes);
}

/// The acknowledgement at the front.
fn skim_ack(bytes: &[u8]) -> Option<Reply> {
    let mut rest = bytes;
    let length = prost::decode_length_delimiter(&mut rest).ok()?;
    let body = rest.get(..length)?;
    let down = proto::GatewayDown::decode(body).expect("the server keeps its format");
    let is_answer = matches!(&down.payload, Some(gateway_down::Payload::Ack(ack)) if ack.refused.is_empty());
    assert!(is_answer, "{down:?}");
    Some(Reply { bytes: bytes.len() - rest.len() + length, is_answer })
}
