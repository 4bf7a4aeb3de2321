use std::io;
use std::sync::Arc;
use std::time::Duration;

use model::{Clock, Disk, DiskFile, Timestamp};

use crate::record::Chunk;
use crate::segment::{self, End, HEADER_BYTES, Header};
use crate::{Damage, Entry, ReadError, Sequence, Snapshots, snapshot};

/// The next segment while it is reserved.
const SPARE: &str = "spare";
/// The spare is filled in pieces of this many bytes, each synced, so that it never holds up a group commit for long.
const SPARE_PIECE_BYTES: usize = 4 << 20;

/// The segments of a log, one step at a time and without threads, so that a simulated disk can stop it anywhere.
///
/// Order of a group: [`Self::append`] once for each record, then [`Self::sync`]. After an error of either the log must not
/// be used any more: nothing is retried.
pub struct Segments {
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    id: u64,
    closed: Arc<Vec<Closed>>,
    active: Option<Active>,
    next: Sequence,
}

/// Shows the entries of a batch one by one.
pub(crate) fn each<'a>(visit: &'a mut dyn FnMut(Sequence, Entry)) -> impl FnMut(Sequence, &[Entry]) + 'a {
    |first, entries| {
        for (at, entry) in (0..).zip(entries) {
            visit(Sequence(first.0 + at), entry.clone());
        }
    }
}

/// A segment that is no longer written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Closed {
    pub(crate) first: Sequence,
    pub(crate) end: usize,
    /// When the one after it was begun.
    pub(crate) closed_at: Timestamp,
}

struct Active {
    first: Sequence,
    file: Box<dyn DiskFile>,
    bytes: usize,
    written: usize,
    synced: usize,
}

impl std::fmt::Debug for Segments {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Segments").field("closed", &self.closed).field("next", &self.next).finish_non_exhaustive()
    }
}

impl Segments {
    /// Finds what is there: checks all headers and how they are linked, walks over the last segment and finds its torn end.
    /// All that counts from now on is on stable storage: what the run before left in doubt is written once more. A new
    /// segment is begun with the first [`Self::roll`].
    ///
    /// # Errors
    /// [`ReadError::Damage`] with file and offset when something that was synced is not there.
    pub fn open(disk: Arc<dyn Disk>, clock: Arc<dyn Clock>) -> Result<Self, ReadError> {
        let (log, doubtful) = Self::find(disk, clock)?;
        // A snapshot that a killed process renamed is seen, and its name may not be durable.
        log.disk.sync_folder().map_err(ReadError::of("the data folder"))?;
        if let Some(last) = doubtful {
            last.secure(&*log.disk, log.next).map_err(ReadError::of(&segment::name(last.header.first)))?;
        }
        Ok(log)
    }

    /// The same without a change to any file, for tools beside a running server.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn look_at(disk: Arc<dyn Disk>, clock: Arc<dyn Clock>) -> Result<Self, ReadError> {
        Self::find(disk, clock).map(|(log, _)| log)
    }

    fn find(disk: Arc<dyn Disk>, clock: Arc<dyn Clock>) -> Result<(Self, Option<Doubtful>), ReadError> {
        let names = disk.list().map_err(ReadError::of("the data folder"))?;
        let mut firsts: Vec<_> = names.iter().filter_map(|name| segment::first_of(name)).collect();
        firsts.sort_unstable();
        let mut headers = Vec::with_capacity(firsts.len());
        for first in firsts {
            headers.push(header_of(&*disk, first)?);
        }
        let snapshots = Snapshots::on(Arc::clone(&disk)).list()?;
        check_links(&headers)?;
        let now = clock.now();
        let fresh = || now.unix_ms() as u64 ^ u64::from(std::process::id()) << 44;
        let id = headers.first().map_or_else(fresh, |(header, _)| header.id);
        let mut log = Self { disk, clock, id, closed: Arc::default(), active: None, next: Sequence(1) };
        for pair in headers.windows(2) {
            let ((this, bytes), (after, _)) = (pair[0], pair[1]);
            let end = after.previous_end as usize;
            if bytes < after.previous_end {
                return Err(Damage::new(&segment::name(this.first), bytes as usize, "it is cut short").into());
            }
            log.close(Closed { first: this.first, end, closed_at: after.made_at });
        }
        let doubtful = match headers.last() {
            Some((last, _)) => log.close_last(*last)?,
            None => None,
        };
        check_snapshots(headers.first().map(|(first, _)| first.first), log.next, &snapshots)?;
        Ok((log, doubtful))
    }

    /// The last segment of the run before: up to its torn end it counts; it is not written any more.
    fn close_last(&mut self, last: Header) -> Result<Option<Doubtful>, ReadError> {
        let file = segment::name(last.first);
        let mut bytes = segment::load(&*self.disk, &file)?;
        if bytes.len() != last.bytes as usize {
            return Err(Damage::new(&file, bytes.len(), "it is cut short").into());
        }
        let walked = segment::walk(&file, &bytes, last.first, End::Torn, |_| Ok(()))?;
        self.next = walked.next;
        // One without entries is replaced by the next, which gets its name.
        if walked.next == last.first {
            return Ok(None);
        }
        self.close(Closed { first: last.first, end: walked.entries_end, closed_at: self.clock.now() });
        bytes.truncate(walked.entries_end);
        Ok(if walked.is_proven { None } else { Some(Doubtful { header: last, bytes }) })
    }

    /// The sequence that the next entry will get.
    #[must_use]
    pub const fn next(&self) -> Sequence {
        self.next
    }

    /// The first sequence that is still there.
    #[must_use]
    pub fn first(&self) -> Sequence {
        self.view().first()
    }

    /// The identity of the log, the same in all its files.
    #[must_use]
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// Bytes that the active segment still has.
    pub(crate) fn room(&self) -> usize {
        self.active.as_ref().map_or(0, |active| active.bytes - active.written)
    }

    /// What of the log may be read now.
    pub(crate) fn view(&self) -> View {
        let active = self.active.as_ref().map(|active| (active.first, active.synced));
        View { closed: Arc::clone(&self.closed), active, next: self.next }
    }

    /// Writes one record. The active segment must have the room.
    ///
    /// # Errors
    /// What the system says; final.
    pub(crate) fn write(&mut self, chunk: &Chunk) -> io::Result<()> {
        let active = self.active.as_mut().expect("a record is written only where there is room");
        let record = chunk.record(self.next, active.synced as u32);
        assert!(active.written + record.len() <= active.bytes, "a record fits in the segment it is written to");
        active.file.write_at(&record, active.written as u64)?;
        active.written += record.len();
        self.next = Sequence(self.next.0 + u64::from(chunk.entries()));
        Ok(())
    }

    /// Brings what was written to stable storage; returns the last sequence there.
    ///
    /// # Errors
    /// What the system says; final.
    pub fn sync(&mut self) -> io::Result<Sequence> {
        if let Some(active) = self.active.as_mut().filter(|active| active.synced < active.written) {
            active.file.sync()?;
            active.synced = active.written;
        }
        Ok(self.next.before())
    }

    /// Writes an empty record that says how far the segment was synced, so that a later start can tell damage from a torn
    /// end. Needs no sync of its own.
    ///
    /// # Errors
    /// What the system says; final.
    pub fn mark(&mut self) -> io::Result<()> {
        let mark = Chunk::default();
        let is_due = self.active.as_ref().is_some_and(|active| {
            active.written == active.synced
                && active.written > HEADER_BYTES
                && active.bytes - active.written >= mark.bytes()
        });
        if is_due { self.write(&mark) } else { Ok(()) }
    }

    /// Reserves the next segment: `bytes` zeros on stable storage.
    ///
    /// # Errors
    /// What the system says (`StorageFull`): may be tried again, nothing of the log is in it.
    pub fn reserve(&self, bytes: u32) -> io::Result<()> {
        prepare(&*self.disk, bytes)
    }

    /// Begins the segment that [`Self::reserve`] reserved; the one before is synced first and never written again.
    ///
    /// # Errors
    /// What the system says; final.
    pub fn roll(&mut self) -> io::Result<()> {
        self.sync()?;
        let before = self.active.as_ref().map(|active| (active.first, active.synced));
        // A segment without entries has given its name to the new one.
        let before = before.filter(|(first, _)| *first < self.next);
        let last_closed = self.closed.last().map(|closed| (closed.first, closed.end));
        let (previous, previous_end) = before.or(last_closed).unwrap_or_default();
        let file = self.disk.open(SPARE)?;
        let bytes = file.bytes()?;
        let made_at = self.clock.now();
        let header = Header {
            id: self.id,
            first: self.next,
            previous,
            previous_end: previous_end as u64,
            made_at,
            bytes: u32::try_from(bytes).map_err(io::Error::other)?,
        };
        file.write_at(&header.to_bytes(), 0)?;
        file.sync()?;
        self.disk.rename(SPARE, &segment::name(self.next))?;
        self.disk.sync_folder()?;
        let active =
            Active { first: self.next, file, bytes: bytes as usize, written: HEADER_BYTES, synced: HEADER_BYTES };
        let old = self.active.replace(active);
        if let Some(old) = old.filter(|old| old.first < self.next) {
            self.close(Closed { first: old.first, end: old.synced, closed_at: made_at });
        }
        // What was reserved and not used goes back. Nothing depends on it.
        if let Some(last) = self.closed.last() {
            let _ = self.disk.open(&segment::name(last.first)).and_then(|file| file.resize(last.end as u64));
        }
        Ok(())
    }

    fn close(&mut self, closed: Closed) {
        Arc::make_mut(&mut self.closed).push(closed);
    }

    /// Removes closed segments, oldest first, that end before `needed` and are over the limits. Returns how many.
    ///
    /// # Errors
    /// What the system says; the log goes on.
    pub fn retain(&mut self, needed: Sequence, bytes_max: u64, age_max: Duration) -> io::Result<usize> {
        let oldest_kept = self.clock.now().shifted_ms(-i64::try_from(age_max.as_millis()).unwrap_or(i64::MAX));
        let mut bytes: u64 = self.closed.iter().map(|closed| closed.end as u64).sum();
        let mut removed = 0;
        while let [oldest, rest @ ..] = &self.closed[..] {
            let after =
                rest.first().map_or(self.active.as_ref().map_or(self.next, |active| active.first), |next| next.first);
            let is_over = bytes > bytes_max || oldest.closed_at < oldest_kept;
            if after > needed || !is_over || (rest.is_empty() && self.active.is_none()) {
                break;
            }
            // One by one, so that no crash leaves a hole: the removal before, also one of an earlier call whose sync failed.
            self.disk.sync_folder()?;
            bytes -= oldest.end as u64;
            self.disk.remove(&segment::name(oldest.first))?;
            Arc::make_mut(&mut self.closed).remove(0);
            removed += 1;
        }
        if removed > 0 {
            self.disk.sync_folder()?;
        }
        Ok(removed)
    }

    /// Shows the entries from `from` on, up to the last that is synced; returns the sequence after it.
    ///
    /// # Errors
    /// [`ReadError`]; what was shown before is right.
    pub fn read(&self, from: Sequence, visit: &mut dyn FnMut(Sequence, Entry)) -> Result<Sequence, ReadError> {
        self.read_batches(from, &mut each(visit))
    }

    /// The same, record by record.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_batches(
        &self,
        from: Sequence,
        visit: &mut dyn FnMut(Sequence, &[Entry]),
    ) -> Result<Sequence, ReadError> {
        self.view().read(&*self.disk, from, visit)
    }

    /// Appends entries as one record, rolling first when they do not fit. For tests and tools: the threads of
    /// [`crate::LocalLog`] gather groups.
    ///
    /// # Errors
    /// What the system says; final.
    pub fn append(&mut self, entries: &[Entry]) -> io::Result<Sequence> {
        let mut chunk = Chunk::default();
        entries.iter().for_each(|entry| chunk.push(entry));
        if self.room() < chunk.bytes() {
            self.roll()?;
        }
        self.write(&chunk)?;
        Ok(self.next.before())
    }
}

/// A last segment whose end was read, though nobody knows whether it is on stable storage: the run before died between a write
/// and its sync, or its sync failed. In the second case the system shows what no later sync of that file will write.
struct Doubtful {
    header: Header,
    /// Up to the end of the last entry.
    bytes: Vec<u8>,
}

impl Doubtful {
    /// Puts a copy that is on stable storage in its place, with a mark at its end. In place nothing is written: a torn sector
    /// could take what was acknowledged.
    fn secure(&self, disk: &dyn Disk, next: Sequence) -> io::Result<()> {
        match self.copy(disk, next) {
            // Without room the log must start all the same, to be asked. A sync covers all but a sync that failed before.
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                remove_spare(disk)?;
                disk.open(&segment::name(self.header.first))?.sync()
            }
            done => done,
        }
    }

    fn copy(&self, disk: &dyn Disk, next: Sequence) -> io::Result<()> {
        let mark = Chunk::default().record(next, u32::try_from(self.bytes.len()).map_err(io::Error::other)?);
        let mut bytes = [&self.bytes[..], &mark].concat();
        let header = Header { bytes: u32::try_from(bytes.len()).map_err(io::Error::other)?, ..self.header };
        bytes[..HEADER_BYTES].copy_from_slice(&header.to_bytes());
        // What was reserved gives its room.
        remove_spare(disk)?;
        let file = disk.create(SPARE)?;
        file.write_at(&bytes, 0)?;
        file.sync()?;
        disk.rename(SPARE, &segment::name(header.first))?;
        disk.sync_folder()
    }
}

/// What of the log is on stable storage and does not change any more; to be read without a lock.
#[derive(Debug, Clone, Default)]
pub(crate) struct View {
    pub(crate) closed: Arc<Vec<Closed>>,
    active: Option<(Sequence, usize)>,
    next: Sequence,
}

impl View {
    /// The first sequence that is still there.
    pub(crate) fn first(&self) -> Sequence {
        let active = self.active.map_or(self.next, |(first, _)| first);
        self.closed.first().map_or(active, |closed| closed.first)
    }

    /// Bytes of all segments that were closed after the entry `after`.
    pub(crate) fn closed_bytes(&self, after: Sequence) -> u64 {
        self.closed.iter().filter(|closed| closed.first > after).map(|closed| closed.end as u64).sum()
    }

    /// The last entry of the last closed segment; 0 when there is none.
    pub(crate) fn closed_up_to(&self) -> Sequence {
        if self.closed.is_empty() { Sequence(0) } else { self.active.map_or(self.next, |(first, _)| first).before() }
    }

    /// The same without the active segment.
    pub(crate) fn closed_only(&self) -> Self {
        Self { closed: Arc::clone(&self.closed), active: None, next: self.closed_up_to().next() }
    }

    /// See [`crate::Log::read_batches`].
    pub(crate) fn read(
        &self,
        disk: &dyn Disk,
        from: Sequence,
        visit: &mut dyn FnMut(Sequence, &[Entry]),
    ) -> Result<Sequence, ReadError> {
        if from < self.first() {
            return Err(ReadError::Expired { from, first: self.first() });
        }
        let closed = self.closed.iter().map(|closed| (closed.first, closed.end));
        let all: Vec<_> = closed.chain(self.active).collect();
        let start = all.iter().rposition(|(first, _)| *first <= from).unwrap_or(0);
        let mut reader = Reader { disk, from, bytes: Vec::new(), entries: Vec::new() };
        let mut next = from;
        for &(first, end) in &all[start..] {
            next = next.max(reader.segment(first, end, visit)?);
        }
        Ok(next)
    }
}

/// Reads segment after segment into the same memory.
struct Reader<'a> {
    disk: &'a dyn Disk,
    from: Sequence,
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

impl Reader<'_> {
    /// Shows the entries of one segment from `from` on, record by record; returns the sequence after its last.
    fn segment(
        &mut self,
        first: Sequence,
        end: usize,
        visit: &mut dyn FnMut(Sequence, &[Entry]),
    ) -> Result<Sequence, ReadError> {
        let Self { disk, from, bytes, entries } = self;
        let name = segment::name(first);
        let file = disk.open(&name).map_err(ReadError::of(&name))?;
        segment::load_into(&*file, &name, end, bytes)?;
        Header::read(&name, bytes)?;
        let walked = segment::walk(&name, bytes, first, End::At(end), |record| {
            // A record that ends before `from` costs its checksum only.
            if record.next() <= *from || record.next() == record.first {
                return Ok(());
            }
            entries.clear();
            record.read_into(entries)?;
            let skipped = from.0.saturating_sub(record.first.0);
            visit(record.first.max(*from), &entries[skipped as usize..]);
            Ok(())
        })?;
        Ok(walked.next)
    }
}

/// Reserves the next segment: zeros on stable storage, so that a group commit changes nothing but bytes.
///
/// # Errors
/// What the system says (`StorageFull`): may be tried again, nothing of the log is in it.
pub(crate) fn prepare(disk: &dyn Disk, bytes: u32) -> io::Result<()> {
    remove_spare(disk)?;
    let file = disk.create(SPARE)?;
    let zeros = vec![0; SPARE_PIECE_BYTES.min(bytes as usize)];
    let fill = || {
        for start in (0..bytes as usize).step_by(zeros.len()) {
            file.write_at(&zeros[..zeros.len().min(bytes as usize - start)], start as u64)?;
            file.sync()?;
        }
        Ok(())
    };
    let filled: io::Result<()> = fill();
    if filled.is_err() {
        // What it took is given back: others may need it more.
        let _ = disk.remove(SPARE);
    }
    filled
}

fn remove_spare(disk: &dyn Disk) -> io::Result<()> {
    match disk.remove(SPARE) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn header_of(disk: &dyn Disk, first: Sequence) -> Result<(Header, u64), ReadError> {
    let name = segment::name(first);
    let file = disk.open(&name).map_err(ReadError::of(&name))?;
    let header = Header::read(&name, &segment::load_until(&*file, &name, HEADER_BYTES)?)?;
    if header.first != first {
        return Err(Damage::new(&name, 16, "its name is not that of its first entry").into());
    }
    Ok((header, file.bytes().map_err(ReadError::of(&name))?))
}

/// All files of one log, in an unbroken row.
fn check_links(headers: &[(Header, u64)]) -> Result<(), Damage> {
    for pair in headers.windows(2) {
        let (before, this) = (pair[0].0, pair[1].0);
        let name = segment::name(this.first);
        if this.id != before.id {
            return Err(Damage::new(&name, 8, "it belongs to another journal"));
        }
        if this.previous != before.first {
            return Err(Damage::new(&name, 24, "the segment before it is missing"));
        }
    }
    Ok(())
}

/// The log, from `first` up to but without `next`, holds every entry after each snapshot, and those of the newest: it was made
/// out of entries that were synced. Else entries would get sequences that a snapshot covers already.
pub(crate) fn check_snapshots(first: Option<Sequence>, next: Sequence, snapshots: &[Sequence]) -> Result<(), Damage> {
    let (oldest, newest) = (snapshots.first(), snapshots.last());
    match (first, oldest) {
        (Some(first), None) if first > Sequence(1) => {
            Err(Damage::new(&segment::name(first), 16, "what came before it is in no snapshot"))
        }
        (Some(first), Some(oldest)) if first > oldest.next() => {
            Err(Damage::new(&segment::name(first), 16, "entries between the snapshot and it are missing"))
        }
        (None, Some(oldest)) => {
            Err(Damage::new(&segment::name(oldest.next()), 0, "the segments after the snapshot are missing"))
        }
        _ => match newest.filter(|newest| **newest >= next) {
            Some(newest) => Err(Damage::new(&snapshot::name(*newest), 16, "the log ends before it")),
            None => Ok(()),
        },
    }
}
