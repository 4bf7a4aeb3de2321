//! Which acknowledgements left before what they acknowledge was on stable storage, by a trace of the system's calls.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::Path;

use prost::Message;
use wire::proto::{self, gateway_down};

use crate::load::general_ack;
use crate::speaker::Surface;
use crate::trace::{Call, Deed};

/// A segment's header; records are behind it.
const SEGMENT_HEADER_BYTES: u64 = 64;
const SEGMENT: &str = ".segment";

/// What a trace shows of one data folder and the connections of one server.
#[derive(Debug, Default)]
pub struct Trace {
    folder: String,
    records: Vec<Record>,
    /// By file: the lines on which its syncs began and ended.
    syncs: HashMap<String, Vec<(usize, usize)>>,
    /// By segment: the line on which it had got its name.
    named: HashMap<String, usize>,
    /// By the two ends, the server's first: what left, and the lines on which the parts began.
    sent: BTreeMap<(SocketAddr, SocketAddr), Outgoing>,
}

/// A record that was written.
#[derive(Debug)]
struct Record {
    file: String,
    written: usize,
    first: u64,
    entries: u64,
}

#[derive(Debug, Default)]
struct Outgoing {
    content: Vec<u8>,
    /// From this byte on, what began to leave on this line.
    parts: Vec<(usize, usize)>,
}

impl Outgoing {
    fn line_of(&self, byte: usize) -> usize {
        self.parts[self.parts.partition_point(|(from, _)| *from <= byte) - 1].1
    }
}

/// An acknowledgement that left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack {
    /// The frame that it names; with HTTP the number of the answer on its connection, from 1.
    pub frame: u64,
    /// The line on which its first byte began to leave.
    pub line: usize,
}

impl Trace {
    /// Of a server with this data folder.
    #[must_use]
    pub fn of(folder: &Path) -> Self {
        Self { folder: folder.display().to_string(), ..Self::default() }
    }

    /// Takes calls in the order of their ends.
    ///
    /// # Errors
    /// A write to a segment that is no record.
    pub fn take(&mut self, call: Call) -> Result<(), String> {
        let Call { began, ended, deed } = call;
        match deed {
            Deed::Write { file, offset, bytes, head } if file.ends_with(SEGMENT) && offset >= SEGMENT_HEADER_BYTES => {
                let word = |at: usize, bytes: usize| {
                    let part = head.get(at..at + bytes)?;
                    Some(part.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
                };
                let (Some(length), Some(first), Some(entries)) = (word(0, 4), word(8, 8), word(20, 4)) else {
                    return Err(format!("{bytes} bytes at {offset} of {file} are no record"));
                };
                if bytes != (length + 8).next_multiple_of(8) {
                    return Err(format!("{bytes} bytes at {offset} of {file} are no whole record"));
                }
                self.records.push(Record { file, written: ended, first, entries });
            }
            Deed::Write { .. } => {}
            Deed::Sync { file } => self.syncs.entry(file).or_default().push((began, ended)),
            Deed::Rename { to } => {
                self.named.insert(to, ended);
            }
            Deed::Send { from, to, content } => {
                let outgoing = self.sent.entry((from, to)).or_default();
                outgoing.parts.push((outgoing.content.len(), began));
                outgoing.content.extend(content);
            }
        }
        Ok(())
    }

    /// The line on which a sync of this file ended that began after `line`.
    fn synced_after(&self, file: &str, line: usize) -> Option<usize> {
        let syncs = self.syncs.get(file)?;
        syncs.iter().filter(|(began, _)| *began > line).map(|(_, ended)| *ended).min()
    }

    /// Entries up to these sequences were on stable storage from these lines on, both rising: written and synced, in a
    /// segment whose name is synced, behind others of which the same is true.
    ///
    /// # Errors
    /// A hole in what was written.
    pub fn covered(&self) -> Result<Covered, String> {
        let mut steps: Vec<(u64, Option<usize>)> = Vec::new();
        let (mut next, mut line) = (None, Some(0));
        for record in &self.records {
            if next.is_some_and(|next| next != record.first) {
                return Err(format!("a record from {} on follows where {next:?} is expected", record.first));
            }
            next = Some(record.first + record.entries);
            if record.entries == 0 {
                continue;
            }
            let content = self.synced_after(&record.file, record.written);
            let name = self.named.get(&record.file).and_then(|named| self.synced_after(&self.folder, *named));
            line = line.zip(content).zip(name).map(|((line, content), name)| line.max(content).max(name));
            steps.push((record.first + record.entries - 1, line));
        }
        Ok(Covered(steps))
    }

    /// What left from `server` by the address that it left for, as acknowledgements.
    #[must_use]
    pub fn acks(&self, server: SocketAddr, surface: Surface) -> Vec<(SocketAddr, Vec<Ack>)> {
        let of_server = self.sent.iter().filter(|((from, _), _)| *from == server);
        of_server.map(|((_, to), outgoing)| (*to, acks(outgoing, surface))).collect()
    }
}

/// From which line on which entries were on stable storage.
#[derive(Debug)]
pub struct Covered(Vec<(u64, Option<usize>)>);

impl Covered {
    /// The line from which on the entry of this sequence was; `None` when it never was.
    #[must_use]
    pub fn since(&self, sequence: u64) -> Option<usize> {
        self.0.get(self.0.partition_point(|(last, _)| *last < sequence))?.1
    }
}

fn acks(outgoing: &Outgoing, surface: Surface) -> Vec<Ack> {
    let content = &outgoing.content[..];
    let found = match surface {
        Surface::Grpc => messages(&grpc_body(content)),
        Surface::Muster => messages(&(0..).zip(content.iter().copied()).collect::<Vec<_>>()),
        Surface::Jt808 => terminal_acks(content),
        Surface::Http => responses(content),
    };
    found.into_iter().map(|(at, frame)| Ack { frame, line: outgoing.line_of(at) }).collect()
}

/// A byte with its place in what left.
type Placed = (usize, u8);

/// The messages of a stream of HTTP/2, each with its length before it as a varint, as over TCP.
fn grpc_body(content: &[u8]) -> Vec<Placed> {
    const FRAME_HEADER_BYTES: usize = 9;
    const DATA: u8 = 0;
    const PREFIX_BYTES: usize = 5;
    let mut data = Vec::new();
    let mut at = 0;
    while let Some(&[l0, l1, l2, kind, ..]) = content.get(at..at + FRAME_HEADER_BYTES) {
        let length = usize::from(l0) << 16 | usize::from(l1) << 8 | usize::from(l2);
        let body = at + FRAME_HEADER_BYTES;
        if kind == DATA {
            // The place of the frame, which may begin to leave before its content.
            data.extend(content.get(body..body + length).unwrap_or_default().iter().map(|byte| (at, *byte)));
        }
        at = body + length;
    }
    let mut messages = Vec::new();
    let mut rest = &data[..];
    while let Some((prefix, behind)) = rest.split_at_checked(PREFIX_BYTES) {
        let length = prefix[1..].iter().fold(0, |length, (_, byte)| length << 8 | usize::from(*byte));
        let Some((message, behind)) = behind.split_at_checked(length) else { break };
        let mut varint = Vec::new();
        prost::encoding::encode_varint(length as u64, &mut varint);
        messages.extend(varint.into_iter().map(|byte| (prefix[0].0, byte)));
        messages.extend(message);
        rest = behind;
    }
    messages
}

/// Acknowledgements of batches, each with its place.
fn messages(content: &[Placed]) -> Vec<(usize, u64)> {
    let bytes: Vec<u8> = content.iter().map(|(_, byte)| *byte).collect();
    let mut rest = &bytes[..];
    let mut acks = Vec::new();
    while !rest.is_empty() {
        let at = content[bytes.len() - rest.len()].0;
        let Ok(down) = proto::GatewayDown::decode_length_delimited(&mut rest) else { break };
        if let Some(gateway_down::Payload::Ack(ack)) = down.payload {
            acks.push((at, ack.batch_sequence));
        }
    }
    acks
}

/// Acknowledgements of terminals' reports.
fn terminal_acks(content: &[u8]) -> Vec<(usize, u64)> {
    let mut acks = Vec::new();
    let mut at = 0;
    for frame in content.split(|byte| *byte == 0x7E) {
        if let Some((serial, 0x0200, 0)) = general_ack(frame) {
            acks.push((at, u64::from(serial)));
        }
        at += frame.len() + 1;
    }
    acks
}

/// Answers 200.
fn responses(content: &[u8]) -> Vec<(usize, u64)> {
    let begin = b"HTTP/1.1 ";
    let places = content.windows(begin.len()).enumerate().filter(|(_, window)| window == begin);
    let all = (1..).zip(places.map(|(at, _)| at));
    all.filter(|(_, at)| content[at + begin.len()..].starts_with(b"200")).map(|(number, at)| (at, number)).collect()
}
