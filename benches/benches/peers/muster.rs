//! Muster itself, `muster serve` as a child: columnar batches over TCP, `Query.NearestStream` over gRPC.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bytes::{Buf as _, BufMut as _, Bytes};
use model::Clock as _;
use prost::Message as _;
use server::SystemClock;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::Sender;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Request, Status, Streaming};
use wire::proto::{self, gateway_down, gateway_up};

use crate::peer::{AskStyle, FeedStyle, Peer, Started};
use crate::pipe::{Asked, Asker, Batch, Feed, Pipe, Reply};
use crate::process::{Process, folder};
use crate::trace::{Report, Trace};

const COLUMNS: FeedStyle = FeedStyle { label: "columnar batches of 100, pipelined", reports: 100, window: 64 };
/// Names in one message; the frame is limited.
const NAMES: usize = 4_096;
/// The first byte of an answer that has units; one that has none has another field first.
const HAS_UNITS: u8 = 0x0A;

struct Muster {
    process: Process,
    gateways: SocketAddr,
    grpc: String,
    http: SocketAddr,
    has_journal: bool,
}

/// Starts it without a journal.
pub(crate) fn start() -> Started {
    launch(false)
}

/// Starts it with its journal: an acknowledgement means synced.
pub(crate) fn start_with_journal() -> Started {
    launch(true)
}

fn launch(has_journal: bool) -> Started {
    let (program, folder) = (program()?, folder());
    let mut child = Command::new(program);
    child.args(["serve", "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--listen", "muster=tcp://127.0.0.1:0"]);
    child.args(["--admit-unknown", "--data", if has_journal { "data" } else { "off" }]);
    let child = child.current_dir(folder.path()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut child = child.map_err(|error| format!("muster does not start: {error}"))?;
    let out = child.stdout.take().expect("it is piped");
    let process = Process::of(child, "-TERM", folder);
    let (mut gateways, mut grpc, mut http) = (None, None, None);
    for line in BufReader::new(out).lines().map_while(Result::ok).take_while(|line| line != "ready") {
        let address = line.split_whitespace().last().unwrap_or_default().to_owned();
        match line.split_whitespace().next() {
            Some("gRPC") => grpc = Some(address),
            Some("devices") => gateways = socket(&address),
            Some("map") => http = socket(&address),
            _ => {}
        }
    }
    let ((gateways, grpc), http) = gateways.zip(grpc).zip(http).ok_or("muster did not say where it listens")?;
    Ok(Box::new(Muster { process, gateways, grpc, http, has_journal }))
}

fn socket(address: &str) -> Option<SocketAddr> {
    address.rsplit("//").next()?.parse().ok()
}

/// The program of this checkout, built now, so that it is never an older one.
fn program() -> Result<PathBuf, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--release", "-p", "muster"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    if !build.status().is_ok_and(|status| status.success()) {
        return Err("`cargo build --release -p muster` failed".into());
    }
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    own.ancestors().nth(2).map(|folder| folder.join("muster")).ok_or_else(|| "no folder of programs".into())
}

impl Peer for Muster {
    fn name(&self) -> &'static str {
        if self.has_journal { "muster-journal" } else { "muster" }
    }

    fn process(&self) -> &Process {
        &self.process
    }

    fn feed_styles(&self) -> Vec<FeedStyle> {
        vec![COLUMNS]
    }

    fn feed(&self, style: FeedStyle, lane: usize, rounds: &[Vec<Report>]) -> Feed {
        let mut pipe = Pipe::connect(self.gateways, skim_ack);
        // Every unit is in the first round: its place there is its number on this connection.
        let mut numbers = std::collections::HashMap::new();
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
        let chunks = rounds.iter().flat_map(|round| round.chunks(style.reports));
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
        Feed::new(pipe, chunks.map(batch).collect(), style.window, lay)
    }

    fn ask_styles(&self) -> Vec<AskStyle> {
        let style = AskStyle { label: "NearestStream".into(), radius_m: 0.0, depth: 32 };
        if self.has_journal { Vec::new() } else { vec![style] }
    }

    fn asker(&self, _: &AskStyle, trace: &Trace) -> Box<dyn Asker> {
        let question = |centre: &model::Position| {
            let centre = Some(proto::Place { lat_e7: centre.lat_e7(), lon_e7: centre.lon_e7() });
            Bytes::from(proto::NearestRequest { centre, k: 10, ..Default::default() }.encode_to_vec())
        };
        Box::new(Stream::open(&self.grpc, trace.questions.iter().map(question).collect()))
    }

    /// What became of the reports: one that is late or held changes no place, and would be cheaper than it ought to be.
    fn counted(&self) -> Option<String> {
        let mut stream = TcpStream::connect(self.http).ok()?;
        let ask = format!("GET /metrics HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.http);
        stream.write_all(ask.as_bytes()).ok()?;
        let mut metrics = String::new();
        stream.read_to_string(&mut metrics).ok()?;
        let outcomes = metrics.lines().filter_map(|line| line.strip_prefix("muster_reports_applied_total{outcome="));
        let outcomes: Vec<_> =
            outcomes.filter(|line| !line.ends_with(" 0")).map(|line| line.replace('}', "")).collect();
        Some(outcomes.join(", "))
    }
}

/// Lays a batch with its number and the time of now. A message may be laid in two parts: lists go on in the second.
fn lay(out: &mut Vec<u8>, batch: &Batch, number: u64) {
    let now = SystemClock::default().now().unix_ms();
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

/// Bytes as they are: the other clients of this bench do not read every value of an answer either.
#[derive(Debug, Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// A stream of questions on a connection and a thread of its own.
struct Stream {
    runtime: Runtime,
    ask: Sender<Bytes>,
    answers: Streaming<Bytes>,
    questions: Vec<Bytes>,
}

impl Stream {
    fn open(grpc: &str, questions: Vec<Bytes>) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
        let (ask, asked) = tokio::sync::mpsc::channel(1_024);
        let endpoint = tonic::transport::Endpoint::from_shared(grpc.to_owned()).expect("an address");
        let endpoint = endpoint.initial_stream_window_size(1 << 20).initial_connection_window_size(1 << 20);
        let answers = runtime.block_on(async {
            let channel = endpoint.tcp_nodelay(true).connect().await.expect("the server listens");
            let mut grpc = tonic::client::Grpc::new(channel);
            grpc.ready().await.expect("the connection is open");
            let path = PathAndQuery::from_static("/muster.v1.Query/NearestStream");
            grpc.streaming(Request::new(ReceiverStream::new(asked)), path, Raw).await.expect("the server answers")
        });
        Self { runtime, ask, answers: answers.into_inner(), questions }
    }
}

impl Asker for Stream {
    fn run(&mut self, depth: usize, time: Duration) -> Asked {
        let Self { runtime, ask, answers, questions } = self;
        runtime.block_on(async {
            let began = Instant::now();
            let (mut asked, mut waiting, mut next) = (Asked::default(), 0, 0);
            while began.elapsed() < time || waiting > 0 {
                while waiting < depth && began.elapsed() < time {
                    ask.try_send(questions[next % questions.len()].clone()).expect("the channel holds the depth");
                    next += 1;
                    waiting += 1;
                }
                let sent = Instant::now();
                let answer = answers.message().await.expect("the stream stays").expect("the stream stays");
                waiting -= 1;
                if answer.first() == Some(&HAS_UNITS) {
                    asked.answered += 1;
                } else {
                    asked.refused += 1;
                }
                if depth == 1 {
                    asked.times_ms.push(sent.elapsed().as_secs_f64() * 1e3);
                }
            }
            asked.time = began.elapsed();
            asked
        })
    }

    fn answer(&mut self, at: usize) -> Vec<u32> {
        let Self { runtime, ask, answers, questions } = self;
        let answer = runtime.block_on(async {
            ask.send(questions[at].clone()).await.expect("the stream is open");
            answers.message().await.expect("the stream stays").expect("the stream stays")
        });
        let answer = proto::NearestResponse::decode(answer).expect("the server keeps its format");
        answer.units.iter().filter_map(|found| found.unit.rsplit('u').next()?.parse().ok()).collect()
    }
}
