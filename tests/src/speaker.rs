//! One sender on one surface of a server, frame by frame, who tells an acknowledgement from a refusal.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;

use wire::proto::{self, gateway_down, gateway_up};

use crate::grpc::Stream;
use crate::load::{Ledger, Line, batch};
use crate::sources::{Source, Speech};
use crate::victim::Victim;

/// Where reports come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Surface {
    /// `Ingest.Connect`.
    Grpc,
    /// The same messages over TCP.
    Muster,
    /// A terminal.
    Jt808,
    /// `POST /v1/reports`.
    Http,
}

impl Surface {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Grpc, Self::Muster, Self::Jt808, Self::Http];

    /// The name under which a victim says where it listens.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Muster => "muster",
            Self::Jt808 => "jt808",
            Self::Http => "http",
        }
    }

    /// How its sources speak.
    #[must_use]
    pub const fn speech(self) -> Speech {
        match self {
            Self::Grpc | Self::Muster => Speech::Muster,
            Self::Jt808 => Speech::Jt808,
            Self::Http => Speech::Json,
        }
    }
}

/// What a server said to a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// It is settled.
    Acknowledged(u64),
    /// It is not stored, for this reason.
    NotStored {
        /// The frame.
        frame: u64,
        /// `journal_full` or `journal_failed`.
        reason: String,
        /// Whether it is on the map all the same; HTTP does not say it in a field.
        is_applied: Option<bool>,
    },
    /// A heartbeat was answered.
    Heartbeat(u64),
}

/// What is in a frame.
pub type Reports = Vec<(Source, u64)>;

enum Voice {
    Grpc(Box<Stream>),
    Line(Line),
}

/// A sender with one connection.
pub struct Speaker {
    surface: Surface,
    name: String,
    voice: Voice,
    sources: Vec<Source>,
    sent: BTreeMap<u64, Reports>,
    last: u64,
    answered: u64,
    acknowledged: Vec<u64>,
    /// A frame was not stored: those behind it count only when it was sent again, on another connection.
    has_hole: bool,
}

impl Speaker {
    /// Connects to a victim that is ready, for these sources; `name` is the gateway's.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn to(victim: &Victim, surface: Surface, name: &str, sources: Vec<Source>) -> io::Result<Self> {
        let server = victim.address(surface.name());
        let voice = match surface {
            Surface::Grpc => Voice::Grpc(Box::new(Stream::to(server)?)),
            _ => Voice::Line(Line::to(server)?),
        };
        Ok(Self {
            surface,
            name: name.to_owned(),
            voice,
            sources,
            sent: BTreeMap::new(),
            last: 0,
            answered: 0,
            acknowledged: Vec::new(),
            has_hole: false,
        })
    }

    /// Its surface.
    #[must_use]
    pub const fn surface(&self) -> Surface {
        self.surface
    }

    /// Its own address; `None` with gRPC, whose connection has one of its own.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        match &self.voice {
            Voice::Grpc(_) => None,
            Voice::Line(line) => line.address(),
        }
    }

    /// What it sent, by frame.
    #[must_use]
    pub const fn sent(&self) -> &BTreeMap<u64, Reports> {
        &self.sent
    }

    /// The reports in all frames that were acknowledged, also behind one that was not.
    pub fn acknowledged(&self) -> impl Iterator<Item = (Source, u64)> {
        self.acknowledged.iter().flat_map(|frame| self.sent[frame].iter().copied())
    }

    /// Frames that it may have under way.
    #[must_use]
    pub const fn ahead_max(&self) -> u64 {
        if matches!(self.surface, Surface::Http) { 1 } else { 4 }
    }

    /// Sends the next report of each of its sources as one frame; returns the frame's number.
    ///
    /// # Errors
    /// When the connection is lost.
    pub fn send(&mut self, ledger: &Ledger) -> io::Result<u64> {
        let reports = ledger.send(self.sources.iter().copied());
        self.last += 1;
        let number = self.last;
        self.sent.insert(number, reports.clone());
        match (&mut self.voice, self.surface) {
            (Voice::Grpc(stream), _) => {
                let reports = reports.iter().map(|(source, number)| source.report(*number)).collect();
                let batch = proto::ReportBatch { batch_sequence: number, reports };
                let payload = Some(gateway_up::Payload::Reports(batch));
                stream.write(proto::GatewayUp { gateway: self.name.clone(), payload })?;
            }
            (Voice::Line(line), Surface::Jt808) => {
                let frame = reports.iter().flat_map(|(source, report)| source.location(*report, number as u16));
                line.write(&frame.collect::<Vec<_>>())?;
            }
            (Voice::Line(line), Surface::Http) => {
                let reports: Vec<_> = reports.iter().map(|(source, number)| source.json(*number)).collect();
                line.post("/v1/reports", &serde_json::json!({ "reports": reports }))?;
            }
            (Voice::Line(line), _) => line.write(&batch(&self.name, number, &reports))?,
        }
        Ok(number)
    }

    /// Sends a terminal's heartbeat.
    ///
    /// # Errors
    /// When the connection is lost.
    ///
    /// # Panics
    /// When it is no terminal.
    pub fn heartbeat(&mut self) -> io::Result<()> {
        self.last += 1;
        let frame = self.sources[0].heartbeat(self.last as u16);
        let Voice::Line(line) = &mut self.voice else { panic!("only a terminal has a heartbeat") };
        line.write(&frame)
    }

    /// Reads the next answer and notes in `ledger` what it acknowledges.
    ///
    /// # Errors
    /// When the connection is lost.
    ///
    /// # Panics
    /// When the server says what it may not.
    pub fn reply(&mut self, ledger: &Ledger) -> io::Result<Reply> {
        let reply = match (&mut self.voice, self.surface) {
            (Voice::Grpc(stream), _) => of_message(stream.message()?),
            (Voice::Line(line), Surface::Jt808) => {
                let (serial, message, result) = line.general_ack()?;
                assert_eq!(result, 0, "a general acknowledgement says that it was done");
                let frame = self.answered + u64::from(serial.wrapping_sub(self.answered as u16));
                if message == 2 { Reply::Heartbeat(frame) } else { Reply::Acknowledged(frame) }
            }
            (Voice::Line(line), Surface::Http) => of_response(self.last, line.response()?),
            (Voice::Line(line), _) => of_message(line.message()?),
        };
        let (Reply::Acknowledged(frame) | Reply::NotStored { frame, .. } | Reply::Heartbeat(frame)) = reply;
        assert!(frame > self.answered, "frames are answered in their order");
        // A terminal is not told: its frame is passed over.
        self.has_hole |= self.sent.range(self.answered + 1..frame).next().is_some();
        self.answered = frame;
        if matches!(reply, Reply::Acknowledged(_)) {
            self.acknowledged.push(frame);
        }
        match reply {
            Reply::Acknowledged(frame) if !self.has_hole => ledger.acknowledge(&self.sent[&frame]),
            Reply::NotStored { .. } => self.has_hole = true,
            _ => {}
        }
        Ok(reply)
    }

    /// Whether nothing has come that was not read.
    pub fn is_silent(&mut self) -> bool {
        match &mut self.voice {
            Voice::Grpc(stream) => stream.is_silent(),
            Voice::Line(line) => line.is_silent(),
        }
    }
}

fn of_message(payload: gateway_down::Payload) -> Reply {
    match payload {
        gateway_down::Payload::Ack(ack) if ack.refused.is_empty() => Reply::Acknowledged(ack.batch_sequence),
        gateway_down::Payload::NotStored(not) => {
            Reply::NotStored { frame: not.batch_sequence, reason: not.reason, is_applied: Some(not.applied) }
        }
        other => panic!("a batch without a fault is answered {other:?}"),
    }
}

fn of_response(frame: u64, (status, body): (u16, String)) -> Reply {
    let body: serde_json::Value = serde_json::from_str(&body).expect("an answer is JSON");
    let kind = body["type"].as_str().unwrap_or_default();
    match status {
        200 if body["refused"] == serde_json::json!([]) => Reply::Acknowledged(frame),
        503 => {
            let reason = kind.rsplit(':').next().unwrap_or_default().replace('-', "_");
            Reply::NotStored { frame, reason, is_applied: None }
        }
        _ => panic!("a batch without a fault is answered {status} {body}"),
    }
}
