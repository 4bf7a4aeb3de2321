mod assembly;
mod link;

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, Sleep, interval, sleep_until};

use crate::plan::{Plan, SimulateError};
use crate::tally::{Counters, Tally};
use crate::{Forces, Protocol};

/// New connections are begun at this rate.
pub const CONNECTIONS_PER_SECOND: u32 = 400;
/// How long a run waits at its end for outstanding answers and for what is late.
pub const GRACE: Duration = Duration::from_secs(5);
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// Builds the city (about 0.2 s, on this thread) and runs the plan: see [`run_with`].
///
/// # Errors
/// As [`run_with`].
pub async fn run(
    plan: &Plan,
    stop: impl Future<Output = ()>,
    progress: impl FnMut(&Tally),
) -> Result<Tally, SimulateError> {
    plan.check()?;
    let forces = Arc::new(Forces::new(plan.seed, plan.units));
    run_with(plan, forces, stop, progress).await
}

/// Lets the forces report to the plan's targets until its duration is over or `stop` is done, and
/// then waits up to [`GRACE`] for the answers. `progress` is called once a second with what happened so far.
///
/// The load is open-loop: when a report is due does not depend on any answer. What cannot be sent in
/// time is sent late (`lag_max`) or, after a lost connection, counted as `missed`. Dropping the future ends all connections.
///
/// # Errors
/// [`SimulateError`] before anything is sent: the plan is wrong, or a host has no address.
pub async fn run_with(
    plan: &Plan,
    forces: Arc<Forces>,
    stop: impl Future<Output = ()>,
    mut progress: impl FnMut(&Tally),
) -> Result<Tally, SimulateError> {
    plan.check()?;
    let addresses = resolve(plan).await?;
    let counters: BTreeMap<Protocol, Arc<Counters>> =
        addresses.keys().map(|protocol| (*protocol, Arc::new(Counters::default()))).collect();
    let senders = assembly::senders(plan, &forces, &counters);
    if senders.is_empty() {
        return Err(SimulateError::NobodySpeaks { units: forces.units() });
    }
    let (end, ends) = watch::channel(plan.duration);
    let course = Course { began: Instant::now(), ends };
    let mut tasks = JoinSet::new();
    for (place, (protocol, terminal)) in (0u32..).zip(senders) {
        let (address, transport) = addresses[&protocol];
        let switch_on = Duration::from_secs(1) * place / CONNECTIONS_PER_SECOND;
        let link = link::Link { terminal, address, transport, switch_on, seed: plan.seed ^ u64::from(place) };
        tasks.spawn(link.run(course.clone()));
    }
    let tally = || Tally {
        elapsed: course.now(),
        protocols: counters.iter().map(|(protocol, counters)| (*protocol, counters.tally())).collect(),
        left_out: plan.left_out(),
    };
    let mut stop = pin!(stop);
    let mut is_stopped = false;
    let mut ticks = interval(PROGRESS_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            joined = tasks.join_next() => match joined {
                None => break,
                Some(Err(error)) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                Some(_) => {}
            },
            () = &mut stop, if !is_stopped => {
                is_stopped = true;
                end.send_modify(|end| *end = Some(end.unwrap_or(Duration::MAX).min(course.now())));
            }
            _ = ticks.tick() => progress(&tally()),
        }
    }
    Ok(tally())
}

async fn resolve(plan: &Plan) -> Result<BTreeMap<Protocol, (SocketAddr, crate::Transport)>, SimulateError> {
    let mut addresses = BTreeMap::new();
    for target in &plan.targets {
        let failed = |source| SimulateError::Resolve { address: target.address.clone(), source };
        let mut found = tokio::net::lookup_host(&target.address).await.map_err(failed)?;
        let none = || failed(std::io::Error::new(std::io::ErrorKind::NotFound, "no address"));
        addresses.insert(target.protocol, (found.next().ok_or_else(none)?, target.transport));
    }
    Ok(addresses)
}

/// The time of a run: since when, and until when.
#[derive(Debug, Clone)]
pub(crate) struct Course {
    began: Instant,
    ends: watch::Receiver<Option<Duration>>,
}

impl Course {
    /// Time since the start.
    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// When the last report is due; moves forward when the run is stopped.
    fn end(&self) -> Duration {
        self.ends.borrow().unwrap_or(Duration::MAX)
    }

    /// Lasts until `at` since the start, or an hour from now if that is sooner.
    fn reach(&self, at: Duration) -> Sleep {
        const HOUR: Duration = Duration::from_secs(3_600);
        sleep_until(self.began + at.min(self.now() + HOUR))
    }

    /// Comes back when the end was moved; never if it cannot be moved any more.
    async fn end_moved(&mut self) {
        if self.ends.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits until `at` or the end of the run.
    async fn pass_until(&mut self, at: Duration) {
        while self.now() < at.min(self.end()) {
            let reached = self.reach(at.min(self.end()));
            tokio::select! {
                () = reached => {}
                () = self.end_moved() => {}
            }
        }
    }
}
