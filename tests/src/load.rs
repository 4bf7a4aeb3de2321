//! The load on a victim: senders that keep account of what they sent and what was acknowledged, and go on after a lost
//! connection with what was not.

use std::collections::VecDeque;
use std::io::{self, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use prost::Message;
use testkit::{AckJournal, Seeded};
use wire::proto::{self, gateway_down, gateway_up};

use crate::http::Asker;
use crate::sources::Source;
use crate::victim::PATIENCE;

/// The account of all senders to one victim.
#[derive(Debug)]
pub struct Ledger {
    journal: Mutex<AckJournal>,
    news: Condvar,
}

impl Ledger {
    /// Of so many sources.
    #[must_use]
    pub fn of(sources: usize) -> Self {
        Self { journal: Mutex::new(AckJournal::of(sources)), news: Condvar::new() }
    }

    /// The account as it stands.
    #[must_use]
    pub fn now(&self) -> AckJournal {
        self.lock().clone()
    }

    /// All connections are lost.
    pub fn go_back(&self) {
        self.lock().go_back();
    }

    /// Notes the next report of each of `sources`; returns their numbers.
    pub fn send(&self, sources: impl Iterator<Item = Source>) -> Vec<(Source, u64)> {
        let mut journal = self.lock();
        sources.map(|source| (source, journal.send(source.at))).collect()
    }

    /// Notes that these and all before them are acknowledged.
    pub fn acknowledge(&self, reports: &[(Source, u64)]) {
        let mut journal = self.lock();
        reports.iter().for_each(|(source, number)| journal.acknowledge(source.at, *number));
        self.news.notify_all();
    }

    /// Waits until so much is acknowledged in all; `false` when it takes too long.
    pub fn wait_for(&self, acknowledged: u64) -> bool {
        let has_less = |journal: &mut AckJournal| journal.acknowledged_total() < acknowledged;
        let waited = self.news.wait_timeout_while(self.lock(), PATIENCE, has_less);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    fn lock(&self) -> MutexGuard<'_, AckJournal> {
        // A sender that panicked has failed the test; the others may end in peace.
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection of a sender. Nothing is buffered on the way out.
pub struct Line(BufReader<TcpStream>);

impl Line {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn to(server: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(server)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// When the connection is lost.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.get_mut().write_all(bytes)
    }

    /// Its own address.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.0.get_ref().local_addr().ok()
    }

    /// Whether nothing has come that was not read.
    ///
    /// # Panics
    /// When the connection is lost.
    pub fn is_silent(&mut self) -> bool {
        let stream = self.0.get_ref();
        let nothing = (|| {
            stream.set_nonblocking(true)?;
            let peeked = stream.peek(&mut [0]);
            stream.set_nonblocking(false)?;
            peeked
        })();
        match nothing {
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.0.buffer().is_empty(),
            Err(error) => panic!("the connection is lost: {error}"),
            Ok(_) => false,
        }
    }

    /// Sends a request of HTTP/1.1 with a body of JSON.
    ///
    /// # Errors
    /// When the connection is lost.
    pub fn post(&mut self, path: &str, body: &serde_json::Value) -> io::Result<()> {
        let (host, body) = (self.0.get_ref().peer_addr()?, body.to_string());
        let kind = "content-type: application/json";
        let length = body.len();
        self.write(
            format!("POST {path} HTTP/1.1\r\nhost: {host}\r\n{kind}\r\ncontent-length: {length}\r\n\r\n{body}")
                .as_bytes(),
        )
    }

    /// Reads a response of HTTP/1.1: its status and its body.
    ///
    /// # Errors
    /// When the connection is lost.
    ///
    /// # Panics
    /// When it is none.
    pub fn response(&mut self) -> io::Result<(u16, String)> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.byte()?);
        }
        let head = String::from_utf8(head).expect("a head is text").to_ascii_lowercase();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a head has a status");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        let mut body = vec![0; length.expect("a body has a length")];
        self.0.read_exact(&mut body)?;
        Ok((status, String::from_utf8(body).expect("a body is text")))
    }

    fn byte(&mut self) -> io::Result<u8> {
        let mut byte = [0];
        self.0.read_exact(&mut byte).inspect_err(|error| {
            let is_silence = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
            assert!(!is_silence, "an answer that is due does not come");
        })?;
        Ok(byte[0])
    }

    /// Reads one message with its length before it.
    ///
    /// # Errors
    /// When the connection is lost.
    ///
    /// # Panics
    /// When it is no message.
    pub fn message(&mut self) -> io::Result<gateway_down::Payload> {
        let (mut length, mut shift) = (0, 0);
        loop {
            let byte = self.byte()?;
            length |= usize::from(byte & 0x7F) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let mut bytes = vec![0; length];
        self.0.read_exact(&mut bytes)?;
        let down = proto::GatewayDown::decode(&bytes[..]).expect("the server sends messages");
        Ok(down.payload.expect("a message says something"))
    }

    /// Reads one frame of JT/T 808 and returns serial number, message and result of the general acknowledgement in it.
    ///
    /// # Errors
    /// When the connection is lost.
    ///
    /// # Panics
    /// When it is none.
    pub fn general_ack(&mut self) -> io::Result<(u16, u16, u8)> {
        let mut frame = Vec::new();
        loop {
            match (self.byte()?, frame.is_empty()) {
                (0x7E, true) => {}
                (0x7E, false) => break,
                (byte, _) => frame.push(byte),
            }
        }
        Ok(general_ack(&frame).expect("the server sends general acknowledgements"))
    }
}

/// Reads what lies between two flags as a general acknowledgement: serial number, message, result.
#[must_use]
pub fn general_ack(escaped: &[u8]) -> Option<(u16, u16, u8)> {
    let mut frame = Vec::with_capacity(escaped.len());
    let mut rest = escaped.iter();
    while let Some(byte) = rest.next() {
        frame.push(if *byte == 0x7D { rest.next()? + 0x7C } else { *byte });
    }
    match frame[..] {
        [0x80, 0x01, _, _, _, _, _, _, _, _, _, _, s1, s2, m1, m2, result, _] => {
            Some((u16::from_be_bytes([s1, s2]), u16::from_be_bytes([m1, m2]), result))
        }
        _ => None,
    }
}

/// Gives the bytes of a batch with its length before it.
#[must_use]
pub fn batch(gateway: &str, batch_sequence: u64, reports: &[(Source, u64)]) -> Vec<u8> {
    let reports = reports.iter().map(|(source, number)| source.report(*number)).collect();
    let batch = proto::ReportBatch { batch_sequence, reports };
    let up = proto::GatewayUp { gateway: gateway.to_owned(), payload: Some(gateway_up::Payload::Reports(batch)) };
    up.encode_length_delimited_to_vec()
}

/// What a sender has on its way: number of the frame, and what is in it.
type Flying = VecDeque<(u64, Vec<(Source, u64)>)>;

/// A gateway: sends batches ahead of their acknowledgements, and goes on after the last one acknowledged.
#[derive(Debug)]
pub struct Gateway {
    name: String,
    sources: Vec<Source>,
    /// The source whose turn it is.
    turn: usize,
    /// The last batch that was acknowledged.
    acknowledged: u64,
    random: Seeded,
}

impl Gateway {
    const AHEAD: usize = 3;

    /// For these devices.
    #[must_use]
    pub fn of(name: &str, sources: Vec<Source>, seed: u64) -> Self {
        Self { name: name.to_owned(), sources, turn: 0, acknowledged: 0, random: Seeded::new(seed) }
    }

    /// Sends so many batches of `reports` each, or of 20 to 100 each, and returns when all are acknowledged.
    ///
    /// # Errors
    /// When the connection is lost: some may be acknowledged.
    ///
    /// # Panics
    /// When the server answers what it may not.
    pub fn run(&mut self, server: SocketAddr, ledger: &Ledger, batches: u64, reports: Option<usize>) -> io::Result<()> {
        let mut line = Line::to(server)?;
        let mut flying = Flying::new();
        let last = self.acknowledged.saturating_add(batches);
        let mut next = self.acknowledged + 1;
        while self.acknowledged < last {
            if next <= last && flying.len() < Self::AHEAD {
                let count = reports.unwrap_or(20 + (self.random.next() % 81) as usize);
                let turns = (self.turn..self.turn + count).map(|turn| self.sources[turn % self.sources.len()]);
                let taken = ledger.send(turns);
                self.turn = (self.turn + count) % self.sources.len();
                line.write(&batch(&self.name, next, &taken))?;
                flying.push_back((next, taken));
                next += 1;
                continue;
            }
            let answer = line.message()?;
            let (number, taken) = flying.pop_front().expect("an answer follows a batch");
            let ack = proto::Ack { batch_sequence: number, refused: Vec::new() };
            assert_eq!(answer, gateway_down::Payload::Ack(ack), "batch {number} is acknowledged in its turn");
            ledger.acknowledge(&taken);
            self.acknowledged = number;
        }
        Ok(())
    }
}

/// A terminal: sends frames ahead of their acknowledgements.
#[derive(Debug)]
pub struct Terminal {
    source: Source,
    serial: u16,
}

impl Terminal {
    const AHEAD: usize = 8;

    /// For this device.
    #[must_use]
    pub const fn of(source: Source) -> Self {
        Self { source, serial: 0 }
    }

    /// Sends so many frames and returns when all are acknowledged.
    ///
    /// # Errors
    /// When the connection is lost: some may be acknowledged.
    ///
    /// # Panics
    /// When the server answers what it may not.
    pub fn run(&mut self, server: SocketAddr, ledger: &Ledger, frames: u64) -> io::Result<()> {
        let mut line = Line::to(server)?;
        let mut flying = Flying::new();
        let (mut sent, mut acknowledged) = (0, 0);
        while acknowledged < frames {
            if sent < frames && flying.len() < Self::AHEAD {
                self.serial = self.serial.wrapping_add(1);
                let taken = ledger.send(std::iter::once(self.source));
                line.write(&self.source.location(taken[0].1, self.serial))?;
                flying.push_back((u64::from(self.serial), taken));
                sent += 1;
                continue;
            }
            let (serial, message, result) = line.general_ack()?;
            let (expected, taken) = flying.pop_front().expect("an answer follows a frame");
            assert_eq!((u64::from(serial), message, result), (expected, 0x0200, 0), "frames are acknowledged in turn");
            ledger.acknowledge(&taken);
            acknowledged += 1;
        }
        Ok(())
    }
}

/// Posts a few reports at a time and waits for each answer, until the server is gone.
///
/// # Panics
/// When the server answers what it may not.
pub fn post(server: SocketAddr, ledger: &Ledger, sources: &[Source]) {
    let asker = Asker::of(server);
    loop {
        let taken = ledger.send(sources.iter().copied());
        let reports: Vec<_> = taken.iter().map(|(source, number)| source.json(*number)).collect();
        let Ok(answer) = asker.post("/v1/reports", &serde_json::json!({ "reports": reports })) else { return };
        let expected = serde_json::json!({ "accepted": taken.len(), "refused": [] });
        assert_eq!((answer.status, answer.json()), (200, expected), "{}", answer.text);
        ledger.acknowledge(&taken);
    }
}
