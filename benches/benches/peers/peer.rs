use muster_benches::pipe::{Asker, Feed};
use muster_benches::process::Process;
use muster_benches::trace::{Report, Trace};

/// A way to report.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FeedStyle {
    pub(crate) label: &'static str,
    /// Reports of one batch.
    pub(crate) reports: usize,
    /// Batches open at once on a connection.
    pub(crate) window: usize,
}

/// A way to ask.
#[derive(Debug, Clone)]
pub(crate) struct AskStyle {
    pub(crate) label: String,
    /// Metres, where the server needs a radius.
    pub(crate) radius_m: f64,
    /// Questions open at once on a connection, when more than one may be.
    pub(crate) depth: usize,
}

/// A server that runs, and how it is best spoken to.
pub(crate) trait Peer {
    /// A word for tables: `redis`; with a hyphen and a word for a second setting.
    fn name(&self) -> &'static str;
    fn process(&self) -> &Process;
    /// Bytes that hold the fleet, and whatever else the server keeps.
    fn memory_bytes(&self) -> u64 {
        self.process().memory_bytes()
    }
    /// Ways to report; the last one is its best.
    fn feed_styles(&self) -> Vec<FeedStyle>;
    /// A new connection that reports the rounds of one lane.
    fn feed(&self, style: FeedStyle, lane: usize, rounds: &[Vec<Report>]) -> Feed;
    /// Ways to ask, the usual one first; none where this is only a second setting for writing.
    fn ask_styles(&self) -> Vec<AskStyle>;
    /// A new connection that asks.
    fn asker(&self, style: &AskStyle, trace: &Trace) -> Box<dyn Asker>;
    /// Does what its keeper would do once everybody is on the map, or finds out what suits these data.
    fn settle(&mut self, _trace: &Trace) {}
    /// What the server itself counted, where it counts.
    fn counted(&self) -> Option<String> {
        None
    }
    /// Clears up after a run of reports, off the clock.
    fn rest(&self) {}
}

/// A server, or why there is none.
pub(crate) type Started = Result<Box<dyn Peer>, String>;
