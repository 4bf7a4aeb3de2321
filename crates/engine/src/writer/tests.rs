use std::sync::atomic::{AtomicBool, Ordering};

use journal::{LocalLog, Options, Progress, ReadError, Segments, Status};
use model::limits::{CAPABILITIES_MAX, DEVICES_PER_CHANGE_MAX, JOURNAL_SEGMENT_BYTES_MIN, NAME_BYTES_MAX};
use model::{Binding, Clock, DeviceId, Disk, Shards, Timestamp, Unit, UnitName};
use parking_lot::Mutex;
use testkit::{ManualClock, SimDisk};

use super::*;
use crate::State;
use crate::roster::Taken;

fn clock() -> Arc<dyn Clock> {
    Arc::new(ManualClock::at(Timestamp::from_unix_ms(1_795_000_000_000).expect("it is a time")))
}

/// As long a name as there may be.
fn long(start: &str, number: usize) -> String {
    format!("{start}{number:0>width$}", width = NAME_BYTES_MAX - start.len())
}

/// The largest change of a unit that there may be.
fn largest(number: usize) -> (Unit, Vec<DeviceId>) {
    let capabilities = (0..CAPABILITIES_MAX).map(|word| long("word", word)).collect();
    let unit = Unit { capabilities, ..Unit::named(UnitName::new(&long("unit-", number)).expect("it is a name")) };
    let device = |of: usize| DeviceId::new(&long("test:", number * 1_000 + of)).expect("it is a name");
    (unit, (0..DEVICES_PER_CHANGE_MAX).map(device).collect())
}

fn enrol(live: &Live, (unit, devices): &(Unit, Vec<DeviceId>)) -> Binding {
    live.roster.enrol(unit.clone(), devices, Taken::Refuse, &live.pending, &live.index).expect("there is room");
    live.roster.binding(&devices[0]).expect("it was enrolled")
}

fn now(settlement: &mut Settlement) -> std::task::Poll<Result<(), Unsettled>> {
    let context = &mut std::task::Context::from_waker(std::task::Waker::noop());
    std::pin::Pin::new(settlement).poll(context)
}

fn run(writer: Writer, messages: Vec<Message>) {
    let (queue, waiting) = mpsc::channel(messages.len() + 1);
    assert!(messages.into_iter().all(|message| queue.try_send(message).is_ok()), "there is room");
    drop(queue);
    writer.run(waiting).end();
}

/// The only part of a state.
fn whole(state: State) -> Part {
    Part::all_of(state, Shards::ONE).pop().expect("there is one")
}

fn writer(live: &Arc<Live>, log: Arc<dyn Log>, settler: &Arc<Settler>) -> Writer {
    let on_failure = OnJournalFailure::LiveUnacked;
    let storage = Storage { log, settler: Arc::clone(settler), on_failure };
    Writer::new(Arc::clone(live), Some(storage), 0, whole(State::default()))
}

/// A map in two shards, a log with room, and the writers.
struct Two {
    live: Arc<Live>,
    log: Arc<Narrow>,
    settler: Arc<Settler>,
    writers: [Writer; 2],
}

impl Two {
    fn new() -> Self {
        let shards = Shards::new(2).expect("there may be two");
        let live = Arc::new(Live::of(&State::default(), clock(), shards));
        let log = Arc::new(Narrow { has_room: AtomicBool::new(true), ..Narrow::default() });
        let settler = Arc::new(Settler::of(shards));
        let mut parts = Part::all_of(State::default(), shards).into_iter();
        let writers = [0, 1].map(|shard| {
            let log = Arc::clone(&log) as Arc<dyn Log>;
            let storage = Storage { log, settler: Arc::clone(&settler), on_failure: OnJournalFailure::LiveUnacked };
            Writer::new(Arc::clone(&live), Some(storage), shard, parts.next().expect("there are two"))
        });
        Self { live, log, settler, writers }
    }

    /// A unit of the second shard, after one of the first, and something that was heard of it.
    fn second(&self) -> (UnitName, Heard) {
        let [_, binding] = [1, 2].map(|number| enrol(&self.live, &largest(number)));
        assert_eq!(binding.unit, UnitHandle(1));
        let report = model::PositionReport::at(model::Position::from_e7(228_000_000, 1_083_000_000).expect("on earth"));
        let name = self.live.roster.unit(binding.unit).expect("it was enrolled").name.clone();
        (name, Heard { binding, received: clock().now(), what: What::Report(report) })
    }
}

/// A change of a unit goes into the log by whatever writer comes first, and is applied by the unit's own.
#[test]
fn a_change_is_stored_by_any_writer_and_applied_by_its_own_before_what_comes_after_it() {
    let two = Two::new();
    let (name, Heard { binding, .. }) = two.second();
    let Two { live, log, writers: [mut first, mut second], .. } = two;
    assert_eq!(live.roster.remove(&name, &live.pending), Some(binding.unit));
    first.store_pending().expect("there is room");
    assert_eq!((log.taken.lock().len(), live.pending.len()), (3, 2), "two of three are for the other writer");
    second.store_pending().expect("there is room");
    assert_eq!((log.taken.lock().len(), live.pending.len()), (3, 0), "each is stored once");
    assert!(second.part.is_retired(binding.unit));
}

/// Between the look at a batch and its place in the log another writer may store that its unit is gone: then state would not be what
/// the log says.
#[test]
fn what_a_unit_said_is_not_stored_behind_its_end() {
    let mut two = Two::new();
    let (name, heard) = two.second();
    let [first, second] = &mut two.writers;
    second.store_pending().expect("there is room");
    second.take(&[heard]);
    let mut entries = std::mem::take(&mut second.entries);
    assert_eq!(entries.len(), 1);
    two.live.roster.remove(&name, &two.live.pending);
    first.store_pending().expect("there is room");
    second.store_and_apply(&mut entries).expect("there is room");
    assert_eq!(two.log.taken.lock().last(), Some(&Entry::Retire(heard.binding.unit)));
    assert_eq!(two.live.counters.reports().find(|(word, _)| *word == "retired"), Some(("retired", 1)));
    assert_eq!(two.live.index.located(), 0);
}

#[test]
fn a_writer_that_panics_holds_up_no_batch_of_another_when_the_journal_fails() {
    let two = Two::new();
    let (_, heard) = two.second();
    let unit = UnitHandle(0);
    let (settle, mut settlement) = Settlement::pair();
    let [mut first, second] = two.writers;
    first.store_pending().expect("there is room");
    first.batch(vec![Heard { binding: Binding { unit, ..heard.binding }, ..heard }], settle, None);
    two.log.breaks.store(true, Ordering::Relaxed);
    let (message, other) = batch(Vec::new());
    let ended = std::thread::spawn(move || run(second, vec![message])).join();
    assert!(ended.is_err() && two.live.broken.is_told(), "any writer is the engine");
    assert_eq!(now(&mut { other }), std::task::Poll::Ready(Err(Unsettled::Stopped)));
    two.settler.progress(Progress::Failed("EIO".into()));
    assert_eq!(now(&mut settlement), std::task::Poll::Pending, "the map is told first");
    first.tell_of_failure();
    let failed = Err(Unsettled::Failed { reason: "EIO".into(), is_applied: true });
    assert_eq!(now(&mut settlement), std::task::Poll::Ready(failed));
}

/// A few requests with long lists of devices once ended the writer: their entries did not fit in the log at once.
#[test]
fn the_largest_changes_and_batches_fit_in_the_smallest_segments() {
    let (disk, clock): (Arc<dyn Disk>, _) = (Arc::new(SimDisk::new(1)), clock());
    let segments = Segments::open(Arc::clone(&disk), Arc::clone(&clock)).expect("the disk is empty");
    let options = Options { segment_bytes: JOURNAL_SEGMENT_BYTES_MIN, ..Options::default() };
    let settler = Arc::new(Settler::default());
    let told = Arc::clone(&settler);
    let listener = move |progress: Progress| told.progress(progress);
    let log: Arc<dyn Log> = Arc::new(LocalLog::start(segments, Arc::clone(&disk), options, Box::new(listener)));
    let live = Arc::new(Live::of(&State::default(), Arc::clone(&clock), Shards::ONE));
    let bindings: Vec<_> = (0..20).map(|number| enrol(&live, &largest(number))).collect();
    let received = clock.now();
    let heard: Vec<_> =
        bindings.iter().map(|binding| Heard { binding: *binding, received, what: What::Contact }).collect();
    let (message, settlement) = batch(heard.repeat(50));
    run(writer(&live, log, &settler), vec![message, Message::Stop]);
    assert_eq!(now(&mut { settlement }), std::task::Poll::Ready(Ok(())));
    let recovered = crate::recover(&disk, &clock, &crate::Recovery::default()).expect("the log is whole");
    assert_eq!(recovered.state.devices().count(), 20 * DEVICES_PER_CHANGE_MAX);
    assert_eq!(recovered.segments.next().before(), Sequence(20 + 20 * 50), "every entry is in the log, once");
}

#[test]
fn more_devices_than_fit_are_refused_with_their_number() {
    let live = Live::of(&State::default(), clock(), Shards::ONE);
    let (unit, mut devices) = largest(1);
    devices.push(DeviceId::of("test", "one-more").expect("it is a name"));
    let refused = live.roster.enrol(unit, &devices, Taken::Refuse, &live.pending, &live.index);
    assert_eq!(refused, Err(crate::RosterError::TooManyDevices { devices: DEVICES_PER_CHANGE_MAX + 1 }));
    assert!(live.roster.is_empty() && live.pending.len() == 0, "nothing was changed");
}

/// Takes nothing until it has room.
#[derive(Default)]
struct Narrow {
    has_room: AtomicBool,
    /// Breaks an invariant at the next batch.
    breaks: AtomicBool,
    /// How many entries it was asked to take.
    asked: Mutex<Vec<usize>>,
    taken: Mutex<Vec<Entry>>,
}

impl Log for Narrow {
    fn append(&self, batch: &[Entry]) -> Result<Sequence, AppendError> {
        assert!(!self.breaks.load(Ordering::Relaxed), "this log is whole");
        self.asked.lock().push(batch.len());
        if !self.has_room.load(Ordering::Relaxed) {
            return Err(AppendError::Full { reason: "no space".to_owned() });
        }
        let mut taken = self.taken.lock();
        taken.extend_from_slice(batch);
        Ok(Sequence(taken.len() as u64))
    }

    fn append_bytes_max(&self) -> usize {
        JOURNAL_SEGMENT_BYTES_MIN as usize / 4
    }

    fn read_batches(&self, _: Sequence, _: &mut dyn FnMut(Sequence, &[Entry])) -> Result<Sequence, ReadError> {
        unreachable!("nobody reads it")
    }

    fn synced(&self) -> Sequence {
        Sequence(self.taken.lock().len() as u64)
    }

    fn status(&self) -> Status {
        Status::Open
    }

    fn stop(&self) {}
}

/// The writer once took all that waited into a list of its own, where no limit saw it.
#[test]
fn changes_that_find_no_room_go_on_counting_and_keep_their_order() {
    let (live, settler) = (Arc::new(Live::of(&State::default(), clock(), Shards::ONE)), Arc::new(Settler::default()));
    let log = Arc::new(Narrow::default());
    let count = 3 * PENDING_AT_ONCE as u32;
    (0..count).for_each(|number| live.pending.push(Entry::Retire(UnitHandle(number))));
    let wakes = |times: usize| std::iter::repeat_with(|| Message::Wake).take(times * MESSAGES_AT_ONCE).collect();
    run(writer(&live, Arc::clone(&log) as Arc<dyn Log>, &settler), wakes(3));
    assert_eq!(live.pending.len(), count as usize, "the limit of changes sees all of them");
    assert_eq!(*log.asked.lock(), [PENDING_AT_ONCE; 3], "a wake costs no more with a longer list");
    log.has_room.store(true, Ordering::Relaxed);
    run(writer(&live, Arc::clone(&log) as Arc<dyn Log>, &settler), wakes(1));
    assert_eq!(live.pending.len(), 0);
    let in_order: Vec<_> = (0..count).map(|number| Entry::Retire(UnitHandle(number))).collect();
    assert!(*log.taken.lock() == in_order);
}

#[test]
fn a_writer_that_panics_is_seen_and_its_senders_are_told() {
    let (live, settler) = (Arc::new(Live::of(&State::default(), clock(), Shards::ONE)), Arc::new(Settler::default()));
    let log = Arc::new(Narrow { has_room: AtomicBool::new(true), ..Narrow::default() });
    run(writer(&live, Arc::clone(&log) as Arc<dyn Log>, &settler), vec![Message::Stop]);
    assert!(!live.broken.is_told(), "it was told to stop");
    log.breaks.store(true, Ordering::Relaxed);
    let (message, settlement) = batch(Vec::new());
    let writer = writer(&live, log, &settler);
    let ended = std::thread::spawn(move || run(writer, vec![message])).join();
    assert!(ended.is_err() && live.broken.is_told());
    assert_eq!(now(&mut { settlement }), std::task::Poll::Ready(Err(Unsettled::Stopped)));
}
