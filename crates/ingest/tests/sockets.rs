//! Gateways against the listeners on loopback: each report is of the unit whose device sent it, or of none.

use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ingest::{Allowed, Intake, NotSettled, QueueFull, Setting, listen_datagrams, listen_stream};
use model::limits::{BATCH_REPORTS_MAX, ENGINE_BATCH_MAX};
use model::{Binding, Clock, DeviceHandle, DeviceId, Heard, Press, Timestamp, UnitHandle};
use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::mpsc;
use wire::proto::{ColumnarBatch, GatewayDown, GatewayUp, gateway_down, gateway_up};

/// Devices `cot:N` and `taip:N` are of unit N; keeps what is handed over.
struct Engine {
    batches: mpsc::UnboundedSender<Vec<Heard>>,
}

impl Engine {
    fn keep(&self, batch: Vec<Heard>) -> Ready<Result<(), NotSettled>> {
        drop(self.batches.send(batch));
        ready(Ok(()))
    }
}

impl Intake for Engine {
    type Settlement = Ready<Result<(), NotSettled>>;

    fn resolve(&self, device: &DeviceId) -> Option<Binding> {
        let name = device.as_str();
        let unit = name.strip_prefix("cot:").or_else(|| name.strip_prefix("taip:"))?.parse().ok()?;
        Some(Binding { device: DeviceHandle(unit), unit: UnitHandle(unit) })
    }

    fn generation(&self) -> u32 {
        0
    }

    fn ring(&self, _: Press) {}

    fn submit(&self, batch: Vec<Heard>) -> impl Future<Output = Result<Self::Settlement, NotSettled>> + Send {
        ready(Ok(self.keep(batch)))
    }

    fn try_submit(&self, batch: Vec<Heard>) -> Result<Self::Settlement, QueueFull> {
        Ok(self.keep(batch))
    }
}

struct Noon;

impl Clock for Noon {
    fn now(&self) -> Timestamp {
        Timestamp::from_rfc3339("2026-11-25T12:00:00Z").unwrap()
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

fn setting() -> (Setting<Engine>, mpsc::UnboundedReceiver<Vec<Heard>>) {
    let (batches, handed_over) = mpsc::unbounded_channel();
    (Setting::of(Arc::new(Engine { batches }), Arc::new(Noon)), handed_over)
}

async fn tcp() -> (TcpStream, mpsc::UnboundedReceiver<Vec<Heard>>) {
    let (setting, handed_over) = setting();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    tokio::spawn(listen_stream(listener, wire::protocol("muster").unwrap(), setting));
    (TcpStream::connect(address).await.unwrap(), handed_over)
}

fn columns(batch_sequence: u64, new_devices: &[&str], device_index: &[u32]) -> ColumnarBatch {
    ColumnarBatch {
        batch_sequence,
        new_devices: new_devices.iter().map(ToString::to_string).collect(),
        device_index: device_index.to_vec(),
        lat_e7_delta: vec![1; device_index.len()],
        lon_e7_delta: vec![1; device_index.len()],
        ..ColumnarBatch::default()
    }
}

fn up(batch: ColumnarBatch) -> GatewayUp {
    GatewayUp { gateway: "g".into(), payload: Some(gateway_up::Payload::Columns(batch)) }
}

fn units(batch: &[Heard]) -> Vec<u32> {
    batch.iter().map(|heard| heard.binding.unit.0).collect()
}

/// All that the server sends until it closes.
async fn answers(mut stream: TcpStream) -> Vec<gateway_down::Payload> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    let mut rest = &*bytes;
    let mut payloads = Vec::new();
    while !rest.is_empty() {
        payloads.extend(GatewayDown::decode_length_delimited(&mut rest).unwrap().payload);
    }
    payloads
}

/// A batch with too many reports named `cot:1`. The server kept the connection and not the name, so number 0 became `cot:2`, which
/// the gateway knows as 1, and places of the first unit were shown as those of the second.
#[tokio::test]
async fn after_a_refused_batch_no_report_is_of_another_unit() {
    let short = ColumnarBatch { lon_e7_delta: vec![1; 3], ..columns(2, &["cot:1"], &[0, 0]) };
    let long = columns(2, &["cot:1"], &vec![0; BATCH_REPORTS_MAX + 1]);
    let no_message = vec![4, 0xFF, 0xFF, 0xFF, 0xFF];
    for refused in [up(short).encode_length_delimited_to_vec(), up(long).encode_length_delimited_to_vec(), no_message] {
        let (mut stream, mut handed_over) = tcp().await;
        let before = up(columns(1, &["cot:7"], &[0])).encode_length_delimited_to_vec();
        let after = up(columns(3, &["cot:2"], &[0, 1])).encode_length_delimited_to_vec();
        stream.write_all(&[before, refused, after].concat()).await.unwrap();
        let answers = answers(stream).await;
        assert!(matches!(&answers[0], gateway_down::Payload::Ack(ack) if ack.batch_sequence == 1), "{answers:?}");
        assert!(matches!(&answers[1], gateway_down::Payload::Fault(_)), "{answers:?}");
        assert_eq!(answers.len(), 2);
        assert_eq!(units(&handed_over.recv().await.unwrap()), [7]);
        assert!(handed_over.try_recv().is_err(), "nothing behind the refused batch is taken");
    }
}

#[tokio::test]
async fn a_length_that_is_too_long_is_answered_before_the_connection_closes() {
    let (mut stream, _handed_over) = tcp().await;
    stream.write_all(&[0xFF, 0xFF, 0xFF, 0x7F]).await.unwrap();
    let answers = answers(stream).await;
    assert!(
        matches!(&*answers, [gateway_down::Payload::Fault(fault)] if fault.detail.contains("262144")),
        "{answers:?}"
    );
}

/// One long message makes the buffer grow; all that lay ready behind it was then read at once, and became one batch.
#[tokio::test]
async fn a_batch_to_the_engine_is_bounded() {
    const FRAMES: usize = 40;
    let (mut stream, mut handed_over) = tcp().await;
    let full = up(columns(1, &[], &vec![0; BATCH_REPORTS_MAX])).encode_length_delimited_to_vec();
    let long = "x".repeat(80);
    let names: Vec<&str> = ["cot:1"].into_iter().chain([&*long; 2_500]).collect();
    let named = up(columns(1, &names, &[])).encode_length_delimited_to_vec();
    let sent = [named, full.repeat(FRAMES)].concat();
    let (mut receiving, mut sending) = stream.split();
    let mut bytes = Vec::new();
    let send = async {
        sending.write_all(&sent).await.unwrap();
        sending.shutdown().await.unwrap();
    };
    let ((), received) = tokio::join!(send, receiving.read_to_end(&mut bytes));
    received.unwrap();
    let mut reports = 0;
    while let Ok(batch) = handed_over.try_recv() {
        assert!(batch.len() <= ENGINE_BATCH_MAX, "{}", batch.len());
        reports += batch.len();
    }
    assert_eq!(reports, FRAMES * BATCH_REPORTS_MAX);
}

/// A datagram of the same sender named `cot:2` before, or was lost, or came late: numbers went on from there, and a place of one unit
/// was shown as that of another.
#[tokio::test]
async fn over_udp_a_number_is_of_its_own_datagram() {
    let (setting, mut handed_over) = setting();
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let gateway = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    gateway.connect(server.local_addr().unwrap()).await.unwrap();
    tokio::spawn(listen_datagrams(server, wire::protocol("muster").unwrap(), setting));
    let mut units_of = async |batch| {
        gateway.send(&up(batch).encode_to_vec()).await.unwrap();
        units(&handed_over.recv().await.unwrap())
    };
    assert_eq!(units_of(columns(1, &["cot:1", "cot:2"], &[0, 1])).await, [1, 2]);
    assert_eq!(units_of(columns(2, &["cot:3"], &[0])).await, [3], "also where a number was looked up before");
    assert_eq!(units_of(columns(3, &[], &[0, 1, 2])).await, [0; 0], "refused, not taken for another");
}

fn only(network: &str) -> Arc<Allowed> {
    Arc::new(Allowed::new(&[network.to_owned()], &[]).unwrap())
}

/// The listener is on both families, so that the peer is `::ffff:127.0.0.1`.
#[tokio::test]
async fn a_connection_from_another_network_is_closed_unread_and_counted_and_others_are_served() {
    for (network, is_served) in [("10.0.0.0/8", false), ("::/0", false), ("127.0.0.0/8", true)] {
        let (setting, mut handed_over) = setting();
        let setting = Setting { allowed: only(network), ..setting };
        let listener = TcpListener::bind("[::]:0").await.unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], listener.local_addr().unwrap().port()));
        tokio::spawn(listen_stream(listener, wire::protocol("muster").unwrap(), setting.clone()));
        let mut stream = TcpStream::connect(address).await.unwrap();
        // Refused before or after it is written: either is right.
        let written = stream.write_all(&up(columns(1, &["cot:7"], &[0])).encode_length_delimited_to_vec()).await;
        if is_served {
            written.unwrap();
            assert_eq!(units(&handed_over.recv().await.unwrap()), [7]);
        } else {
            let mut nothing = Vec::new();
            drop(stream.read_to_end(&mut nothing).await);
            assert_eq!((nothing.len(), handed_over.try_recv().is_err()), (0, true), "{network}");
        }
        assert_eq!(setting.counters.turned_away_so_far("muster", "network"), u64::from(!is_served));
    }
}

#[tokio::test]
async fn a_datagram_from_another_network_is_dropped_and_counted() {
    let (setting, mut handed_over) = setting();
    let setting = Setting { allowed: only("127.0.0.2/32"), ..setting };
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(listen_datagrams(socket, wire::protocol("muster").unwrap(), setting.clone()));
    for (from, device) in [("127.0.0.1:0", "cot:1"), ("127.0.0.2:0", "cot:2")] {
        let sender = UdpSocket::bind(from).await.unwrap();
        sender.send_to(&up(columns(1, &[device], &[0])).encode_to_vec(), address).await.unwrap();
    }
    assert_eq!(units(&handed_over.recv().await.unwrap()), [2], "the first was sent earlier");
    assert_eq!(setting.counters.dropped_so_far("muster", "network"), 1);
}

/// A beacon over TCP, and somebody who says over UDP that he is it: he is held until the connection ends.
#[tokio::test]
async fn a_second_session_of_a_device_moves_nothing_while_the_first_is_heard() {
    let (setting, mut handed_over) = setting();
    let taip = wire::protocol("taip").unwrap();
    let (listener, socket) =
        (TcpListener::bind("127.0.0.1:0").await.unwrap(), UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let (over_tcp, over_udp) = (listener.local_addr().unwrap(), socket.local_addr().unwrap());
    tokio::spawn(listen_stream(listener, taip, setting.clone()));
    tokio::spawn(listen_datagrams(socket, taip, setting.clone()));
    let mut first = TcpStream::connect(over_tcp).await.unwrap();
    first.write_all(b">RPV15714+3739438-1220384601512612;ID=1234<").await.unwrap();
    assert_eq!(units(&handed_over.recv().await.unwrap()), [1234]);
    let later = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    later.send_to(b">RPV15715+3839438-1220384601512612;ID=1234<", over_udp).await.unwrap();
    assert_eq!(units(&handed_over.recv().await.unwrap()), [0; 0], "held");
    let seconds = setting.holders.second_sessions(10);
    assert_eq!((seconds.len(), seconds[0].device.as_str(), seconds[0].held), (1, "taip:1234", 1));
    assert_eq!(setting.counters.refused_so_far("taip", "second_session"), 1);
    drop(first);
    let ended = tokio::time::timeout(Duration::from_secs(10), async {
        loop {
            later.send_to(b">RPV15716+3839438-1220384601512612;ID=1234<", over_udp).await.unwrap();
            if units(&handed_over.recv().await.unwrap()) == [1234] {
                break;
            }
        }
    });
    ended.await.expect("it is heard once the connection has ended");
    assert!(setting.holders.second_sessions(10).is_empty());
}
