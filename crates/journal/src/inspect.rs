//! Looking at a log from outside: verify, dump, repair.

use std::io;
use std::sync::Arc;

use model::{Clock, Disk};

use crate::record::{ALIGNMENT, Chunk, Record};
use crate::segment::{self, End, HEADER_BYTES, Header};
use crate::segments::check_snapshots;
use crate::{Damage, Entry, ReadError, Segments, Sequence, snapshot};

/// A file of a running server is looked at so often before a bad place counts as damage: it may just be written.
const LOOKS: u32 = 3;

/// Stands behind the name of a file that `repair` set aside.
const DAMAGED: &str = ".damaged";

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

impl FileReport {
    fn is_segment(&self) -> bool {
        segment::first_of(&self.file).is_some()
    }

    /// The sequence after the last entry of a segment.
    fn next(&self) -> Sequence {
        Sequence(self.first.0 + self.entries)
    }
}

/// Checks all that counts of every segment and snapshot, and how they are linked: snapshots first, each kind oldest first.
///
/// # Errors
/// [`ReadError::Disk`] when a file cannot be read at all; damage is in the reports.
pub fn verify(disk: &dyn Disk) -> Result<Vec<FileReport>, ReadError> {
    let mut reports = each_file(disk)?;
    let snapshots: Vec<_> = reports.iter().filter(|report| !report.is_segment()).map(|report| report.first).collect();
    let mut segments = reports.iter().filter(|report| report.is_segment());
    let (first, last) = (segments.next(), reports.last());
    let next = last.filter(|last| last.damage.is_none() && last.is_segment()).map(FileReport::next);
    // A damaged end is shown already, and does not say where the log ends.
    let next = next.unwrap_or(Sequence(u64::MAX));
    if let Err(damage) = check_snapshots(first.map(|first| first.first), next, &snapshots) {
        let at = reports.iter().position(|report| report.file == damage.file).unwrap_or(reports.len() - 1);
        reports[at].damage.get_or_insert(damage);
    }
    Ok(reports)
}

/// What is wrong with each file for itself, and with its link to the one before.
fn each_file(disk: &dyn Disk) -> Result<Vec<FileReport>, ReadError> {
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

/// Sets aside snapshots that are damaged or that the log no longer reaches, and rewrites damaged segments with every record
/// that is whole; each entry in between becomes [`Entry::Lost`]. The server must not run.
///
/// # Errors
/// What the system says. Run again, it goes on.
pub fn repair(disk: &dyn Disk) -> io::Result<Vec<Repair>> {
    let reports = each_file(disk).map_err(io::Error::other)?;
    let (segments, snapshots): (Vec<_>, Vec<_>) = reports.iter().partition(|report| report.is_segment());
    let mut repairs = Vec::new();
    let start = segments.first().map_or(Sequence(1), |first| first.first);
    let mut newest = Sequence(0);
    for report in snapshots {
        if report.damage.is_some() || report.first.next() < start {
            disk.rename(&report.file, &format!("{}{DAMAGED}", report.file))?;
            repairs.push(Repair { file: report.file.clone(), lost: 0 });
        } else {
            newest = report.first;
        }
    }
    let headers = segments.iter().map(|report| whole_header(disk, &report.file));
    let headers: Vec<_> = headers.collect();
    let template = headers.iter().flatten().next().copied();
    let misplaced = misplaced(disk)?;
    let mut before: Option<(Sequence, u64)> = None;
    for (at, report) in segments.iter().enumerate() {
        let after = segments.get(at + 1).map(|next| next.first);
        let until = after.unwrap_or(newest.next());
        let is_linked = headers[at]
            .is_some_and(|header| before.is_none_or(|before| before == (header.previous, header.previous_end)));
        if report.damage.is_none() && is_linked && report.next() >= until {
            before = Some((report.first, report.bytes));
            continue;
        }
        let own = segment::load(disk, &report.file).map_err(io::Error::other)?;
        // A file with another's content: its own may stand under that name.
        let is_swapped = headers[at].is_some_and(|header| header.first != report.first);
        let found = misplaced.iter().find(|(first, _)| is_swapped && *first == report.first);
        let bytes = found.map_or(&own, |(_, bytes)| bytes);
        let header = Header::read(&report.file, bytes).ok().or(template);
        let header = header.ok_or_else(|| io::Error::other("no segment has a header that can be read"))?;
        let is_link = |next: &Header| Some(next.first) == after && next.previous == report.first;
        let counted = headers.get(at + 1).copied().flatten().filter(is_link);
        let counted = counted.map_or(bytes.len(), |next| bytes.len().min(next.previous_end as usize));
        let mut rebuilt = Rebuilt::of(&bytes[..counted], report.first, after);
        rebuilt.fill(until);
        let end = rebuilt.content.len();
        if after.is_none() {
            rebuilt.prove(header.bytes as usize);
        }
        let (previous, previous_end) = before.unwrap_or_default();
        let bytes = u32::try_from(rebuilt.content.len()).map_err(io::Error::other)?;
        let header = Header { first: report.first, previous, previous_end, bytes, ..header };
        rebuilt.content[..HEADER_BYTES].copy_from_slice(&header.to_bytes());
        replace(disk, &report.file, &own, &rebuilt.content)?;
        before = Some((report.first, end as u64));
        repairs.push(Repair { file: report.file.clone(), lost: rebuilt.lost });
    }
    disk.sync_folder()?;
    Ok(repairs)
}

/// The contents that stand under the name of another segment, with the sequence that is their own; also those that a repair
/// which was stopped has set aside.
fn misplaced(disk: &dyn Disk) -> io::Result<Vec<(Sequence, Vec<u8>)>> {
    let mut found = Vec::new();
    for name in disk.list()? {
        let Some(first) = segment::first_of(name.strip_suffix(DAMAGED).unwrap_or(&name)) else { continue };
        if let Some(header) = whole_header(disk, &name).filter(|header| header.first != first) {
            found.push((header.first, segment::load(disk, &name).map_err(io::Error::other)?));
        }
    }
    Ok(found)
}

fn whole_header(disk: &dyn Disk, file: &str) -> Option<Header> {
    let open = disk.open(file).ok()?;
    Header::read(file, &segment::load_until(&*open, file, HEADER_BYTES).ok()?).ok()
}

/// The whole records of a segment behind room for a header, the entries between them marked as lost.
struct Rebuilt {
    content: Vec<u8>,
    next: Sequence,
    lost: u64,
}

impl Rebuilt {
    fn of(bytes: &[u8], first: Sequence, after: Option<Sequence>) -> Self {
        let mut rebuilt = Self { content: vec![0; HEADER_BYTES], next: first, lost: 0 };
        let mut offset = HEADER_BYTES;
        while offset < bytes.len() {
            let fits =
                |record: &Record<'_>| record.first >= rebuilt.next && after.is_none_or(|after| record.next() <= after);
            let Some(record) = Record::read(&bytes[offset..]).filter(fits) else {
                offset += ALIGNMENT;
                continue;
            };
            rebuilt.fill(record.first);
            rebuilt.content.extend_from_slice(&record.rewritten(rebuilt.content.len() as u32));
            rebuilt.next = record.next();
            offset += record.bytes();
        }
        rebuilt
    }

    /// Marks everything before `until` that is not there as lost.
    fn fill(&mut self, until: Sequence) {
        if self.next >= until {
            return;
        }
        let mut hole = Chunk::default();
        (self.next.0..until.0).for_each(|_| hole.push(&Entry::Lost));
        self.content.extend_from_slice(&hole.record(self.next, self.content.len() as u32));
        self.lost += until.0 - self.next.0;
        self.next = until;
    }

    /// Puts a mark at the end, and zeros up to `bytes`.
    fn prove(&mut self, bytes: usize) {
        self.content.extend_from_slice(&Chunk::default().record(self.next, self.content.len() as u32));
        self.content.resize(self.content.len().max(bytes), 0);
    }
}

/// Keeps the `original` as `<name>.damaged` and puts `content` in its place. Stopped anywhere, one of the two has the name.
fn replace(disk: &dyn Disk, name: &str, original: &[u8], content: &[u8]) -> io::Result<()> {
    const REPAIRED: &str = "repaired";
    let damaged = format!("{name}{DAMAGED}");
    for (name, bytes) in [(damaged.as_str(), original), (REPAIRED, content)] {
        match disk.remove(name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = disk.create(name)?;
        file.write_at(bytes, 0)?;
        file.sync()?;
    }
    disk.sync_folder()?;
    disk.rename(REPAIRED, name)?;
    disk.sync_folder()
}
