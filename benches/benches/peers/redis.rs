//! Redis GEO: `GEOADD` and `GEOSEARCH`, with and without its append-only file.

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use crate::peer::{AskStyle, FeedStyle, Peer, Started};
use crate::resp::{command, skim, units};
use muster_benches::pipe::{Asker, Batch, Feed, Pipe, PipeAsker};
use muster_benches::process::{Process, find, folder, free_address};
use muster_benches::trace::{Report, Trace};

/// The radius that a caller would take who knows nothing of the city.
const RADIUS_M: f64 = 1_000.0;
/// The luckiest radius is the smallest that finds ten in so many of a hundred questions.
const LUCKY_PERCENT: usize = 90;
const SAMPLE: usize = 200;

const SINGLE: FeedStyle = FeedStyle { label: "one unit a GEOADD, 100 in the pipeline", reports: 100, window: 4 };
const MANY: FeedStyle = FeedStyle { label: "100 units a GEOADD, pipelined", reports: 100, window: 16 };

pub(crate) struct Redis {
    process: Process,
    address: SocketAddr,
    has_file: bool,
    lucky: Option<AskStyle>,
}

/// Starts it without persistence.
pub(crate) fn start() -> Started {
    launch(false)
}

/// Starts it with the append-only file, synced every second.
pub(crate) fn start_with_file() -> Started {
    launch(true)
}

fn launch(has_file: bool) -> Started {
    let program = find("redis-server", &[]).ok_or("no `redis-server`: apt-get install redis-server")?;
    let (folder, address) = (folder(), free_address());
    let mut child = Command::new(program);
    child.args(["--bind", "127.0.0.1", "--port", &address.port().to_string(), "--save", ""]);
    child.args(["--appendonly", if has_file { "yes" } else { "no" }, "--appendfsync", "everysec"]);
    child.arg("--dir").arg(folder.path()).stdout(Stdio::null());
    let child = child.spawn().map_err(|error| format!("redis-server does not start: {error}"))?;
    let mut process = Process::of(child, "-TERM", folder);
    process.wait_for(address);
    Ok(Box::new(Redis { process, address, has_file, lucky: None }))
}

impl Redis {
    fn asker_within(&self, radius_m: f64, trace: &Trace) -> PipeAsker {
        let question = |centre: &model::Position| {
            let (lon, lat) = (centre.lon_deg().to_string(), centre.lat_deg().to_string());
            let (radius, mut out) = (radius_m.to_string(), Vec::new());
            let way = ["FROMLONLAT", &lon, &lat, "BYRADIUS", &radius, "m", "ASC", "COUNT", "10", "WITHDIST"];
            command(&mut out, &[&["GEOSEARCH", "fleet"][..], &way].concat());
            out
        };
        let questions = trace.questions.iter().map(question).collect();
        PipeAsker { pipe: Pipe::connect(self.address, skim), questions, read: units }
    }
}

impl Peer for Redis {
    fn name(&self) -> &'static str {
        if self.has_file { "redis-aof" } else { "redis" }
    }

    fn process(&self) -> &Process {
        &self.process
    }

    fn feed_styles(&self) -> Vec<FeedStyle> {
        vec![SINGLE, MANY]
    }

    fn feed(&self, style: FeedStyle, _: usize, rounds: &[Vec<Report>]) -> Feed {
        let pipe = Pipe::connect(self.address, skim);
        let chunks = rounds.iter().flat_map(|round| round.chunks(style.reports));
        let batches = chunks.map(|some| if style.label == SINGLE.label { one_each(some) } else { in_one(some) });
        Feed::new(pipe, batches.collect(), style.window, |out, batch, _| out.extend_from_slice(&batch.bytes))
    }

    fn ask_styles(&self) -> Vec<AskStyle> {
        if self.has_file {
            return Vec::new();
        }
        let wide = AskStyle { label: "1 km".into(), radius_m: RADIUS_M, depth: 16 };
        [Some(wide), self.lucky.clone()].into_iter().flatten().collect()
    }

    fn asker(&self, style: &AskStyle, trace: &Trace) -> Box<dyn Asker> {
        Box::new(self.asker_within(style.radius_m, trace))
    }

    fn settle(&mut self, trace: &Trace) {
        if self.has_file {
            return;
        }
        let radii = (0..40).map(|step| (20.0 * 1.15_f64.powi(step)).round());
        for radius_m in radii {
            let mut asker = self.asker_within(radius_m, trace);
            let full = (0..SAMPLE).filter(|at| asker.answer(*at).len() == 10).count();
            if full * 100 >= SAMPLE * LUCKY_PERCENT {
                let label = format!("luckiest radius, {radius_m} m, finds 10 in {} %", full * 100 / SAMPLE);
                self.lucky = Some(AskStyle { label, radius_m, depth: 32 });
                return;
            }
        }
    }
}

fn words(report: &Report) -> [String; 3] {
    let (unit, place) = report;
    [place.lon_deg().to_string(), place.lat_deg().to_string(), format!("u{unit}")]
}

fn one_each(reports: &[Report]) -> Batch {
    let mut bytes = Vec::new();
    for report in reports {
        let [lon, lat, unit] = words(report);
        command(&mut bytes, &["GEOADD", "fleet", &lon, &lat, &unit]);
    }
    Batch { bytes, reports: reports.len(), replies: reports.len() }
}

fn in_one(reports: &[Report]) -> Batch {
    let mut bytes = Vec::new();
    let all: Vec<String> = reports.iter().flat_map(words).collect();
    let all: Vec<&str> = ["GEOADD", "fleet"].into_iter().chain(all.iter().map(String::as_str)).collect();
    command(&mut bytes, &all);
    Batch { bytes, reports: reports.len(), replies: 1 }
}
