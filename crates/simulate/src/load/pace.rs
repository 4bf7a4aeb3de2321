use std::io;
use std::time::Duration;

/// Time of processor that this thread has used; zero where the system does not say.
pub(super) fn thread_cpu() -> Duration {
    #[cfg(target_os = "linux")]
    {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
    }
    #[cfg(not(target_os = "linux"))]
    Duration::ZERO
}

/// Waits to a few dozen microseconds. The runtime's own timer counts in milliseconds, which would be most of a latency.
#[cfg(target_os = "linux")]
pub(super) struct Pacer(tokio::io::unix::AsyncFd<std::os::fd::OwnedFd>);

#[cfg(target_os = "linux")]
impl Pacer {
    /// # Errors
    /// The system has no timer left.
    #[expect(
        deprecated,
        reason = "its successor is unsafe; an OwnedFd keeps what that asks for: one descriptor, closed last"
    )]
    pub(super) fn new() -> io::Result<Self> {
        use rustix::time::{TimerfdClockId, TimerfdFlags, timerfd_create};
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        Ok(Self(tokio::io::unix::AsyncFd::with_interest(timer, tokio::io::Interest::READABLE)?))
    }

    /// Lets the other tasks of this thread run for about `wait`. May come back early: look at the clock.
    pub(super) async fn pass(&self, wait: Duration) -> io::Result<()> {
        use rustix::time::{Itimerspec, TimerfdTimerFlags, Timespec, timerfd_settime};
        // A value of zero would stop the timer.
        let wait = wait.max(Duration::from_nanos(1));
        let tv_sec = i64::try_from(wait.as_secs()).unwrap_or(i64::MAX);
        let once = Itimerspec {
            it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: Timespec { tv_sec, tv_nsec: wait.subsec_nanos().into() },
        };
        // Setting the timer also takes back an expiry that was not looked at.
        timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::empty(), &once)?;
        self.0.readable().await?.clear_ready();
        Ok(())
    }
}

/// Waits as the runtime's timer can.
#[cfg(not(target_os = "linux"))]
pub(super) struct Pacer;

#[cfg(not(target_os = "linux"))]
impl Pacer {
    /// # Errors
    /// None.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self)
    }

    /// Lets the other tasks of this thread run for about `wait`.
    pub(super) async fn pass(&self, wait: Duration) -> io::Result<()> {
        tokio::time::sleep(wait).await;
        Ok(())
    }
}
