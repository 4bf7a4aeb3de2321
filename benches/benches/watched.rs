//! Reports that the engine takes while it watches zones: none, the city's, 20,000 and 100,000, in interleaved rounds, until the
//! last place is looked at.
//!
//! `cargo bench -p muster-benches --bench watched -- --rounds 3 --units 60000 --zones 254`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::{Engine, UnknownDevices, WatchedZone};
use model::{
    Binding, Clock, DeviceId, Flags, Heard, Position, PositionReport, Settle, Shape, TimeBasis, Timestamp, Unit,
    UnitKind, UnitName, What, Zone, ZoneName,
};
use muster_benches::{Fleet, Ground, Options, Rounds, Spread};
use rustix::time::{ClockId, clock_gettime};
use store::events::Events;
use testkit::ManualClock;

/// Reports of each unit in a round, a second apart.
const SECONDS: usize = 5;
/// Rounds before the first that is measured: more seconds than it takes to cross a border.
const WARM_UP: usize = 7;
/// Reports of a batch.
const BATCH: usize = 1_000;

const GROUNDS: [Ground; 6] = [
    Ground::None,
    Ground::City,
    Ground::Province(20_000),
    Ground::Crowded(20_000),
    Ground::Province(100_000),
    Ground::Crowded(100_000),
];

/// An engine, and what it watches.
struct Lane {
    title: String,
    engine: Engine,
    clock: Arc<ManualClock>,
    bindings: Vec<Binding>,
    /// Seconds of reports so far.
    second: i64,
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_unix_ms(1_795_000_000_000 + 1_000 * second).expect("2026 is in range")
}

fn device(unit: usize) -> DeviceId {
    DeviceId::of("bench", &unit.to_string()).expect("a number is a name")
}

/// The engine's zones are the areas of the ground; their shapes are not asked.
fn zones(ground: Ground) -> Vec<WatchedZone> {
    let zone = |(number, area): (u32, geodesy::Area)| {
        let shape = Shape::Circle { centre: Fleet::middle(), radius_m: 1.0 };
        let zone = Zone {
            name: ZoneName::new(&format!("zone-{number}")).expect("it is a name"),
            label: String::new(),
            layer: 1,
            organisation: None,
            shape,
            utc_offset_min: 480,
            hours: Vec::new(),
            minimum: Vec::new(),
            settle: Settle::default(),
            dwell_s: None,
            stay_s_max: None,
        };
        WatchedZone { zone: Arc::new(zone), area: Arc::new(area), version: 1 }
    };
    (0..).zip(ground.areas()).map(zone).collect()
}

impl Lane {
    /// An engine with all units; without a watcher where `ground` is `None`.
    async fn open(title: &str, ground: Option<Ground>, units: usize) -> Self {
        let clock = Arc::new(ManualClock::at(at(0)));
        let given = Arc::clone(&clock) as Arc<dyn Clock>;
        let engine = match ground {
            None => Engine::start(given, UnknownDevices::Refuse),
            Some(_) => {
                let events = Arc::new(Events::in_memory().expect("SQLite is there"));
                Engine::start_watching(given, UnknownDevices::Refuse, events).expect("nothing is there yet")
            }
        };
        for unit in 0..units {
            let name = UnitName::new(&format!("car-{unit}")).expect("it is a name");
            let kind = Unit { kind: UnitKind::Car, ..Unit::named(name) };
            engine.enrol(kind, &[device(unit)]).expect("there is room");
        }
        if let (Some(ground), Some(watch)) = (ground, engine.watch()) {
            watch.set_zones(zones(ground)).await.expect("it runs");
        }
        let bindings = (0..units).map(|unit| engine.resolve(&device(unit)).expect("it was enrolled")).collect();
        Self { title: title.to_owned(), engine, clock, bindings, second: 0 }
    }

    /// Submits reports second by second, and waits each time until they are applied and looked at: a unit's next report comes
    /// when the watcher has long answered to the last one.
    async fn round(&mut self, reports: &[(u32, Position)]) -> Cost {
        let mut cost = Cost::default();
        for second in reports.chunks(self.bindings.len()) {
            self.second += 1;
            self.clock.advance(Duration::from_secs(1));
            let heard = |(unit, place): &(u32, Position)| self.heard(*unit, *place, at(self.second));
            let batches: Vec<Vec<Heard>> =
                second.chunks(BATCH).map(|batch| batch.iter().map(heard).collect()).collect();
            let (began, cpu) = (Instant::now(), on_cores());
            let mut last = None;
            for batch in batches {
                last = Some(self.engine.submit(batch).await.expect("it runs"));
            }
            last.expect("there are reports").await.expect("it is applied");
            cost.applied += began.elapsed();
            while self.engine.watch().is_some_and(|watch| watch.figures().waiting > 0) {
                tokio::time::sleep(Duration::from_micros(100)).await;
            }
            cost.looked_at += began.elapsed();
            cost.cpu += on_cores() - cpu;
        }
        cost
    }

    fn heard(&self, unit: u32, place: Position, time: Timestamp) -> Heard {
        let report = PositionReport {
            time: Some(time),
            time_basis: TimeBasis::Gnss,
            position: place,
            valid: true,
            speed_mps: Some(8.0),
            course_deg: Some(90.0),
            altitude: None,
            accuracy_m: Some(10.0),
            accuracy_basis: None,
            flags: Flags::default(),
        };
        Heard { binding: self.bindings[unit as usize], received: time, what: What::Report(report) }
    }
}

#[derive(Default)]
struct Cost {
    applied: Duration,
    looked_at: Duration,
    cpu: Duration,
}

/// CPU time of all threads of this process.
fn on_cores() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).expect("less than a second"))
}

async fn measure(options: &Options) {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("load average at the start: {}", load.trim());
    let (mut fleet, mut rounds) = (Fleet::new(42, options.units, Spread::Clustered), Rounds::default());
    let mut lanes = vec![Lane::open("nobody watches", None, options.units).await];
    for ground in GROUNDS {
        let zones = ground.areas().len();
        if zones == 0 || options.zones.is_none_or(|wanted| wanted == zones) {
            lanes.push(Lane::open(&ground.title(), Some(ground), options.units).await);
        }
    }
    // In the first rounds everybody becomes known, and is in a zone or not once the time that this takes is over: they are not
    // measured.
    for round in 0..options.rounds + WARM_UP {
        let reports = fleet.reports(options.units * SECONDS);
        for lane in &mut lanes {
            let cost = lane.round(&reports).await;
            if round >= WARM_UP {
                let ns = |took: Duration| took.as_nanos() as f64 / reports.len() as f64;
                rounds.note(&format!("{}: applied, ns a report", lane.title), ns(cost.applied));
                rounds.note(&format!("{}: looked at, ns a report", lane.title), ns(cost.looked_at));
                rounds.note(&format!("{}: CPU of all threads, ns a report", lane.title), ns(cost.cpu));
            }
        }
    }
    rounds.print(&format!("{} units in the city", options.units));
    println!("\n| kept of no zones, round by round | median | least - most |\n|---|---|---|");
    for lane in &lanes {
        for what in ["applied, ns a report", "looked at, ns a report", "CPU of all threads, ns a report"] {
            let (none, own) = (format!("{}: {what}", Ground::None.title()), format!("{}: {what}", lane.title));
            let Some([least, median, most]) = rounds.ratio(&none, &own) else { continue };
            let [least, median, most] = [least, median, most].map(|share| share * 100.0);
            println!("| {own} | {median:.0} % | {least:.0} - {most:.0} % |");
        }
    }
    for lane in lanes {
        lane.engine.stop().await;
    }
}

fn main() {
    // `cargo test` runs benches once with `--test`; there is nothing to measure then.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let options = Options::read(60_000);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime starts");
    runtime.block_on(measure(&options));
}
