//! Muster itself, `muster serve` as a child: columnar batches over TCP, `Query.NearestStream` over gRPC.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::{Buf as _, BufMut as _, Bytes};
use muster_benches::pipe::{Asked, Asker, Feed};
use muster_benches::process::Process;
use muster_benches::served::{HAS_UNITS, Journal, Served, question};
use muster_benches::trace::{Report, Trace};
use prost::Message as _;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::Sender;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Request, Status, Streaming};
use wire::proto;

use crate::peer::{AskStyle, FeedStyle, Peer, Started};

const COLUMNS: FeedStyle = FeedStyle { label: "columnar batches of 100, pipelined", reports: 100, window: 64 };

struct Muster {
    served: Served,
    journal: Journal,
}

/// Starts it without a journal.
pub(crate) fn start() -> Started {
    launch(Journal::Off)
}

/// Starts it with its journal: an acknowledgement means synced.
pub(crate) fn start_with_journal() -> Started {
    launch(Journal::On)
}

fn launch(journal: Journal) -> Started {
    Ok(Box::new(Muster { served: Served::start(journal)?, journal }))
}

impl Peer for Muster {
    fn name(&self) -> &'static str {
        match self.journal {
            Journal::On => "muster-journal",
            Journal::Off => "muster",
        }
    }

    fn process(&self) -> &Process {
        &self.served.process
    }

    fn feed_styles(&self) -> Vec<FeedStyle> {
        vec![COLUMNS]
    }

    fn feed(&self, style: FeedStyle, lane: usize, rounds: &[Vec<Report>]) -> Feed {
        self.served.feed(style.reports, style.window, lane, rounds)
    }

    fn ask_styles(&self) -> Vec<AskStyle> {
        let style = AskStyle { label: "NearestStream".into(), radius_m: 0.0, depth: 32 };
        match self.journal {
            Journal::On => Vec::new(),
            Journal::Off => vec![style],
        }
    }

    fn asker(&self, _: &AskStyle, trace: &Trace) -> Box<dyn Asker> {
        Box::new(Stream::open(self.served.grpc, trace.questions.iter().map(|at| question(*at).into()).collect()))
    }

    /// What became of the reports: one that is late or held changes no place, and would be cheaper than it ought to be.
    fn counted(&self) -> Option<String> {
        let metrics = self.served.metrics();
        let outcomes = metrics.lines().filter_map(|line| line.strip_prefix("muster_reports_applied_total{outcome="));
        let outcomes: Vec<_> =
            outcomes.filter(|line| !line.ends_with(" 0")).map(|line| line.replace('}', "")).collect();
        Some(outcomes.join(", "))
    }
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
    fn open(grpc: SocketAddr, questions: Vec<Bytes>) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
        let (ask, asked) = tokio::sync::mpsc::channel(1_024);
        let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{grpc}")).expect("an address");
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
