//! What `strace -f -yy` wrote, read as calls.
//!
//! The line on which a call begins was printed before the call was let into the system, and the one on which it ends before
//! its thread was let on. So a call that ended on an earlier line than another began had its effect before it.

use std::collections::HashMap;
use std::net::SocketAddr;

/// A call that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The line on which it began.
    pub began: usize,
    /// The line on which it ended.
    pub ended: usize,
    /// What it did.
    pub deed: Deed,
}

/// The calls that matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// So many bytes of a file were written here; the first of them, at most [`HEAD_BYTES`].
    Write {
        /// The file as it was called then.
        file: String,
        /// Where.
        offset: u64,
        /// How many.
        bytes: u64,
        /// The first of them.
        head: Vec<u8>,
    },
    /// A file or folder was synced.
    Sync {
        /// Its path.
        file: String,
    },
    /// A file was renamed.
    Rename {
        /// To this.
        to: String,
    },
    /// Bytes left on a connection.
    Send {
        /// From this address of the traced process.
        from: SocketAddr,
        /// To this one.
        to: SocketAddr,
        /// What left.
        content: Vec<u8>,
    },
}

/// The calls that `strace` must show.
pub const CALLS: &str =
    "trace=write,writev,pwrite64,pwritev,pwritev2,sendto,sendmsg,sendmmsg,fdatasync,fsync,rename,renameat,renameat2";
/// Kept of what is written to a file: the header of a record.
pub const HEAD_BYTES: usize = 24;

/// Reads a trace line by line.
#[derive(Debug, Default)]
pub struct Reader {
    line: usize,
    /// By thread: where its call began, and the text up to there.
    unfinished: HashMap<String, (usize, String)>,
}

impl Reader {
    /// Takes the next line and gives the call that ends on it, if it is one that matters and it succeeded.
    ///
    /// # Errors
    /// The line, when it is of a call that matters and cannot be read: what is not understood proves nothing.
    pub fn take(&mut self, line: &str) -> Result<Option<Call>, String> {
        self.line += 1;
        let ended = self.line;
        let (thread, rest) = line.split_once(' ').ok_or_else(|| line.to_owned())?;
        let rest = rest.trim_start();
        if rest.starts_with("+++") || rest.starts_with("---") {
            return Ok(None);
        }
        if let Some(begun) = rest.strip_suffix(" <unfinished ...>") {
            self.unfinished.insert(thread.to_owned(), (ended, begun.to_owned()));
            return Ok(None);
        }
        let (began, text) = match rest.strip_prefix("<... ") {
            None => (ended, rest.to_owned()),
            Some(resumed) => {
                let (began, begun) = self.unfinished.remove(thread).ok_or_else(|| line.to_owned())?;
                let (_, end) = resumed.split_once(" resumed>").ok_or_else(|| line.to_owned())?;
                (began, begun + end)
            }
        };
        let deed = deed(&text).map_err(|()| line.to_owned())?;
        Ok(deed.map(|deed| Call { began, ended, deed }))
    }
}

fn deed(text: &str) -> Result<Option<Deed>, ()> {
    let (name, rest) = text.split_once('(').ok_or(())?;
    let (arguments, result) = rest.rsplit_once(" = ").ok_or(())?;
    let arguments = arguments.trim_end().strip_suffix(')').ok_or(())?;
    // Negative with the name of an error, or `?` when the process ended within.
    let Some(result) = result.split(' ').next().and_then(|number| number.parse::<u64>().ok()) else { return Ok(None) };
    if name.starts_with("rename") {
        let to = contents(arguments).pop().ok_or(())?;
        return Ok(Some(Deed::Rename { to: String::from_utf8(to).map_err(drop)? }));
    }
    let Some((file, arguments)) = file(arguments) else { return Ok(None) };
    match name {
        "fdatasync" | "fsync" => Ok(Some(Deed::Sync { file: file.to_owned() })),
        "pwrite64" | "pwritev" | "pwritev2" => {
            let offset = arguments.rsplit(", ").find_map(|word| word.parse().ok()).ok_or(())?;
            let mut head = contents(arguments).concat();
            head.truncate(HEAD_BYTES);
            Ok(Some(Deed::Write { file: file.to_owned(), offset, bytes: result, head }))
        }
        "write" | "writev" | "sendto" | "sendmsg" => {
            let Some((from, to)) = connection(file) else { return Ok(None) };
            let mut content = contents(arguments).concat();
            let sent = usize::try_from(result).map_err(drop)?;
            if content.len() < sent {
                return Err(());
            }
            content.truncate(sent);
            Ok(Some(Deed::Send { from, to, content }))
        }
        _ => Err(()),
    }
}

/// `9</path>, ...` as the path and the rest. The path of a connection has a `>` of its own.
fn file(arguments: &str) -> Option<(&str, &str)> {
    let (_, rest) = arguments.split_once('<')?;
    let end = match rest.find("]>") {
        Some(end) if rest.starts_with("TCP") => end + 1,
        _ => rest.find('>')?,
    };
    Some((&rest[..end], &rest[end + 1..]))
}

/// `TCP:[127.0.0.1:1->127.0.0.1:2]` as its two ends.
fn connection(file: &str) -> Option<(SocketAddr, SocketAddr)> {
    let (from, to) = file.strip_prefix("TCP:[")?.strip_suffix(']')?.split_once("->")?;
    Some((from.parse().ok()?, to.parse().ok()?))
}

/// All strings in `text`, with their escapes undone.
fn contents(text: &str) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let mut bytes = text.bytes().peekable();
    while bytes.find(|byte| *byte == b'"').is_some() {
        let mut one = Vec::new();
        while let Some(byte) = bytes.next().filter(|byte| *byte != b'"') {
            if byte != b'\\' {
                one.push(byte);
                continue;
            }
            match bytes.next() {
                Some(digit @ b'0'..=b'7') => {
                    let mut value = u32::from(digit - b'0');
                    for _ in 0..2 {
                        let Some(digit) = bytes.next_if(|byte| (b'0'..=b'7').contains(byte)) else { break };
                        value = value * 8 + u32::from(digit - b'0');
                    }
                    one.push(value as u8);
                }
                Some(b'n') => one.push(b'\n'),
                Some(b't') => one.push(b'\t'),
                Some(b'r') => one.push(b'\r'),
                Some(b'f') => one.push(0x0C),
                Some(b'v') => one.push(0x0B),
                Some(other) => one.push(other),
                None => {}
            }
        }
        all.push(one);
    }
    all
}
