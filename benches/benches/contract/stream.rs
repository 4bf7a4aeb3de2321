//! One `NearestStream` on a connection of its own, spoken by hand (RFC 9113): client and server share the cores, and a whole
//! HTTP/2 client would take as much of them as the server does.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use muster_benches::served::HAS_UNITS;

const FRAME_HEAD: usize = 9;
/// Before each gRPC message: not compressed, then its length.
const MESSAGE_HEAD: usize = 5;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GO_AWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// The only stream of a connection.
const STREAM: u32 = 1;
const INITIAL_WINDOW_SIZE: u16 = 4;
/// Of both windows, until somebody says otherwise.
const WINDOW_AT_FIRST: i64 = 65_535;
const WINDOW_MAX: u32 = u32::MAX >> 1;
/// Room is given back when so much of it is used: seldom, as it is plenty.
const GIVE_BACK: u32 = WINDOW_MAX / 4;
/// How an answer ends that has an error: field 9 and the gRPC code.
const REFUSED: [u8; 2] = [9 << 3, 8];
const OUT_OF_TIME: [u8; 2] = [9 << 3, 4];

/// What became of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Kept,
    Refused,
    OutOfTime,
}

impl Verdict {
    fn of(message: &[u8]) -> Self {
        match message.last_chunk() {
            _ if message.first() == Some(&HAS_UNITS) => Self::Kept,
            Some(&REFUSED) => Self::Refused,
            Some(&OUT_OF_TIME) => Self::OutOfTime,
            _ => panic!("an answer without units and without a reason: {message:?}"),
        }
    }
}

/// A connection with its stream of questions.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) socket: TcpStream,
    out: Vec<u8>,
    inbox: Vec<u8>,
    /// What came of messages and is none yet.
    body: Vec<u8>,
    /// Questions for which the server has given no room.
    held: VecDeque<Vec<u8>>,
    stream_room: i64,
    connection_room: i64,
    /// Of a new stream, as the server last set it.
    initial_room: i64,
    used: u32,
}

impl Stream {
    pub(crate) fn open(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).expect("the server listens");
        socket.set_nodelay(true).and_then(|()| socket.set_nonblocking(true)).expect("a socket option");
        let mut out = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        let mut settings = INITIAL_WINDOW_SIZE.to_be_bytes().to_vec();
        settings.extend(WINDOW_MAX.to_be_bytes());
        frame(&mut out, SETTINGS, 0, 0, &settings);
        frame(&mut out, WINDOW_UPDATE, 0, 0, &(WINDOW_MAX - WINDOW_AT_FIRST as u32).to_be_bytes());
        frame(&mut out, HEADERS, END_HEADERS, STREAM, &headers(&address.to_string()));
        let rooms = WINDOW_AT_FIRST;
        let (inbox, body, held) = Default::default();
        let mut stream = Self {
            socket,
            out,
            inbox,
            body,
            held,
            stream_room: rooms,
            connection_room: rooms,
            initial_room: rooms,
            used: 0,
        };
        stream.flush();
        stream
    }

    /// Lays a question; it leaves with [`Self::flush`], or when the server has room for it.
    pub(crate) fn ask(&mut self, question: &[u8]) {
        let bytes = (question.len() + MESSAGE_HEAD) as i64;
        if !self.held.is_empty() || self.stream_room.min(self.connection_room) < bytes {
            self.held.push_back(question.to_vec());
            return;
        }
        self.stream_room -= bytes;
        self.connection_room -= bytes;
        head(&mut self.out, DATA, 0, STREAM, question.len() + MESSAGE_HEAD);
        self.out.push(0);
        self.out.extend((question.len() as u32).to_be_bytes());
        self.out.extend_from_slice(question);
    }

    /// Whether something is laid that the socket did not take.
    pub(crate) const fn is_behind(&self) -> bool {
        !self.out.is_empty()
    }

    pub(crate) fn flush(&mut self) {
        while !self.out.is_empty() {
            match self.socket.write(&self.out) {
                Ok(written) => drop(self.out.drain(..written)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("the server reads no more: {error}"),
            }
        }
    }

    /// Reads what has come and shows what became of each question, in their order.
    pub(crate) fn hear(&mut self, mut each: impl FnMut(Verdict)) {
        let mut chunk = [0; 64 * 1_024];
        match self.socket.read(&mut chunk) {
            Ok(0) => panic!("the server closed the connection"),
            Ok(came) => self.inbox.extend_from_slice(&chunk[..came]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(error) => panic!("the server answers no more: {error}"),
        }
        let (inbox, mut at) = (std::mem::take(&mut self.inbox), 0);
        while let Some((kind, flags, stream, payload)) = cut(&inbox[at..]) {
            at += FRAME_HEAD + payload.len();
            self.take(kind, flags, stream, payload);
        }
        self.inbox = inbox;
        self.inbox.drain(..at);
        let mut at = 0;
        while let Some(message) = message(&self.body[at..]) {
            each(Verdict::of(message));
            at += MESSAGE_HEAD + message.len();
        }
        self.body.drain(..at);
        self.flush();
    }

    fn take(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let number = || u32::from_be_bytes(payload.try_into().expect("four bytes"));
        match kind {
            DATA => {
                self.body.extend_from_slice(payload);
                self.give_back(payload.len() as u32);
            }
            HEADERS => assert_eq!(flags & END_STREAM, 0, "the server ended the stream"),
            SETTINGS if flags & ACK == 0 => {
                for setting in payload.as_chunks::<6>().0 {
                    let (key, value) = setting.split_at(2);
                    if key == INITIAL_WINDOW_SIZE.to_be_bytes() {
                        let room = i64::from(u32::from_be_bytes(value.try_into().expect("four bytes")));
                        self.stream_room += room - std::mem::replace(&mut self.initial_room, room);
                    }
                }
                frame(&mut self.out, SETTINGS, ACK, 0, &[]);
                self.ask_held();
            }
            PING if flags & ACK == 0 => frame(&mut self.out, PING, ACK, 0, payload),
            WINDOW_UPDATE => {
                let room = if stream == 0 { &mut self.connection_room } else { &mut self.stream_room };
                *room += i64::from(number());
                self.ask_held();
            }
            RESET | GO_AWAY => panic!("the server gave up: {payload:?}"),
            _ => {}
        }
    }

    fn ask_held(&mut self) {
        for question in std::mem::take(&mut self.held) {
            self.ask(&question);
        }
    }

    fn give_back(&mut self, bytes: u32) {
        self.used += bytes;
        if self.used > GIVE_BACK {
            let used = std::mem::take(&mut self.used).to_be_bytes();
            frame(&mut self.out, WINDOW_UPDATE, 0, 0, &used);
            frame(&mut self.out, WINDOW_UPDATE, 0, STREAM, &used);
        }
    }
}

/// Length in three bytes, type, flags, stream.
fn head(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, length: usize) {
    out.extend_from_slice(&(length as u32).to_be_bytes()[1..]);
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
}

fn frame(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    head(out, kind, flags, stream, payload.len());
    out.extend_from_slice(payload);
}

/// Type, flags, stream and payload of the frame at the front.
fn cut(bytes: &[u8]) -> Option<(u8, u8, u32, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<FRAME_HEAD>()?;
    let [a, b, c, kind, flags, stream @ ..] = *head;
    let payload = rest.get(..u32::from_be_bytes([0, a, b, c]) as usize)?;
    Some((kind, flags, u32::from_be_bytes(stream) & WINDOW_MAX, payload))
}

/// The gRPC message at the front.
fn message(bytes: &[u8]) -> Option<&[u8]> {
    let (head, rest) = bytes.split_first_chunk::<MESSAGE_HEAD>()?;
    let [_, length @ ..] = *head;
    rest.get(..u32::from_be_bytes(length) as usize)
}

/// The headers of the call (RFC 7541): two that the static table has whole, others as literals with its names or their own.
fn headers(authority: &str) -> Vec<u8> {
    const METHOD_POST: u8 = 0x83;
    const SCHEME_HTTP: u8 = 0x86;
    let mut out = vec![METHOD_POST, SCHEME_HTTP];
    let mut literal = |name: &[u8], value: &str| {
        out.extend_from_slice(name);
        out.push(value.len() as u8);
        out.extend_from_slice(value.as_bytes());
    };
    literal(&[1], authority);
    literal(&[4], "/muster.v1.Query/NearestStream");
    // Name 31 of the static table, content-type: 15 and 16 more.
    literal(&[15, 16], "application/grpc");
    literal(b"\0\x02te", "trailers");
    out
}
