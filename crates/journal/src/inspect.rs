//! Looking at a log from outside: verify, dump, repair.

use std::io;
use std::sync::Arc;

use model::{Clock, Disk};

use crate::record::{ALIGNMENT, Chunk, Record};
use crate::segment::{self, End, HEADER_BYTES, Header};
use crate::{Damage, Entry, ReadError, Segments, Sequence, snapshot};

/// A file of a running server is looked at so often before a bad place counts as damage: it may just be written.
const LOOKS: u32 = 3;

/// What `verify` found in one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileReport {
    /// Its name.
    pub file: String,
    /// Bytes that count.
    pub bytes: u64,
    /// The first entry in it; of a snapshot the last that it covers.
    pub first: Sequence,
    /// How many entries a segment holds; 0 for a snapshot.
    pub entries: u64,
    /// What is wrong with it.
    pub damage: Option<Damage>,
}

/// Checks every byte of every segment and snapshot, and how they are linked.
///
/// # Errors
/// [`ReadError::Disk`] when a file cannot be read at all; damage is in the reports.
pub fn verify(disk: &dyn Disk) -> Result<Vec<FileReport>, ReadError> {
    let names = disk.list().map_err(ReadError::of("the data folder"))?;
    let mut reports = Vec::new();
    let mut snapshots: Vec<_> = names.iter().filter_map(|name| snapshot::sequence_of(name)).collect();
    snapshots.sort_unstable();
    for sequence in snapshots {
        let file = snapshot::name(sequence);
        let bytes = segment::load(disk, &file)?;
        let damage = match snapshot::check(&file, &bytes) {
            Err(damage) => Some(damage),
            Ok((found, _)) if found.sequence != sequence => {
                Some(Damage::new(&file, 16, "its name is not that of its sequence"))
            }
            Ok(_) => None,
        };
        reports.push(FileReport { file, bytes: bytes.len() as u64, first: sequence, entries: 0, damage });
    }
    let mut firsts: Vec<_> = names.iter().filter_map(|name| segment::first_of(name)).collect();
    firsts.sort_unstable();
    let mut before: Option<Header> = None;
    for (at, first) in firsts.iter().enumerate() {
        let (mut report, header) = look_at(disk, *first, firsts.get(at + 1).copied())?;
        if let (None, Some(before), Some(header)) = (&report.damage, before, header) {
            report.damage = unlinked(&report.file, before, header);
        }
        before = header;
        reports.push(report);
    }
    Ok(reports)
}

fn unlinked(file: &str, before: Header, this: Header) -> Option<Damage> {
    if this.id != before.id {
        return Some(Damage::new(file, 8, "it belongs to another journal"));
    }
    (this.previous != before.first).then(|| Damage::new(file, 24, "the segment before it is missing"))
}

/// One segment; where it ends, the header of the next one says.
fn look_at(
    disk: &dyn Disk,
    first: Sequence,
    after: Option<Sequence>,
) -> Result<(FileReport, Option<Header>), ReadError> {
    let file = segment::name(first);
    let mut looks = 0;
    loop {
        looks += 1;
        let bytes = segment::load(disk, &file)?;
        let mut report = FileReport { file: file.clone(), bytes: bytes.len() as u64, first, entries: 0, damage: None };
        let header = Header::read(&file, &bytes);
        let walked = header.clone().and_then(|header| {
            if header.first != first {
                return Err(Damage::new(&file, 16, "its name is not that of its first entry"));
            }
            let end = match after {
                None if bytes.len() != header.bytes as usize => {
                    return Err(Damage::new(&file, bytes.len(), "it is cut short"));
                }
                None => End::Torn,
                Some(after) => End::At(end_of(disk, after).unwrap_or(bytes.len())),
            };
            let walked = segment::walk(&file, &bytes, first, end, |record| record.check())?;
            match after {
                Some(after) if walked.next != after => {
                    Err(Damage::new(&file, walked.end, "entries at its end are missing"))
                }
                _ => Ok(walked),
            }
        });
        match walked {
            Ok(walked) => {
                report.bytes = walked.end as u64;
                report.entries = walked.next.0 - first.0;
            }
            Err(_) if looks < LOOKS => continue,
            Err(damage) => report.damage = Some(damage),
        }
        return Ok((report, header.ok()));
    }
}

/// What the header of the segment `after` says of the one before it; `None` when it cannot be read.
fn end_of(disk: &dyn Disk, after: Sequence) -> Option<usize> {
    let file = segment::name(after);
    let open = disk.open(&file).ok()?;
    let bytes = segment::load_until(&*open, &file, HEADER_BYTES).ok()?;
    Header::read(&file, &bytes).ok().map(|header| header.previous_end as usize)
}

/// Shows every entry from `from` on, also beside a running server.
///
/// # Errors
/// [`ReadError`] at the first damage.
pub fn dump(
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    from: Sequence,
    visit: &mut dyn FnMut(Sequence, Entry),
) -> Result<Sequence, ReadError> {
    let log = Segments::look_at(disk, clock)?;
    log.read(from.max(log.first()), visit)
}

/// What `repair` did to one file. The damaged original is kept as `<name>.damaged`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repair {
    /// Which file.
    pub file: String,
    /// How many entries are lost for good; their sequences stay taken.
    pub lost: u64,
}

/// Sets damaged snapshots aside, and rewrites damaged segments with every record that is whole; each entry in between becomes
/// [`Entry::Lost`]. The server must not run.
///
/// # Errors
/// What the system says. Run again, it goes on.
pub fn repair(disk: &dyn Disk) -> io::Result<Vec<Repair>> {
    let reports = verify(disk).map_err(io::Error::other)?;
    let segments: Vec<_> = reports.iter().filter(|report| segment::first_of(&report.file).is_some()).collect();
    let mut repairs = Vec::new();
    for report in reports.iter().filter(|report| report.damage.is_some()) {
        if snapshot::sequence_of(&report.file).is_some() {
            disk.rename(&report.file, &format!("{}.damaged", report.file))?;
            repairs.push(Repair { file: report.file.clone(), lost: 0 });
        }
    }
    let good = segments.iter().find_map(|report| whole_header(disk, &report.file));
    let mut before: Option<(Sequence, u64)> = None;
    for (at, report) in segments.iter().enumerate() {
        let after = segments.get(at + 1).map(|next| next.first);
        let (header, bytes) =
            (whole_header(disk, &report.file), segment::load(disk, &report.file).map_err(io::Error::other)?);
        let is_linked =
            header.is_some_and(|header| before.is_none_or(|before| before == (header.previous, header.previous_end)));
        if report.damage.is_none() && is_linked {
            before = Some((report.first, report.bytes));
            continue;
        }
        let template = header.or(good).ok_or_else(|| io::Error::other("no segment has a header that can be read"))?;
        let (previous, previous_end) = before.unwrap_or_default();
        let (mut content, lost, end) = rebuilt(&bytes, report.first, after);
        let size = if after.is_some() { content.len() } else { content.len().max(template.bytes as usize) };
        content.resize(size, 0);
        let header = Header { first: report.first, previous, previous_end, bytes: size as u32, ..template };
        content[..HEADER_BYTES].copy_from_slice(&header.to_bytes());
        replace(disk, &report.file, &content)?;
        before = Some((report.first, end as u64));
        repairs.push(Repair { file: report.file.clone(), lost });
    }
    disk.sync_folder()?;
    Ok(repairs)
}

fn whole_header(disk: &dyn Disk, file: &str) -> Option<Header> {
    let open = disk.open(file).ok()?;
    Header::read(file, &segment::load_until(&*open, file, HEADER_BYTES).ok()?).ok()
}

/// The whole records of a segment behind room for a header, the entries between them marked as lost; how many are; and where it ends.
fn rebuilt(bytes: &[u8], first: Sequence, after: Option<Sequence>) -> (Vec<u8>, u64, usize) {
    let mut content = vec![0; HEADER_BYTES];
    let (mut next, mut lost, mut offset) = (first, 0, HEADER_BYTES);
    let mut fill = |content: &mut Vec<u8>, next: Sequence, to: Sequence| {
        let mut hole = Chunk::default();
        (next.0..to.0).for_each(|_| hole.push(&Entry::Lost));
        if next < to {
            content.extend_from_slice(&hole.record(next, content.len() as u32));
            lost += to.0 - next.0;
        }
    };
    while offset < bytes.len() {
        let is_next = |record: &Record<'_>| record.first >= next && after.is_none_or(|after| record.next() <= after);
        match Record::read(&bytes[offset..]).filter(is_next) {
            Some(record) => {
                fill(&mut content, next, record.first);
                content.extend_from_slice(&record.rewritten(content.len() as u32));
                next = record.next();
                offset += record.bytes();
            }
            None => offset += ALIGNMENT,
        }
    }
    if let Some(after) = after {
        fill(&mut content, next, after);
    }
    let end = content.len();
    (content, lost, end)
}

/// Keeps the file as `<name>.damaged` and puts `content` in its place.
fn replace(disk: &dyn Disk, name: &str, content: &[u8]) -> io::Result<()> {
    const REPAIRED: &str = "repaired";
    match disk.remove(REPAIRED) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = disk.create(REPAIRED)?;
    file.write_at(content, 0)?;
    file.sync()?;
    disk.rename(name, &format!("{name}.damaged"))?;
    disk.rename(REPAIRED, name)?;
    disk.sync_folder()
}
