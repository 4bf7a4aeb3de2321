//! As much of PostgreSQL's protocol, version 3.0, as prepared statements in a pipeline need: a byte that names the message, its
//! length with itself, its body. Each request ends with `Sync`, so that each reply ends with `ReadyForQuery`.

use std::net::SocketAddr;
use std::thread::sleep;
use std::time::Duration;

use muster_benches::pipe::{Pipe, Reply};

/// Lays a message.
pub(crate) fn message(out: &mut Vec<u8>, kind: u8, body: &[u8]) {
    out.push(kind);
    out.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
    out.extend_from_slice(body);
}

/// SQLSTATE of a server that is still starting.
const CANNOT_CONNECT_NOW: &str = "57P03";

/// Opens a session of the user `bench`, who needs no password; `options` as on the server's command line. Waits for a server that
/// is still starting.
pub(crate) fn connect(address: SocketAddr, options: &str) -> Pipe {
    let words = ["user", "bench", "database", "postgres", "options", options, ""];
    let body: Vec<u8> = words.iter().flat_map(|word| word.bytes().chain([0])).collect();
    let mut start = (body.len() as u32 + 8).to_be_bytes().to_vec();
    start.extend_from_slice(&(3_u32 << 16).to_be_bytes());
    start.extend_from_slice(&body);
    loop {
        let mut pipe = Pipe::connect(address, skim);
        match call(&mut pipe, &start) {
            Ok(_) => return pipe,
            Err(why) if why.contains(CANNOT_CONNECT_NOW) => sleep(Duration::from_millis(20)),
            Err(why) => panic!("no session: {why}"),
        }
    }
}

/// A statement that is sent once.
pub(crate) fn query(statement: &str) -> Vec<u8> {
    let mut out = Vec::new();
    message(&mut out, b'Q', &[statement.as_bytes(), b"\0"].concat());
    out
}

/// Binds the statement `s` to values in binary, runs it, and asks for an answer in binary.
pub(crate) fn bind(values: &[&[u8]]) -> Vec<u8> {
    // No name of a portal; one format, binary, for all; the values; one format for the answer.
    let mut body = b"\0s\0\0\x01\0\x01".to_vec();
    body.extend_from_slice(&(values.len() as u16).to_be_bytes());
    for value in values {
        body.extend_from_slice(&(value.len() as u32).to_be_bytes());
        body.extend_from_slice(value);
    }
    body.extend_from_slice(b"\0\x01\0\x01");
    let mut out = Vec::new();
    message(&mut out, b'B', &body);
    message(&mut out, b'E', b"\0\0\0\0\0");
    message(&mut out, b'S', &[]);
    out
}

/// An array of one dimension, of the type `oid`.
pub(crate) fn array<const N: usize>(oid: u32, items: impl ExactSizeIterator<Item = [u8; N]>) -> Vec<u8> {
    let head = [1, 0, oid, items.len() as u32, 1];
    let mut out: Vec<u8> = head.iter().flat_map(|number| number.to_be_bytes()).collect();
    for item in items {
        out.extend_from_slice(&(N as u32).to_be_bytes());
        out.extend_from_slice(&item);
    }
    out
}

/// Sends a request and waits for its reply.
///
/// # Errors
/// What the server says, when it refused.
pub(crate) fn call(pipe: &mut Pipe, request: &[u8]) -> Result<Vec<u8>, String> {
    let reply = pipe.call(request);
    let error = messages(&reply).find(|(kind, _)| *kind == b'E');
    error.map_or(Ok(()), |(_, body)| Err(String::from_utf8_lossy(body).replace('\0', " "))).map(|()| reply)
}

/// The reply at the front, up to `ReadyForQuery`, or to the error after which the server closes.
pub(crate) fn skim(bytes: &[u8]) -> Option<Reply> {
    let (mut at, mut is_answer) = (0, true);
    loop {
        let (kind, length) = head(bytes.get(at..)?)?;
        let is_fatal = kind == b'E' && bytes.get(at + 5..)?.starts_with(b"SFATAL");
        at += 1 + length;
        is_answer &= kind != b'E';
        if kind == b'Z' || is_fatal {
            return (at <= bytes.len()).then_some(Reply { bytes: at, is_answer });
        }
    }
}

/// The first column of each row, an `int4`.
pub(crate) fn units(reply: &[u8]) -> Vec<u32> {
    let rows = messages(reply).filter(|(kind, _)| *kind == b'D');
    // The number of columns, the length of the first, the first.
    rows.filter_map(|(_, body)| Some(u32::from_be_bytes(body.get(6..10)?.try_into().ok()?))).collect()
}

/// The first column of the first row, where it is text.
pub(crate) fn text(reply: &[u8]) -> Option<String> {
    let (_, body) = messages(reply).find(|(kind, _)| *kind == b'D')?;
    Some(String::from_utf8_lossy(body.get(6..)?).into_owned())
}

fn head(bytes: &[u8]) -> Option<(u8, usize)> {
    let length = u32::from_be_bytes(bytes.get(1..5)?.try_into().ok()?);
    Some((bytes[0], length as usize))
}

fn messages(mut reply: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (kind, length) = head(reply)?;
        let body = reply.get(5..=length)?;
        reply = &reply[1 + length..];
        Some((kind, body))
    })
}
