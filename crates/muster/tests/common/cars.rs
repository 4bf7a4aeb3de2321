//! Cars that drive about over the borders of a few zones, and what a server must know of both.

use std::collections::VecDeque;
use std::io::{self, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;

use geodesy::destination;
use model::{Position, Timestamp, Zone};
use prost::Message;
use server::Earth;
use store::exchange::parse_zones_json;
use testkit::Seeded;
use wire::proto::{GatewayDown, GatewayUp, Report, ReportBatch, gateway_down, gateway_up};

use super::MUSTER;

/// Beats side by side, one zone over two of them, and a booth with its circle.
const ZONES: &str = include_str!("zones.geojson");
/// When the first of them set out, 2026-01-01 in UTC.
const BEGAN_MS: i64 = 1_767_225_600_000;
/// Between two fixes of a car.
const STEP_S: i64 = 3;
/// A car drives for so many fixes of so many, and strolls for the others.
const DRIVE_STEPS: i64 = 4;
const STROLL_STEPS: i64 = 24;
/// Batches that are sent ahead of their acknowledgement.
const AHEAD: usize = 3;
/// Where they drive.
const CENTRE: (f64, f64) = (22.81, 108.31);
const RADIUS_M: f64 = 1_500.0;

/// Cars of one gateway. They go on from where they are, whatever of it was stored.
pub(crate) struct Cars {
    here: Vec<Position>,
    step: i64,
    batch: u64,
    random: Seeded,
}

/// The zones, as the server has them.
pub(crate) fn zones() -> Vec<Zone> {
    let rows = parse_zones_json(ZONES.as_bytes(), None, &Earth).expect("they are well");
    rows.into_iter().map(|row| row.zone).collect()
}

fn centre() -> Position {
    Position::from_degrees(CENTRE.0, CENTRE.1).expect("it is a place")
}

impl Cars {
    const COUNT: usize = 24;

    pub(crate) fn new(seed: u64) -> Self {
        Self { here: vec![centre(); Self::COUNT], step: 0, batch: 0, random: Seeded::new(seed) }
    }

    /// Brings the zones and the cars into the store of `data`.
    pub(crate) fn import(&self, folder: &Path, data: &Path) {
        let (zones, units) = (folder.join("zones.geojson"), folder.join("units.csv"));
        std::fs::write(&zones, ZONES).expect("there is room");
        let unit = |at: usize| format!("car-{at},Car {at},car,,,false,muster:c-{at},\n");
        let head = "unit,call_sign,kind,org,capabilities,covert,devices,external\n".to_owned();
        std::fs::write(&units, head + &(0..self.here.len()).map(unit).collect::<String>()).expect("there is room");
        for (what, file) in [("zones", zones), ("units", units)] {
            let done = Command::new(MUSTER).args([what, "import", "--data"]).arg(data).arg(file).output();
            let done = done.expect("the program starts");
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        }
    }

    /// Drives until the connection is lost.
    ///
    /// # Errors
    /// How it was lost.
    pub(crate) fn drive(&mut self, server: SocketAddr) -> io::Result<()> {
        let mut stream = BufReader::new(TcpStream::connect(server)?);
        stream.get_ref().set_nodelay(true)?;
        let mut flying = VecDeque::new();
        loop {
            if flying.len() < AHEAD {
                let bytes = self.next_batch();
                stream.get_mut().write_all(&bytes)?;
                flying.push_back(self.batch);
                continue;
            }
            let ack = acknowledged(&mut stream)?;
            assert_eq!(Some(ack), flying.pop_front(), "batches are acknowledged in turn");
        }
    }

    /// The next fix of every car. In turns they drive, and step over borders far, and stroll, and linger beside them.
    fn next_batch(&mut self) -> Vec<u8> {
        (self.step, self.batch) = (self.step + 1, self.batch + 1);
        let time_ms = BEGAN_MS + 1_000 * STEP_S * self.step;
        let time = Timestamp::from_unix_ms(time_ms).expect("it is a time");
        let mut reports = Vec::new();
        for (at, here) in self.here.iter_mut().enumerate() {
            let is_driving = (self.step + 7 * at as i64) % STROLL_STEPS < DRIVE_STEPS;
            let metres = if is_driving { 150.0 } else { self.random.between(0.0, 15.0) };
            let next = destination(*here, self.random.between(0.0, 360.0), metres);
            if geodesy::distance_m(centre(), next) < RADIUS_M {
                *here = next;
            }
            let (lat_e7, lon_e7, time_ms) = (here.lat_e7(), here.lon_e7(), Some(time.unix_ms()));
            reports.push(Report { device: format!("muster:c-{at}"), time_ms, lat_e7, lon_e7, ..Report::default() });
        }
        let batch = ReportBatch { batch_sequence: self.batch, reports };
        let up = GatewayUp { gateway: "cars".to_owned(), payload: Some(gateway_up::Payload::Reports(batch)) };
        up.encode_length_delimited_to_vec()
    }
}

/// The number of the next batch that is acknowledged.
pub(crate) fn acknowledged(stream: &mut impl Read) -> io::Result<u64> {
    let (mut length, mut shift) = (0, 0);
    loop {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        length |= usize::from(byte[0] & 0x7F) << shift;
        shift += 7;
        if byte[0] & 0x80 == 0 {
            break;
        }
    }
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes)?;
    let down = GatewayDown::decode(&bytes[..]).expect("the server sends messages");
    match down.payload {
        Some(gateway_down::Payload::Ack(ack)) if ack.refused.is_empty() => Ok(ack.batch_sequence),
        other => panic!("a batch without a fault is answered {other:?}"),
    }
}
