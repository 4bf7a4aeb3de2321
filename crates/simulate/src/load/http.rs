//! Just enough of HTTP/1.1 to ask on kept connections and to see where each answer ends.

use bytes::{Buf as _, BytesMut};

/// Longest head of an answer, in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Takes one whole answer off the front of `inbox` and gives its status; `None` while it is not all there.
///
/// # Errors
/// What is unintelligible about it: the connection is of no use any more.
pub(super) fn next_answer(inbox: &mut BytesMut) -> Result<Option<u16>, &'static str> {
    let Some(head_end) = inbox.windows(4).take(HEAD_BYTES_MAX).position(|four| four == b"\r\n\r\n") else {
        return if inbox.len() > HEAD_BYTES_MAX { Err("head without end") } else { Ok(None) };
    };
    let head = std::str::from_utf8(&inbox[..head_end]).map_err(|_| "head is no text")?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 "));
    let status = status.and_then(|rest| rest.get(..3)?.parse().ok()).ok_or("no status")?;
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let whole = head_end + 4 + length.ok_or("no content-length")?;
    if inbox.len() < whole {
        return Ok(None);
    }
    inbox.advance(whole);
    Ok(Some(status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_cut_wherever_the_bytes_were_split() {
        let bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1 504 x\r\ncontent-length: 0\r\n\r\n";
        for split in 0..bytes.len() {
            let mut found = Vec::new();
            let mut inbox = BytesMut::from(&bytes[..split]);
            while let Some(status) = next_answer(&mut inbox).unwrap() {
                found.push(status);
            }
            inbox.extend_from_slice(&bytes[split..]);
            while let Some(status) = next_answer(&mut inbox).unwrap() {
                found.push(status);
            }
            assert_eq!(found, [200, 504], "split at {split}");
        }
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        for bytes in ["SSH-2.0\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 xx\r\ncontent-length: 1\r\n\r\n"] {
            assert!(next_answer(&mut BytesMut::from(bytes)).is_err(), "{bytes}");
        }
    }
}
