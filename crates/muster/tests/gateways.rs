//! Eight gateways, of which one falls silent: told once, soon, with its units, and once again when it is back.

mod common;

use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use common::cars::acknowledged;
use common::ear::{Ear, Frame};
use common::get;
use common::life::{Life, Ready};
use prost::Message;
use wire::proto::{GatewayUp, Report, ReportBatch, gateway_up};

const GATEWAYS: usize = 8;
const UNITS: usize = 6;
/// Between two frames of a gateway.
const INTERVAL: Duration = Duration::from_millis(100);
/// From its last frame to the event.
const LOST_WITHIN: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(30);

/// What a gateway is told to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Do {
    Speak,
    /// The connection stays open.
    BeSilent,
    /// The connection is cut.
    HangUp,
}

/// A gateway of a thread's own, at one server after the other.
struct Gateway {
    name: String,
    orders: Sender<(Do, Sender<Instant>)>,
}

impl Gateway {
    fn start(number: usize, server: SocketAddr) -> Self {
        let (orders, taken) = channel::<(Do, Sender<Instant>)>();
        let name = format!("gateway-{number}");
        let own = name.clone();
        std::thread::spawn(move || {
            let (mut line, mut batch, mut is_speaking, mut last) = (None, 0, true, Instant::now());
            loop {
                match taken.recv_timeout(if is_speaking { INTERVAL } else { PATIENCE }) {
                    Ok((order, told)) => {
                        is_speaking = order == Do::Speak;
                        if order == Do::HangUp {
                            line = None;
                        }
                        // Nobody may wait for it.
                        let _ = told.send(last);
                    }
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                }
                if is_speaking {
                    let line = line
                        .get_or_insert_with(|| BufReader::new(TcpStream::connect(server).expect("the server listens")));
                    batch += 1;
                    last = Instant::now();
                    // The test may be over, and the server with it.
                    if line.get_mut().write_all(&frame(&own, batch)).is_err() || acknowledged(line).is_err() {
                        return;
                    }
                }
            }
        });
        Self { name, orders }
    }

    /// Gives an order; when it is obeyed, the instant of the last frame before it.
    fn order(&self, order: Do) -> Instant {
        let (tell, told) = channel();
        self.orders.send((order, tell)).expect("its thread lives");
        told.recv_timeout(PATIENCE).expect("it obeys")
    }
}

fn unit(gateway: &str, at: usize) -> String {
    format!("muster:{gateway}.{at}")
}

/// All units of a gateway, standing.
fn frame(gateway: &str, batch_sequence: u64) -> Vec<u8> {
    let report = |at: usize| Report {
        device: unit(gateway, at),
        lat_e7: 228_170_000 + 10_000 * at as i32,
        lon_e7: 1_083_660_000,
        ..Report::default()
    };
    let batch = ReportBatch { batch_sequence, reports: (0..UNITS).map(report).collect() };
    let up = GatewayUp { gateway: gateway.to_owned(), payload: Some(gateway_up::Payload::Reports(batch)) };
    up.encode_length_delimited_to_vec()
}

/// Units with the flag, of all that there are.
fn flagged(http: &str) -> Vec<String> {
    let (_, units) = get(http, "/v1/units?limit=1000");
    let is_flagged = |unit: &&serde_json::Value| {
        unit["properties"]["flags"].as_array().is_some_and(|flags| flags.contains(&"gateway_lost".into()))
    };
    let features = units["features"].as_array().expect("units are features").iter();
    features.filter(is_flagged).map(|unit| unit["properties"]["unit"].as_str().unwrap_or_default().to_owned()).collect()
}

fn all_units(gateway: &str) -> Vec<String> {
    (0..UNITS).map(|at| unit(gateway, at)).collect()
}

/// Waits until every gateway has an interval of its own.
fn await_learned(http: &str) {
    let until = Instant::now() + PATIENCE;
    let is_learned = |gateway: &serde_json::Value| gateway["frames"].as_u64() >= Some(20) && gateway["lost"] == false;
    loop {
        let (_, listed) = get(http, "/v1/gateways");
        let gateways = listed["gateways"].as_array().expect("a list");
        if gateways.len() == GATEWAYS && gateways.iter().all(is_learned) {
            return;
        }
        assert!(Instant::now() < until, "{listed}");
    }
}

/// What was told of gateways, and of units out of contact: kind and name.
fn told(frames: &[Frame]) -> Vec<String> {
    let of_interest = frames.iter().filter(|frame| {
        let kind = frame.text("kind");
        kind.starts_with("gateway_") || kind.starts_with("contact_")
    });
    of_interest.map(|frame| format!("{} {}", frame.text("kind"), frame.data["detail"]["gateway"])).collect()
}

/// Waits for the next event of gateways; returns all of them.
fn await_told(ear: &Ear, count: usize) -> Vec<String> {
    assert!(ear.wait_until(PATIENCE, |frames| told(frames).len() >= count), "{:?}", told(&ear.frames()));
    told(&ear.frames())
}

fn begin(folder: &Path) -> (Life, Ready) {
    let mut life = Life::with(&folder.join("data"), &["--admit-unknown"]);
    let ready = life.is_ready_within(PATIENCE).expect("it starts");
    (life, ready)
}

#[test]
fn a_silent_gateway_is_told_once_within_three_seconds_with_its_units_and_once_when_it_is_back() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder for the server");
    let (life, ready) = begin(folder.path());
    let ear = Ear::default();
    let mut expected = Vec::new();
    std::thread::scope(|scope| {
        // Whatever happens here, the server ends with it, and so does who listens.
        let mut life = life;
        scope.spawn(|| ear.listen(&ready.http));
        let gateways: Vec<_> = (1..=GATEWAYS).map(|number| Gateway::start(number, ready.muster)).collect();
        await_learned(&ready.http);
        for (gateway, order) in [(&gateways[2], Do::HangUp), (&gateways[4], Do::BeSilent), (&gateways[2], Do::BeSilent)]
        {
            let last = gateway.order(order);
            expected.push(format!("gateway_lost {:?}", gateway.name));
            assert_eq!(await_told(&ear, expected.len()), expected);
            assert!(last.elapsed() < LOST_WITHIN, "{order:?}: told {:?} after its last frame", last.elapsed());
            assert_eq!(flagged(&ready.http), all_units(&gateway.name), "{order:?}");
            gateway.order(Do::Speak);
            expected.push(format!("gateway_found {:?}", gateway.name));
            assert_eq!(await_told(&ear, expected.len()), expected);
            assert_eq!(flagged(&ready.http), Vec::<String>::new(), "{order:?}");
            await_learned(&ready.http);
        }
        // Then the server is killed, and the gateway comes to the next.
        gateways[6].order(Do::HangUp);
        expected.push(format!("gateway_lost {:?}", gateways[6].name));
        assert_eq!(await_told(&ear, expected.len()), expected);
        life.kill();
    });
    let count = ear.frames().iter().map(|frame| &frame.data["detail"]["units"]).filter(|units| **units == 6).count();
    assert_eq!(count, expected.len(), "each says how many units are behind it");
    let (life, ready) = begin(folder.path());
    std::thread::scope(|scope| {
        let mut life = life;
        scope.spawn(|| ear.listen(&ready.http));
        let gateway = Gateway::start(7, ready.muster);
        expected.push(format!("gateway_found {:?}", gateway.name));
        assert_eq!(await_told(&ear, expected.len()), expected, "also by a server that knows of it by its events only");
        gateway.order(Do::HangUp);
        expected.push(format!("gateway_lost {:?}", gateway.name));
        assert_eq!(await_told(&ear, expected.len()), expected);
        life.kill();
    });
    assert_eq!(told(&ear.frames()), expected, "exactly one each, and nothing else");
}
