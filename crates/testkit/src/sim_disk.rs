mod content;
mod names;
mod state;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::{Disk, DiskFile};

use crate::Seeded;
use content::Content;
use names::{ContentId, NameChange};
use state::{End, Entry, Planned, State};

/// Which calls of [`Disk`] and [`DiskFile`] are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Calls {
    /// All.
    All,
    /// Those that change or sync: all but `list`, `open`, `bytes` and `read_at`.
    Changes,
}

/// What goes wrong in a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The device says no (EIO).
    Io,
    /// No room is left (ENOSPC).
    Full,
}

impl Fault {
    fn error(self) -> io::Error {
        io::Error::from_raw_os_error(match self {
            Self::Io => 5,
            Self::Full => 28,
        })
    }

    fn check(fault: Option<Self>) -> io::Result<()> {
        fault.map_or(Ok(()), |fault| Err(fault.error()))
    }
}

/// A disk in memory that loses what was not synced, as a seed says. Clones are handles on the same disk.
///
/// - Bytes and lengths are durable after [`DiskFile::sync`], for the changes made before that call began.
/// - Names are durable after [`Disk::sync_folder`], and only then: to sync a file does not keep its name.
/// - A sync that fails leaves its changes in doubt, as Linux does: some may be on the platter, some may not be
///   seen any more, and the others are seen until power is lost, though no later sync writes them.
/// - A file without a name is readable through its handles and takes no room.
///
/// The same calls on a disk of the same seed leave the same disk. Its [`fmt::Debug`] form shows the files and
/// the last 64 things that happened.
///
/// ```
/// use model::{Disk, DiskFile};
///
/// let disk = testkit::SimDisk::new(42);
/// let file = disk.create("log")?;
/// file.write_at(b"synced", 0)?;
/// file.sync()?;
/// disk.sync_folder()?;
/// file.write_at(b"unsynced", 6)?;
/// let platter = disk.crash(7);
/// assert!(platter.file("log").is_some_and(|bytes| bytes.starts_with(b"synced")));
/// assert!(file.sync().is_err());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

impl SimDisk {
    /// An empty disk with room for 1 GiB.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::from_state(State::new(seed))
    }

    /// The same disk with room for `bytes`.
    #[must_use]
    pub fn with_capacity(self, bytes: u64) -> Self {
        self.set_capacity(bytes);
        self
    }

    /// Gives it room for `bytes`: writes and resizes that need more fail with ENOSPC. Zeros count as any byte.
    /// What is there stays, even if it is more.
    pub fn set_capacity(&self, bytes: u64) {
        let mut state = self.lock();
        state.capacity_bytes = bytes;
        state.note(format!("room for {bytes} bytes"));
    }

    /// Makes one call fail: the `k`-th of `among` from now on, the next one being 1, over all handles. Of two
    /// faults planned for one call the first planned strikes.
    ///
    /// A write that fails may leave a prefix of its bytes, a resize may be done; a failed `sync_folder` may have
    /// made the oldest changes durable, the others wait for the next. Other calls that fail do nothing.
    ///
    /// # Panics
    /// When `k` is 0.
    pub fn fail_call(&self, k: u64, fault: Fault, among: Calls) {
        assert!(k > 0, "the next call is number 1");
        let mut state = self.lock();
        let number = state.counted(among) + k;
        state.faults.push(Planned { number, among, fault });
    }

    /// The disk dies before its `k`-th call from now on does anything: that call and all later ones give errors.
    /// [`Self::crash`] or [`Self::kill`] then says what died, the machine or the process.
    ///
    /// # Panics
    /// When `k` is 0.
    pub fn die_at_call(&self, k: u64) {
        assert!(k > 0, "the next call is number 1");
        let mut state = self.lock();
        state.dies_at = Some(state.calls + k);
    }

    /// Whether it answers no more.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.lock().end.is_some()
    }

    /// Calls `on_stall` in the next [`DiskFile::sync`], before that does anything. The disk is not locked
    /// meanwhile, so `on_stall` may block; changes made meanwhile are not covered by that sync. Asked twice,
    /// it stalls the next two.
    pub fn stall_next_sync(&self, on_stall: Box<dyn FnOnce() + Send>) {
        self.lock().stalls.push_back(on_stall);
    }

    /// Power is lost, and comes back: the disk as the platter may have it, without planned faults or stalls.
    ///
    /// Of each file there are the durable bytes, and of the pending changes any subset in any order, writes
    /// torn at sectors of 512 bytes, now and then with garbage in place of what was written or with zeros
    /// beyond the old end. Of the pending changes of names the oldest ones survive, any number of them.
    ///
    /// All older handles give errors from now on, though [`Self::file`] and its like still answer. To crash a
    /// disk that is dead already starts from what it held when it died: so one moment can be crashed with many
    /// seeds.
    #[must_use]
    pub fn crash(&self, seed: u64) -> Self {
        let mut state = self.lock();
        state.die(End::PowerLost);
        let mut after = state.restarted(Seeded::new(seed));
        after.lose_power(seed);
        Self::from_state(after)
    }

    /// The process dies, the machine does not: a disk with all that was written, synced or not, without planned
    /// faults or stalls. All older handles give errors from now on. To kill a disk that is dead already starts
    /// from what it held when it died.
    #[must_use]
    pub fn kill(&self) -> Self {
        let mut state = self.lock();
        state.die(End::Killed);
        Self::from_state(state.restarted(state.random.clone()))
    }

    /// How many calls there were so far.
    #[must_use]
    pub fn calls(&self, among: Calls) -> u64 {
        self.lock().counted(among)
    }

    /// Flips one bit of a file, at once and for good. Bit 0 is the lowest of the first byte.
    ///
    /// # Panics
    /// When there is no such file or bit.
    pub fn flip_bit(&self, name: &str, bit_index: u64) {
        self.damage(name, format!("bit {bit_index} flipped"), |content| content.flip_bit(bit_index));
    }

    /// Cuts a file to `bytes` at the most, at once and for good.
    ///
    /// # Panics
    /// When there is no such file.
    pub fn truncate(&self, name: &str, bytes: u64) {
        let bytes_max = usize::try_from(bytes).unwrap_or(usize::MAX);
        self.damage(name, format!("cut to {bytes}"), |content| content.truncate(bytes_max));
    }

    /// A file as read.
    #[must_use]
    pub fn file(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.lock();
        state.names.find(name).map(|id| state.contents[id].seen().to_vec())
    }

    /// All names as listed, sorted.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.lock().names.seen().map(|(name, _)| name.to_owned()).collect()
    }

    /// What would be under that name if power were lost and nothing pending survived, neither bytes nor names.
    #[must_use]
    pub fn durable_bytes(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.lock();
        state.names.find_durable(name).map(|id| state.contents[id].durable().to_vec())
    }

    fn from_state(state: State) -> Self {
        Self { state: Arc::new(Mutex::new(state)) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A test that panicked with the lock held still wants to print the disk.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn damage(&self, name: &str, what: String, change: impl FnOnce(&mut Content)) {
        let mut state = self.lock();
        let id = state.names.find(name).expect("the file to damage is there");
        change(&mut state.contents[id]);
        state.note(format!("{name}: {what}"));
    }

    /// Counts a call, does it, and notes how it ended.
    fn call<T>(
        &self,
        kind: Calls,
        what: fmt::Arguments<'_>,
        act: impl FnOnce(&mut State, Option<Fault>) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut state = self.lock();
        let Entry { number, fault } = state.enter(kind)?;
        let result = act(&mut state, fault);
        state.note_end(number, what, &result);
        result
    }

    fn handle(&self, id: ContentId, name: &str) -> Box<dyn DiskFile> {
        Box::new(SimFile { disk: self.clone(), id, opened_as: name.to_owned() })
    }
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lock().fmt(f)
    }
}

impl Disk for SimDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        self.call(Calls::All, format_args!("list"), |state, fault| {
            Fault::check(fault)?;
            Ok(state.names.seen().map(|(name, _)| name.to_owned()).collect())
        })
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let id = self.call(Calls::Changes, format_args!("create {name}"), |state, fault| {
            Fault::check(fault)?;
            check_name(name)?;
            if state.names.find(name).is_some() {
                return Err(ErrorKind::AlreadyExists.into());
            }
            let id = state.contents.len();
            state.contents.push(Content::default());
            state.names.change(NameChange::Create { name: name.to_owned(), id });
            Ok(id)
        })?;
        Ok(self.handle(id, name))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let id = self.call(Calls::All, format_args!("open {name}"), |state, fault| {
            Fault::check(fault)?;
            state.find(name)
        })?;
        Ok(self.handle(id, name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.call(Calls::Changes, format_args!("rename {from} to {to}"), |state, fault| {
            Fault::check(fault)?;
            check_name(to)?;
            state.find(from)?;
            state.names.change(NameChange::Rename { from: from.to_owned(), to: to.to_owned() });
            Ok(())
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.call(Calls::Changes, format_args!("remove {name}"), |state, fault| {
            Fault::check(fault)?;
            state.find(name)?;
            state.names.change(NameChange::Remove { name: name.to_owned() });
            Ok(())
        })
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.call(Calls::Changes, format_args!("sync folder"), |state, fault| {
            let pending = state.names.pending();
            let synced = if fault.is_some() { below(&mut state.random, pending + 1) } else { pending };
            state.names.sync(synced);
            Fault::check(fault)
        })
    }
}

/// A handle on the bytes of a file; they may have another name by now, or none.
struct SimFile {
    disk: SimDisk,
    id: ContentId,
    opened_as: String,
}

impl DiskFile for SimFile {
    fn bytes(&self) -> io::Result<u64> {
        self.disk.call(Calls::All, format_args!("{}: bytes", self.opened_as), |state, fault| {
            Fault::check(fault)?;
            Ok(state.contents[self.id].seen().len() as u64)
        })
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let what = format_args!("{}: read {} at {offset}", self.opened_as, buffer.len());
        self.disk.call(Calls::All, what, |state, fault| {
            Fault::check(fault)?;
            let seen = state.contents[self.id].seen();
            let rest = usize::try_from(offset).ok().and_then(|at| seen.get(at..)).unwrap_or(&[]);
            let count = rest.len().min(buffer.len());
            buffer[..count].copy_from_slice(&rest[..count]);
            Ok(count)
        })
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let what = format_args!("{}: write {} at {offset}", self.opened_as, bytes.len());
        self.disk.call(Calls::Changes, what, |state, fault| state.write(self.id, bytes, offset, fault))
    }

    fn resize(&self, bytes: u64) -> io::Result<()> {
        let what = format_args!("{}: resize to {bytes}", self.opened_as);
        self.disk.call(Calls::Changes, what, |state, fault| state.resize(self.id, bytes, fault))
    }

    fn sync(&self) -> io::Result<()> {
        let what = format_args!("{}: sync", self.opened_as);
        let (Entry { number, fault }, made, on_stall) = {
            let mut state = self.disk.lock();
            let entry = state.enter(Calls::Changes)?;
            (entry, state.contents[self.id].made(), state.stalls.pop_front())
        };
        if let Some(on_stall) = on_stall {
            self.disk.lock().note(format!("#{number} {what} stalls"));
            on_stall();
        }
        let mut state = self.disk.lock();
        state.check_alive()?;
        let result = state.sync(self.id, made, fault);
        state.note_end(number, what, &result);
        result
    }
}

/// Names are plain: no folders.
fn check_name(name: &str) -> io::Result<()> {
    let is_plain = !name.is_empty() && !name.contains(['/', '\0']) && name != "." && name != "..";
    if is_plain { Ok(()) } else { Err(ErrorKind::InvalidInput.into()) }
}

/// A number from 0 up to but without `end`.
fn below(random: &mut Seeded, end: usize) -> usize {
    (random.next() % end as u64) as usize
}

/// Whether something happens that happens `percent` times in 100.
fn is_lucky(random: &mut Seeded, percent: u64) -> bool {
    random.next() % 100 < percent
}
