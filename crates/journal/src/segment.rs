//! One segment file: its header, and the walk over its records.
//!
//! ```text
//!  0  "MUSTERJ" and the version, 1
//!  8  u64  identity of the log, the same in all its files
//! 16  u64  first        sequence of the first entry; also the file's name
//! 24  u64  previous     the same of the segment before; 0 when there is none
//! 32  u64  end          bytes of the segment before that count
//! 40  i64  made at, milliseconds since 1970
//! 48  u32  bytes of this file
//! 52  8 zeros
//! 60  u32  CRC32C of bytes 0..60
//! 64  records
//! ```

use model::{Disk, DiskFile, Timestamp};

use crate::record::{ALIGNMENT, Header as RecordHeader, Record};
use crate::{Damage, ReadError, Sequence};

pub(crate) const HEADER_BYTES: usize = 64;
const MAGIC: [u8; 8] = *b"MUSTERJ\x01";
const ENDING: &str = ".segment";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) id: u64,
    pub(crate) first: Sequence,
    pub(crate) previous: Sequence,
    pub(crate) previous_end: u64,
    pub(crate) made_at: Timestamp,
    pub(crate) bytes: u32,
}

impl Header {
    pub(crate) fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let fields = [self.id, self.first.0, self.previous.0, self.previous_end, self.made_at.unix_ms() as u64];
        bytes[..8].copy_from_slice(&MAGIC);
        for (at, field) in fields.into_iter().enumerate() {
            bytes[8 * (at + 1)..8 * (at + 2)].copy_from_slice(&field.to_le_bytes());
        }
        bytes[48..52].copy_from_slice(&self.bytes.to_le_bytes());
        let sum = crc32c::crc32c(&bytes[..60]);
        bytes[60..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    pub(crate) fn read(file: &str, bytes: &[u8]) -> Result<Self, Damage> {
        let damage = |offset, problem| Damage::new(file, offset, problem);
        let header: &[u8; HEADER_BYTES] = bytes.first_chunk().ok_or(damage(bytes.len(), "it ends in its header"))?;
        if header[..7] != MAGIC[..7] {
            return Err(damage(0, "it is no segment of a journal"));
        }
        let sum = u32::from_le_bytes([header[60], header[61], header[62], header[63]]);
        if crc32c::crc32c(&header[..60]) != sum {
            return Err(damage(0, "the checksum of its header is wrong"));
        }
        if header[7] != MAGIC[7] {
            return Err(damage(7, "its format is of another version of Muster"));
        }
        let field = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| header[8 * at + byte]));
        let made_at = Timestamp::from_unix_ms(field(5) as i64).ok_or(damage(40, "its time is impossible"))?;
        let bytes = u32::from_le_bytes([header[48], header[49], header[50], header[51]]);
        let (first, previous) = (Sequence(field(2)), Sequence(field(3)));
        Ok(Self { id: field(1), first, previous, previous_end: field(4), made_at, bytes })
    }
}

/// The file that holds the entries from `first` on.
pub(crate) fn name(first: Sequence) -> String {
    format!("{:020}{ENDING}", first.0)
}

/// The first sequence in a file of this name; `None` when it is no segment.
pub(crate) fn first_of(name: &str) -> Option<Sequence> {
    let digits = name.strip_suffix(ENDING)?;
    if digits.len() == 20 { digits.parse().ok().map(Sequence) } else { None }
}

/// Where a segment's records end.
#[derive(Debug, Clone, Copy)]
pub(crate) enum End {
    /// Here: the next segment says so.
    At(usize),
    /// At the first record that is not whole: it is the last segment.
    Torn,
}

/// What a walk over the records found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Walked {
    /// Bytes up to the end of the last record.
    pub(crate) end: usize,
    /// The sequence after the last entry.
    pub(crate) next: Sequence,
    /// Bytes up to the end of the last entry: without the marks behind it, which nobody synced.
    pub(crate) entries_end: usize,
    /// Whether a record says that all entries were synced.
    pub(crate) is_proven: bool,
}

/// Walks over the records of a whole segment in memory, header included, and shows each.
///
/// In the last segment a bad record is the torn end of what was never acknowledged, unless a later record says
/// that the place was synced: then it is damage.
pub(crate) fn walk(
    file: &str,
    bytes: &[u8],
    first: Sequence,
    end: End,
    mut visit: impl FnMut(&Record<'_>) -> Result<(), crate::Malformed>,
) -> Result<Walked, Damage> {
    let mut walked = Walked { end: HEADER_BYTES, next: first, entries_end: HEADER_BYTES, is_proven: true };
    let mut synced = HEADER_BYTES;
    let limit = match end {
        End::At(limit) => limit,
        End::Torn => bytes.len(),
    };
    let within = bytes.get(..limit).ok_or(Damage::new(file, bytes.len(), "it is cut short"))?;
    while walked.end < limit {
        let offset = walked.end;
        let record = Record::read(&within[offset..]).filter(|record| {
            record.first == walked.next && record.synced as usize <= offset && offset + record.bytes() <= limit
        });
        let Some(record) = record else {
            return match end {
                End::At(_) => Err(Damage::new(file, offset, "a record is not what was written")),
                End::Torn => torn(file, bytes, walked),
            };
        };
        visit(&record).map_err(|malformed| Damage::new(file, offset, malformed.field))?;
        walked.end += record.bytes();
        walked.next = record.next();
        if record.entries > 0 {
            walked.entries_end = walked.end;
        }
        synced = synced.max(record.synced as usize);
        walked.is_proven = walked.entries_end <= synced;
    }
    Ok(walked)
}

/// Whether what follows `walked` may be cut: no whole record behind it says that it was synced.
fn torn(file: &str, bytes: &[u8], walked: Walked) -> Result<Walked, Damage> {
    let mut offset = walked.end + ALIGNMENT;
    while offset < bytes.len() {
        let rest = &bytes[offset..];
        let is_plausible = |header: &RecordHeader| {
            header.synced as usize > walked.end
                && header.synced as usize <= offset
                && header.first > walked.next.before()
        };
        let witness = RecordHeader::read(rest).filter(is_plausible).and_then(|_| Record::read(rest));
        if witness.is_some() {
            return Err(Damage::new(file, walked.end, "a record that was synced is not what was written"));
        }
        offset += ALIGNMENT;
    }
    Ok(walked)
}

/// Reads a whole file.
pub(crate) fn load(disk: &dyn Disk, file: &str) -> Result<Vec<u8>, ReadError> {
    let open = disk.open(file).map_err(ReadError::of(file))?;
    let bytes = open.bytes().map_err(ReadError::of(file))?;
    load_until(&*open, file, usize::try_from(bytes).unwrap_or(usize::MAX))
}

/// Reads the first `bytes` of a file, or fewer when it ends before.
pub(crate) fn load_until(open: &dyn DiskFile, file: &str, bytes: usize) -> Result<Vec<u8>, ReadError> {
    let mut content = Vec::new();
    load_into(open, file, bytes, &mut content)?;
    Ok(content)
}

/// The same into memory that is used again.
pub(crate) fn load_into(open: &dyn DiskFile, file: &str, bytes: usize, content: &mut Vec<u8>) -> Result<(), ReadError> {
    content.resize(bytes, 0);
    let mut at = 0;
    while at < content.len() {
        match open.read_at(&mut content[at..], at as u64).map_err(ReadError::of(file))? {
            0 => break,
            more => at += more,
        }
    }
    content.truncate(at);
    Ok(())
}
