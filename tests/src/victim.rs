//! A victim from outside: started, listened to, killed.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use crate::orders::{Orders, Point};

/// Longer than anything here takes; only a test that hangs waits so long.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A running victim; killed when dropped.
pub struct Victim {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    addresses: BTreeMap<String, SocketAddr>,
    /// What it said besides its addresses.
    said: Vec<String>,
}

/// How a victim ended.
#[derive(Debug)]
pub struct End {
    /// The point that it reached, if it ended there.
    pub point: Option<Point>,
    /// What the system says.
    pub status: ExitStatus,
    /// All that it said besides its addresses.
    pub said: Vec<String>,
}

impl Victim {
    /// Starts a server on `folder`.
    ///
    /// # Panics
    /// When the program cannot be started.
    #[must_use]
    pub fn serve(program: &str, folder: &Path, orders: &Orders) -> Self {
        Self::of(Command::new(program).arg("serve").arg(folder).args(orders.to_arguments()))
    }

    /// Starts a backup of `from` to `to`.
    ///
    /// # Panics
    /// When the program cannot be started.
    #[must_use]
    pub fn back_up(program: &str, from: &Path, to: &Path) -> Self {
        Self::of(Command::new(program).arg("backup").arg(from).arg(to))
    }

    /// Starts `command`, which ends in the words of a victim.
    ///
    /// # Panics
    /// When the program cannot be started.
    #[must_use]
    pub fn of(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the victim starts");
        let output = child.stdout.take().expect("its output is a pipe");
        let (tell, lines) = channel();
        std::thread::spawn(move || {
            let mut lines = BufReader::new(output).lines().map_while(Result::ok);
            lines.all(|line| tell.send(line).is_ok())
        });
        Self { input: child.stdin.take(), child, lines, addresses: BTreeMap::new(), said: Vec::new() }
    }

    /// Waits until it says this word; `false` when it ends before.
    ///
    /// # Panics
    /// When neither happens.
    pub fn wait_for(&mut self, word: &str) -> bool {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => {
                    let is_it = line == word;
                    self.take(line);
                    if is_it {
                        return true;
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return false,
                Err(RecvTimeoutError::Timeout) => panic!("the victim never said {word:?}"),
            }
        }
    }

    /// Whether it has said this word.
    pub fn has_said(&mut self, word: &str) -> bool {
        while let Ok(line) = self.lines.try_recv() {
            self.take(line);
        }
        self.said.iter().any(|said| said == word)
    }

    fn take(&mut self, line: String) {
        match line.split_once(' ') {
            Some((name, address)) if let Ok(address) = address.parse() => {
                self.addresses.insert(name.to_owned(), address);
            }
            _ => self.said.push(line),
        }
    }

    /// Where it listens for `http`, `muster` or `jt808`.
    ///
    /// # Panics
    /// When it was not waited for until it was `ready`.
    #[must_use]
    pub fn address(&self, name: &str) -> SocketAddr {
        self.addresses[name]
    }

    /// Gives an order and waits until it is done.
    ///
    /// # Panics
    /// When it does not obey.
    pub fn order(&mut self, word: &str) {
        let input = self.input.as_mut().expect("its input is open");
        writeln!(input, "{word}").expect("it reads its input");
        assert!(self.wait_for("done"), "it obeys");
    }

    /// Waits until it ends by itself, so long at the most.
    pub fn ends_within(&mut self, time: Duration) -> bool {
        let until = Instant::now() + time;
        loop {
            match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => self.take(line),
                Err(RecvTimeoutError::Disconnected) => return true,
                Err(RecvTimeoutError::Timeout) => return false,
            }
        }
    }

    /// Kills it, if it lives.
    pub fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
    }

    /// Tells it to stop, in good order.
    pub fn stop(&mut self) {
        self.input = None;
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not end.
    pub fn end(mut self) -> End {
        assert!(self.ends_within(PATIENCE), "the victim does not end; it said {:?}", self.said);
        let status = self.child.wait().expect("a child is waited for");
        let said = std::mem::take(&mut self.said);
        let point = said.iter().find_map(|line| Point::named(line.strip_prefix("reached ")?));
        End { point, status, said }
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        self.kill();
        let _ = self.child.wait();
    }
}
