//! Whatever comes over the wire: no panic, bounded output, and no good frame lost to its neighbours.

use std::cell::Cell;

use model::Timestamp;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use prost::Message as _;
use wire::proto::{self, gateway_up};
use wire::{Context, Cut, Decoded, Decoder, PROTOCOLS, Protocol};

/// Hostile bytes for each protocol in this tier.
const BYTES_MIN: usize = 10_000_000;
const CASES: u32 = 12_000;

fn context() -> Context {
    Context { received: Timestamp::from_rfc3339("2026-11-23T12:00:00Z").unwrap() }
}

/// Frames of real devices, as sent, with their line ends.
fn real_frames(protocol: &Protocol) -> Vec<Vec<u8>> {
    let file = match protocol.name {
        "muster" => return muster_frames(),
        "nmea" => "t55",
        same => same,
    };
    let path = format!("{}/../../fixtures/frames/{file}.jsonl", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let frame = |line: &str| {
        let json: serde_json::Value = serde_json::from_str(line).unwrap();
        let sent = json["wire"].as_str().or(json["frame"].as_str()).unwrap();
        let hex = |at: usize| u8::from_str_radix(&sent[at..at + 2], 16).unwrap();
        match json["kind"].as_str() {
            Some("binary") => (0..sent.len()).step_by(2).map(hex).collect(),
            _ => [sent.as_bytes(), b"\r\n"].concat(),
        }
    };
    text.lines().filter(|line| !line.contains(r#""assert": "frame""#)).map(frame).collect()
}

fn muster_frames() -> Vec<Vec<u8>> {
    let report = |device: &str| proto::Report { device: device.into(), lat_e7: 228_000_000, ..Default::default() };
    let rows = proto::ReportBatch { batch_sequence: 1, reports: ["cot:a", "b"].map(report).to_vec() };
    let columns = proto::ColumnarBatch {
        batch_sequence: 2,
        new_devices: vec!["cot:a".into(), "b".into()],
        device_index: vec![0, 1, 1],
        time_ms_delta: vec![1_790_000_000_000, 5, 5],
        lat_e7_delta: vec![228_000_000, 1, -1],
        lon_e7_delta: vec![1_083_000_000, 1, -1],
        flags: vec![0, 2, 4],
        ..Default::default()
    };
    let up =
        |payload| proto::GatewayUp { gateway: "g".into(), payload: Some(payload) }.encode_length_delimited_to_vec();
    vec![up(gateway_up::Payload::Reports(rows)), up(gateway_up::Payload::Columns(columns))]
}

/// How a stream of frames is spoilt.
#[derive(Debug, Clone)]
enum Damage {
    Flip { at: prop::sample::Index, bit: u8 },
    Cut { from: prop::sample::Index, bytes: usize },
    Insert { at: prop::sample::Index, bytes: Vec<u8> },
}

fn any_damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        (any::<prop::sample::Index>(), 0u8..8).prop_map(|(at, bit)| Damage::Flip { at, bit }),
        (any::<prop::sample::Index>(), 1usize..30).prop_map(|(from, bytes)| Damage::Cut { from, bytes }),
        (any::<prop::sample::Index>(), prop::collection::vec(any::<u8>(), 1..20))
            .prop_map(|(at, bytes)| Damage::Insert { at, bytes }),
    ]
}

fn spoilt(mut stream: Vec<u8>, damages: &[Damage]) -> Vec<u8> {
    for damage in damages {
        let length = stream.len().max(1);
        match damage {
            _ if stream.is_empty() => {}
            Damage::Flip { at, bit } => stream[at.index(length)] ^= 1 << bit,
            Damage::Cut { from, bytes } => {
                let from = from.index(length);
                stream.drain(from..(from + bytes).min(length));
            }
            Damage::Insert { at, bytes } => {
                drop(stream.splice(at.index(length)..at.index(length), bytes.iter().copied()));
            }
        }
    }
    stream
}

/// Arbitrary bytes; arbitrary printable ones; real frames joined and spoilt.
fn any_stream(frames: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let real = prop::collection::vec(prop::sample::select(frames), 1..16);
    let damaged = (real, prop::collection::vec(any_damage(), 0..12));
    prop_oneof![
        1 => prop::collection::vec(any::<u8>(), 1_000..4_000),
        1 => prop::collection::vec(prop_oneof![b' '..=b'~', Just(b'\n')], 1_000..4_000),
        4 => damaged.prop_map(|(frames, damages)| spoilt(frames.concat(), &damages)),
    ]
}

/// Sends `stream` in pieces of these sizes through framing and decoder, as a listener does, and
/// calls `found` with each frame and what it said.
fn run(protocol: &Protocol, stream: &[u8], pieces: &[usize], mut found: impl FnMut(&[u8], &Decoded)) {
    let (mut decoder, mut decoded) = ((protocol.decoder)(), Decoded::default());
    let (mut buffer, mut rest, mut pieces) = (Vec::new(), stream, pieces.iter().cycle());
    while !rest.is_empty() {
        let (piece, after) = rest.split_at((*pieces.next().unwrap()).min(rest.len()));
        buffer.extend_from_slice(piece);
        rest = after;
        loop {
            let taken = match protocol.framing.cut(&buffer) {
                Cut::More => break,
                Cut::Lost(_) => return,
                Cut::Skip { bytes, .. } => bytes,
                Cut::Frame { frame, consumed } => {
                    decoded.clear();
                    if decoder.decode(&buffer[frame.clone()], &context(), &mut decoded).is_ok() {
                        found(&buffer[frame], &decoded);
                    }
                    consumed
                }
            };
            assert!((1..=buffer.len()).contains(&taken), "framing goes forward and never past the end");
            buffer.drain(..taken);
        }
        assert!(buffer.len() <= protocol.framing.bytes_max + piece.len(), "one frame and one read");
    }
}

/// The fewest bytes in which a report can be said.
fn report_bytes_min(protocol: &Protocol) -> usize {
    match protocol.name {
        // Three columns of one byte.
        "muster" => 3,
        // 28 bytes of an item, less what escapes add.
        "jt808" => 28,
        _ => 18,
    }
}

#[test]
fn no_bytes_panic_or_make_more_than_they_say() {
    for protocol in PROTOCOLS {
        let bytes_seen = Cell::new(0);
        let reports_seen = Cell::new(0);
        let mut runner = TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
        let input = (any_stream(real_frames(protocol)), prop::collection::vec(1usize..3_000, 1..6));
        let outcome = runner.run(&input, |(stream, pieces)| {
            bytes_seen.set(bytes_seen.get() + stream.len());
            let (mut frames, mut bytes, mut reports) = (0, 0, 0);
            let mut check = |frame: &[u8], decoded: &Decoded| {
                frames += 1;
                bytes += frame.len();
                reports += decoded.reports.len();
                // A sub-packaged message says in its last packet what all of them held.
                assert!(reports <= bytes / report_bytes_min(protocol) + frames);
                assert!(decoded.faults.len() + decoded.signals.len() <= bytes + 2);
                assert!(decoded.replies.len() <= 1);
                assert_eq!(decoded.reports.len(), decoded.report_places.len());
                for report in &decoded.reports {
                    assert!(report.speed_mps.is_none_or(|speed| (0.0..=2_000.0).contains(&speed)));
                    assert!(report.course_deg.is_none_or(|course| (0.0..360.0).contains(&course)));
                }
            };
            run(protocol, &stream, &pieces, &mut check);
            // As one datagram too; and whole, without framing.
            let mut decoder: Box<dyn Decoder> = (protocol.decoder)();
            let mut decoded = Decoded::default();
            let mut decode = |frame: &[u8]| {
                decoded.clear();
                drop(decoder.decode(frame, &context(), &mut decoded));
            };
            protocol.framing.each_in_datagram(&stream, |frame| frame.into_iter().for_each(&mut decode));
            decode(&stream);
            reports_seen.set(reports_seen.get() + reports);
            Ok(())
        });
        outcome.unwrap_or_else(|error| panic!("{}: {error}", protocol.name));
        println!("{}: {} bytes, {} reports", protocol.name, bytes_seen.get(), reports_seen.get());
        assert!(bytes_seen.get() >= BYTES_MIN, "{}: only {} bytes", protocol.name, bytes_seen.get());
        assert!(reports_seen.get() > 100, "{}: the frames never got as far as a report", protocol.name);
    }
}

#[test]
fn real_frames_come_out_of_the_noise_between_them() {
    for protocol in PROTOCOLS.iter().filter(|protocol| protocol.name != "muster") {
        let places_of = |stream: &[u8], pieces: &[usize]| {
            let mut places = Vec::new();
            run(protocol, stream, pieces, |_, decoded| {
                places.extend(decoded.reports.iter().map(|report| (report.position, report.speed_mps)));
            });
            places
        };
        // A closing flag ends the frame before it, a line end the noise before it.
        let end: &[u8] = if protocol.name == "nmea" { b"\n" } else { b"" };
        let frames = real_frames(protocol).into_iter().filter(|frame| !places_of(frame, &[4_096]).is_empty());
        let frames = frames.collect::<Vec<_>>();
        assert!(frames.len() >= 8, "{}: {} frames", protocol.name, frames.len());
        let noisy =
            prop::collection::vec((prop::sample::select(frames), prop::collection::vec(any::<u8>(), 0..60)), 1..12);
        let mut runner = TestRunner::new(Config { cases: 1_000, failure_persistence: None, ..Config::default() });
        let outcome = runner.run(&(noisy, prop::collection::vec(1usize..200, 1..6)), |(parts, pieces)| {
            let stream = parts.iter().flat_map(|(frame, noise)| [noise, end, frame].concat()).collect::<Vec<_>>();
            let wanted = parts.iter().flat_map(|(frame, _)| places_of(frame, &[4_096])).collect::<Vec<_>>();
            prop_assert_eq!(places_of(&stream, &pieces), wanted);
            Ok(())
        });
        outcome.unwrap_or_else(|error| panic!("{}: {error}", protocol.name));
    }
}
