//! Snapshots: the state after a sequence, as its owner laid it, in one file.
//!
//! ```text
//!  0  "MUSTERS" and the version, 1
//!  8  u64  identity of the log
//! 16  u64  sequence of the last entry in it; also the file's name
//! 24  u64  bytes of the state
//! 32  8 zeros
//! 40  u32  CRC32C of bytes 0..40
//! 44  4 zeros
//! 48  the state in blocks of 1 MiB, the last one shorter, each behind the CRC32C of its number (u32) and itself
//! ```

use std::io;
use std::sync::Arc;

use model::Disk;

use crate::segment::load;
use crate::{Damage, ReadError, Sequence};

const MAGIC: [u8; 8] = *b"MUSTERS\x01";
const HEADER_BYTES: usize = 48;
const BLOCK_BYTES: usize = 1 << 20;
const ENDING: &str = ".snapshot";
/// The next snapshot while it is written.
const UNFINISHED: &str = "unfinished";

/// The snapshots of a log.
#[derive(Clone)]
pub struct Snapshots {
    disk: Arc<dyn Disk>,
}

impl Snapshots {
    /// The snapshots on `disk`.
    #[must_use]
    pub fn on(disk: Arc<dyn Disk>) -> Self {
        Self { disk }
    }

    /// Their sequences, oldest first.
    ///
    /// # Errors
    /// [`ReadError::Disk`] when the folder cannot be read.
    pub fn list(&self) -> Result<Vec<Sequence>, ReadError> {
        let names = self.disk.list().map_err(ReadError::of("the data folder"))?;
        let mut all: Vec<_> = names.iter().filter_map(|name| sequence_of(name)).collect();
        all.sort_unstable();
        Ok(all)
    }

    /// Writes one and makes it durable; a reader sees all of it or nothing.
    ///
    /// # Errors
    /// What the system says; the snapshots that are there stay.
    pub fn write(&self, id: u64, sequence: Sequence, state: &[u8]) -> io::Result<()> {
        match self.disk.remove(UNFINISHED) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = self.disk.create(UNFINISHED)?;
        let mut header = [0; HEADER_BYTES];
        header[..8].copy_from_slice(&MAGIC);
        for (at, field) in [id, sequence.0, state.len() as u64].into_iter().enumerate() {
            header[8 * (at + 1)..8 * (at + 2)].copy_from_slice(&field.to_le_bytes());
        }
        let sum = crc32c::crc32c(&header[..40]);
        header[40..44].copy_from_slice(&sum.to_le_bytes());
        file.write_at(&header, 0)?;
        let mut offset = HEADER_BYTES as u64;
        for (number, block) in (0u32..).zip(state.chunks(BLOCK_BYTES)) {
            let mut bytes = Vec::with_capacity(4 + block.len());
            bytes.extend_from_slice(&checksum(number, block).to_le_bytes());
            bytes.extend_from_slice(block);
            file.write_at(&bytes, offset)?;
            offset += bytes.len() as u64;
        }
        file.sync()?;
        self.disk.rename(UNFINISHED, &name(sequence))?;
        self.disk.sync_folder()
    }

    /// Reads one; `id` is the log's.
    ///
    /// # Errors
    /// [`ReadError::Damage`] with file and offset when it is not what was written.
    pub fn read(&self, id: u64, sequence: Sequence) -> Result<Vec<u8>, ReadError> {
        let name = name(sequence);
        let bytes = load(&*self.disk, &name)?;
        let (found, state) = check(&name, &bytes)?;
        if found.id != id {
            return Err(Damage::new(&name, 8, "it belongs to another journal").into());
        }
        if found.sequence != sequence {
            return Err(Damage::new(&name, 16, "its name is not that of its sequence").into());
        }
        Ok(state)
    }

    /// Removes all but the newest `keep`; returns the oldest that is left.
    ///
    /// # Errors
    /// What the system says.
    pub fn retain(&self, keep: usize) -> Result<Option<Sequence>, ReadError> {
        let mut all = self.list()?;
        while all.len() > keep {
            let oldest = name(all.remove(0));
            self.disk.remove(&oldest).map_err(ReadError::of(&oldest))?;
            self.disk.sync_folder().map_err(ReadError::of("the data folder"))?;
        }
        Ok(all.first().copied())
    }
}

/// What the header of a snapshot says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found {
    pub(crate) id: u64,
    pub(crate) sequence: Sequence,
}

/// Checks a whole snapshot in memory and takes the state out.
pub(crate) fn check(name: &str, bytes: &[u8]) -> Result<(Found, Vec<u8>), Damage> {
    let damage = |offset, problem| Damage::new(name, offset, problem);
    let header: &[u8; HEADER_BYTES] = bytes.first_chunk().ok_or(damage(bytes.len(), "it ends in its header"))?;
    if header[..7] != MAGIC[..7] {
        return Err(damage(0, "it is no snapshot"));
    }
    let sum = u32::from_le_bytes([header[40], header[41], header[42], header[43]]);
    if crc32c::crc32c(&header[..40]) != sum || header[44..] != [0; 4] {
        return Err(damage(0, "the checksum of its header is wrong"));
    }
    if header[7] != MAGIC[7] {
        return Err(damage(7, "its format is of another version of Muster"));
    }
    let field = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| header[8 * at + byte]));
    let state_bytes = field(3) as usize;
    let blocks = state_bytes.div_ceil(BLOCK_BYTES);
    if bytes.len() != HEADER_BYTES + state_bytes + 4 * blocks {
        return Err(damage(bytes.len(), "its length is not the one in its header"));
    }
    let mut state = Vec::with_capacity(state_bytes);
    for (number, block) in (0u32..).zip(bytes[HEADER_BYTES..].chunks(4 + BLOCK_BYTES)) {
        let offset = HEADER_BYTES + number as usize * (4 + BLOCK_BYTES);
        let (sum, block) = block.split_first_chunk::<4>().ok_or(damage(offset, "a block ends in its checksum"))?;
        if checksum(number, block) != u32::from_le_bytes(*sum) {
            return Err(damage(offset, "a block is not what was written"));
        }
        state.extend_from_slice(block);
    }
    Ok((Found { id: field(1), sequence: Sequence(field(2)) }, state))
}

fn checksum(number: u32, block: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&number.to_le_bytes()), block)
}

pub(crate) fn name(sequence: Sequence) -> String {
    format!("{:020}{ENDING}", sequence.0)
}

pub(crate) fn sequence_of(name: &str) -> Option<Sequence> {
    let digits = name.strip_suffix(ENDING)?;
    if digits.len() == 20 { digits.parse().ok().map(Sequence) } else { None }
}
