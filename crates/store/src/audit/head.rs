use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use model::Timestamp;
use rusqlite::Connection;
use serde_json::json;

use super::chain::{Chain, Hash, hash_of, hex, holds};
use crate::StoreError;

/// The file beside the store.
const FILE: &str = "audit-head";
const TITLE: &str = "muster audit head 1";
/// The file never has more.
const BYTES_MAX: u64 = 256;

/// The action of the row that says that no head was beside an audit that has rows.
pub(crate) const HEAD_MISSING: &str = "audit.head_missing";

/// The number and the hash of one row: whoever notes it elsewhere can tell later that all before it is unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The sequence of the row.
    pub sequence: u64,
    /// Its hash.
    pub hash: [u8; 32],
}

impl Head {
    /// The hash as hexadecimal digits.
    #[must_use]
    pub fn hex(&self) -> String {
        hex(&self.hash)
    }

    /// Reads `SEQUENCE:HASH`, as [`std::fmt::Display`] prints it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (sequence, hash) = text.split_once(':')?;
        Some(Self { sequence: sequence.parse().ok()?, hash: hash_of_hex(hash)? })
    }
}

impl std::fmt::Display for Head {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.sequence, self.hex())
    }
}

fn hash_of_hex(text: &str) -> Option<Hash> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks(2);
    let bytes: Option<Vec<u8>> = pairs.map(|pair| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?)).collect();
    hash_of(&bytes?)
}

/// The file that remembers the end of the audit, so that a cut end is found.
#[derive(Debug)]
pub(crate) struct HeadFile {
    path: PathBuf,
}

/// What the file says.
pub(crate) enum Kept {
    /// It is not there.
    Nothing,
    /// It cannot be read as a head.
    Garbled,
    /// This was the end when it was written.
    Head(Head),
}

impl HeadFile {
    pub(crate) fn beside(store: &Path) -> Self {
        Self { path: store.with_file_name(FILE) }
    }

    pub(crate) fn read(&self) -> Result<Kept, StoreError> {
        let mut text = String::new();
        match File::open(&self.path).and_then(|file| file.take(BYTES_MAX).read_to_string(&mut text)) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Kept::Nothing),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Ok(Kept::Garbled),
            Err(error) => return Err(StoreError::Unusable { path: self.path.clone(), error }),
        }
        let head = text.strip_prefix(TITLE).and_then(|rest| Head::parse(rest.trim()));
        Ok(head.map_or(Kept::Garbled, Kept::Head))
    }

    /// Copies the file as it is, if it is there; returns its name.
    pub(crate) fn copy_to(&self, folder: &Path) -> Result<Option<String>, StoreError> {
        let to = folder.join(FILE);
        let unusable = |error| StoreError::Unusable { path: to.clone(), error };
        match std::fs::copy(&self.path, &to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            done => done.map_err(unusable)?,
        };
        File::open(&to).and_then(|file| file.sync_all()).map_err(unusable)?;
        Ok(Some(FILE.to_owned()))
    }

    /// Remembers `head`, unless what is remembered contradicts the audit: that is evidence, and stays.
    ///
    /// The caller has `head` on stable storage. The file itself is synced only when it is made: an older head is true as well.
    pub(crate) fn keep(&self, connection: &Connection, head: Head) -> Result<(), StoreError> {
        let is_new = match self.read()? {
            Kept::Nothing => true,
            Kept::Garbled => return Ok(()),
            Kept::Head(kept) if kept.sequence >= head.sequence || !holds(connection, kept)? => return Ok(()),
            Kept::Head(_) => false,
        };
        // One length for all, in one write: there is no moment at which half of it is there.
        let text = format!("{TITLE}\n{:020}:{}\n", head.sequence, head.hex());
        let unusable = |error| StoreError::Unusable { path: self.path.clone(), error };
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(false).mode(0o600).open(&self.path).map_err(unusable)?;
        file.write_all_at(text.as_bytes(), 0).map_err(unusable)?;
        if is_new { file.sync_all().map_err(unusable) } else { Ok(()) }
    }

    /// Appends a row when the head is not what the audit says; tells whether it did.
    pub(crate) fn check_at_open(
        &self,
        connection: &Connection,
        chain: &mut Chain,
        is_new: bool,
    ) -> Result<bool, StoreError> {
        let end = chain.head();
        // The store has no clock: the time of such a row is that of the last one.
        let time = last_time(connection)?;
        match self.read()? {
            Kept::Nothing if is_new => return Ok(false),
            Kept::Nothing => {
                let detail = json!({"problem": "there was no head beside the audit", "sequence": end.sequence});
                chain.append_own(connection, HEAD_MISSING, &detail, time)?;
            }
            Kept::Garbled => chain.complain(connection, "the head cannot be read", end, time)?,
            Kept::Head(head) if holds(connection, head)? => return Ok(false),
            Kept::Head(head) => chain.complain(connection, "the audit does not hold its head", head, time)?,
        }
        Ok(true)
    }
}

fn last_time(connection: &Connection) -> Result<Timestamp, StoreError> {
    let unix_ms: Option<i64> = connection.query_row("SELECT max(time_ms) FROM audit", [], |row| row.get(0))?;
    Ok(unix_ms.and_then(Timestamp::from_unix_ms).unwrap_or(Timestamp::MIN))
}
