use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use prost::bytes::Bytes;
use tokio::net::TcpStream;
use tokio::sync::mpsc::UnboundedSender;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Code, Request, Status, Streaming};
use tonic_prost::ProstCodec;
use wire::proto::{Circle, NearestRequest, Place, WithinRequest, within_request};

use super::http::next_answer;
use super::ledger::Outcome;
use super::pace::{Pacer, thread_cpu};
use super::schedule::Due;
use super::{ANSWERS_GRACE, Class, Course, Driven, Fleet, GeneratorThread, Ledger, LoadError, LoadPlan, Schedule};

/// gRPC connections, each with one stream of questions.
const STREAMS: usize = 4;
/// Kept HTTP connections; questions on one are pipelined.
const HTTP_CONNECTIONS: usize = 8;
/// Questions that may wait for their answers; one beyond it is not sent, and counted.
const WAITING_MAX: usize = 50_000;
/// Questions after which the answers get their turn, however late the schedule is.
const QUESTIONS_IN_A_ROW: u32 = 16;
const NEAREST_K: u32 = 10;
const WITHIN_RADIUS_M: f64 = 300.0;
const WITHIN_LIMIT: u32 = 100;
/// Half the side of the square around a unit in which a question lies, in 1e-7 degrees: about 500 m.
const ASIDE_E7: i32 = 50_000;
const SEED_OF_QUESTIONS: u64 = 0x5155_4553_5449_4F4E;

/// What the generator reads of an answer: the units stay bytes, since it counts them and no more.
#[derive(Clone, PartialEq, prost::Message)]
struct Answer {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    units: Vec<Bytes>,
    #[prost(uint64, tag = "5")]
    request_id: u64,
    #[prost(string, tag = "6")]
    error: String,
    #[prost(int32, tag = "9")]
    error_code: i32,
}

/// The same for `WithinResponse`, whose other fields have other numbers.
#[derive(Clone, PartialEq, prost::Message)]
struct WithinAnswer {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    units: Vec<Bytes>,
}

/// What all tasks of the thread share.
struct Desk {
    ledger: RefCell<Ledger>,
    course: Arc<Course>,
    start: Cell<Instant>,
    waiting: Cell<usize>,
    lost: Cell<u64>,
    /// Units that a right answer has.
    nearest_units: usize,
}

impl Desk {
    fn end(&self, class: Class, planned: Duration, outcome: Outcome) {
        let now = self.start.get().elapsed();
        self.waiting.set(self.waiting.get().saturating_sub(1));
        self.course.questions.fetch_add(u64::from(outcome == Outcome::Answered), Ordering::Relaxed);
        self.ledger.borrow_mut().end(class, planned, now, outcome);
    }

    fn nearest_outcome(&self, answer: &Answer) -> Outcome {
        match answer.error.as_str() {
            "" if answer.units.len() == self.nearest_units => Outcome::Answered,
            "" => Outcome::Wrong,
            _ => code_outcome(Code::from(answer.error_code)),
        }
    }
}

fn code_outcome(code: Code) -> Outcome {
    match code {
        Code::DeadlineExceeded => Outcome::OutOfTime,
        Code::ResourceExhausted | Code::Unavailable => Outcome::Refused,
        _ => Outcome::Failed,
    }
}

/// One gRPC connection and its stream of questions.
struct Stream {
    channel: Channel,
    questions: UnboundedSender<NearestRequest>,
    waiting: Rc<RefCell<HashMap<u64, Duration>>>,
    is_lost: Rc<Cell<bool>>,
}

impl Stream {
    async fn open(address: SocketAddr, desk: &Rc<Desk>) -> Result<Self, LoadError> {
        let failed = |detail: String| LoadError::Grpc { address, detail };
        let channel = Channel::from_shared(format!("http://{address}")).map_err(|error| failed(error.to_string()))?;
        let channel = channel.tcp_nodelay(true).connect().await.map_err(|error| failed(chain(&error)))?;
        let (questions, receiver) = tokio::sync::mpsc::unbounded_channel();
        let mut client = Grpc::new(channel.clone());
        client.ready().await.map_err(|error| failed(chain(&error)))?;
        let path = PathAndQuery::from_static("/muster.v1.Query/NearestStream");
        let asked = Request::new(UnboundedReceiverStream::new(receiver));
        let codec = ProstCodec::<NearestRequest, Answer>::default();
        let answers = client.streaming(asked, path, codec).await.map_err(|status| failed(status.to_string()))?;
        let (waiting, is_lost) = (Rc::<RefCell<HashMap<u64, Duration>>>::default(), Rc::<Cell<bool>>::default());
        tokio::task::spawn_local(hear(answers.into_inner(), Rc::clone(desk), Rc::clone(&waiting), Rc::clone(&is_lost)));
        Ok(Self { channel, questions, waiting, is_lost })
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Hears the answers of one stream until it ends; what still waits then has failed.
async fn hear(
    mut answers: Streaming<Answer>,
    desk: Rc<Desk>,
    waiting: Rc<RefCell<HashMap<u64, Duration>>>,
    is_lost: Rc<Cell<bool>>,
) {
    while let Some(Ok(answer)) = answers.next().await {
        if let Some(planned) = waiting.borrow_mut().remove(&answer.request_id) {
            desk.end(Class::Nearest, planned, desk.nearest_outcome(&answer));
        }
    }
    is_lost.set(true);
    desk.lost.set(desk.lost.get() + 1);
    for (_, planned) in waiting.borrow_mut().drain() {
        desk.end(Class::Nearest, planned, Outcome::Failed);
    }
}

/// Asks one question in a call of its own.
async fn ask_unary(channel: Channel, desk: Rc<Desk>, class: Class, planned: Duration, place: Place) {
    let mut client = Grpc::new(channel);
    let asked = async {
        client.ready().await.map_err(|error| Status::unknown(error.to_string()))?;
        if class == Class::Within {
            let area = within_request::Area::Circle(Circle { centre: Some(place), radius_m: WITHIN_RADIUS_M });
            let question = WithinRequest { area: Some(area), limit: WITHIN_LIMIT, ..WithinRequest::default() };
            let path = PathAndQuery::from_static("/muster.v1.Query/Within");
            let codec = ProstCodec::<WithinRequest, WithinAnswer>::default();
            let answer = client.unary(Request::new(question), path, codec).await?;
            let is_right = answer.get_ref().units.len() <= WITHIN_LIMIT as usize;
            Ok::<_, Status>(if is_right { Outcome::Answered } else { Outcome::Wrong })
        } else {
            let path = PathAndQuery::from_static("/muster.v1.Query/Nearest");
            let codec = ProstCodec::<NearestRequest, Answer>::default();
            let answer = client.unary(Request::new(nearest(place, 0)), path, codec).await?;
            Ok(desk.nearest_outcome(answer.get_ref()))
        }
    };
    let outcome = asked.await.unwrap_or_else(|status| code_outcome(status.code()));
    desk.end(class, planned, outcome);
}

fn nearest(centre: Place, request_id: u64) -> NearestRequest {
    NearestRequest { centre: Some(centre), k: NEAREST_K, request_id, ..NearestRequest::default() }
}

/// One kept HTTP connection.
struct Kept {
    stream: Rc<TcpStream>,
    out: BytesMut,
    waiting: Rc<RefCell<VecDeque<Duration>>>,
    is_lost: Rc<Cell<bool>>,
}

impl Kept {
    async fn open(address: SocketAddr, desk: &Rc<Desk>) -> Result<Self, LoadError> {
        let failed = |source| LoadError::Socket { what: "HTTP", address, source };
        let stream = TcpStream::connect(address).await.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        let kept =
            Self { stream: Rc::new(stream), out: BytesMut::new(), waiting: Rc::default(), is_lost: Rc::default() };
        let (stream, waiting, is_lost) = (Rc::clone(&kept.stream), Rc::clone(&kept.waiting), Rc::clone(&kept.is_lost));
        tokio::task::spawn_local(hear_http(stream, Rc::clone(desk), waiting, is_lost));
        Ok(kept)
    }

    fn ask(&mut self, host: &str, place: Place, planned: Duration) {
        use std::fmt::Write as _;
        let degrees = |e7: i32| f64::from(e7) / 1e7;
        let (lat, lon) = (degrees(place.lat_e7), degrees(place.lon_e7));
        let path = format_args!("/v1/nearest?lat={lat:.7}&lon={lon:.7}&k={NEAREST_K}");
        let _ = write!(self.out, "GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n");
        self.waiting.borrow_mut().push_back(planned);
        self.flush();
    }

    fn flush(&mut self) {
        while !self.out.is_empty() && !self.is_lost.get() {
            match self.stream.try_write(&self.out) {
                Ok(written) => drop(self.out.split_to(written)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => self.is_lost.set(true),
            }
        }
    }
}

async fn hear_http(
    stream: Rc<TcpStream>,
    desk: Rc<Desk>,
    waiting: Rc<RefCell<VecDeque<Duration>>>,
    is_lost: Rc<Cell<bool>>,
) {
    let mut inbox = BytesMut::new();
    'heard: while stream.readable().await.is_ok() {
        inbox.reserve(64 * 1024);
        match stream.try_read_buf(&mut inbox) {
            Ok(0) => break,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(_) => break,
            Ok(_) => {}
        }
        loop {
            let status = match next_answer(&mut inbox) {
                Ok(Some(status)) => status,
                Ok(None) => break,
                Err(_) => break 'heard,
            };
            let Some(planned) = waiting.borrow_mut().pop_front() else { break 'heard };
            let outcome = match status {
                200 => Outcome::Answered,
                429 | 503 => Outcome::Refused,
                504 => Outcome::OutOfTime,
                _ => Outcome::Failed,
            };
            desk.end(Class::NearestHttp, planned, outcome);
        }
    }
    is_lost.set(true);
    desk.lost.set(desk.lost.get() + 1);
    for planned in waiting.borrow_mut().drain(..) {
        desk.end(Class::NearestHttp, planned, Outcome::Failed);
    }
}

/// The sending side.
struct Asker {
    plan: LoadPlan,
    fleet: Arc<Fleet>,
    desk: Rc<Desk>,
    streams: Vec<Stream>,
    kept: Vec<Kept>,
    host: String,
}

impl Asker {
    async fn run(&mut self, pacer: &Pacer) -> io::Result<()> {
        let end = self.plan.warm_up + self.plan.measured;
        let schedule = Schedule::new(self.plan.seed ^ SEED_OF_QUESTIONS, self.plan.query_rate);
        let mut in_a_row = 0;
        for (number, due) in (0..).zip(schedule.take_while(|due| due.at < end)) {
            loop {
                let now = self.desk.start.get().elapsed();
                if now >= due.at && in_a_row < QUESTIONS_IN_A_ROW {
                    break;
                }
                in_a_row = 0;
                self.kept.iter_mut().for_each(Kept::flush);
                pacer.pass(due.at.saturating_sub(now)).await?;
            }
            in_a_row += 1;
            self.ask(number, due);
        }
        Ok(())
    }

    fn ask(&mut self, number: u64, due: Due) {
        let class = self.plan.mix.pick(due.hash);
        let desk = &self.desk;
        desk.ledger.borrow_mut().plan(class, due.at, desk.start.get().elapsed());
        let place = self.place(due);
        let turn = number as usize;
        let is_sent = desk.waiting.get() < WAITING_MAX
            && match class {
                Class::NearestHttp => {
                    let at = turn % self.kept.len();
                    !self.kept[at].is_lost.get() && {
                        self.kept[at].ask(&self.host, place, due.at);
                        true
                    }
                }
                Class::Nearest => {
                    let stream = &self.streams[turn % self.streams.len()];
                    let is_sent = !stream.is_lost.get() && stream.questions.send(nearest(place, number)).is_ok();
                    is_sent && stream.waiting.borrow_mut().insert(number, due.at).is_none()
                }
                _ => {
                    let channel = self.streams[turn % self.streams.len()].channel.clone();
                    tokio::task::spawn_local(ask_unary(channel, Rc::clone(desk), class, due.at, place));
                    true
                }
            };
        if is_sent {
            desk.waiting.set(desk.waiting.get() + 1);
        } else {
            desk.ledger.borrow_mut().not_sent(class, due.at);
        }
    }

    /// A seeded place near a unit: questions come from where the units are.
    fn place(&self, due: Due) -> Place {
        let unit = (due.hash >> 16) as usize % self.fleet.units();
        let [lat_e7, lon_e7] = self.fleet.place_e7(unit, due.at);
        let aside = |bits: u64| (((bits & 0xFFFF) as i64 * 2 * i64::from(ASIDE_E7)) >> 16) as i32 - ASIDE_E7;
        Place { lat_e7: lat_e7 + aside(due.hash), lon_e7: lon_e7 + aside(due.hash >> 48) }
    }
}

/// Offers the questions of `plan`; `None` when another thread did not start.
pub(super) async fn drive(plan: LoadPlan, fleet: Arc<Fleet>, course: Arc<Course>) -> Result<Option<Driven>, LoadError> {
    let desk = Rc::new(Desk {
        ledger: RefCell::new(Ledger::new(plan.mix.classes(), plan.warm_up, plan.measured)),
        course: Arc::clone(&course),
        start: Cell::new(Instant::now()),
        waiting: Cell::new(0),
        lost: Cell::new(0),
        nearest_units: fleet.units().min(NEAREST_K as usize),
    });
    let (mut streams, mut kept, mut host) = (Vec::new(), Vec::new(), String::new());
    if let Some(class) = plan.mix.classes().find(|class| *class != Class::NearestHttp) {
        let address = plan.grpc.ok_or(LoadError::NoAddress { class, what: "the server's gRPC" })?;
        for _ in 0..STREAMS {
            streams.push(Stream::open(address, &desk).await?);
        }
    }
    if plan.mix.classes().any(|class| class == Class::NearestHttp) {
        let address = plan.http.ok_or(LoadError::NoAddress { class: Class::NearestHttp, what: "the server's HTTP" })?;
        host = address.to_string();
        for _ in 0..HTTP_CONNECTIONS {
            kept.push(Kept::open(address, &desk).await?);
        }
    }
    let pacer = Pacer::new()?;
    let Some((start, _)) = course.begin() else { return Ok(None) };
    desk.start.set(start);
    let cpu = thread_cpu();
    let mut asker = Asker { plan, fleet, desk: Rc::clone(&desk), streams, kept, host };
    asker.run(&pacer).await?;
    let cpu_share = (thread_cpu() - cpu).as_secs_f64() / start.elapsed().as_secs_f64();
    let until = Instant::now() + ANSWERS_GRACE;
    while desk.waiting.get() > 0 && Instant::now() < until {
        asker.kept.iter_mut().for_each(Kept::flush);
        pacer.pass(Duration::from_millis(1)).await?;
    }
    let connections_lost = desk.lost.get();
    let ledger = desk.ledger.replace(Ledger::new([], Duration::ZERO, Duration::ZERO));
    let lag_us = ledger.lag_us().clone();
    Ok(Some((ledger, GeneratorThread { name: "questions", lag_us, cpu_share, connections_lost })))
}
