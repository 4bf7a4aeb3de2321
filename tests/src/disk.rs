//! A folder that goes wrong where and when it is told to.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use journal::FolderDisk;
use model::{Disk, DiskFile};

use crate::orders::{Orders, Point, Syncs};

/// The journal's names. They are no promise of the journal, but a victim that misses them reaches no point, and a test
/// says so.
const SPARE: &str = "spare";
const UNFINISHED: &str = "unfinished";
const SEGMENT: &str = ".segment";
/// The device gave an error (EIO).
const DEVICE_ERROR: i32 = 5;
/// The system has no room (ENOSPC).
const NO_ROOM: i32 = 28;

/// A folder with faults.
pub struct VictimDisk {
    folder: Arc<FolderDisk>,
    faults: Arc<Faults>,
}

/// What goes wrong, shared by all files of the disk.
pub struct Faults {
    orders: Orders,
    reached: AtomicU64,
    calls: AtomicU64,
    has_failed: AtomicBool,
    has_room: AtomicBool,
    /// There is so much room as the system has, whatever was ordered.
    has_all_room: AtomicBool,
    is_stalled: Mutex<bool>,
    goes_on: Condvar,
}

/// Who makes a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Caller {
    /// The thread of the journal, on the segment that it writes. These calls come in an order that repeats.
    Journal,
    /// The thread that reserves segments.
    Reserver,
    /// Anyone else.
    Other,
}

impl VictimDisk {
    /// `folder` under `orders`.
    #[must_use]
    pub fn new(folder: FolderDisk, orders: Orders) -> Self {
        let faults = Faults {
            orders,
            reached: AtomicU64::new(0),
            calls: AtomicU64::new(0),
            has_failed: AtomicBool::new(false),
            has_room: AtomicBool::new(true),
            has_all_room: AtomicBool::new(false),
            is_stalled: Mutex::new(false),
            goes_on: Condvar::new(),
        };
        Self { folder: Arc::new(folder), faults: Arc::new(faults) }
    }

    /// What may be changed while it is used.
    #[must_use]
    pub const fn faults(&self) -> &Arc<Faults> {
        &self.faults
    }

    fn file(&self, file: Box<dyn DiskFile>, caller: Caller) -> Box<dyn DiskFile> {
        let (folder, faults) = (Arc::clone(&self.folder), Arc::clone(&self.faults));
        Box::new(VictimFile { file, caller, folder, faults, unsynced: Mutex::default() })
    }
}

impl Faults {
    /// From now on there is no room for another segment.
    pub fn take_room(&self) {
        self.has_room.store(false, Ordering::SeqCst);
    }

    /// There is room again, as much as the system has.
    pub fn give_room(&self) {
        self.has_room.store(true, Ordering::SeqCst);
        self.has_all_room.store(true, Ordering::SeqCst);
    }

    /// From now on every change of the disk fails.
    pub fn fail(&self) {
        self.has_failed.store(true, Ordering::SeqCst);
    }

    /// From now on syncs of the journal wait until [`Self::release`].
    pub fn stall(&self) {
        *self.is_stalled.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }

    /// Syncs go on.
    pub fn release(&self) {
        *self.is_stalled.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.goes_on.notify_all();
    }

    /// Whether it had to wait.
    fn wait_while_stalled(&self) -> bool {
        let mut is_stalled = self.is_stalled.lock().unwrap_or_else(PoisonError::into_inner);
        let has_to_wait = *is_stalled;
        if has_to_wait {
            say("stalled");
        }
        while *is_stalled {
            is_stalled = self.goes_on.wait(is_stalled).unwrap_or_else(PoisonError::into_inner);
        }
        has_to_wait
    }

    /// Ends the process if this is the time to.
    fn reach(&self, point: Point) {
        if self.is_due(point) {
            die(point);
        }
    }

    fn is_due(&self, point: Point) -> bool {
        self.orders
            .kill
            .is_some_and(|(ordered, nth)| ordered == point && self.reached.fetch_add(1, Ordering::SeqCst) + 1 == nth)
    }

    /// Before a call that changes something.
    fn change(&self, caller: Caller) -> io::Result<()> {
        if let Some((from, _)) = self.orders.fail {
            let is_due = caller == Caller::Journal && self.calls.fetch_add(1, Ordering::SeqCst) + 1 >= from;
            if is_due && !self.has_failed.swap(true, Ordering::SeqCst) {
                say("failed");
            }
        }
        if self.has_failed.load(Ordering::SeqCst) {
            return Err(io::Error::from_raw_os_error(self.orders.fail.map_or(DEVICE_ERROR, |(_, number)| number)));
        }
        if caller == Caller::Reserver && !self.has_room.load(Ordering::SeqCst) {
            return Err(io::Error::from_raw_os_error(NO_ROOM));
        }
        Ok(())
    }
}

/// Ends the process at once: nothing is flushed, nothing is answered.
fn die(point: Point) -> ! {
    say(&format!("reached {point}"));
    std::process::abort();
}

/// Tells the test.
pub fn say(line: &str) {
    let mut out = io::stdout().lock();
    // Nobody listens any more when the test has ended.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

impl Disk for VictimDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        self.folder.list()
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let caller = if name == SPARE { Caller::Reserver } else { Caller::Other };
        self.faults.change(caller)?;
        Ok(self.file(self.folder.create(name)?, caller))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        // Who opens what was reserved begins the next segment with it.
        let caller = if name == SPARE { Caller::Journal } else { Caller::Other };
        Ok(self.file(self.folder.open(name)?, caller))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let (caller, points) = match from {
            SPARE => (Caller::Journal, Some((Point::RollBeforeRename, Point::RollAfterRename))),
            UNFINISHED => (Caller::Other, Some((Point::SnapshotBeforeRename, Point::SnapshotAfterRename))),
            _ => (Caller::Other, None),
        };
        self.faults.change(caller)?;
        if let Some((before, _)) = points {
            self.faults.reach(before);
        }
        self.folder.rename(from, to)?;
        if let Some((_, after)) = points {
            self.faults.reach(after);
        }
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.faults.change(if name == SPARE { Caller::Reserver } else { Caller::Other })?;
        self.folder.remove(name)?;
        if name.ends_with(SEGMENT) {
            self.faults.reach(Point::SegmentDelete);
        }
        Ok(())
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.faults.change(Caller::Journal)?;
        match self.faults.orders.syncs {
            Syncs::Done => self.folder.sync_folder(),
            Syncs::LeftOut => Ok(()),
        }
    }
}

struct VictimFile {
    file: Box<dyn DiskFile>,
    caller: Caller,
    folder: Arc<FolderDisk>,
    faults: Arc<Faults>,
    /// What the journal's thread wrote and did not sync: where, and how many bytes.
    unsynced: Mutex<Vec<(u64, usize)>>,
}

impl VictimFile {
    /// Before a call that changes something. When it fails, what was not synced is lost, as with a system that could not
    /// write its pages back: an acknowledgement of it would be found out.
    fn change(&self) -> io::Result<()> {
        let done = self.faults.change(self.caller);
        if done.is_err() && self.caller == Caller::Journal {
            for (offset, bytes) in self.unsynced.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
                self.file.write_at(&vec![0; bytes], offset)?;
            }
        }
        done
    }

    /// Whether so many bytes more are within the quota.
    fn check_quota(&self, more: usize) -> io::Result<()> {
        let quota = self.faults.orders.quota.filter(|_| !self.faults.has_all_room.load(Ordering::SeqCst));
        let Some(quota) = quota.filter(|_| self.caller == Caller::Reserver) else { return Ok(()) };
        let mut taken = more as u64;
        for name in self.folder.list()? {
            // A file that is gone by now takes nothing.
            taken += self.folder.open(&name).and_then(|file| file.bytes()).unwrap_or(0);
        }
        if taken > quota { Err(io::Error::from_raw_os_error(NO_ROOM)) } else { Ok(()) }
    }

    /// Half of `bytes`, then the end.
    fn tear(&self, bytes: &[u8], offset: u64, point: Point) -> io::Result<()> {
        if self.faults.is_due(point) {
            self.file.write_at(&bytes[..bytes.len() / 2], offset)?;
            die(point);
        }
        Ok(())
    }
}

impl DiskFile for VictimFile {
    fn bytes(&self) -> io::Result<u64> {
        self.file.bytes()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.change()?;
        self.check_quota(bytes.len())?;
        // The header of a segment is at 0; records are behind it.
        let is_record = self.caller == Caller::Journal && offset > 0;
        match self.caller {
            Caller::Journal if is_record => self.tear(bytes, offset, Point::TornWrite)?,
            Caller::Reserver => self.tear(bytes, offset, Point::Reserve)?,
            _ => {}
        }
        self.file.write_at(bytes, offset)?;
        if self.caller == Caller::Journal {
            self.unsynced.lock().unwrap_or_else(PoisonError::into_inner).push((offset, bytes.len()));
        }
        if is_record {
            self.faults.reach(Point::AfterWrite);
        }
        Ok(())
    }

    fn resize(&self, bytes: u64) -> io::Result<()> {
        self.change()?;
        self.file.resize(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.change()?;
        if self.caller == Caller::Journal {
            self.faults.reach(Point::BeforeSync);
            if self.faults.wait_while_stalled() {
                // The disk may have failed meanwhile.
                self.change()?;
            }
        }
        if self.faults.orders.syncs == Syncs::Done {
            self.file.sync()?;
        }
        self.unsynced.lock().unwrap_or_else(PoisonError::into_inner).clear();
        if self.caller == Caller::Journal {
            self.faults.reach(Point::AfterSync);
        }
        Ok(())
    }
}
