//! What the project does to itself: tests, CI, house rules. Run as `cargo xtask COMMAND`.

mod ci;
mod house;
mod soak;
mod suites;
mod test;

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, bail};

use crate::suites::Counts;

const HELP: &str = "\
Usage: cargo xtask COMMAND

  test    all tests of the workspace, release profile; seconds per suite; last line `N passed, N failed`
  house   no source file over 600 lines, no path of one machine in any file
  soak    the tests of the promises at their night sizes, hours; `soak NAME`: only suites whose name contains it
  nanning writes fixtures/nanning anew from the simulated city; a test fails when it is not what is committed
  loom    every interleaving of the index's move of a unit between buckets, as a model; built apart, a minute
  ci      fmt, house, clippy, doc, test, loom, and a short demo; stops at the first failing step
";

fn main() -> ExitCode {
    let outcome = run(&env::args().skip(1).collect::<Vec<_>>());
    outcome.unwrap_or_else(|error| {
        eprintln!("xtask: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(arguments: &[String]) -> anyhow::Result<ExitCode> {
    let root = workspace_root()?;
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["--help" | "-h" | "help"] => {
            print!("{HELP}");
            Ok(ExitCode::SUCCESS)
        }
        ["test"] => {
            let counts = test::run(&root)?;
            println!("{counts}");
            Ok(exit_code(counts))
        }
        ["soak", only @ ..] if only.len() <= 1 => {
            let counts = soak::run(&root, only.first().unwrap_or(&""))?;
            println!("{counts}");
            Ok(exit_code(counts))
        }
        ["loom"] => ci::loom(&root).map(|()| ExitCode::SUCCESS),
        ["nanning"] => ci::nanning(&root).map(|()| ExitCode::SUCCESS),
        ["house"] => house::run(&root).map(|()| ExitCode::SUCCESS),
        ["ci"] => {
            let counts = ci::run(&root);
            println!("{counts}");
            Ok(exit_code(counts))
        }
        _ => bail!("unknown or missing command\n\n{HELP}"),
    }
}

fn exit_code(counts: Counts) -> ExitCode {
    if counts.is_success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The root of the checkout; `cargo run` says where this crate is.
fn workspace_root() -> anyhow::Result<PathBuf> {
    let crate_dir = env::var_os("CARGO_MANIFEST_DIR").context("run this as `cargo xtask`")?;
    let root = PathBuf::from(crate_dir).join("../..");
    root.canonicalize().with_context(|| format!("no workspace at {}", root.display()))
}

/// The cargo that runs us, without the variables it set for this crate: some build scripts (`ring`) watch
/// them and would be built again at every change between `cargo` and `cargo xtask`.
fn cargo(root: &Path) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root).stdin(std::process::Stdio::null());
    for (name, _) in env::vars_os() {
        let is_of_this_crate = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"]
            .iter()
            .any(|prefix| name.to_string_lossy().starts_with(prefix));
        if is_of_this_crate {
            command.env_remove(name);
        }
    }
    command
}
