//! What log-on, scope and audit cost a nearest query, over HTTP on loopback: the same city behind two servers of this process, one
//! without log-on and one with; the latter asked by a viewer of all, and by one of an organisation. Rounds are interleaved.
//!
//! `cargo bench -p muster-benches --bench audit`; `AUDIT_ROUNDS=5`, `AUDIT_SECONDS=2`, `AUDIT_UNITS=20000`.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use model::{OrganisationName, Position, Principal, PrincipalName, Role, Unit, UnitKind, UnitName};
use muster_benches::trace::Trace;
use muster_benches::{Rounds, quantile};
use server::Server;
use server::config::{Config, Data, LogOnRule};
use store::{By, Store};

/// Questions that are open at once on a connection: the next is there when one is answered.
const PIPELINED: usize = 2;
const CONNECTIONS: usize = 8;
/// Organisations that share the units.
const ORGANISATIONS: usize = 8;

fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// A server with a city, and who asks it.
struct Side {
    what: &'static str,
    http: SocketAddr,
    token: Option<String>,
}

fn main() {
    let (rounds, units) = (number("AUDIT_ROUNDS", 5), number("AUDIT_UNITS", 20_000));
    let measured = Duration::from_secs(number("AUDIT_SECONDS", 2) as u64);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    let trace = Trace::new(units);
    let (open, locked) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let start = |folder: &tempfile::TempDir, log_on| {
        let any = "127.0.0.1:0".parse().expect("it is an address");
        let data = Data::Folder(folder.path().to_owned());
        let config = Config { http: any, grpc: None, data, log_on, ..Config::default() };
        runtime.block_on(Server::start(&config)).expect("the server starts")
    };
    let servers = [start(&open, LogOnRule::Off), start(&locked, LogOnRule::Required)];
    let http = [servers[0].addresses().http, servers[1].addresses().http];
    let store = Store::open(locked.path()).expect("the store opens");
    let sides = [
        Side { what: "no log-on, no audit", http: http[0], token: None },
        Side { what: "log-on and audit, sees all", http: http[1], token: Some(token(&store, Role::Viewer, None)) },
        Side {
            what: "log-on, audit and scope",
            http: http[1],
            token: Some(token(&store, Role::Viewer, Some("org-0"))),
        },
    ];
    let gateway = token(&store, Role::Gateway, None);
    let (mut answers, mut latencies) = (Rounds::default(), Rounds::default());
    servers.iter().for_each(|server| enrol(server, units));
    for round in 0..rounds {
        report(http[0], None, &trace.places);
        report(http[1], Some(&gateway), &trace.places);
        // In another order each round: who comes first after the reports has the colder caches.
        for at in 0..sides.len() {
            let side = &sides[(at + round) % sides.len()];
            let asked: usize = std::thread::scope(|scope| {
                let parts = trace.questions.chunks(trace.questions.len() / CONNECTIONS);
                let lanes: Vec<_> =
                    parts.map(|part| scope.spawn(move || closed_loop(side, part, measured, PIPELINED).0)).collect();
                lanes.into_iter().map(|lane| lane.join().expect("a client ends")).sum()
            });
            answers.note(side.what, asked as f64 / measured.as_secs_f64());
            let (_, mut one_by_one) = closed_loop(side, &trace.questions, measured / 4, 1);
            latencies.note(&format!("p50, {}", side.what), quantile(&mut one_by_one, 0.5));
            latencies.note(&format!("p99, {}", side.what), quantile(&mut one_by_one, 0.99));
        }
    }
    println!(
        "{units} units, {CONNECTIONS} connections with {PIPELINED} questions open each, {rounds} rounds of {measured:?}"
    );
    answers.print("nearest-10 a second");
    println!("\n| kept of the answers without | median | least - most |\n|---|---|---|");
    for side in &sides[1..] {
        let [least, median, most] = answers.ratio(side.what, sides[0].what).expect("both were measured");
        println!("| {} | {median:.2} | {least:.2} - {most:.2} |", side.what);
    }
    latencies.print("microseconds, one question open");
    let verdict = store.verify_audit(&[]).expect("the audit is read");
    assert!(verdict.fault.is_none(), "{:?}", verdict.fault);
    println!("\nThe audit has {} rows, and its chain holds.", verdict.rows);
    for server in servers {
        runtime.block_on(server.stop());
    }
}

fn token(store: &Store, role: Role, organisation: Option<&str>) -> String {
    let now = model::Clock::now(&server::SystemClock::default());
    let name = format!("{role}-{}", organisation.unwrap_or("all"));
    let organisation = organisation.map(|name| OrganisationName::new(name).expect("it is a name"));
    let holder = Principal { name: PrincipalName::new(&name).expect("it is a name"), role, organisation };
    let by = By { principal: &Principal::local(), now, reason: None };
    store.create_token(&by, &holder, now.after(Duration::from_secs(86_400))).expect("a token is made")
}

fn enrol(server: &Server, units: usize) {
    for number in 0..units {
        let organisation = OrganisationName::new(&format!("org-{}", number % ORGANISATIONS)).expect("it is a name");
        let unit = Unit::named(UnitName::new(&format!("car-{number}")).expect("it is a name"));
        let unit = Unit { kind: UnitKind::Car, organisation: Some(organisation), ..unit };
        let device = model::DeviceId::of("bench", &number.to_string()).expect("it is a name");
        server.enrol(unit, &[device]).expect("there is room");
    }
}

fn head(method: &str, path: &str, token: Option<&str>) -> String {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n");
    if let Some(token) = token {
        write!(head, "Authorization: Bearer {token}\r\n").expect("text grows");
    }
    head
}

/// Everyone once, from where it is.
fn report(http: SocketAddr, token: Option<&str>, places: &[Position]) {
    let mut stream = TcpStream::connect(http).expect("the server listens");
    let mut at = 0;
    for some in places.chunks(2_000) {
        let mut body = String::from("{\"reports\":[");
        for (number, place) in (at..).zip(some) {
            let comma = if number == at { "" } else { "," };
            let (lat, lon) = (place.lat_deg(), place.lon_deg());
            write!(body, "{comma}{{\"device\":\"bench:{number}\",\"lat\":{lat},\"lon\":{lon}}}").expect("text grows");
        }
        body.push_str("]}");
        at += some.len();
        let head = head("POST", "/v1/reports", token);
        let request = format!("{head}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        stream.write_all(request.as_bytes()).expect("the server reads");
        let mut replies = Replies::default();
        assert!(replies.next(&mut stream), "reports are taken");
    }
}

/// Asks for `measured`, with so many questions open; how many were answered, and how long each took in microseconds.
fn closed_loop(side: &Side, from: &[Position], measured: Duration, open: usize) -> (usize, Vec<f64>) {
    let mut stream = TcpStream::connect(side.http).expect("the server listens");
    stream.set_nodelay(true).expect("a socket is set");
    let ask = |place: &Position| {
        let path = format!("/v1/nearest?lat={}&lon={}", place.lat_deg(), place.lon_deg());
        head("GET", &path, side.token.as_deref()) + "\r\n"
    };
    let mut asks = from.iter().map(ask).collect::<Vec<_>>().into_iter().cycle();
    let (began, mut replies, mut took) = (Instant::now(), Replies::default(), Vec::new());
    let mut sent = std::collections::VecDeque::new();
    while began.elapsed() < measured {
        let burst: String = asks.by_ref().take(open - sent.len()).collect();
        sent.resize(open, Instant::now());
        stream.write_all(burst.as_bytes()).expect("the server reads");
        let is_answered = replies.next(&mut stream);
        let sent_at = sent.pop_front().expect("one is open");
        if is_answered {
            took.push(sent_at.elapsed().as_secs_f64() * 1e6);
        }
    }
    (took.len(), took)
}

/// Answers as they come, with status 200 and a length.
#[derive(Default)]
struct Replies(Vec<u8>);

impl Replies {
    /// Reads one; whether it was answered. The others are refusals of the contract.
    fn next(&mut self, stream: &mut TcpStream) -> bool {
        loop {
            if let Some(end) = self.0.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&self.0[..end]).to_ascii_lowercase();
                let is_answered = head.starts_with("http/1.1 200");
                assert!(is_answered || head.starts_with("http/1.1 503"), "{}", String::from_utf8_lossy(&self.0));
                let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
                let length: usize = length.and_then(|text| text.parse().ok()).expect("an answer has a length");
                if self.0.len() >= end + 4 + length {
                    self.0.drain(..end + 4 + length);
                    return is_answered;
                }
            }
            let mut bytes = [0; 65_536];
            let read = stream.read(&mut bytes).expect("the server answers");
            assert!(read > 0, "the server closed the connection");
            self.0.extend_from_slice(&bytes[..read]);
        }
    }
}
