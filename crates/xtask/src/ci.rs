//! `cargo xtask ci`.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, ensure};

use crate::suites::Counts;
use crate::{cargo, house, test};

/// What the demo step runs: long enough for the city to move, on a free port.
const DEMO: &[&str] =
    &["run", "--release", "--", "demo", "--duration", "20s", "--http", "127.0.0.1:0", "--units", "2000"];

/// Runs every step up to the first that fails. A step that fails outside the tests counts as one failure.
pub(crate) fn run(root: &Path) -> Counts {
    let mut counts = Counts::default();
    let outcome = steps(root, &mut counts);
    if let Err(error) = outcome {
        println!("ci: {error:#}");
        if counts.failed == 0 {
            counts = counts.plus_failure();
        }
    }
    counts
}

fn steps(root: &Path, counts: &mut Counts) -> anyhow::Result<()> {
    step("fmt", || run_cargo(root, &["fmt", "--all", "--check"], &[]))?;
    step("house", || house::run(root))?;
    let clippy = ["clippy", "--release", "--workspace", "--all-targets", "--", "-D", "warnings"];
    step("clippy", || run_cargo(root, &clippy, &[]))?;
    let doc = ["doc", "--no-deps", "--release", "--workspace"];
    step("doc", || run_cargo(root, &doc, &[("RUSTDOCFLAGS", "-D warnings")]))?;
    step("test", || {
        *counts = test::run(root)?;
        println!("{counts}");
        ensure!(counts.is_success(), "{counts}");
        Ok(())
    })?;
    step("loom", || loom(root))?;
    step("demo", || run_cargo(root, DEMO, &[]))
}

/// Checks the model of the index's move. Loom's atomics come in by a flag for the whole build, so it has a folder of its own.
///
/// # Errors
/// The model failed, or could not be built.
pub(crate) fn loom(root: &Path) -> anyhow::Result<()> {
    let test = ["test", "--release", "-p", "index", "--lib", "model_of", "--target-dir", "target/loom"];
    run_cargo(root, &test, &[("RUSTFLAGS", "--cfg loom")])
}

/// Writes the fixture of the city anew.
///
/// # Errors
/// It could not be built or written.
pub(crate) fn nanning(root: &Path) -> anyhow::Result<()> {
    run_cargo(root, &["run", "--release", "-p", "muster-tests", "--bin", "nanning", "--", "fixtures/nanning"], &[])
}

fn step(name: &str, body: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
    println!("== {name}");
    let start = Instant::now();
    let outcome = body();
    let verdict = if outcome.is_ok() { "ok" } else { "FAILED" };
    println!("== {name}: {verdict}, {:.1} s", start.elapsed().as_secs_f64());
    outcome.with_context(|| format!("step `{name}` failed"))
}

fn run_cargo(root: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> anyhow::Result<()> {
    let status = cargo(root).args(arguments).envs(variables.iter().copied()).status().context("cannot start cargo")?;
    ensure!(status.success(), "cargo {}: {status}", arguments.join(" "));
    Ok(())
}
