//! Every frame of `fixtures/frames` through framing and decoder, against what is known of it.
//!
//! Where we say something else than the corpus asks, that is written down in [`WRITTEN_REASONS`],
//! with what exactly differs: a difference without a reason fails, and so does a reason without one.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use model::{PositionReport, SignalKind, Timestamp};
use serde_json::Value;
use wire::{Context, Cut, DecodeError, Decoded, Decoder, Protocol};

/// Messages 5501 and 5502 of one maker.
const ONE_BYTE_SERIAL: &str =
    "vendor layout: a serial of one byte, so it has no header of JT/T 808; no layout is published";

/// The front of a frame, what differs, and why that is right.
const WRITTEN_REASONS: &[(&str, &str, &str)] = &[
    ("7e020000320000000000", "[valid]", "0 N 0 E that calls itself a fix is kept as none, flagged `null_place`"),
    ("7e55018c418560090010", "refused: length", ONE_BYTE_SERIAL),
    ("7e55018c378580120300", "refused: checksum", "wrong XOR; a vendor layout besides"),
    ("7e020000724400610185", "[valid]", "status bit 5: the standard calls the coordinates encrypted and not usable"),
    ("7e55019c3b8571110003", "refused: length", ONE_BYTE_SERIAL),
    (
        "7e0900001f4f07788ef8",
        "no place, kind other, contacts 1, faults 0",
        "vendor layout: transparent data, 0x0900, has a place of the vendor's own",
    ),
    (
        "7e0900005a4e5de66fba",
        "no place, kind other, contacts 1, faults 0",
        "vendor layout: transparent data, 0x0900, has a place of the vendor's own",
    ),
    ("7e550284367401903111", "refused: length", ONE_BYTE_SERIAL),
    ("7e550100287001608180", "refused: length", ONE_BYTE_SERIAL),
    ("7e020000834eb6fb4af2", "refused: checksum", "wrong XOR, escaped or not: Traccar checks none"),
    ("7e020000760454600047", "refused: checksum", "wrong XOR: Traccar checks none"),
    ("$PUBX,00,130209.00,3", "refused: checksum", "wrong XOR, the bytes give 6B: Traccar checks none"),
    ("$GPGGA,000000.0,4337", "refused: checksum", "wrong XOR, the bytes give 60"),
    ("$GPRMA,V,0000.00,S,0", "refused: truncated", "cut inside the checksum, and LORAN-C without a fix besides"),
    ("$TRCCR,2014010100112", "refused: checksum", "wrong XOR, the bytes give 2E; without a fix besides"),
    ("$GPGGA,000000.000,60", "refused: checksum", "wrong XOR, the bytes give 5E"),
    (
        ">RLN19500000+3378852",
        "a place",
        "Traccar drops LN; its layout is published by Trimble and the checksum is right",
    ),
];

/// All of these are of before this instant.
const RECEIVED: &str = "2026-11-23T12:00:00Z";
const DEGREES_MAX: f64 = 1e-5;

#[derive(Debug, Clone)]
struct Line {
    file: &'static str,
    protocol: &'static Protocol,
    json: Value,
}

impl Line {
    fn text(&self, key: &str) -> &str {
        self.json[key].as_str().unwrap_or_default()
    }

    fn bytes(&self) -> Vec<u8> {
        let sent = if self.json["wire"].is_string() { self.text("wire") } else { self.text("frame") };
        if self.text("kind") == "binary" { hex(sent) } else { sent.chars().map(|c| u8::try_from(c).unwrap()).collect() }
    }
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn lines() -> Vec<Line> {
    let files = [("jt808", "jt808"), ("t55", "nmea"), ("taip", "taip")];
    let of_file = |(file, protocol): (&'static str, &str)| {
        let path = format!("{}/../../fixtures/frames/{file}.jsonl", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let protocol = wire::protocol(protocol).unwrap();
        text.lines().map(|line| Line { file, protocol, json: serde_json::from_str(line).unwrap() }).collect::<Vec<_>>()
    };
    files.into_iter().flat_map(of_file).collect()
}

/// What came of one line.
#[derive(Debug, Default)]
struct Outcome {
    frames: usize,
    kind: &'static str,
    refused: Option<DecodeError>,
    faults: usize,
    reports: Vec<PositionReport>,
    contacts: usize,
    has_identity: bool,
}

fn outcome(line: &Line, decoder: &mut dyn Decoder) -> Outcome {
    let context = Context { received: Timestamp::from_rfc3339(RECEIVED).unwrap() };
    let mut outcome = Outcome::default();
    let bytes = line.bytes();
    line.protocol.framing.each_in_datagram(&bytes, |frame| {
        let mut decoded = Decoded::default();
        outcome.frames += 1;
        match decoder.decode(frame.unwrap_or_else(|error| panic!("{line:?}: {error}")), &context, &mut decoded) {
            Err(error) => outcome.refused = Some(error),
            Ok(()) => {
                outcome.kind = decoded.kind;
                outcome.has_identity |= decoded.device.is_some();
                outcome.faults += decoded.faults.len();
                outcome.contacts += decoded.signals.iter().filter(|signal| signal.kind == SignalKind::Contact).count();
                outcome.reports.extend(decoded.reports);
            }
        }
    });
    assert_eq!(outcome.frames, 1, "{line:?}");
    outcome
}

/// What one line asks for and does not get; empty when all is as asked.
fn difference(line: &Line, outcome: &Outcome) -> String {
    if let Some(error) = &outcome.refused {
        return format!("refused: {}", error.reason());
    }
    assert!(!outcome.kind.is_empty(), "a frame that is taken has a kind: {line:?}");
    let mut difference = String::new();
    match line.text("assert") {
        "position" | "positions" if outcome.reports.is_empty() => {
            let faults = outcome.faults;
            write!(difference, "no place, kind {}, contacts {}, faults {faults}", outcome.kind, outcome.contacts)
                .unwrap();
        }
        "null" if outcome.has_identity && !outcome.reports.is_empty() => difference.push_str("a place"),
        _ => {}
    }
    if let Some(derived) = line.json["derived"].as_array() {
        if derived.len() != outcome.reports.len() {
            write!(difference, "{} places of {}", outcome.reports.len(), derived.len()).unwrap();
        }
        for (wanted, report) in derived.iter().zip(&outcome.reports) {
            compare(wanted, report, &mut difference);
        }
    }
    if line.json["expect"].is_object() {
        outcome.reports.iter().for_each(|report| compare(&line.json["expect"], report, &mut difference));
    }
    difference
}

/// Adds to `difference` what `wanted` says and `report` does not.
fn compare(wanted: &Value, report: &PositionReport, difference: &mut String) {
    let mut differs = |field: &str, is: bool| {
        if is {
            write!(difference, "[{field}]").unwrap();
        }
    };
    let degrees_differ =
        |key: &str, found: f64| wanted[key].as_f64().is_some_and(|value| (value - found).abs() > DEGREES_MAX);
    differs("lat", degrees_differ("lat", report.position.lat_deg()));
    differs("lon", degrees_differ("lon", report.position.lon_deg()));
    differs("valid", wanted["valid"].as_bool().is_some_and(|valid| valid != report.valid));
    let time = wanted["time"].as_str().map(|text| Timestamp::from_rfc3339(text).unwrap());
    differs("time", time.is_some() && time != report.time);
}

#[test]
fn every_frame_gives_what_is_known_of_it_or_has_a_written_reason() {
    let mut sessions: BTreeMap<(&str, u64), Box<dyn Decoder>> = BTreeMap::new();
    let mut counts: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
    let mut used = vec![0; WRITTEN_REASONS.len()];
    let mut unexplained = String::new();
    for line in lines().iter().filter(|line| line.text("assert") != "frame") {
        let session = sessions.entry((line.file, line.json["session"].as_u64().unwrap()));
        let in_session = outcome(line, session.or_insert_with(line.protocol.decoder).as_mut());
        let found = difference(line, &in_session);
        // A decoder without a past differs in the identity only, never in whether a frame is taken.
        let alone = outcome(line, (line.protocol.decoder)().as_mut());
        assert_eq!((alone.kind, &alone.refused), (in_session.kind, &in_session.refused), "{line:?}");
        let reason = WRITTEN_REASONS
            .iter()
            .position(|(front, difference, _)| *difference == found && line.text("frame").starts_with(front));
        let count = counts.entry(line.file).or_default();
        count[0] += 1;
        match reason {
            _ if found.is_empty() => count[1] += 1,
            Some(reason) => {
                count[2] += 1;
                used[reason] += 1;
            }
            None => writeln!(unexplained, "{} {}: {found}", line.text("source"), line.text("frame")).unwrap(),
        }
    }
    for (file, [all, as_asked, reasons]) in counts {
        println!("{file}: {all} lines, {as_asked} as asked, {reasons} with a written reason");
    }
    assert!(unexplained.is_empty(), "differences without a written reason:\n{unexplained}");
    let unused = WRITTEN_REASONS.iter().zip(&used).filter(|(_, used)| **used != 1).collect::<Vec<_>>();
    assert!(unused.is_empty(), "reasons that are not used exactly once: {unused:#?}");
}

#[test]
fn framing_cases_cut_the_frame_that_is_asked() {
    let mut checked = 0;
    for line in lines().iter().filter(|line| line.text("assert") == "frame") {
        let (bytes, mut at) = (line.bytes(), 0);
        let frame = loop {
            match line.protocol.framing.cut(&bytes[at..]) {
                Cut::Skip { bytes, .. } => at += bytes,
                Cut::Frame { frame, .. } => break Some(bytes[at..][frame].to_vec()),
                Cut::More => break None,
                Cut::Lost(error) => panic!("{line:?}: {error}"),
            }
        };
        // The corpus shows a frame with its flags and without its escapes; our decoder undoes them.
        let shown = frame.map(|frame| [&[0x7E], &unescaped(&frame)[..], &[0x7E]].concat());
        assert_eq!(shown, line.json["out"].as_str().map(hex), "{line:?}");
        checked += 1;
    }
    assert_eq!(checked, 2, "the framing cases of JT/T 808");
}

fn unescaped(frame: &[u8]) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), frame.iter());
    while let Some(byte) = rest.next() {
        bytes.push(match (byte, rest.as_slice()) {
            (0x7D, [second @ (1 | 2), ..]) => {
                rest.next();
                0x7C + second
            }
            _ => *byte,
        });
    }
    bytes
}
