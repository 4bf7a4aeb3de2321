//! All visible real frames: what must give a fix gives it, with the values of the corpus, or there is a written reason.

use std::collections::BTreeMap;

use model::Timestamp;
use serde_json::Value;
use wire::{Context, Decoded, Decoder, Protocol};

/// Frames (by source, as the corpus numbers them) whose result differs from the corpus on purpose.
const WRITTEN_REASONS: &[(&str, &str)] = &[
    ("Jt808ProtocolDecoderTest#3", "it says \"valid\" at 0 N 0 E, which is no fix: flagged null_place"),
    ("Jt808ProtocolDecoderTest#34", "message 5501 of one maker, and its checksum is wrong"),
    ("Jt808ProtocolDecoderTest#37", "status bit 5 says that the coordinates are encrypted: not usable as a fix"),
    ("Jt808ProtocolDecoderTest#46", "message 0900, transparent data of one maker: no published layout; contact only"),
    ("Jt808ProtocolDecoderTest#55", "message 0900, transparent data of one maker: no published layout; contact only"),
    ("Jt808ProtocolDecoderTest#70", "message 5502 of one maker: its length is not the declared one"),
    ("Jt808ProtocolDecoderTest#71", "message 5501 of one maker: its length is not the declared one"),
    ("Jt808ProtocolDecoderTest#109", "wrong checksum"),
    ("Jt808ProtocolDecoderTest#110", "wrong checksum"),
    ("T55ProtocolDecoderTest#3", "wrong checksum"),
    ("T55ProtocolDecoderTest#7", "QZE, a maker's own line: no published layout"),
    ("T55ProtocolDecoderTest#29", "wrong checksum"),
    ("T55ProtocolDecoderTest#31", "wrong checksum"),
    ("T55ProtocolDecoderTest#32", "wrong checksum"),
    ("T55ProtocolDecoderTest#33", "TRCCR, a maker's own sentence: no published layout"),
    ("T55ProtocolDecoderTest#35", "wrong checksum"),
    ("T55ProtocolDecoderTest#44", "WMCS, a maker's own sentence: no published layout"),
    ("TaipProtocolDecoderTest#23", "a maker's variant of GP, in degrees and minutes with a point: no published layout"),
];

struct Row {
    source: String,
    session: i64,
    bytes: Vec<u8>,
    line: Value,
}

fn rows(file: &str) -> Vec<Row> {
    let path = format!("{}/../../fixtures/frames/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let row = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        let frame = line["wire"].as_str().or(line["frame"].as_str()).unwrap();
        let bytes = if line["kind"] == "binary" || line["assert"] == "frame" || line.get("kind").is_none() {
            hex(frame)
        } else {
            frame.as_bytes().to_vec()
        };
        Row {
            source: line["source"].as_str().unwrap_or("framing").to_owned(),
            session: line["session"].as_i64().unwrap_or(0),
            bytes,
            line,
        }
    };
    text.lines().map(row).collect()
}

fn hex(text: &str) -> Vec<u8> {
    let pair = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(pair).collect()
}

/// The fixes of a frame, or why it was refused.
fn decode(protocol: &Protocol, decoder: &mut dyn Decoder, bytes: &[u8]) -> Result<Decoded, String> {
    let received = Timestamp::from_rfc3339("2026-11-23T12:00:00Z").unwrap();
    let mut result = Err("no frame".to_owned());
    protocol.framing.each_in_datagram(bytes, |frame| {
        let mut decoded = Decoded::default();
        let one = frame.map_err(|error| error.to_string()).and_then(|frame| {
            let done = decoder.decode(frame, &Context { received }, &mut decoded);
            done.map(|()| decoded).map_err(|error| error.to_string())
        });
        if result.is_err() {
            result = one;
        }
    });
    result
}

/// What is wrong with the result of one row, if anything.
fn difference(row: &Row, result: &Result<Decoded, String>) -> Option<String> {
    let assert = row.line["assert"].as_str().unwrap();
    let fixes = result.as_ref().map(|decoded| decoded.reports.as_slice()).unwrap_or_default();
    if (assert == "position" || assert == "positions") && fixes.is_empty() {
        return Some(format!("must give a fix: {:?}", result.as_ref().map(|decoded| decoded.kind)));
    }
    let expected = [&row.line["expect"]].into_iter().filter(|one| one.is_object());
    let derived = row.line["derived"].as_array().into_iter().flatten();
    for (place, want) in derived.enumerate().chain(expected.map(|one| (0, one))) {
        let Some(fix) = fixes.get(place) else {
            return Some(format!("fix {place} is missing: {:?}", result.as_ref().map(|decoded| decoded.kind)));
        };
        let near = |have: f64, key: &str| want[key].as_f64().is_none_or(|want| (have - want).abs() < 1.01e-5);
        if !near(fix.position.lat_deg(), "lat") || !near(fix.position.lon_deg(), "lon") {
            return Some(format!("place {} instead of {want}", fix.position));
        }
        if let Some(time) = want["time"].as_str().and_then(Timestamp::from_rfc3339)
            && fix.time != Some(time)
        {
            return Some(format!("time {:?} instead of {time}", fix.time));
        }
        if want["valid"].as_bool().is_some_and(|valid| valid != fix.valid) {
            return Some(format!("valid {} instead of {want}", fix.valid));
        }
    }
    None
}

#[test]
fn real_frames_give_what_the_corpus_says_or_there_is_a_written_reason() {
    let mut reasons: BTreeMap<&str, &str> = WRITTEN_REASONS.iter().copied().collect();
    let (mut right, mut unexplained, mut used) = (0, Vec::new(), Vec::new());
    for (file, name) in [("jt808.jsonl", "jt808"), ("t55.jsonl", "nmea"), ("taip.jsonl", "taip")] {
        let protocol = wire::protocol(name).unwrap();
        let mut sessions: BTreeMap<i64, Box<dyn Decoder>> = BTreeMap::new();
        for row in rows(file).iter().filter(|row| row.line["assert"] != "frame" && row.line.get("session").is_some()) {
            let session = sessions.entry(row.session).or_insert_with(protocol.decoder);
            let result = decode(protocol, &mut **session, &row.bytes);
            let key = row.source.as_str();
            match (difference(row, &result), reasons.contains_key(key)) {
                (None, false) => right += 1,
                (Some(_), true) => used.push(key.to_owned()),
                (None, true) => unexplained.push(format!("{key}: agrees, its reason is not needed")),
                (Some(difference), false) => unexplained.push(format!("{key}: {difference}")),
            }
        }
    }
    reasons.retain(|key, _| !used.iter().any(|one| one == key));
    println!("{right} frames as the corpus says, {} with a written reason", used.len());
    assert!(unexplained.is_empty(), "{unexplained:#?}");
    assert!(reasons.is_empty(), "no frame needs these reasons: {reasons:?}");
}
