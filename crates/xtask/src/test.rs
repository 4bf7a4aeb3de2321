//! `cargo xtask test`.

use std::io::{self, BufRead, BufReader, PipeReader, Write};
use std::path::Path;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::suites::{Counts, Watch};

/// How long to wait for more output once cargo has ended: a process left over by a test may hold the pipe open.
const SILENCE_AFTER_EXIT: Duration = Duration::from_secs(1);

/// Runs all tests, streams their output, prints the table of suites, and returns the sum.
///
/// # Errors
/// Cargo could not be started, or our own output is closed. Failing tests are counts, not errors.
pub(crate) fn run(root: &Path) -> anyhow::Result<Counts> {
    let start = Instant::now();
    // One pipe for both streams keeps cargo's headers and the suites' results in order.
    let (reader, writer) = io::pipe()?;
    let mut command = crate::cargo(root);
    command
        .args(["test", "--release", "--workspace", "--no-fail-fast"])
        .envs([("CARGO_TERM_COLOR", "never"), ("CARGO_TERM_QUIET", "false")])
        .stdout(writer.try_clone()?)
        .stderr(writer);
    let mut child = command.spawn().context("cannot start cargo")?;
    // The command holds our write ends of the pipe, which would keep it open for ever.
    drop(command);

    let lines = lines_of(reader);
    let mut watch = Watch::default();
    loop {
        match lines.recv_timeout(SILENCE_AFTER_EXIT) {
            Ok(line) => {
                io::stdout().write_all(&line)?;
                watch.line(String::from_utf8_lossy(&line).trim_end(), start.elapsed());
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) if child.try_wait()?.is_some() => break,
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
    let is_exit_ok = child.wait()?.success();
    let (counts, table) = watch.finish(start.elapsed(), is_exit_ok);
    println!("\n{table}");
    Ok(counts)
}

/// The lines of the pipe, newline included, from a thread so that the caller can give up waiting.
fn lines_of(reader: PipeReader) -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::sync_channel(1024);
    thread::spawn(move || {
        let mut reader = BufReader::new(reader);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|bytes| bytes > 0) {
            if sender.send(std::mem::take(&mut line)).is_err() {
                break;
            }
        }
    });
    receiver
}
