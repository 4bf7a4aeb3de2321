//! One record: what one group commit wrote together. See `docs/formats/journal.md`.
//!
//! ```text
//!  0  u32  length     bytes from 8 on, without the padding
//!  4  u32  CRC32C     over bytes 0..4 and 8..8 + length
//!  8  u64  sequence   of the first entry
//! 16  u32  synced     bytes of this segment that were on stable storage before this record was written
//! 20  u32  entries    how many follow; 0 in a mark
//! 24  entries, then zeros up to a multiple of 8
//! ```

use crate::Sequence;
use crate::codec::{Decoder, Encoder};
use crate::entry::Entry;
use crate::error::Malformed;

/// Bytes before the entries.
pub(crate) const HEADER_BYTES: usize = 24;
/// Records start at multiples of this.
pub(crate) const ALIGNMENT: usize = 8;
/// A record ends when it has so many bytes of entries; one batch may take it beyond.
pub(crate) const CLOSE_AT_BYTES: usize = 1 << 20;
/// No record is longer: a quarter of the largest segment, and a full record before it.
pub(crate) const RECORD_BYTES_MAX: usize = (256 << 20) + CLOSE_AT_BYTES;

/// Entries that will be one record.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    encoder: Encoder,
    entries: u32,
    received_before: i64,
}

impl Chunk {
    pub(crate) fn push(&mut self, entry: &Entry) {
        entry.lay(&mut self.encoder, &mut self.received_before);
        self.entries += 1;
    }

    pub(crate) const fn entries(&self) -> u32 {
        self.entries
    }

    /// Bytes on disk.
    pub(crate) fn bytes(&self) -> usize {
        (HEADER_BYTES + self.encoder.bytes().len()).next_multiple_of(ALIGNMENT)
    }

    /// The record on disk, padding included.
    pub(crate) fn record(&self, first: Sequence, synced: u32) -> Vec<u8> {
        laid(first, synced, self.entries, self.encoder.bytes())
    }
}

fn laid(first: Sequence, synced: u32, entries: u32, body: &[u8]) -> Vec<u8> {
    let bytes = (HEADER_BYTES + body.len()).next_multiple_of(ALIGNMENT);
    let mut record = Vec::with_capacity(bytes);
    record.extend_from_slice(&((HEADER_BYTES - 8 + body.len()) as u32).to_le_bytes());
    record.extend_from_slice(&[0; 4]);
    record.extend_from_slice(&first.0.to_le_bytes());
    record.extend_from_slice(&synced.to_le_bytes());
    record.extend_from_slice(&entries.to_le_bytes());
    record.extend_from_slice(body);
    let sum = checksum(&record[..4], &record[8..]);
    record[4..8].copy_from_slice(&sum.to_le_bytes());
    record.resize(bytes, 0);
    record
}

fn checksum(length: &[u8], rest: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(length), rest)
}

/// A record that was read and whose checksum is right.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record<'a> {
    pub(crate) first: Sequence,
    pub(crate) synced: u32,
    pub(crate) entries: u32,
    body: &'a [u8],
}

impl<'a> Record<'a> {
    /// Reads the record at the front of `bytes`; `None` when there is none whose checksum is right.
    pub(crate) fn read(bytes: &'a [u8]) -> Option<Self> {
        let header = Header::read(bytes)?;
        let content = bytes.get(8..8 + header.length)?;
        if checksum(&bytes[..4], content) != header.sum {
            return None;
        }
        let Header { first, synced, entries, .. } = header;
        Some(Self { first, synced, entries, body: &content[HEADER_BYTES - 8..] })
    }

    /// Bytes on disk, padding included.
    pub(crate) fn bytes(&self) -> usize {
        (HEADER_BYTES + self.body.len()).next_multiple_of(ALIGNMENT)
    }

    /// The same entries as a record that stands where all before is synced.
    pub(crate) fn rewritten(&self, synced: u32) -> Vec<u8> {
        laid(self.first, synced, self.entries, self.body)
    }

    /// The sequence after its last entry.
    pub(crate) fn next(&self) -> Sequence {
        Sequence(self.first.0 + u64::from(self.entries))
    }

    /// Adds every entry to `entries`.
    pub(crate) fn read_into(&self, entries: &mut Vec<Entry>) -> Result<(), Malformed> {
        let mut from = Decoder::over(self.body);
        let mut received_before = 0;
        // Each entry takes a byte at least, which bounds the memory asked for.
        entries.reserve((self.entries as usize).min(from.left()));
        for _ in 0..self.entries {
            entries.push(Entry::read(&mut from, &mut received_before)?);
        }
        if from.left() > 0 { Err(Malformed { field: "end of the record" }) } else { Ok(()) }
    }

    /// Whether every entry can be read.
    pub(crate) fn check(&self) -> Result<(), Malformed> {
        self.read_into(&mut Vec::new())
    }
}

/// The fixed part of a record, plausible and not yet checked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header {
    pub(crate) length: usize,
    pub(crate) first: Sequence,
    pub(crate) synced: u32,
    sum: u32,
    entries: u32,
}

impl Header {
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let header: &[u8; HEADER_BYTES] = bytes.first_chunk()?;
        let word = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let length = word(0) as usize;
        if !(HEADER_BYTES - 8..=RECORD_BYTES_MAX).contains(&length) {
            return None;
        }
        let first = Sequence(u64::from(word(8)) | u64::from(word(12)) << 32);
        if first.0 > u64::MAX / 2 {
            return None;
        }
        Some(Self { length, sum: word(4), first, synced: word(16), entries: word(20) })
    }
}
