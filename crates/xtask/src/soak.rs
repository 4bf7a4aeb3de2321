//! `cargo xtask soak`: the tests of the promises at their night sizes.

use std::path::Path;
use std::time::Instant;

use anyhow::Context;

use crate::suites::{Counts, Watch};

/// A suite at night.
struct Night {
    package: &'static str,
    test: &'static str,
    /// The variables that make it long, and their values.
    sizes: &'static [(&'static str, &'static str)],
}

const fn night(package: &'static str, test: &'static str, sizes: &'static [(&'static str, &'static str)]) -> Night {
    Night { package, test, sizes }
}

const NIGHT: [Night; 8] = [
    night("journal", "power", &[("MUSTER_SEEDS", "100000")]),
    night("journal", "damage", &[("MUSTER_MUTATIONS", "100000")]),
    night("journal", "errors", &[]),
    night("engine", "recovery", &[("MUSTER_SEEDS", "20000"), ("MUSTER_ENTRIES", "10000000")]),
    night("muster-tests", "kills", &[("MUSTER_KILLS", "1000")]),
    night("muster", "event_kills", &[("MUSTER_KILLS", "1000")]),
    night("muster-tests", "strace", &[("MUSTER_ACKS", "100000")]),
    night("muster-tests", "failing_disk", &[("MUSTER_ERRORS", "2000"), ("MUSTER_BALLAST_MIB", "160")]),
];

/// Runs the suites whose name contains `only`, one after the other; each prints what it counted. Prints a line of JSON a suite.
///
/// # Errors
/// Cargo could not be started. Failing tests are counts, not errors.
pub(crate) fn run(root: &Path, only: &str) -> anyhow::Result<Counts> {
    let mut sum = Counts::default();
    for Night { package, test, sizes } in NIGHT.iter().filter(|night| night.test.contains(only)) {
        let began = Instant::now();
        let mut command = crate::cargo(root);
        command.args(["test", "--release", "-p", package, "--test", test, "--", "--nocapture"]);
        // A size that the caller set is his own.
        let sizes = sizes.iter().filter(|(name, _)| std::env::var_os(name).is_none());
        let output = command.envs(sizes.copied()).output().context("cannot start cargo")?;
        let said = [output.stderr, output.stdout].concat();
        let said = String::from_utf8_lossy(&said);
        let mut watch = Watch::default();
        said.lines().for_each(|line| watch.line(line.trim_end(), began.elapsed()));
        let (counts, _) = watch.finish(began.elapsed(), output.status.success());
        let (passed, failed) = (counts.passed, counts.failed);
        print!("{said}");
        println!(
            "{{\"suite\":\"{package} {test}\",\"passed\":{passed},\"failed\":{failed},\"seconds\":{}}}",
            began.elapsed().as_secs()
        );
        sum = sum.plus(counts);
    }
    Ok(sum)
}
