//! RESP, the protocol of Redis, which Tile38 speaks too: commands as arrays of strings, replies of any depth.

use muster_benches::pipe::Reply;

/// Lays a command.
pub(crate) fn command(out: &mut Vec<u8>, words: &[&str]) {
    out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        out.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
}

/// The reply at the front.
///
/// # Panics
/// When it is an error: none of those asked for can be one of overload.
pub(crate) fn skim(bytes: &[u8]) -> Option<Reply> {
    let used = skip(bytes)?;
    assert!(bytes[0] != b'-', "{}", String::from_utf8_lossy(&bytes[..used]));
    Some(Reply { bytes: used, is_answer: true })
}

/// Units of a reply: strings of a `u` and a number, however deep.
pub(crate) fn units(reply: &[u8]) -> Vec<u32> {
    let text = String::from_utf8_lossy(reply);
    text.split("\r\n").filter_map(|line| line.strip_prefix('u')?.parse().ok()).collect()
}

/// How many bytes the value at the front has.
fn skip(bytes: &[u8]) -> Option<usize> {
    let end = bytes.iter().position(|byte| *byte == b'\r')? + 2;
    if end > bytes.len() {
        return None;
    }
    let number = || std::str::from_utf8(&bytes[1..end - 2]).ok()?.parse::<i64>().ok();
    match bytes[0] {
        b'$' => {
            let body = usize::try_from(number()?).map_or(0, |length| length + 2);
            (end + body <= bytes.len()).then_some(end + body)
        }
        b'*' => {
            let mut at = end;
            for _ in 0..number()? {
                at += skip(&bytes[at..])?;
            }
            Some(at)
        }
        _ => Some(end),
    }
}
