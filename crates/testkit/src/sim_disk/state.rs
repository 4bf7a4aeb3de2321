use std::collections::VecDeque;
use std::fmt;
use std::io::{self, ErrorKind};

use super::content::{Change, Content};
use super::names::{ContentId, Names};
use super::{Calls, Fault, below, is_lucky};
use crate::Seeded;

/// Room on a disk that was not told its capacity: above what a test needs, below what a test machine has.
const CAPACITY_BYTES_DEFAULT: u64 = 1 << 30;

/// The log keeps this many lines.
const LOG_LINES_MAX: usize = 64;

/// Why a disk answers no more.
#[derive(Debug, Clone, Copy)]
pub(super) enum End {
    PowerLost,
    Killed,
    /// As planned; whether by power or by kill, the next disk decides.
    Planned,
}

/// A fault to come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Planned {
    pub(super) number: u64,
    pub(super) among: Calls,
    pub(super) fault: Fault,
}

/// A call that was counted.
pub(super) struct Entry {
    pub(super) number: u64,
    pub(super) fault: Option<Fault>,
}

pub(super) struct State {
    pub(super) contents: Vec<Content>,
    pub(super) names: Names,
    pub(super) capacity_bytes: u64,
    pub(super) random: Seeded,
    pub(super) calls: u64,
    pub(super) changes: u64,
    pub(super) faults: Vec<Planned>,
    pub(super) stalls: VecDeque<Box<dyn FnOnce() + Send>>,
    pub(super) end: Option<End>,
    /// The number of the call that finds the disk dead.
    pub(super) dies_at: Option<u64>,
    pub(super) log: VecDeque<String>,
}

impl State {
    /// An empty disk.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            contents: Vec::new(),
            names: Names::default(),
            capacity_bytes: CAPACITY_BYTES_DEFAULT,
            random: Seeded::new(seed),
            calls: 0,
            changes: 0,
            faults: Vec::new(),
            stalls: VecDeque::new(),
            end: None,
            dies_at: None,
            log: VecDeque::new(),
        }
    }

    pub(super) fn counted(&self, among: Calls) -> u64 {
        match among {
            Calls::All => self.calls,
            Calls::Changes => self.changes,
        }
    }

    pub(super) fn check_alive(&self) -> io::Result<()> {
        match self.end {
            None => Ok(()),
            Some(End::PowerLost) => Err(io::Error::other("the disk lost power")),
            Some(End::Killed) => Err(io::Error::other("the process was killed")),
            Some(End::Planned) => Err(io::Error::other("the disk died as planned")),
        }
    }

    pub(super) fn enter(&mut self, kind: Calls) -> io::Result<Entry> {
        self.check_alive()?;
        if self.dies_at == Some(self.calls + 1) {
            self.die(End::Planned);
            self.check_alive()?;
        }
        self.calls += 1;
        self.changes += u64::from(kind == Calls::Changes);
        let (calls, changes) = (self.calls, self.changes);
        let strikes = |planned: &Planned| match planned.among {
            Calls::All => planned.number == calls,
            Calls::Changes => kind == Calls::Changes && planned.number == changes,
        };
        let fault = self.faults.iter().find(|planned| strikes(planned)).map(|planned| planned.fault);
        self.faults.retain(|planned| !strikes(planned));
        Ok(Entry { number: calls, fault })
    }

    pub(super) fn find(&self, name: &str) -> io::Result<ContentId> {
        self.names.find(name).ok_or_else(|| ErrorKind::NotFound.into())
    }

    /// How long a file can get.
    fn bytes_max(&self, id: ContentId) -> u64 {
        let used: u64 = self.names.seen().map(|(_, id)| self.contents[id].seen().len() as u64).sum();
        (self.contents[id].seen().len() as u64).saturating_add(self.capacity_bytes.saturating_sub(used))
    }

    pub(super) fn write(&mut self, id: ContentId, bytes: &[u8], offset: u64, fault: Option<Fault>) -> io::Result<()> {
        let fits = usize::try_from(self.bytes_max(id).saturating_sub(offset)).unwrap_or(usize::MAX).min(bytes.len());
        let fault = fault.or((fits < bytes.len()).then_some(Fault::Full));
        let kept = if fault.is_some() { below(&mut self.random, fits + 1) } else { fits };
        if kept > 0 {
            let offset = usize::try_from(offset).map_err(|_| ErrorKind::FileTooLarge)?;
            self.contents[id].change(Change::Write { offset, bytes: bytes[..kept].to_vec() });
        }
        if fault.is_some() {
            self.note(format!("  {kept} of {} bytes written by the call that fails", bytes.len()));
        }
        Fault::check(fault)
    }

    pub(super) fn resize(&mut self, id: ContentId, bytes: u64, fault: Option<Fault>) -> io::Result<()> {
        if bytes > self.bytes_max(id) {
            return Err(fault.unwrap_or(Fault::Full).error());
        }
        if fault.is_none() || is_lucky(&mut self.random, 50) {
            let bytes = usize::try_from(bytes).map_err(|_| ErrorKind::FileTooLarge)?;
            self.contents[id].change(Change::Resize { bytes });
        }
        Fault::check(fault)
    }

    /// Ends a sync that began after `made` changes.
    pub(super) fn sync(&mut self, id: ContentId, made: u64, fault: Option<Fault>) -> io::Result<()> {
        if fault.is_some() {
            let tally = self.contents[id].fail_sync(made, &mut self.random);
            self.note(format!("  on the platter by the sync that fails: {tally}"));
        } else {
            self.contents[id].sync(made);
        }
        Fault::check(fault)
    }

    pub(super) fn die(&mut self, end: End) {
        if self.end.is_none() {
            self.end = Some(end);
            self.note(format!("{end:?}"));
        }
    }

    /// The same disk for another process.
    pub(super) fn restarted(&self, random: Seeded) -> Self {
        Self {
            contents: self.contents.clone(),
            names: self.names.clone(),
            capacity_bytes: self.capacity_bytes,
            random,
            calls: 0,
            changes: 0,
            faults: Vec::new(),
            stalls: VecDeque::new(),
            end: None,
            dies_at: None,
            log: self.log.clone(),
        }
    }

    pub(super) fn lose_power(&mut self, seed: u64) {
        let pending = self.names.pending();
        let survivors = below(&mut self.random, pending + 1);
        self.names.lose_power(survivors);
        self.note(format!("crash {seed}: {survivors} of {pending} changes of names survived"));
        let files: Vec<(String, ContentId)> = self.names.seen().map(|(name, id)| (name.to_owned(), id)).collect();
        let mut contents = vec![Content::default(); self.contents.len()];
        for (name, id) in files {
            contents[id] = std::mem::take(&mut self.contents[id]);
            let tally = contents[id].lose_power(&mut self.random);
            if !tally.is_empty() {
                self.note(format!("crash {seed}: {name}: {tally}"));
            }
        }
        // The bytes of files without a name are gone with the power.
        self.contents = contents;
    }

    pub(super) fn note(&mut self, line: String) {
        if self.log.len() == LOG_LINES_MAX {
            self.log.pop_front();
        }
        self.log.push_back(line);
    }

    pub(super) fn note_end<T>(&mut self, number: u64, what: fmt::Arguments<'_>, result: &io::Result<T>) {
        match result {
            Ok(_) => self.note(format!("#{number} {what}")),
            Err(error) => self.note(format!("#{number} {what}: {error}")),
        }
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = |(name, id)| {
            let content: &Content = &self.contents[id];
            let (seen, durable, pending) = (content.seen().len(), content.durable().len(), content.pending());
            format!("{name}: {seen} bytes seen, {durable} durable, {pending} changes pending")
        };
        f.debug_struct("SimDisk")
            .field("end", &self.end)
            .field("capacity_bytes", &self.capacity_bytes)
            .field("calls", &self.calls)
            .field("changes", &self.changes)
            .field("faults", &self.faults)
            .field("names_pending", &self.names.pending())
            .field("files", &self.names.seen().map(file).collect::<Vec<_>>())
            .field("log", &self.log)
            .finish_non_exhaustive()
    }
}
