//! Starts the built program and asks it.
#![allow(dead_code, reason = "each test file uses its own part")]

pub(crate) mod cars;
pub(crate) mod ear;
pub(crate) mod life;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

pub(crate) const MUSTER: &str = env!("CARGO_BIN_EXE_muster");

/// A running `muster serve`; killed when dropped.
pub(crate) struct Served {
    child: Child,
    pub(crate) http: String,
    pub(crate) listen: BTreeMap<String, SocketAddr>,
}

impl Served {
    /// Starts it on free ports, without a journal, and waits for `ready`.
    pub(crate) fn with(arguments: &[&str]) -> Self {
        Self::on("off", arguments)
    }

    /// The same with its journal in `data`.
    pub(crate) fn on(data: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new(MUSTER)
            .args(["serve", "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--data", data])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().unwrap();
        let mut served = Self { http: String::new(), listen: BTreeMap::new(), child };
        for line in BufReader::new(stdout).lines() {
            let line = line.unwrap();
            if line == "ready" {
                break;
            }
            match line.split_whitespace().collect::<Vec<_>>()[..] {
                ["map", "and", "HTTP", url] => url.clone_into(&mut served.http),
                ["devices", listen] => {
                    let (name, address) = listen.split_once('=').unwrap();
                    served.listen.insert(name.to_owned(), address.split_once("://").unwrap().1.parse().unwrap());
                }
                _ => {}
            }
        }
        served
    }

    pub(crate) fn connect(&self, protocol: &str) -> Terminal {
        let stream = TcpStream::connect(self.listen[protocol]).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        Terminal(stream)
    }

    pub(crate) fn get(&self, path: &str) -> (u16, Value) {
        get(&self.http, path)
    }

    pub(crate) fn send(&self, path: &str, body: &str) -> (u16, Value) {
        let request = agent().post(format!("{}{path}", self.http)).header("content-type", "application/json");
        let mut answer = request.send(body).unwrap();
        (answer.status().as_u16(), answer.body_mut().read_json().unwrap())
    }

    /// The value of one line of `/metrics`; 0 when it is not there yet.
    pub(crate) fn metric(&self, line: &str) -> u64 {
        let text = agent().get(format!("{}/metrics", self.http)).call().unwrap().body_mut().read_to_string().unwrap();
        text.lines().find_map(|have| have.strip_prefix(line)?.trim().parse().ok()).unwrap_or(0)
    }

    /// Waits for an event to be counted: asks until it is, for at most ten seconds.
    pub(crate) fn await_metric(&self, line: &str, value: u64) {
        let began = std::time::Instant::now();
        while self.metric(line) < value {
            assert!(began.elapsed() < Duration::from_secs(10), "{line} did not reach {value}: {}", self.metric(line));
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks for a path of the server at `http`.
pub(crate) fn get(http: &str, path: &str) -> (u16, Value) {
    let mut answer = agent().get(format!("{http}{path}")).call().unwrap();
    (answer.status().as_u16(), answer.body_mut().read_json().unwrap())
}

pub(crate) fn agent() -> ureq::Agent {
    ureq::Agent::new_with_config(ureq::Agent::config_builder().http_status_as_error(false).build())
}

/// A device's end of a connection.
pub(crate) struct Terminal(TcpStream);

impl Terminal {
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    /// Reads one frame between two flags.
    pub(crate) fn frame(&mut self) -> Vec<u8> {
        let mut frame = Vec::new();
        let mut byte = [0];
        loop {
            self.0.read_exact(&mut byte).unwrap();
            frame.push(byte[0]);
            if byte[0] == 0x7E && frame.len() > 1 {
                return frame;
            }
        }
    }

    /// Whether the server has hung up.
    pub(crate) fn is_closed(&mut self) -> bool {
        matches!(self.0.read(&mut [0]), Ok(0) | Err(_))
    }

    /// Everything that comes until the server closes the connection.
    pub(crate) fn last_words(&mut self) -> Vec<u8> {
        let mut words = Vec::new();
        self.0.read_to_end(&mut words).expect("the server closes the connection");
        words
    }
}

pub(crate) fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}
