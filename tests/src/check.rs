//! What a victim left behind, beside what was acknowledged.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use engine::{Recovered, Recovery, State, recover};
use journal::{Entry, FolderDisk, Sequence};
use model::{Clock, DeviceHandle, Disk, Heard, What};
use server::SystemClock;
use testkit::{AckJournal, Replay, Start, Tally};

use crate::sources::{Source, Sources};

/// What is in a folder.
#[derive(Debug, Clone, Copy)]
pub struct Found {
    /// Beside what was acknowledged.
    pub tally: Tally,
    /// The first entry of the log that is there.
    pub first: Sequence,
    /// The one after the last.
    pub next: Sequence,
    /// The newest snapshot, 0 when there is none.
    pub snapshot: Sequence,
}

/// Reads a folder that no process has, as a start would, and compares it with `journal`. Every entry is shown to `visit`.
///
/// - All that was acknowledged is in the log, or before its first entry and then in the snapshot.
/// - All in the log was sent, by the device that it names.
/// - The newest snapshot with what follows it is the same state as the whole log, where that is there.
/// - The state has every device at least where it was when its last report was acknowledged.
///
/// # Errors
/// What is wrong, other than what the tally counts.
pub fn check(
    folder: &Path,
    sources: &Sources,
    journal: &AckJournal,
    visit: &mut dyn FnMut(Sequence, &Entry),
) -> Result<Found, String> {
    // Without its lock: a process that another thread starts just now would hold it for a moment longer than we do.
    let disk: Arc<dyn Disk> = Arc::new(FolderDisk::look_at(folder).map_err(|error| error.to_string())?);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let recovered = recover(&disk, &clock, &Recovery::default()).map_err(|error| error.to_string())?;
    let Recovered { state, segments, snapshot, .. } = recovered;
    let first = segments.first();
    let is_whole = first <= Sequence(1);
    let start = if is_whole { Start::First } else { Start::Any };
    let mut reading = Reading {
        sources,
        replay: journal.replay(start),
        state: is_whole.then(State::default),
        names: HashMap::new(),
        next: first,
        problem: None,
    };
    let next = segments.read(first, &mut |sequence, entry| {
        visit(sequence, &entry);
        reading.take(sequence, &entry);
    });
    let next = next.map_err(|error| error.to_string())?;
    if let Some(problem) = reading.problem {
        return Err(problem);
    }
    if next != reading.next || next != segments.next() {
        return Err(format!("the log ends before {next}, {} and {}", reading.next, segments.next()));
    }
    if reading.state.is_some_and(|replayed| replayed.to_bytes() != state.to_bytes()) {
        return Err(format!("snapshot {snapshot} and the entries after it are not the state of the whole log"));
    }
    let mut replay = reading.replay;
    compare_last_places(&state, sources, journal, &mut replay, start)?;
    Ok(Found { tally: replay.finish(), first, next, snapshot })
}

/// One pass over a log.
struct Reading<'a> {
    sources: &'a Sources,
    replay: Replay<'a>,
    /// The state of the log alone, when all of it is there.
    state: Option<State>,
    names: HashMap<DeviceHandle, String>,
    next: Sequence,
    problem: Option<String>,
}

impl Reading<'_> {
    fn take(&mut self, sequence: Sequence, entry: &Entry) {
        if sequence != self.next {
            self.problem.get_or_insert(format!("entry {sequence} follows where {} is expected", self.next));
        }
        self.next = sequence.next();
        if let Some(state) = &mut self.state {
            state.apply(entry);
        }
        match entry {
            Entry::Enrol(enrolment) => {
                self.names.extend(enrolment.devices.iter().map(|(handle, name)| (*handle, name.to_string())));
            }
            Entry::Heard(Heard { what: What::Report(report), binding, .. }) => {
                let origin = self.sources.origin_of(report);
                let name = self.names.get(&binding.device);
                let is_its_own = |source: Source| match name {
                    Some(name) => *name == source.device(),
                    // Its enrolment may have been removed with the front of the log.
                    None => self.state.is_none(),
                };
                match origin {
                    Some((source, number)) if is_its_own(source) => self.replay.saw(source.at, number),
                    _ => {
                        self.problem.get_or_insert(format!("entry {sequence} was never sent by {name:?}: {report:?}"));
                    }
                }
            }
            _ => {}
        }
    }
}

/// Every device is at least where its last acknowledged report says.
fn compare_last_places(
    state: &State,
    sources: &Sources,
    journal: &AckJournal,
    replay: &mut Replay<'_>,
    start: Start,
) -> Result<(), String> {
    let mut last: HashMap<&str, u64> = HashMap::new();
    for (name, position, time) in state.last_places() {
        let origin = sources.origin(position, Some(time));
        let (source, number) = origin.ok_or_else(|| format!("{name} is where it never was: {position:?} at {time}"))?;
        if source.device() != name.as_str() {
            return Err(format!("{name} is where {} was", source.device()));
        }
        last.insert(name.as_str(), number);
        if start == Start::Any {
            replay.covers(source.at, number);
        }
    }
    for source in sources.all() {
        let (name, acknowledged) = (source.device(), journal.acknowledged(source.at));
        let shown = last.get(name.as_str()).copied().unwrap_or(0);
        if shown < acknowledged {
            return Err(format!("{name} stands at its report {shown}, but {acknowledged} was acknowledged"));
        }
    }
    Ok(())
}
