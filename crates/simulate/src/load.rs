//! Open-loop load: questions and batches of reports leave at planned times, whatever the server does, and every
//! latency counts from the planned time. A server that stalls is charged for all that should have been sent meanwhile.
//!
//! Two threads, one for reports and one for questions, so that neither delays the other's clock.

mod class;
mod fleet;
mod http;
mod ledger;
mod pace;
mod questions;
mod reports;
mod schedule;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use model::Timestamp;

pub use class::{Class, Mix, MixError};
pub use fleet::Fleet;
pub use ledger::{ClassRecord, Ledger, Outcome, Second, latencies};
pub use reports::introduce;
pub use schedule::Schedule;

/// How long a run waits at its end for answers that are outstanding; what is missing then is unanswered.
pub const ANSWERS_GRACE: Duration = Duration::from_secs(3);
/// How often the caller of [`run_load`] hears how it goes.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// What to send, and to whom. A rate of 0 leaves its thread out.
#[derive(Debug, Clone)]
pub struct LoadPlan {
    /// A `muster` listener on TCP; takes the reports.
    pub reports_to: Option<SocketAddr>,
    /// The server's gRPC.
    pub grpc: Option<SocketAddr>,
    /// The server's HTTP.
    pub http: Option<SocketAddr>,
    /// Planned reports a second.
    pub report_rate: f64,
    /// Planned questions a second, all classes of the mix together.
    pub query_rate: f64,
    /// Which questions.
    pub mix: Mix,
    /// Reports in one batch.
    pub batch: usize,
    /// The same seed plans the same times, places and questions.
    pub seed: u64,
    /// Sent and not counted, before the window.
    pub warm_up: Duration,
    /// The window that counts.
    pub measured: Duration,
}

/// What came of it.
#[derive(Debug)]
pub struct LoadResult {
    /// One record a class that was planned, in the order of [`Class::ALL`].
    pub classes: Vec<ClassRecord>,
    /// How the generator itself fared.
    pub threads: Vec<GeneratorThread>,
}

/// One thread of the generator.
#[derive(Debug)]
pub struct GeneratorThread {
    /// `reports` or `questions`.
    pub name: &'static str,
    /// Microseconds between the planned time and the moment at which the generator got to it.
    pub lag_us: hdrhistogram::Histogram<u64>,
    /// Share of one core that it used while it sent.
    pub cpu_share: f64,
    /// Connections that ended before the run did; what was planned on them is not sent.
    pub connections_lost: u64,
}

/// How a run goes.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Time since the first planned time; zero while connections are made.
    pub elapsed: Duration,
    /// Reports that were acknowledged, warm-up included.
    pub reports: u64,
    /// Questions that were answered, warm-up included.
    pub questions: u64,
}

/// Why no load could be offered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The plan needs a server's side that has no address. The caller's fault.
    #[error("{class} needs {what}")]
    NoAddress {
        /// What was to be sent.
        class: Class,
        /// What is missing.
        what: &'static str,
    },
    /// Nobody listens there, or the connection was lost while the fleet was introduced.
    #[error("{what} at {address}: {source}")]
    Socket {
        /// What was spoken to.
        what: &'static str,
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The gRPC service refused the connection or the stream.
    #[error("gRPC at {address}: {detail}")]
    Grpc {
        /// Where.
        address: SocketAddr,
        /// What it said.
        detail: String,
    },
    /// The system gave no timer or no thread.
    #[error("the generator does not start: {0}")]
    System(#[from] std::io::Error),
}

/// What both threads share: the common start and the counts for the progress.
#[derive(Debug)]
pub(crate) struct Course {
    ready: Barrier,
    start: OnceLock<(Instant, Timestamp)>,
    has_failed: AtomicBool,
    pub(crate) reports: AtomicU64,
    pub(crate) questions: AtomicU64,
}

impl Course {
    fn new(threads: usize) -> Self {
        Self {
            ready: Barrier::new(threads),
            start: OnceLock::new(),
            has_failed: AtomicBool::new(false),
            reports: AtomicU64::new(0),
            questions: AtomicU64::new(0),
        }
    }

    /// Waits until all threads have their connections; `None` when one of them has not got its.
    pub(crate) fn begin(&self) -> Option<(Instant, Timestamp)> {
        self.ready.wait();
        let start = *self.start.get_or_init(|| (Instant::now(), unix_now()));
        (!self.has_failed.load(Ordering::SeqCst)).then_some(start)
    }

    fn fail(&self) {
        self.has_failed.store(true, Ordering::SeqCst);
        self.ready.wait();
    }
}

fn unix_now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).ok().and_then(Timestamp::from_unix_ms).unwrap_or(Timestamp::MIN)
}

/// What one thread gives back.
pub(crate) type Driven = (Ledger, GeneratorThread);

/// Offers the load of `plan` and waits for it; `progress` is called about ten times a second.
///
/// # Errors
/// [`LoadError`] when a connection cannot be made. What fails later is counted, not an error.
pub fn run_load(
    plan: &LoadPlan,
    fleet: &Arc<Fleet>,
    mut progress: impl FnMut(Progress),
) -> Result<LoadResult, LoadError> {
    let has = [plan.report_rate > 0.0, plan.query_rate > 0.0];
    let course = Arc::new(Course::new(has.iter().filter(|has| **has).count()));
    let mut threads = Vec::new();
    if has[0] {
        let (plan, fleet, course) = (plan.clone(), Arc::clone(fleet), Arc::clone(&course));
        threads.push(spawn("reports", course.clone(), move || reports::drive(plan, fleet, course))?);
    }
    if has[1] {
        let (plan, fleet, course) = (plan.clone(), Arc::clone(fleet), Arc::clone(&course));
        threads.push(spawn("questions", course.clone(), move || questions::drive(plan, fleet, course))?);
    }
    while threads.iter().any(|thread| !thread.is_finished()) {
        thread::park_timeout(PROGRESS_INTERVAL);
        progress(Progress {
            elapsed: course.start.get().map_or(Duration::ZERO, |(start, _)| start.elapsed()),
            reports: course.reports.load(Ordering::Relaxed),
            questions: course.questions.load(Ordering::Relaxed),
        });
    }
    let mut result = LoadResult { classes: Vec::new(), threads: Vec::new() };
    let mut failed = None;
    for thread in threads {
        match thread.join() {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(Err(error)) => failed = Some(error),
            Ok(Ok(None)) => {}
            Ok(Ok(Some((ledger, thread)))) => {
                result.classes.extend(ledger.into_records());
                result.threads.push(thread);
            }
        }
    }
    match failed {
        Some(error) => Err(error),
        None => Ok(result),
    }
}

type Thread = thread::JoinHandle<Result<Option<Driven>, LoadError>>;

/// Runs `drive` on a thread with a runtime of its own.
fn spawn<F, D>(name: &'static str, course: Arc<Course>, drive: D) -> Result<Thread, LoadError>
where
    D: FnOnce() -> F + Send + 'static,
    F: Future<Output = Result<Option<Driven>, LoadError>>,
{
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        tokio::task::LocalSet::new().block_on(&runtime, drive())
    };
    let guarded = move || {
        let done = run();
        // Whoever fails before the start lets the others know, or they would wait for ever.
        if done.is_err() && course.start.get().is_none() {
            course.fail();
        }
        done
    };
    Ok(thread::Builder::new().name(format!("bench-{name}")).spawn(guarded)?)
}
