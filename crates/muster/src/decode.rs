use std::io::{BufRead, Write};

use anyhow::{Context as _, bail};
use clap::Args;
use model::{DeviceId, PositionReport, Timestamp};
use serde_json::{Value, json};
use wire::{Context, Decoded, Decoder, Protocol};

/// Decode frames given in hex, one a line, to one JSON object a line
#[derive(Args)]
#[command(after_help = "Each line gives {\"positions\":[...],\"kind\":\"...\"} or {\"error\":\"...\"}, in order.\n\n\
    Example:  echo 7E00020000040021679287002B7D027E | muster decode --protocol jt808 --hex -")]
pub(crate) struct Decode {
    /// muster, jt808, nmea or taip
    #[arg(long)]
    protocol: String,
    /// Where the hex lines are: a file, or - for standard input
    #[arg(long, value_name = "FILE")]
    hex: String,
    /// One session for all lines, as on one connection; without it each line has its own
    #[arg(long)]
    session: bool,
    /// When the frames were received, RFC 3339; dates what they do not date [default: now]
    #[arg(long, value_name = "TIME")]
    received: Option<String>,
}

impl Decode {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let known = || wire::PROTOCOLS.iter().map(|protocol| protocol.name).collect::<Vec<_>>().join(", ");
        let Some(protocol) = wire::protocol(&self.protocol) else {
            bail!("{:?} is no protocol; known are: {}", self.protocol, known());
        };
        let received = match &self.received {
            Some(text) => {
                Timestamp::from_rfc3339(text).with_context(|| format!("--received {text:?} is no RFC 3339 instant"))?
            }
            None => model::Clock::now(&server::SystemClock::default()),
        };
        let input: Box<dyn BufRead> = match self.hex.as_str() {
            "-" => Box::new(std::io::stdin().lock()),
            path => Box::new(std::io::BufReader::new(
                std::fs::File::open(path).with_context(|| format!("cannot open {path}"))?,
            )),
        };
        let mut output = std::io::BufWriter::new(std::io::stdout().lock());
        let mut decoder = (protocol.decoder)();
        for line in input.lines() {
            let line = line.context("the input is no text")?;
            if !self.session {
                decoder = (protocol.decoder)();
            }
            let answer = match bytes_of(line.trim()) {
                Ok(bytes) => decode(protocol, &mut *decoder, &bytes, &Context { received }),
                Err(problem) => json!({ "error": problem }),
            };
            writeln!(output, "{answer}")?;
        }
        Ok(output.flush()?)
    }
}

fn bytes_of(hex: &str) -> Result<Vec<u8>, String> {
    if !hex.len().is_multiple_of(2) {
        return Err(format!("odd number of hex digits: {}", hex.len()));
    }
    let pair = |at: usize| {
        let pair = hex.get(at..at + 2).ok_or_else(|| format!("no hex at digit {at}"))?;
        u8::from_str_radix(pair, 16).map_err(|_| format!("{pair:?} at digit {at} is no hex"))
    };
    (0..hex.len()).step_by(2).map(pair).collect()
}

/// Decodes the frames of one line. Several frames on a line are one answer; faults are named when nothing else came out.
fn decode(protocol: &Protocol, decoder: &mut dyn Decoder, bytes: &[u8], context: &Context) -> Value {
    let (mut positions, mut kind, mut faults) = (Vec::new(), "", Vec::new());
    let mut decoded = Decoded::default();
    let mut one = |frame: &[u8]| {
        decoded.clear();
        match decoder.decode(frame, context, &mut decoded) {
            Err(error) => faults.push(error.to_string()),
            Ok(()) => {
                kind = decoded.kind;
                faults.extend(decoded.faults.iter().map(|(_, error)| error.to_string()));
                let report = |at: usize| position(&decoded.reports[at], decoded.device_of(at, decoder.devices()));
                positions.extend((0..decoded.reports.len()).map(report));
            }
        }
    };
    let mut noise = Vec::new();
    match unframed(protocol, bytes) {
        Some(message) => one(message),
        None => protocol.framing.each_in_datagram(bytes, |frame| match frame {
            Ok(frame) => one(frame),
            Err(error) => noise.push(error.to_string()),
        }),
    }
    faults.extend(noise);
    match (kind, faults.first()) {
        ("", None) => json!({ "error": "no frame on this line" }),
        (_, Some(fault)) if positions.is_empty() => json!({ "error": fault }),
        (kind, _) => json!({ "positions": positions, "kind": kind }),
    }
}

/// A `muster` line may hold a message with or without its length; the length fits exactly or is none.
fn unframed<'a>(protocol: &Protocol, bytes: &'a [u8]) -> Option<&'a [u8]> {
    if protocol.framing.datagram == wire::Datagram::AsStream {
        return None;
    }
    match protocol.framing.cut(bytes) {
        wire::Cut::Frame { frame, consumed } if consumed == bytes.len() => bytes.get(frame),
        _ => None,
    }
}

fn position(report: &PositionReport, device: Option<&DeviceId>) -> Value {
    json!({
        "device": device.map(ToString::to_string),
        "time": report.time.map(|time| time.to_string()),
        "lat": report.position.lat_deg(),
        "lon": report.position.lon_deg(),
        "valid": report.valid,
        "speed_mps": rounded(report.speed_mps),
        "course_deg": rounded(report.course_deg),
        "altitude_m": rounded(report.altitude.map(|altitude| altitude.metres)),
        "altitude_ref": report.altitude.map(|altitude| altitude.reference.as_str()),
        "accuracy_m": rounded(report.accuracy_m),
        "flags": report.flags.words().collect::<Vec<_>>(),
    })
}

/// A millimetre and a thousandth of a degree are enough, and print without the noise of f32.
fn rounded(value: Option<f32>) -> Option<f64> {
    value.map(|value| (f64::from(value) * 1_000.0).round() / 1_000.0)
}
