use std::sync::atomic::{AtomicBool, Ordering};

use journal::{LocalLog, Options, Progress, ReadError, Segments, Status};
use model::limits::{CAPABILITIES_MAX, DEVICES_PER_CHANGE_MAX, JOURNAL_SEGMENT_BYTES_MIN, NAME_BYTES_MAX};
use model::{Binding, Clock, DeviceId, Disk, Timestamp, Unit, UnitName};
use parking_lot::Mutex;
use testkit::{ManualClock, SimDisk};

use super::*;
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

fn now(mut settlement: Settlement) -> std::task::Poll<Result<(), Unsettled>> {
    let context = &mut std::task::Context::from_waker(std::task::Waker::noop());
    std::pin::Pin::new(&mut settlement).poll(context)
}

fn run(writer: Writer, messages: Vec<Message>) {
    let (queue, waiting) = mpsc::channel(messages.len() + 1);
    assert!(messages.into_iter().all(|message| queue.try_send(message).is_ok()), "there is room");
    drop(queue);
    writer.run(waiting);
}

fn writer(live: &Arc<Live>, log: Arc<dyn Log>, settler: &Arc<Settler>) -> Writer {
    let on_failure = OnJournalFailure::LiveUnacked;
    let storage = Storage { log, settler: Arc::clone(settler), on_failure };
    Writer::new(Arc::clone(live), Some(storage), State::default())
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
    let live = Arc::new(Live::of(&State::default(), Arc::clone(&clock)));
    let bindings: Vec<_> = (0..20).map(|number| enrol(&live, &largest(number))).collect();
    let received = clock.now();
    let heard: Vec<_> =
        bindings.iter().map(|binding| Heard { binding: *binding, received, what: What::Contact }).collect();
    let (message, settlement) = batch(heard.repeat(50));
    run(writer(&live, log, &settler), vec![message, Message::Stop]);
    assert_eq!(now(settlement), std::task::Poll::Ready(Ok(())));
    let recovered = crate::recover(&disk, &clock, &crate::Recovery::default()).expect("the log is whole");
    assert_eq!(recovered.state.devices().count(), 20 * DEVICES_PER_CHANGE_MAX);
    assert_eq!(recovered.segments.next().before(), Sequence(20 + 20 * 50), "every entry is in the log, once");
}

#[test]
fn more_devices_than_fit_are_refused_with_their_number() {
    let live = Live::of(&State::default(), clock());
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
    let (live, settler) = (Arc::new(Live::of(&State::default(), clock())), Arc::new(Settler::default()));
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
    let (live, settler) = (Arc::new(Live::of(&State::default(), clock())), Arc::new(Settler::default()));
    let log = Arc::new(Narrow { has_room: AtomicBool::new(true), ..Narrow::default() });
    run(writer(&live, Arc::clone(&log) as Arc<dyn Log>, &settler), vec![Message::Stop]);
    assert!(!live.broken.is_told(), "it was told to stop");
    log.breaks.store(true, Ordering::Relaxed);
    let (message, settlement) = batch(Vec::new());
    let writer = writer(&live, log, &settler);
    let ended = std::thread::spawn(move || run(writer, vec![message])).join();
    assert!(ended.is_err() && live.broken.is_told());
    assert_eq!(now(settlement), std::task::Poll::Ready(Err(Unsettled::Stopped)));
}
