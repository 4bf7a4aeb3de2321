//! One flipped bit, a truncation, two segments that swapped their contents, a segment that is gone: each is found, none is
//! served, and `repair` keeps every record that is whole.
//!
//! A mutation is a seed: `MUSTER_MUTATIONS` says how many, `MUSTER_SEED` repeats one.

#[path = "common/entries.rs"]
mod entries;
#[path = "common/seeds.rs"]
mod seeds;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use journal::{Damage, Entry, ReadError, Segments, Sequence, Snapshots, repair, verify};
use model::{Clock, Disk, Timestamp};
use testkit::{ManualClock, Seeded, SimDisk};

const SEGMENT_BYTES: u32 = 24 << 10;
const HEADER_BYTES: usize = 64;

/// A log that was closed cleanly: several segments, the first ones removed, two snapshots.
struct Template {
    disk: SimDisk,
    id: u64,
    first: Sequence,
    /// The entries from `first` on.
    entries: Vec<Entry>,
    snapshots: BTreeMap<Sequence, Vec<u8>>,
    /// By name, oldest first.
    segments: Vec<Layout>,
}

/// What the bytes of a segment mean.
struct Layout {
    name: String,
    records: Vec<RecordAt>,
}

struct RecordAt {
    /// Without the padding.
    bytes: Range<usize>,
    entries: Range<u64>,
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(ManualClock::at(Timestamp::from_unix_ms(1_795_000_000_000).expect("it is a time")))
}

impl Template {
    fn make(newest_state_bytes: usize) -> Self {
        let (disk, mut random) = (SimDisk::new(1), Seeded::new(7));
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let mut log = Segments::open(Arc::clone(&shared), clock()).expect("it is empty");
        let snapshots = Snapshots::on(Arc::clone(&shared));
        let (mut all, mut states) = (Vec::new(), BTreeMap::new());
        let newest_state: Vec<_> = (0..newest_state_bytes).map(|_| random.next() as u8).collect();
        for segment in 0..7u64 {
            log.reserve(SEGMENT_BYTES).expect("there is room");
            log.roll().expect("nothing fails");
            for group in 0..12 {
                let batch = entries::batch(&mut random, 1 + group % 5 * 8);
                all.extend_from_slice(&batch);
                log.append(&batch).expect("nothing fails");
                if group % 3 > 0 {
                    log.sync().expect("nothing fails");
                    log.mark().expect("nothing fails");
                }
            }
            let sequence = log.sync().expect("nothing fails");
            if segment == 2 || segment == 4 {
                let state = if segment == 2 { vec![42; 700] } else { newest_state.clone() };
                snapshots.write(log.id(), sequence, &state).expect("nothing fails");
                states.insert(sequence, state);
            }
        }
        let oldest = states.keys().next().copied().unwrap_or_default();
        let removed = log.retain(oldest.next(), 0, Duration::ZERO).expect("nothing fails");
        assert_eq!(removed, 3, "the segments before the older snapshot");
        log.mark().and_then(|()| log.sync()).expect("nothing fails");
        let first = log.first();
        let (id, entries) = (log.id(), all.split_off(first.0 as usize - 1));
        let names: Vec<_> = disk.names().into_iter().filter(|name| name.ends_with(".segment")).collect();
        let layout = |name: &String| layout(name, &disk.file(name).expect("it is there"));
        let segments = names.iter().map(layout).collect();
        Self { disk, id, first, entries, snapshots: states, segments }
    }

    fn segment(&self, name: &str) -> Option<&Layout> {
        self.segments.iter().find(|segment| segment.name == name)
    }
}

/// Follows `docs/formats/journal.md`, not the code under test.
fn layout(name: &str, bytes: &[u8]) -> Layout {
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    let (mut records, mut at) = (Vec::new(), HEADER_BYTES);
    while at < bytes.len() && word(at) > 0 {
        let end = at + 8 + word(at) as usize;
        let first = u64::from(word(at + 8)) | u64::from(word(at + 12)) << 32;
        records.push(RecordAt { bytes: at..end, entries: first..first + u64::from(word(at + 20)) });
        at = end.next_multiple_of(8);
    }
    Layout { name: name.to_owned(), records }
}

#[derive(Debug, Clone)]
enum Mutation {
    Flip { file: String, bit: u64 },
    Cut { file: String, bytes: u64 },
    Swap { one: String, other: String },
    Remove { file: String },
}

impl Mutation {
    fn any(random: &mut Seeded, template: &Template) -> Self {
        let segments = &template.segments;
        let last = &segments[segments.len() - 1];
        let mut below = |end: usize| random.next() as usize % end;
        let files: Vec<_> = template.disk.names().into_iter().filter(|name| name.ends_with("t")).collect();
        let file = files[below(files.len())].clone();
        let bytes = template.disk.file(&file).map_or(0, |bytes| bytes.len());
        match below(20) {
            0 => Self::Remove { file: segments[below(segments.len() - 1)].name.clone() },
            1 | 2 => {
                let (one, step) = (below(segments.len()), 1 + below(segments.len() - 1));
                let other = (one + step) % segments.len();
                Self::Swap { one: segments[one].name.clone(), other: segments[other].name.clone() }
            }
            3..6 => Self::Cut { file, bytes: below(bytes) as u64 },
            // Below the mark that was synced last: it is the last record.
            6..9 => {
                let end = last.records.last().map_or(0, |mark| mark.bytes.start);
                Self::Flip { file: last.name.clone(), bit: below(end * 8) as u64 }
            }
            _ if file == last.name => Self::Flip { file, bit: below(HEADER_BYTES * 8) as u64 },
            _ => Self::Flip { file, bit: below(bytes * 8) as u64 },
        }
    }

    fn strike(&self, disk: &SimDisk) {
        match self {
            Self::Flip { file, bit } => disk.flip_bit(file, *bit),
            Self::Cut { file, bytes } => disk.truncate(file, *bytes),
            Self::Remove { file } => {
                disk.remove(file).and_then(|()| disk.sync_folder()).expect("it is there");
            }
            Self::Swap { one, other } => {
                let names = [(one.as_str(), "swap"), (other, one), ("swap", other)];
                names.iter().for_each(|(from, to)| disk.rename(from, to).expect("it is there"));
                disk.sync_folder().expect("nothing fails");
            }
        }
    }

    /// Whether it changed only what does not count: the padding behind a record.
    fn is_harmless(&self, template: &Template) -> bool {
        let Self::Flip { file, bit } = self else { return false };
        let at = (*bit / 8) as usize;
        let is_in_record = |segment: &Layout| segment.records.iter().any(|record| record.bytes.contains(&at));
        template.segment(file).is_some_and(|segment| at >= HEADER_BYTES && !is_in_record(segment))
    }

    /// The sequences of the records that are not whole any more.
    fn struck(&self, template: &Template) -> Vec<Range<u64>> {
        let records = |file: &str| template.segment(file).map_or(&[][..], |segment| &segment.records[..]).iter();
        match self {
            Self::Flip { file, bit } => {
                let at = (*bit / 8) as usize;
                records(file).filter(|record| record.bytes.contains(&at)).map(|record| record.entries.clone()).collect()
            }
            Self::Cut { file, bytes } => {
                let is_cut = |record: &&RecordAt| record.bytes.end as u64 > *bytes;
                records(file).filter(is_cut).map(|record| record.entries.clone()).collect()
            }
            Self::Remove { file } => records(file).map(|record| record.entries.clone()).collect(),
            Self::Swap { .. } => Vec::new(),
        }
    }
}

/// How one mutation ended.
#[derive(Debug, Default)]
struct Found {
    kind: &'static str,
    is_harmless: bool,
    by_opening: bool,
    by_reading: bool,
    by_snapshot: bool,
    lost: u64,
}

type Done<T = ()> = Result<T, String>;

#[test]
fn every_mutation_is_found_and_repair_keeps_all_that_is_whole() {
    // One in sixteen has a snapshot of more than one block, which takes longer to read.
    let templates = [3_000, (1 << 20) + 3_000].map(Template::make);
    for template in &templates {
        assert_eq!((template.segments.len(), template.snapshots.len()), (4, 2));
    }
    let count = std::env::var("MUSTER_MUTATIONS").map_or(10_000, |text| text.parse().expect("a number of mutations"));
    let all = seeds::each(count, "-p journal --test damage", |seed| {
        let mut random = Seeded::new(seed);
        let template = &templates[usize::from(random.next().is_multiple_of(16))];
        let mutation = Mutation::any(&mut random, template);
        one(template, &mutation).map_err(|error| format!("{mutation:?}: {error}"))
    });
    let sum = |is: &dyn Fn(&Found) -> bool| all.iter().filter(|found| is(found)).count();
    let kinds = ["flip", "cut", "swap", "remove"].map(|kind| format!("{kind} {}", sum(&|found| found.kind == kind)));
    println!(
        "{} mutations: {}; {} harmless (padding), the others all found by `verify`, and by opening {}, by reading {}, \
         by reading the snapshot {}; repairs lost {} entries, those of records that were struck",
        all.len(),
        kinds.join(", "),
        sum(&|found| found.is_harmless),
        sum(&|found| found.by_opening),
        sum(&|found| found.by_reading),
        sum(&|found| found.by_snapshot),
        all.iter().map(|found| found.lost).sum::<u64>(),
    );
}

#[test]
fn a_repair_that_is_stopped_at_any_call_goes_on_when_it_is_run_again() {
    let template = Template::make(3_000);
    let (one, other) = (template.segments[1].name.clone(), template.segments[2].name.clone());
    let mutations = [
        Mutation::Flip { file: one.clone(), bit: 8 * 1_000 },
        Mutation::Cut { file: other.clone(), bytes: 3_000 },
        Mutation::Swap { one: one.clone(), other },
        Mutation::Remove { file: one },
    ];
    let mut stops = 0;
    for mutation in mutations {
        for k in 1.. {
            let disk = template.disk.kill();
            mutation.strike(&disk);
            disk.die_at_call(k);
            if repair(&disk).is_ok() {
                break;
            }
            stops += 1;
            let disk = if k % 2 == 0 { disk.kill() } else { disk.crash(k) };
            repair(&disk).expect("nothing fails any more");
            let log = Segments::open(Arc::new(disk.clone()), clock()).expect("it is repaired");
            let checked = entries_after_repair(&template, &mutation, &log);
            assert!(checked.is_ok(), "{mutation:?}, stopped at call {k}: {checked:?}\n{disk:#?}");
        }
    }
    println!("{stops} stopped repairs went on");
}

fn one(template: &Template, mutation: &Mutation) -> Done<Found> {
    let disk = template.disk.kill();
    mutation.strike(&disk);
    let kind = match mutation {
        Mutation::Flip { .. } => "flip",
        Mutation::Cut { .. } => "cut",
        Mutation::Swap { .. } => "swap",
        Mutation::Remove { .. } => "remove",
    };
    let mut found = Found { kind, is_harmless: mutation.is_harmless(template), ..Found::default() };
    let reports = verify(&disk).map_err(text)?;
    let is_verified = reports.iter().all(|report| report.damage.is_none());
    read_all(template, &disk, &mut found)?;
    let is_found = found.by_opening || found.by_reading || found.by_snapshot;
    if found.is_harmless != is_verified || found.is_harmless == is_found {
        let damages: Vec<_> = reports.iter().filter_map(|report| report.damage.as_ref()).collect();
        return Err(format!("verify: {damages:?}, {found:?}"));
    }
    repaired(template, mutation, &mut found)?;
    Ok(found)
}

/// Opens and reads everything: it is damaged, or exactly what was written.
fn read_all(template: &Template, disk: &SimDisk, found: &mut Found) -> Done {
    let snapshots = Snapshots::on(Arc::new(disk.clone()));
    for (sequence, state) in &template.snapshots {
        match snapshots.read(template.id, *sequence) {
            Ok(read) if read != *state => return Err(format!("snapshot {sequence} is served wrongly")),
            Ok(_) => {}
            Err(error) => found.by_snapshot |= is_damage(disk, &error)?,
        }
    }
    let log = match Segments::open(Arc::new(disk.clone()), clock()) {
        Ok(log) => log,
        Err(error) => {
            found.by_opening = is_damage(disk, &error)?;
            return Ok(());
        }
    };
    let (mut next, mut wrong) = (template.first, None);
    let read = log.read(template.first, &mut |sequence, entry| {
        if sequence != next || template.entries.get((sequence.0 - template.first.0) as usize) != Some(&entry) {
            wrong.get_or_insert(sequence);
        }
        next = next.next();
    });
    if let Some(sequence) = wrong {
        return Err(format!("entry {sequence} is served wrongly"));
    }
    match read {
        Err(error) => found.by_reading = is_damage(disk, &error)?,
        Ok(end) if end.0 - template.first.0 != template.entries.len() as u64 => {
            return Err(format!("entries from {end} on are skipped in silence"));
        }
        Ok(_) => {}
    }
    Ok(())
}

/// Damage with a file of the log and an offset in it; anything else is an error.
fn is_damage(disk: &SimDisk, error: &ReadError) -> Done<bool> {
    let ReadError::Damage(Damage { file, offset, .. }) = error else { return Err(text(error)) };
    let bytes = disk.file(file).map_or(0, |bytes| bytes.len() as u64);
    if *offset <= bytes { Ok(true) } else { Err(format!("{file} has {bytes} bytes: {error}")) }
}

/// Repairs, and checks that all whole records are there, the others lost, the originals kept, and that the log goes on.
fn repaired(template: &Template, mutation: &Mutation, found: &mut Found) -> Done {
    let disk = template.disk.kill();
    mutation.strike(&disk);
    let before = |name: &str| disk.file(name);
    let struck: BTreeMap<String, Option<Vec<u8>>> =
        disk.names().into_iter().map(|name| (name.clone(), before(&name))).collect();
    let repairs = repair(&disk).map_err(text)?;
    if repairs.is_empty() != found.is_harmless {
        return Err(format!("repairs: {repairs:?}"));
    }
    for file in repairs.iter().map(|repair| &repair.file) {
        if before(&format!("{file}.damaged")) != struck[file] {
            return Err(format!("the damaged {file} is not kept"));
        }
    }
    if let Some(damage) = verify(&disk).map_err(text)?.into_iter().find_map(|report| report.damage) {
        return Err(format!("after repair: {damage}"));
    }
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut log = Segments::open(Arc::clone(&shared), clock()).map_err(text)?;
    found.lost = entries_after_repair(template, mutation, &log)?;
    let told: u64 = repairs.iter().map(|repair| repair.lost).sum();
    let snapshots = Snapshots::on(Arc::clone(&shared));
    for sequence in snapshots.list().map_err(text)? {
        if snapshots.read(template.id, sequence).map_err(text)? != template.snapshots[&sequence] {
            return Err(format!("snapshot {sequence} is served wrongly after the repair"));
        }
    }
    let more = entries::batch(&mut Seeded::new(3), 9);
    let next = log.next();
    log.reserve(SEGMENT_BYTES).and_then(|()| log.append(&more)).and_then(|_| log.sync()).map_err(text)?;
    let again = Segments::open(Arc::new(disk.crash(5)), clock()).map_err(text)?;
    let mut read = Vec::new();
    again.read(next, &mut |_, entry| read.push(entry)).map_err(text)?;
    if read != more {
        return Err("what was appended after the repair is not there".to_owned());
    }
    if told == found.lost { Ok(()) } else { Err(format!("{told} entries are said to be lost, {} are", found.lost)) }
}

/// Every original entry, or `Lost` in a record that was struck. Returns how many are lost.
fn entries_after_repair(template: &Template, mutation: &Mutation, log: &Segments) -> Done<u64> {
    let struck = mutation.struck(template);
    let start = if log.first() > template.first { log.first() } else { template.first };
    let (mut next, mut wrong, mut lost) = (start, None, 0);
    log.read(start, &mut |sequence, entry| {
        let is_struck = struck.iter().any(|range| range.contains(&sequence.0));
        let original = template.entries.get((sequence.0 - template.first.0) as usize);
        lost += u64::from(is_struck);
        let is_right = if is_struck { entry == Entry::Lost } else { original == Some(&entry) };
        if !is_right || sequence != next {
            wrong.get_or_insert_with(|| format!("{sequence} reads as {entry:?}"));
        }
        next = next.next();
    })
    .map_err(text)?;
    let end = template.first.0 + template.entries.len() as u64;
    let is_whole = next.0 == end || struck.iter().any(|range| range.end == end);
    match wrong {
        Some(wrong) => Err(format!("after repair {wrong}")),
        None if !is_whole => Err(format!("after repair the log ends before {next}, not {end}")),
        None => Ok(lost),
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
