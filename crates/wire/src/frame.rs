use std::ops::Range;

use crate::FrameError;

/// What stands at the front of a buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cut {
    /// No whole frame yet: read on.
    More,
    /// Drop `bytes` bytes. Counted under the error; `None` for separators that are no fault.
    Skip {
        /// How many, at least 1.
        bytes: usize,
        /// Why, if it is a fault.
        error: Option<FrameError>,
    },
    /// One frame: decode `frame`, then drop `consumed` bytes.
    Frame {
        /// Where the frame's content is.
        frame: Range<usize>,
        /// How many bytes it takes from the buffer, at least 1.
        consumed: usize,
    },
    /// The stream cannot be followed any more: close the connection.
    Lost(FrameError),
}

/// How the frames of a protocol are told apart. Without state: the same front of a buffer always
/// gives the same answer, so it does not matter how the bytes were split on their way.
#[derive(Debug, Clone, Copy)]
pub struct Framing {
    /// Longest frame, in bytes as sent. A reader needs a buffer of this many and no more.
    pub bytes_max: usize,
    /// Looks at the front of the bytes of a stream.
    pub cut: fn(&[u8], usize) -> Cut,
    /// What a datagram holds.
    pub datagram: Datagram,
}

/// How frames lie in a datagram (or in one line of `muster decode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Datagram {
    /// As in a stream; what is left at the end is one frame more.
    AsStream,
    /// The datagram is one message.
    OneMessage,
}

impl Framing {
    /// Looks at the front of `buffer`.
    #[must_use]
    pub fn cut(&self, buffer: &[u8]) -> Cut {
        (self.cut)(buffer, self.bytes_max)
    }

    /// Calls `found` with each frame of `datagram` and each fault, in order.
    pub fn each_in_datagram<'a>(&self, datagram: &'a [u8], mut found: impl FnMut(Result<&'a [u8], FrameError>)) {
        if datagram.len() > self.bytes_max {
            return found(Err(FrameError::Oversize { limit: self.bytes_max }));
        }
        if self.datagram == Datagram::OneMessage {
            return found(Ok(datagram));
        }
        let mut rest = datagram;
        while !rest.is_empty() {
            let taken = match self.cut(rest) {
                Cut::Frame { frame, consumed } => {
                    found(Ok(rest.get(frame).unwrap_or_default()));
                    consumed
                }
                Cut::Skip { bytes, error } => {
                    if let Some(error) = error {
                        found(Err(error));
                    }
                    bytes
                }
                Cut::Lost(error) => return found(Err(error)),
                Cut::More => {
                    let tail = rest.trim_ascii();
                    // A lone closing flag of a frame that was cut already is no frame.
                    if tail.len() > 1 {
                        found(Ok(tail));
                    }
                    return;
                }
            };
            rest = rest.get(taken..).unwrap_or_default();
        }
    }
}

/// `7E content 7E`. The closing flag is left in the buffer, since it may open the next frame; an
/// empty frame is a separator. So a damaged frame costs itself and never the one behind it.
pub(crate) fn between_flags(buffer: &[u8], bytes_max: usize) -> Cut {
    const FLAG: u8 = 0x7E;
    let noise = Some(FrameError::Noise);
    match buffer.iter().position(|byte| *byte == FLAG) {
        None if buffer.is_empty() => return Cut::More,
        None => return Cut::Skip { bytes: buffer.len(), error: noise },
        Some(0) => {}
        Some(bytes) => return Cut::Skip { bytes, error: noise },
    }
    let content = buffer.get(1..).unwrap_or_default();
    match content.iter().take(bytes_max.saturating_sub(1)).position(|byte| *byte == FLAG) {
        Some(0) => Cut::Skip { bytes: 1, error: None },
        Some(end) => Cut::Frame { frame: 1..end.saturating_add(1), consumed: end.saturating_add(1) },
        None if content.len().saturating_add(1) < bytes_max => Cut::More,
        None => {
            Cut::Skip { bytes: bytes_max.min(buffer.len()), error: Some(FrameError::Oversize { limit: bytes_max }) }
        }
    }
}

/// Lines that end with CR, LF or both. Empty lines are separators.
pub(crate) fn lines(buffer: &[u8], bytes_max: usize) -> Cut {
    let is_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
    match buffer.iter().take(bytes_max).position(is_end) {
        Some(0) => Cut::Skip { bytes: 1, error: None },
        Some(end) => Cut::Frame { frame: 0..end, consumed: end.saturating_add(1) },
        None if buffer.len() < bytes_max => Cut::More,
        None => Cut::Skip { bytes: bytes_max, error: Some(FrameError::Oversize { limit: bytes_max }) },
    }
}

/// `> content <`; white space between frames is a separator, anything else is noise. A second `>`
/// before the `<` starts anew: what lies before it was cut short.
pub(crate) fn between_angles(buffer: &[u8], bytes_max: usize) -> Cut {
    let Some(first) = buffer.first() else { return Cut::More };
    if *first != b'>' {
        let start = buffer.iter().position(|byte| *byte == b'>').unwrap_or(buffer.len());
        let is_blank = buffer.get(..start).is_some_and(|skipped| skipped.trim_ascii().is_empty());
        return Cut::Skip { bytes: start, error: (!is_blank).then_some(FrameError::Noise) };
    }
    let rest = buffer.get(1..).unwrap_or_default();
    let end = rest.iter().take(bytes_max.saturating_sub(1)).position(|byte| matches!(byte, b'<' | b'>'));
    match end.map(|end| (end.saturating_add(1), rest.get(end))) {
        Some((end, Some(b'<'))) => Cut::Frame { frame: 0..end.saturating_add(1), consumed: end.saturating_add(1) },
        Some((end, _)) => Cut::Skip { bytes: end, error: Some(FrameError::Noise) },
        None if buffer.len() < bytes_max => Cut::More,
        None => Cut::Skip { bytes: bytes_max, error: Some(FrameError::Oversize { limit: bytes_max }) },
    }
}

/// A protobuf varint with the length, then that many bytes. A length over the limit is refused
/// before it is read, and there is no way to find the next frame: the stream is lost.
pub(crate) fn length_delimited(buffer: &[u8], bytes_max: usize) -> Cut {
    let mut length: usize = 0;
    for (place, byte) in buffer.iter().take(4).enumerate() {
        let shift = u32::try_from(place).unwrap_or(u32::MAX).saturating_mul(7);
        length |= usize::from(byte & 0x7F).checked_shl(shift).unwrap_or(usize::MAX);
        if length > bytes_max {
            return Cut::Lost(FrameError::Oversize { limit: bytes_max });
        }
        if byte & 0x80 == 0 {
            let start = place.saturating_add(1);
            let end = start.saturating_add(length);
            return if end <= buffer.len() { Cut::Frame { frame: start..end, consumed: end } } else { Cut::More };
        }
    }
    if buffer.len() < 4 { Cut::More } else { Cut::Lost(FrameError::Oversize { limit: bytes_max }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Frames and counted faults of `stream` when it arrives in pieces of these sizes. Noise is
    /// joined, since a piece may end inside it.
    fn frames_of(cut: fn(&[u8], usize) -> Cut, stream: &[u8], pieces: &[usize]) -> Vec<Vec<u8>> {
        let (mut buffer, mut found, mut rest) = (Vec::new(), Vec::new(), stream);
        let mut pieces = pieces.iter().cycle();
        while !rest.is_empty() {
            let size = (*pieces.next().unwrap()).clamp(1, rest.len());
            buffer.extend_from_slice(&rest[..size]);
            rest = &rest[size..];
            loop {
                match cut(&buffer, 64) {
                    Cut::More => break,
                    Cut::Lost(_) => return found,
                    Cut::Skip { bytes, .. } => drop(buffer.drain(..bytes)),
                    Cut::Frame { frame, consumed } => {
                        found.push(buffer[frame].to_vec());
                        buffer.drain(..consumed);
                    }
                }
            }
            assert!(buffer.len() <= 64 + size, "a buffer of one frame and one read is enough");
        }
        found
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn frames_are_the_same_however_the_bytes_are_split(
            stream in prop::collection::vec(prop_oneof![Just(0x7Eu8), Just(b'>'), Just(b'<'), Just(b'\n'), Just(3u8), any::<u8>()], 1..400),
            pieces in prop::collection::vec(1usize..40, 1..8),
        ) {
            // Oversize skips depend on how much has been read only in what they count, never in what they find,
            // as long as a frame fits; so streams of this alphabet are compared frame by frame.
            for cut in [between_flags, lines, between_angles, length_delimited] {
                let whole = frames_of(cut, &stream, &[1]);
                prop_assert_eq!(&frames_of(cut, &stream, &pieces), &whole);
            }
        }
    }

    #[test]
    fn a_flag_may_close_one_frame_and_open_the_next() {
        let stream = [0x7E, 1, 2, 0x7E, 3, 4, 0x7E, 0x7E, 5, 6, 0x7E];
        assert_eq!(frames_of(between_flags, &stream, &[3]), [vec![1, 2], vec![3, 4], vec![5, 6]]);
    }

    #[test]
    fn garbage_between_frames_costs_no_frame() {
        let mut stream = vec![9, 9, 9];
        stream.extend([0x7E, 1, 0x7E, 8, 8, 0x7E, 2, 0x7E]);
        assert_eq!(frames_of(between_flags, &stream, &[100]), [vec![1], vec![8, 8], vec![2]]);
        assert_eq!(frames_of(between_angles, b"x>A<yy\r\n>B>C<", &[100]), [b">A<".to_vec(), b">C<".to_vec()]);
    }

    #[test]
    fn an_oversize_length_is_refused_before_it_is_read() {
        let declared = [0xFF, 0xFF, 0xFF, 0xFF, 0x07];
        assert_eq!(length_delimited(&declared, 1024), Cut::Lost(FrameError::Oversize { limit: 1024 }));
        assert_eq!(length_delimited(&[0x80, 0x80, 0x80, 0x80], 1024), Cut::Lost(FrameError::Oversize { limit: 1024 }));
        assert_eq!(length_delimited(&[0x02, 7], 1024), Cut::More);
    }
}
