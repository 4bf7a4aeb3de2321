//! Runs a test once for each seed, on all cores, and says how to repeat the seed that fails.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Runs `test` for the seeds from 0 up to but without `MUSTER_SEEDS`, or `count` of them without it, or only for
/// `MUSTER_SEED`; returns what each run gave. `which` names the test for `cargo test`.
///
/// # Panics
/// When a run fails or panics; the first seed that did is printed with the command that repeats it.
pub(crate) fn each<T: Send>(count: u64, which: &str, test: impl Fn(u64) -> Result<T, String> + Sync) -> Vec<T> {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number of seeds"));
    let (start, end) = match number("MUSTER_SEED") {
        Some(seed) => (seed, seed + 1),
        None => (0, number("MUSTER_SEEDS").unwrap_or(count)),
    };
    let (next, results, failed) = (AtomicU64::new(start), Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    let work = || {
        while failed.lock().is_ok_and(|failed| failed.is_empty()) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                return;
            }
            match catch_unwind(AssertUnwindSafe(|| test(seed))) {
                Ok(Ok(result)) => results.lock().expect("no run holds it").push(result),
                Ok(Err(error)) => failed.lock().expect("no run holds it").push((seed, error)),
                Err(panic) => {
                    let text = panic.downcast_ref::<String>().cloned();
                    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
                    failed
                        .lock()
                        .expect("no run holds it")
                        .push((seed, format!("a panic: {}", text.unwrap_or_default())));
                }
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    let mut failed = failed.into_inner().expect("no run holds it");
    failed.sort_unstable();
    if let Some((seed, error)) = failed.first() {
        panic!("seed {seed}: {error}\nrepeat with: MUSTER_SEED={seed} cargo test --release {which}");
    }
    results.into_inner().expect("no run holds it")
}
