//! The simulator against small servers on loopback, written here: what it tallies is what they saw.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use model::{DeviceId, Timestamp};
use prost::Message as _;
use simulate::{Forces, Plan, Protocol, SimulateError, Tally, run};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use wire::proto::{Ack, GatewayDown, GatewayUp, Refused, gateway_down, gateway_up};
use wire::{Context, Cut, Decoded, Reply};

/// What a server saw: frames by kind, places by device.
#[derive(Debug, Default)]
struct Seen {
    kinds: BTreeMap<String, usize>,
    places: BTreeMap<String, usize>,
    emergencies: usize,
}

type Shared = Arc<Mutex<Seen>>;

fn start() -> Timestamp {
    Timestamp::from_rfc3339("2026-11-23T06:00:00Z").unwrap()
}

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

/// Serves a protocol with `wire`'s framing and decoder, and sends its replies to known devices.
async fn serve_by_wire(listener: TcpListener, protocol: &'static str, seen: Shared) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve_one(stream, protocol, Arc::clone(&seen)));
    }
}

async fn serve_one(mut stream: TcpStream, protocol: &'static str, seen: Shared) {
    let protocol = wire::protocol(protocol).unwrap();
    let (mut decoder, mut decoded, mut buffer) = ((protocol.decoder)(), Decoded::default(), BytesMut::new());
    while stream.read_buf(&mut buffer).await.is_ok_and(|bytes| bytes > 0) {
        loop {
            let consumed = match protocol.framing.cut(&buffer) {
                Cut::More => break,
                Cut::Skip { bytes, error } => {
                    assert_eq!(error, None);
                    bytes
                }
                Cut::Frame { frame, consumed } => {
                    decoded.clear();
                    let context = Context { received: start() };
                    decoder.decode(&buffer[frame], &context, &mut decoded).unwrap();
                    note(&decoded, decoder.devices(), &seen);
                    consumed
                }
                Cut::Lost(error) => panic!("{error}"),
            };
            buffer.advance(consumed);
            for reply in decoded.replies.drain(..) {
                let bytes = match reply {
                    Reply::Always(bytes) | Reply::ByCode { right: bytes, .. } => bytes,
                    Reply::Registration(registration) => registration.granted(None),
                    Reply::BatchAck { batch_sequence } => wire::muster::ack(batch_sequence, Vec::new()),
                };
                stream.write_all(&bytes).await.unwrap();
            }
        }
    }
}

fn note(decoded: &Decoded, devices: &[Option<DeviceId>], seen: &Shared) {
    let mut seen = seen.lock().unwrap();
    assert!(decoded.faults.is_empty(), "{:?}", decoded.faults);
    *seen.kinds.entry(decoded.kind.to_owned()).or_default() += 1;
    for (at, report) in decoded.reports.iter().enumerate() {
        assert!(report.valid);
        let (lat_deg, lon_deg) = (report.position.lat_deg(), report.position.lon_deg());
        assert!((22.5..23.1).contains(&lat_deg) && (108.0..108.7).contains(&lon_deg), "{report:?}");
        let device = decoded.device_of(at, devices).expect("a place has a device");
        *seen.places.entry(device.to_string()).or_default() += 1;
        seen.emergencies += usize::from(report.flags.contains(model::Flags::EMERGENCY));
    }
}

fn plan(target: &str, units: usize) -> Plan {
    Plan {
        units,
        rate_hz: Some(10.0),
        duration: Some(Duration::from_millis(1_500)),
        ..Plan::new(vec![target.parse().unwrap()], start())
    }
}

/// Names of the devices that speak `protocol`, from the roster.
fn devices(units: usize, protocol: Protocol) -> Vec<String> {
    let forces = Forces::new(42, units);
    let all = (0..units).flat_map(|unit| forces.devices_of(unit));
    all.filter(|device| device.protocol == protocol).map(|device| device.id.to_string()).collect()
}

fn sum(places: &BTreeMap<String, usize>) -> u64 {
    places.values().sum::<usize>() as u64
}

#[tokio::test]
async fn vehicle_terminals_log_on_report_and_are_answered() {
    let (listener, address) = listen().await;
    let seen = Shared::default();
    tokio::spawn(serve_by_wire(listener, "jt808", Arc::clone(&seen)));
    let tally = run(&plan(&format!("jt808=tcp://{address}"), 1_000), pending(), |_| ()).await.unwrap();
    let devices = devices(1_000, Protocol::Jt808);
    let one = &tally.protocols[&Protocol::Jt808];
    let seen = seen.lock().unwrap();
    assert_eq!(seen.places.keys().cloned().collect::<Vec<_>>(), sorted(devices.clone()), "every vehicle is heard");
    assert_eq!((one.reports, one.answered, one.unanswered), (sum(&seen.places), one.reports, 0), "{one:?}");
    let count = devices.len() as u64;
    assert_eq!((one.senders, one.connections, one.lost, one.missed), (count, count, 0, 0), "{one:?}");
    assert_eq!((seen.kinds["register"], seen.kinds["authenticate"]), (devices.len(), devices.len()));
    assert!(one.reports >= count * 13, "{one:?}");
    let left_out: usize = tally.left_out.iter().map(|one| one.units).sum();
    assert_eq!(left_out, 1_000 - devices.len(), "all others are left out, and said so");
}

#[tokio::test]
async fn gateways_report_for_everyone_behind_them_exactly_as_planned() {
    let (listener, address) = listen().await;
    let seen = Shared::default();
    tokio::spawn(serve_by_wire(listener, "muster", Arc::clone(&seen)));
    let mut readings = 0;
    let plan = Plan { rate_hz: Some(2.0), ..plan(&format!("muster=tcp://{address}"), 1_000) };
    let tally = run(&plan, pending(), |so_far| readings += usize::from(so_far.reports() < u64::MAX)).await.unwrap();
    let one = &tally.protocols[&Protocol::Muster];
    let seen = seen.lock().unwrap();
    assert_eq!(seen.places.keys().cloned().collect::<Vec<_>>(), sorted(devices(1_000, Protocol::Muster)));
    assert_eq!((one.reports, one.answered, one.unanswered), (sum(&seen.places), one.reports, 0), "{one:?}");
    assert_eq!((one.senders, one.connections, one.devices), (8, 8, seen.places.len() as u64));
    // Three reports each in 1.5 s, less those that fall into the ramp of the first 20 ms.
    let whole = 3 * one.devices;
    assert!((whole - one.devices / 20..=whole).contains(&one.reports), "{} of {whole}", one.reports);
    assert!(readings >= 2);
}

#[tokio::test]
async fn batches_refused_by_a_server_of_our_own_are_tallied_by_reason() {
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = BytesMut::new();
                while stream.read_buf(&mut buffer).await.is_ok_and(|bytes| bytes > 0) {
                    while let Ok(up) = GatewayUp::decode_length_delimited(&mut buffer.clone()) {
                        let length = prost::decode_length_delimiter(&mut buffer).unwrap();
                        buffer.advance(length);
                        let Some(gateway_up::Payload::Reports(batch)) = up.payload else { continue };
                        // Refuses the first of each batch, and never answers every fourth batch.
                        if batch.batch_sequence.is_multiple_of(4) {
                            continue;
                        }
                        let refused = vec![Refused { index: 0, reason: "position".to_owned(), detail: String::new() }];
                        let ack = Ack { batch_sequence: batch.batch_sequence, refused };
                        let down = GatewayDown { payload: Some(gateway_down::Payload::Ack(ack)) };
                        stream.write_all(&down.encode_length_delimited_to_vec()).await.unwrap();
                    }
                }
            });
        }
    });
    let plan = Plan { duration: Some(Duration::from_millis(800)), ..plan(&format!("muster=tcp://{address}"), 300) };
    let tally = run(&plan, pending(), |_| ()).await.unwrap();
    let one = &tally.protocols[&Protocol::Muster];
    assert_eq!(one.reports, one.answered + one.unanswered);
    assert!(one.unanswered > 0 && one.answered > one.unanswered, "{one:?}");
    let answered_batches = one.frames - one.frames / 4;
    assert!(one.refused["position"].abs_diff(answered_batches) <= 8, "{one:?}");
    assert!(tally.elapsed >= Duration::from_millis(5_800), "it waited for the answers: {:?}", tally.elapsed);
}

#[tokio::test]
async fn a_server_that_hangs_up_costs_reports_that_are_counted() {
    let (listener, address) = listen().await;
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    let tally = run(&plan(&format!("nmea=tcp://{address}"), 500), pending(), |_| ()).await.unwrap();
    let one = &tally.protocols[&Protocol::Nmea];
    assert!(one.lost >= one.senders && one.connections > one.senders, "{one:?}");
    let due = one.senders * 15;
    assert!((due - one.senders..=due).contains(&(one.reports + one.missed)), "{one:?}");
}

#[tokio::test]
async fn nobody_at_home_is_counted_and_no_error() {
    let (listener, address) = listen().await;
    drop(listener);
    let tally = run(&plan(&format!("taip=tcp://{address}"), 500), pending(), |_| ()).await.unwrap();
    let one = &tally.protocols[&Protocol::Taip];
    assert!(one.connect_errors >= 2 * one.senders && one.connections == 0 && one.reports == 0, "{one:?}");
    assert!(one.missed >= one.senders * 14, "{one:?}");
}

#[tokio::test]
async fn a_run_without_an_end_can_be_stopped() {
    let (listener, address) = listen().await;
    let seen = Shared::default();
    tokio::spawn(serve_by_wire(listener, "muster", Arc::clone(&seen)));
    let plan = Plan { duration: None, ..plan(&format!("muster=tcp://{address}"), 200) };
    let (told, stop) = tokio::sync::oneshot::channel::<()>();
    let mut told = Some(told);
    let stop = async { stop.await.unwrap_or_default() };
    let stop_after_first_reports = |so_far: &Tally| {
        if so_far.reports() > 0
            && let Some(told) = told.take()
        {
            told.send(()).unwrap();
        }
    };
    let tally = run(&plan, stop, stop_after_first_reports).await.unwrap();
    let one = &tally.protocols[&Protocol::Muster];
    assert_eq!((one.reports, one.answered), (sum(&seen.lock().unwrap().places), one.reports));
    assert_eq!((one.connected, one.missed), (0, 0), "{one:?}");
}

#[tokio::test]
async fn datagrams_of_all_formats_arrive_as_sent() {
    for protocol in [Protocol::Nmea, Protocol::Taip, Protocol::Muster] {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let ear = tokio::spawn(async move {
            let (mut datagrams, mut bytes) = (Vec::new(), [0; 2_048]);
            loop {
                let count = socket.recv(&mut bytes).await.unwrap();
                match &bytes[..count] {
                    b"end" => return datagrams,
                    datagram => datagrams.push(datagram.to_vec()),
                }
            }
        });
        let plan = plan(&format!("{protocol}=udp://{address}"), 300);
        let tally = run(&plan, pending(), |_| ()).await.unwrap();
        // The last datagram into the socket: everything before it has been read when it is.
        UdpSocket::bind("127.0.0.1:0").await.unwrap().send_to(b"end", address).await.unwrap();
        let (one, datagrams) = (&tally.protocols[&protocol], ear.await.unwrap());
        let reports: usize = datagrams.iter().map(|datagram| reports_in(protocol, datagram)).sum();
        assert_eq!((one.reports, one.answered, one.unanswered), (reports as u64, 0, 0), "{protocol}: {one:?}");
        assert!(one.reports >= one.devices * 14 && one.send_errors == 0, "{protocol}: {one:?}");
    }
}

/// Reports in a datagram, by the outside of its format only.
fn reports_in(protocol: Protocol, datagram: &[u8]) -> usize {
    let text = || std::str::from_utf8(datagram).unwrap();
    match protocol {
        Protocol::Nmea => {
            let lines: Vec<&str> = text().lines().map(|line| &line[..6]).collect();
            assert_eq!(lines, ["$PGID,", "$GPRMC", "$GPGGA"]);
            1
        }
        Protocol::Taip => {
            assert!(text().starts_with(">RPV") && text().ends_with('<'));
            1
        }
        _ => match GatewayUp::decode(datagram).unwrap().payload {
            Some(gateway_up::Payload::Reports(batch)) => batch.reports.len(),
            _ => 0,
        },
    }
}

#[tokio::test]
async fn too_few_units_for_a_target_are_an_error() {
    let error = run(&plan("jt808=tcp://127.0.0.1:9", 1), pending(), |_| ()).await.unwrap_err();
    assert!(matches!(error, SimulateError::NobodySpeaks { units: 1 }), "{error}");
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}
