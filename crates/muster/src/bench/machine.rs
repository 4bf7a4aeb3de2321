use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Clock ticks a second in `/proc`: 100 on every Linux that programs see.
const TICKS_PER_SECOND: f64 = 100.0;

/// Where a bench ran.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cpus: usize,
    pub(crate) memory_mib: u64,
    pub(crate) system: String,
    /// Processes that wanted to run in the minute before the bench; near or over `cpus`, other work disturbed it.
    pub(crate) load_average: f64,
}

impl Machine {
    /// What the system says; what it does not say is `unknown` or 0.
    pub(crate) fn here() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let value = |text: &str, key: &str| {
            let line = text.lines().find(|line| line.starts_with(key));
            line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned())
        };
        let memory_kib = value(&read("/proc/meminfo"), "MemTotal").unwrap_or_default();
        let memory_kib = memory_kib.split_whitespace().next().and_then(|number| number.parse::<u64>().ok());
        let release = read("/proc/sys/kernel/osrelease");
        Self {
            processor: value(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| "unknown".to_owned()),
            cpus: std::thread::available_parallelism().map_or(1, Into::into),
            memory_mib: memory_kib.unwrap_or(0) / 1_024,
            system: format!("{} {}", std::env::consts::OS, release.trim()).trim().to_owned(),
            load_average: read("/proc/loadavg").split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(0.0),
        }
    }
}

/// Processor time that a process has used; `None` where the system does not say.
pub(crate) fn cpu_of(process: u32) -> Option<Duration> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name, in parentheses, may hold blanks; user and system time are the 12th and 13th field behind it.
    let (_, fields) = text.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11);
    let ticks = times.next()?.parse::<f64>().ok()? + times.next()?.parse::<f64>().ok()?;
    Some(Duration::from_secs_f64(ticks / TICKS_PER_SECOND))
}
