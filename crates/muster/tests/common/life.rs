//! A `muster serve` that is killed at a moment of the test's choice.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use super::MUSTER;

/// A running server on free ports; killed when dropped.
pub(crate) struct Life {
    child: Child,
    lines: Receiver<String>,
    said: Vec<String>,
}

/// Where a server that is ready listens.
#[derive(Debug, Clone)]
pub(crate) struct Ready {
    /// As `http://127.0.0.1:8080`.
    pub(crate) http: String,
    pub(crate) muster: SocketAddr,
}

impl Life {
    /// Starts it on `data`; nothing is waited for. Segments are small, since every start begins one.
    pub(crate) fn begin(data: &Path) -> Self {
        Self::with(data, &[])
    }

    /// The same with more arguments.
    pub(crate) fn with(data: &Path, arguments: &[&str]) -> Self {
        let config = data.with_extension("toml");
        std::fs::write(&config, "journal_segment_mib = 8\n").expect("a file beside the data");
        let mut command = Command::new(MUSTER);
        command.args(["serve", "--http", "127.0.0.1:0", "--grpc", "off", "--listen", "muster=tcp://127.0.0.1:0"]);
        command.arg("--data").arg(data).arg("--config").arg(config).args(arguments);
        // The test's own size is no setting of the server.
        command.env_remove("MUSTER_KILLS");
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the program starts");
        let output = child.stdout.take().expect("its output is a pipe");
        let (tell, lines) = channel();
        std::thread::spawn(move || {
            let mut lines = BufReader::new(output).lines().map_while(Result::ok);
            lines.all(|line| tell.send(line).is_ok())
        });
        Self { child, lines, said: Vec::new() }
    }

    /// Waits until it is ready, so long at the most.
    pub(crate) fn is_ready_within(&mut self, time: Duration) -> Option<Ready> {
        let until = Instant::now() + time;
        loop {
            let line = self.lines.recv_timeout(until.saturating_duration_since(Instant::now())).ok()?;
            self.said.push(line);
            if self.said.last().is_some_and(|line| line == "ready") {
                break;
            }
        }
        let word = |begin: &str| self.said.iter().find_map(|line| Some(line.strip_prefix(begin)?.trim().to_owned()));
        let (http, devices) = (word("map and HTTP")?, word("devices")?);
        Some(Ready { http, muster: devices.split_once("://")?.1.parse().ok()? })
    }

    /// Waits so long; `false` when it ends by itself before.
    pub(crate) fn lives_for(&mut self, time: Duration) -> bool {
        let until = Instant::now() + time;
        loop {
            match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => self.said.push(line),
                Err(RecvTimeoutError::Timeout) => return true,
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
    }

    /// What it said.
    pub(crate) fn said(&self) -> &[String] {
        &self.said
    }

    /// Kills it with SIGKILL and waits for its end.
    pub(crate) fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Tells it to stop, in good order (SIGTERM).
    pub(crate) fn stop(&self) {
        let told = Command::new("sh").arg("-c").arg(format!("kill {}", self.child.id())).status();
        assert!(told.expect("there is a shell").success());
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> ExitStatus {
        self.child.wait().expect("a child is waited for")
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.kill();
    }
}
