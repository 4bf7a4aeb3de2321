//! Hostile bytes: no decoder panics, gives more than its frame can hold, or loses the frames around the damage.

use model::Timestamp;
use proptest::prelude::*;
use wire::{Context, Cut, Decoded, PROTOCOLS, Protocol};

/// Runs a stream in pieces through framing and decoder; gives the number of frames that decoded.
fn run(protocol: &Protocol, stream: &[u8], piece: usize) -> usize {
    let context = Context { received: Timestamp::from_rfc3339("2026-11-23T12:00:00Z").unwrap() };
    let mut decoder = (protocol.decoder)();
    let (mut buffer, mut good, mut decoded) = (Vec::new(), 0, Decoded::default());
    for some in stream.chunks(piece.max(1)) {
        buffer.extend_from_slice(some);
        loop {
            match protocol.framing.cut(&buffer) {
                Cut::More => break,
                Cut::Lost(_) => return good,
                Cut::Skip { bytes, .. } => drop(buffer.drain(..bytes)),
                Cut::Frame { frame, consumed } => {
                    decoded.clear();
                    let length = frame.len();
                    if decoder.decode(&buffer[frame], &context, &mut decoded).is_ok() {
                        good += 1;
                    }
                    let said = decoded.reports.len() + decoded.signals.len() + decoded.faults.len();
                    assert!(said <= length + 4, "{said} things out of {length} bytes of {}", protocol.name);
                    buffer.drain(..consumed);
                }
            }
        }
        assert!(buffer.len() <= protocol.framing.bytes_max + piece, "a buffer is bounded");
    }
    good
}

fn real_frames(name: &str) -> Vec<Vec<u8>> {
    let file = match name {
        "jt808" => "jt808.jsonl",
        "nmea" => "t55.jsonl",
        "taip" => "taip.jsonl",
        _ => return Vec::new(),
    };
    let path = format!("{}/../../fixtures/frames/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let frame = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        let text = line["wire"].as_str().or(line["frame"].as_str())?.to_owned();
        let pair = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
        if name == "jt808" {
            return Some((0..text.len()).step_by(2).map(pair).collect());
        }
        Some(format!("{}{}", text.trim(), if name == "nmea" { "\r\n" } else { "" }).into_bytes())
    };
    text.lines().filter_map(frame).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..6_000), piece in 1usize..700) {
        for protocol in PROTOCOLS {
            run(protocol, &bytes, piece);
        }
    }

    #[test]
    fn damaged_real_frames_never_panic(
        picks in prop::collection::vec((any::<prop::sample::Index>(), any::<u16>(), any::<u8>()), 1..30), piece in 1usize..700,
    ) {
        for protocol in PROTOCOLS {
            let frames = real_frames(protocol.name);
            if frames.is_empty() {
                continue;
            }
            let mut stream = Vec::new();
            for (pick, at, flip) in &picks {
                let mut frame = pick.get(&frames).clone();
                let at = usize::from(*at) % frame.len();
                match flip % 3 {
                    0 => frame[at] ^= flip,
                    1 => frame.truncate(at),
                    _ => {}
                }
                stream.extend(frame);
            }
            run(protocol, &stream, piece);
        }
    }
}

#[test]
fn garbage_between_frames_costs_no_frame() {
    let good = [
        ("jt808", hex("7e00020000040021679287002b7d027e"), vec![1, 2, 3, 0xFF]),
        ("nmea", b"$PGID,359853000144328*0F\r\n".to_vec(), b"noise\xff\r\n".to_vec()),
        ("taip", b">RPV15714+3739438-1220384601512612;ID=1234;*7F<".to_vec(), b"noise\xff".to_vec()),
    ];
    for (name, frame, garbage) in good {
        let stream = [&garbage[..], &frame, &garbage, &frame, &garbage, &frame].concat();
        for piece in [1, 3, 50, 1_000] {
            assert_eq!(run(wire::protocol(name).unwrap(), &stream, piece), 3, "{name} in pieces of {piece}");
        }
    }
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}
