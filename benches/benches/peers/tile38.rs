//! Tile38: `SET` and `NEARBY`, with and without its append-only file.

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use crate::peer::{AskStyle, FeedStyle, Peer, Started};
use crate::resp::{command, skim, units};
use muster_benches::pipe::{Asker, Batch, Feed, Pipe, PipeAsker};
use muster_benches::process::{Process, find, folder, free_address};
use muster_benches::trace::{Report, Trace};

const SINGLE: FeedStyle = FeedStyle { label: "SET, 100 in the pipeline", reports: 100, window: 4 };

struct Tile38 {
    process: Process,
    address: SocketAddr,
    has_file: bool,
}

/// Starts it without its file.
pub(crate) fn start() -> Started {
    launch(false)
}

/// Starts it with its append-only file.
pub(crate) fn start_with_file() -> Started {
    launch(true)
}

fn launch(has_file: bool) -> Started {
    let program = find("tile38-server", &[]).ok_or("no `tile38-server` on the path; it comes from tile38.com")?;
    let (folder, address) = (folder(), free_address());
    let mut child = Command::new(program);
    child.args(["-h", "127.0.0.1", "-p", &address.port().to_string(), "-q"]);
    child.args(["--appendonly", if has_file { "yes" } else { "no" }, "-d"]).arg(folder.path());
    let child = child.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let child = child.map_err(|error| format!("tile38-server does not start: {error}"))?;
    let mut process = Process::of(child, "-TERM", folder);
    process.wait_for(address);
    Ok(Box::new(Tile38 { process, address, has_file }))
}

impl Peer for Tile38 {
    fn name(&self) -> &'static str {
        if self.has_file { "tile38-aof" } else { "tile38" }
    }

    fn process(&self) -> &Process {
        &self.process
    }

    fn feed_styles(&self) -> Vec<FeedStyle> {
        vec![SINGLE]
    }

    fn feed(&self, style: FeedStyle, _: usize, rounds: &[Vec<Report>]) -> Feed {
        let batch = |some: &[Report]| {
            let mut bytes = Vec::new();
            for (unit, place) in some {
                let (lat, lon) = (place.lat_deg().to_string(), place.lon_deg().to_string());
                command(&mut bytes, &["SET", "fleet", &format!("u{unit}"), "POINT", &lat, &lon]);
            }
            Batch { bytes, reports: some.len(), replies: some.len() }
        };
        let batches = rounds.iter().flat_map(|round| round.chunks(style.reports)).map(batch).collect();
        let pipe = Pipe::connect(self.address, skim);
        Feed::new(pipe, batches, style.window, |out, batch, _| out.extend_from_slice(&batch.bytes))
    }

    fn ask_styles(&self) -> Vec<AskStyle> {
        let style = AskStyle { label: "NEARBY LIMIT 10".into(), radius_m: 0.0, depth: 32 };
        if self.has_file { Vec::new() } else { vec![style] }
    }

    fn asker(&self, _: &AskStyle, trace: &Trace) -> Box<dyn Asker> {
        let question = |centre: &model::Position| {
            let (lat, lon, mut out) = (centre.lat_deg().to_string(), centre.lon_deg().to_string(), Vec::new());
            command(&mut out, &["NEARBY", "fleet", "LIMIT", "10", "DISTANCE", "IDS", "POINT", &lat, &lon]);
            out
        };
        let questions = trace.questions.iter().map(question).collect();
        Box::new(PipeAsker { pipe: Pipe::connect(self.address, skim), questions, read: units })
    }
}
