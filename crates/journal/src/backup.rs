//! Backup and restore: the newest snapshot and the segments from it on, up to one sequence.

use std::io;

use model::Disk;

use crate::segment::{self, End, HEADER_BYTES, Header};
use crate::{Damage, ReadError, Sequence, snapshot};

/// Written last: a folder without it holds no backup.
const MANIFEST: &str = "manifest";
const TITLE: &str = "muster backup 1";
/// A server may remove a file while it is copied; then the copying starts over.
const TRIES: u32 = 5;

/// Files are read in parts of so many bytes.
const PART_BYTES: usize = 1 << 20;

/// What a backup holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// The last entry in it.
    pub sequence: Sequence,
    /// How many files.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// Why a backup was not made or not restored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The log could not be read, or is damaged.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The target cannot be written.
    #[error("cannot write {file}: {error}")]
    Write {
        /// Which file.
        file: String,
        /// What the system says.
        error: io::Error,
    },
    /// The target holds something already.
    #[error("the target already holds {file}: choose an empty folder")]
    NotEmpty {
        /// For example.
        file: String,
    },
    /// What belongs beside the log could not be written.
    #[error("{0}")]
    Beside(Box<dyn std::error::Error + Send + Sync>),
    /// There is nothing to back up.
    #[error("there is no journal here")]
    Nothing,
    /// The source is no whole backup.
    #[error("this is no whole backup: {problem}")]
    NoBackup {
        /// What is missing or wrong.
        problem: String,
    },
}

impl BackupError {
    fn write(file: &str) -> impl FnOnce(io::Error) -> Self {
        let file = file.to_owned();
        move |error| Self::Write { file, error }
    }
}

/// What adds files to a backup.
pub type Beside<'a> = dyn FnMut(&dyn Disk) -> Result<Vec<String>, Box<dyn std::error::Error + Send + Sync>> + 'a;

/// Sees a part of a file and the offset of it.
type Visit<'a> = dyn FnMut(&[u8], u64) -> Result<(), BackupError> + 'a;

/// A file of a backup.
struct Copied {
    name: String,
    bytes: u64,
    sum: u32,
}

/// Copies a log, also one that a server is writing, to the empty `to`. All of it is checked on the way.
///
/// # Errors
/// [`BackupError`]; without its manifest the target is no backup.
pub fn backup(from: &dyn Disk, to: &dyn Disk) -> Result<Backup, BackupError> {
    backup_beside(from, to, &mut |_| Ok(Vec::new()))
}

/// As [`backup`], with files that `beside` adds once the log is copied, and whose names it returns: they are of the backup
/// too. Called anew if the copying starts over, with an empty target.
///
/// # Errors
/// As [`backup`]; what `beside` says, as [`BackupError::Beside`].
pub fn backup_beside(from: &dyn Disk, to: &dyn Disk, beside: &mut Beside<'_>) -> Result<Backup, BackupError> {
    refuse_unless_empty(to)?;
    let mut tries = 0;
    loop {
        tries += 1;
        match copy_all(from, to, beside) {
            Err(BackupError::Read(ReadError::Disk { error, .. }))
                if error.kind() == io::ErrorKind::NotFound && tries < TRIES =>
            {
                for name in to.list().map_err(BackupError::write("the target"))? {
                    to.remove(&name).map_err(BackupError::write(&name))?;
                }
            }
            done => return done,
        }
    }
}

fn refuse_unless_empty(to: &dyn Disk) -> Result<(), BackupError> {
    let names = to.list().map_err(BackupError::write("the target"))?;
    match names.into_iter().find(|name| name != "lock") {
        Some(file) => Err(BackupError::NotEmpty { file }),
        None => Ok(()),
    }
}

fn copy_all(from: &dyn Disk, to: &dyn Disk, beside: &mut Beside<'_>) -> Result<Backup, BackupError> {
    let names = from.list().map_err(ReadError::of("the data folder"))?;
    let mut files = Vec::new();
    let newest = names.iter().filter_map(|name| snapshot::sequence_of(name)).max();
    if let Some(sequence) = newest {
        let name = snapshot::name(sequence);
        let bytes = segment::load(from, &name)?;
        snapshot::check(&name, &bytes).map_err(ReadError::from)?;
        files.push(put(to, name, &bytes)?);
    }
    let start = newest.map_or(Sequence(1), Sequence::next);
    let mut firsts: Vec<_> = names.iter().filter_map(|name| segment::first_of(name)).collect();
    firsts.sort_unstable();
    let skipped = firsts.iter().rposition(|first| *first <= start).ok_or(BackupError::Nothing)?;
    let firsts = &firsts[skipped..];
    let mut sequence = start.before();
    for (at, first) in firsts.iter().enumerate() {
        let name = segment::name(*first);
        let (bytes, next) = match firsts.get(at + 1) {
            Some(after) => closed(from, &name, *first, *after)?,
            None => last(from, &name, *first)?,
        };
        sequence = next.before().max(sequence);
        files.push(put(to, name, &bytes)?);
    }
    for name in beside(to).map_err(BackupError::Beside)? {
        let (bytes, sum) = measured(to, &name)?;
        files.push(Copied { name, bytes, sum });
    }
    let mut text = format!("{TITLE}\nsequence {sequence}\n");
    for Copied { name, bytes, sum } in &files {
        text += &format!("{sum:08x} {bytes} {name}\n");
    }
    text += &format!("end {:08x}\n", crc32c::crc32c(text.as_bytes()));
    to.sync_folder().map_err(BackupError::write("the target"))?;
    put(to, MANIFEST.to_owned(), text.as_bytes())?;
    to.sync_folder().map_err(BackupError::write("the target"))?;
    Ok(Backup { sequence, files: files.len(), bytes: files.iter().map(|file| file.bytes).sum() })
}

/// A segment that is written no more, up to the end that the next one names.
fn closed(from: &dyn Disk, name: &str, first: Sequence, after: Sequence) -> Result<(Vec<u8>, Sequence), ReadError> {
    let next = segment::name(after);
    let open = from.open(&next).map_err(ReadError::of(&next))?;
    let header = Header::read(&next, &segment::load_until(&*open, &next, HEADER_BYTES)?)?;
    let end = header.previous_end as usize;
    let file = from.open(name).map_err(ReadError::of(name))?;
    let bytes = segment::load_until(&*file, name, end)?;
    Header::read(name, &bytes)?;
    let walked = segment::walk(name, &bytes, first, End::At(end), |_| Ok(()))?;
    Ok((bytes, walked.next))
}

/// The segment that may be written right now: up to its last whole record, then zeros.
fn last(from: &dyn Disk, name: &str, first: Sequence) -> Result<(Vec<u8>, Sequence), ReadError> {
    let mut tries = 0;
    loop {
        tries += 1;
        let mut bytes = segment::load(from, name)?;
        let header = Header::read(name, &bytes)?;
        match segment::walk(name, &bytes, first, End::Torn, |_| Ok(())) {
            // A record was written between the reading of two pages.
            Err(_) if tries < TRIES => {}
            Err(damage) => return Err(damage.into()),
            Ok(walked) => {
                bytes.truncate(walked.end);
                bytes.resize(header.bytes as usize, 0);
                return Ok((bytes, walked.next));
            }
        }
    }
}

fn put(to: &dyn Disk, name: String, bytes: &[u8]) -> Result<Copied, BackupError> {
    let written = || {
        let file = to.create(&name)?;
        file.write_at(bytes, 0)?;
        file.sync()
    };
    written().map_err(BackupError::write(&name))?;
    Ok(Copied { name, bytes: bytes.len() as u64, sum: crc32c::crc32c(bytes) })
}

/// Checks a backup and copies it to the empty `to`. The newest files are copied first, so that a half restored folder
/// cannot be started from.
///
/// # Errors
/// [`BackupError`]; nothing is copied before everything was checked.
pub fn restore(from: &dyn Disk, to: &dyn Disk) -> Result<Backup, BackupError> {
    refuse_unless_empty(to)?;
    let (sequence, mut files) = manifest(from)?;
    for Copied { name, bytes, sum } in &files {
        let found = measured(from, name)?;
        if found != (*bytes, *sum) {
            let offset = found.0.min(*bytes) as usize;
            return Err(ReadError::from(Damage::new(name, offset, "it is not what was backed up")).into());
        }
    }
    // What is no part of the log goes first: it must not be missing beside a log that can be started from.
    let is_of_log = |name: &str| segment::first_of(name).or(snapshot::sequence_of(name)).is_some();
    files.sort_by_key(|file| (!is_of_log(&file.name), segment::first_of(&file.name), file.name.clone()));
    for Copied { name, .. } in files.iter().rev() {
        let file = to.create(name).map_err(BackupError::write(name))?;
        in_parts(from, name, &mut |part, at| file.write_at(part, at).map_err(BackupError::write(name)))?;
        file.sync().map_err(BackupError::write(name))?;
        to.sync_folder().map_err(BackupError::write("the target"))?;
    }
    Ok(Backup { sequence, files: files.len(), bytes: files.iter().map(|file| file.bytes).sum() })
}

/// How many bytes a file has, and their checksum.
fn measured(disk: &dyn Disk, name: &str) -> Result<(u64, u32), BackupError> {
    let (mut bytes, mut sum) = (0, 0);
    in_parts(disk, name, &mut |part, _| {
        bytes += part.len() as u64;
        sum = crc32c::crc32c_append(sum, part);
        Ok(())
    })?;
    Ok((bytes, sum))
}

/// Reads a file of any size without holding all of it.
fn in_parts(disk: &dyn Disk, name: &str, visit: &mut Visit<'_>) -> Result<(), BackupError> {
    let file = disk.open(name).map_err(ReadError::of(name))?;
    let (mut part, mut at) = (vec![0; PART_BYTES], 0);
    loop {
        let read = file.read_at(&mut part, at).map_err(ReadError::of(name))?;
        if read == 0 {
            return Ok(());
        }
        visit(&part[..read], at)?;
        at += read as u64;
    }
}

fn manifest(from: &dyn Disk) -> Result<(Sequence, Vec<Copied>), BackupError> {
    let wrong = |problem: &str| BackupError::NoBackup { problem: problem.to_owned() };
    let bytes = segment::load(from, MANIFEST).map_err(|error| wrong(&error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|_| wrong("its manifest is no text"))?;
    let (body, sum) = text.rsplit_once("end ").ok_or_else(|| wrong("its manifest is cut short"))?;
    if sum.trim_end() != format!("{:08x}", crc32c::crc32c(body.as_bytes())) {
        return Err(wrong("its manifest is not what was written"));
    }
    let mut lines = body.lines();
    if lines.next() != Some(TITLE) {
        return Err(wrong("its manifest is of another version"));
    }
    let sequence = lines.next().and_then(|line| line.strip_prefix("sequence ")?.parse().ok());
    let file = |line: &str| {
        let mut words = line.splitn(3, ' ');
        let sum = u32::from_str_radix(words.next()?, 16).ok()?;
        Some(Copied { sum, bytes: words.next()?.parse().ok()?, name: words.next()?.to_owned() })
    };
    let files: Option<Vec<_>> = lines.map(file).collect();
    match (sequence, files) {
        (Some(sequence), Some(files)) => Ok((Sequence(sequence), files)),
        _ => Err(wrong("a line of its manifest cannot be read")),
    }
}
