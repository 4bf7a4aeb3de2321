//! The journal fails while batches wait for it: what was shown and will never be stored is shown as that, before its sender is told.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use engine::{Engine, OnJournalFailure, Options, Recovery, Retention, Settlement, Storage, UnknownDevices, Unsettled};
use journal::Status;
use model::{Clock, DeviceId, Flags, Heard, Position, PositionReport, Shards, Timestamp, UnitName, What};
use testkit::{ManualClock, SimDisk};

const SEGMENT_BYTES: u32 = 64 << 10;
/// Units of the test, by what becomes of them while the sync stalls.
const MOVES: u32 = 1;
const RESTS: u32 = 2;
const JUMPS: u32 = 3;

fn at(second: i64) -> Timestamp {
    Timestamp::from_unix_ms(1_795_000_000_000 + 1_000 * second).expect("it is a time")
}

fn device(number: u32) -> DeviceId {
    DeviceId::of("test", &number.to_string()).expect("it is a name")
}

/// An engine on a disk whose next sync waits, and then finds that power was lost.
struct Stalled {
    engine: Engine,
    storage: Storage,
    disk: SimDisk,
    clock: Arc<dyn Clock>,
    stalled: Receiver<()>,
    release: Sender<()>,
}

impl Stalled {
    /// All three units have a place that is stored.
    async fn with_stored_places(on_failure: OnJournalFailure, shards: usize) -> Self {
        // There is room for one segment: no reservation of a second one syncs in place of the journal.
        let disk = SimDisk::new(1).with_capacity(u64::from(SEGMENT_BYTES) + 1_000);
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(at(100)));
        let options = journal::Options {
            segment_bytes: SEGMENT_BYTES,
            group_time: Duration::ZERO,
            ..journal::Options::default()
        };
        let (retention, shared) = (Retention::default(), Arc::new(disk.clone()));
        let storage = Storage { disk: shared, options, retention, on_failure, events: None };
        let engine = open(&storage, &clock, shards);
        let batch = [MOVES, RESTS, JUMPS].map(|number| report(&engine, number, 0, 0)).into();
        engine.submit(batch).await.expect("it runs").await.expect("it is stored");
        let ((tell, stalled), (release, released)) = (channel(), channel());
        disk.stall_next_sync(Box::new(move || {
            tell.send(()).expect("the test waits for it");
            released.recv().expect("the test releases it");
        }));
        Self { engine, storage, disk, clock, stalled, release }
    }

    /// Hands a batch over and waits until it is applied.
    async fn apply(&self, batch: Vec<Heard>) -> Settlement {
        let counters = self.engine.live().counters();
        let applied = || counters.reports_total() + counters.contacts();
        let expected = applied() + batch.len() as u64;
        let settlement = self.engine.submit(batch).await.expect("it runs");
        while applied() < expected {
            std::thread::yield_now();
        }
        settlement
    }

    fn flags(&self, number: u32) -> Flags {
        flags(&self.engine, number)
    }

    /// Power is lost in the sync.
    fn fail(&self) -> SimDisk {
        let left = self.disk.crash(7);
        self.release.send(()).expect("the sync waits");
        left
    }
}

fn open(storage: &Storage, clock: &Arc<dyn Clock>, shards: usize) -> Engine {
    let options = Options { unknown: UnknownDevices::Admit, shards: Shards::new(shards).expect("they are few") };
    Engine::open(Arc::clone(clock), options, storage, &Recovery::default()).expect("the log is whole")
}

/// Nine metres a step, one second after the other.
fn report(engine: &Engine, number: u32, second: i64, steps: i32) -> Heard {
    let position = Position::from_e7(228_000_000 + 800 * steps, 1_083_000_000).expect("it is on earth");
    let report = PositionReport { time: Some(at(second)), ..PositionReport::at(position) };
    Heard { what: What::Report(report), ..contact(engine, number, second) }
}

fn contact(engine: &Engine, number: u32, second: i64) -> Heard {
    let binding = engine.resolve(&device(number)).expect("anyone is admitted");
    Heard { binding, received: at(second), what: What::Contact }
}

fn flags(engine: &Engine, number: u32) -> Flags {
    let name = UnitName::new(device(number).as_str()).expect("it is a name");
    let fix = engine.live().unit(&name, &query::Scope::everything()).and_then(|view| view.slot.fix);
    fix.expect("it has a place").flags
}

/// With three shards each unit has a writer of its own.
async fn what_is_in_flight(on_failure: OnJournalFailure) {
    for shards in 1..=3 {
        what_is_in_flight_in(shards, on_failure).await;
    }
}

async fn what_is_in_flight_in(shards: usize, on_failure: OnJournalFailure) {
    let stalled = Stalled::with_stored_places(on_failure, shards).await;
    let engine = &stalled.engine;
    let first = stalled.apply(vec![report(engine, MOVES, 1, 1)]).await;
    stalled.stalled.recv().expect("the sync begins");
    // Laid while the sync waits: another group.
    let second = stalled.apply(vec![contact(engine, RESTS, 2), report(engine, JUMPS, 2, 10_000)]).await;
    assert_eq!(stalled.flags(MOVES), Flags::default(), "nothing has failed yet");
    let left = stalled.fail();
    for settlement in [first, second] {
        let settled = settlement.await;
        assert!(matches!(settled, Err(Unsettled::Failed { is_applied: true, .. })), "{settled:?}");
        assert_eq!(stalled.flags(MOVES), Flags::NOT_STORED, "a sender was told before the map");
    }
    assert_eq!(stalled.flags(RESTS), Flags::default(), "a contact makes no place unstored");
    assert_eq!(stalled.flags(JUMPS), Flags::JUMP, "the place that stays is stored");
    // A jump shows the place again that is there.
    let is_applied = on_failure == OnJournalFailure::LiveUnacked;
    let third = engine.submit(vec![report(engine, MOVES, 3, 10_000), report(engine, RESTS, 3, 1)]);
    let settled = third.await.expect("it runs").await;
    assert!(
        matches!(settled, Err(Unsettled::Failed { is_applied: applied, .. }) if applied == is_applied),
        "{settled:?}"
    );
    let (moved, rested) = if is_applied {
        (Flags::NOT_STORED.with(Flags::JUMP), Flags::NOT_STORED)
    } else {
        (Flags::NOT_STORED, Flags::default())
    };
    assert_eq!((stalled.flags(MOVES), stalled.flags(RESTS)), (moved, rested));
    engine.stop().await;
    // The next start knows what is stored, and nothing of what was not.
    let storage = Storage { disk: Arc::new(left), ..stalled.storage.clone() };
    let again = open(&storage, &stalled.clock, shards);
    assert!([MOVES, RESTS, JUMPS].iter().all(|number| flags(&again, *number) == Flags::default()));
    again.stop().await;
}

#[tokio::test]
async fn what_is_in_flight_when_the_journal_fails_is_shown_unstored() {
    what_is_in_flight(OnJournalFailure::LiveUnacked).await;
}

#[tokio::test]
async fn what_is_in_flight_is_shown_unstored_also_where_nothing_more_is_taken() {
    what_is_in_flight(OnJournalFailure::Stop).await;
}

#[tokio::test]
async fn a_failure_at_the_last_sync_before_a_stop_is_told_and_shown() {
    for shards in 1..=3 {
        a_failure_at_the_last_sync_in(shards).await;
    }
}

async fn a_failure_at_the_last_sync_in(shards: usize) {
    let stalled = Stalled::with_stored_places(OnJournalFailure::LiveUnacked, shards).await;
    let settlement = stalled.apply(vec![report(&stalled.engine, MOVES, 1, 1)]).await;
    stalled.stalled.recv().expect("the sync begins");
    // The writer is in its last act when the failure comes.
    let (settled, ()) = tokio::join!(settlement, async {
        // The order to stop is in the queue before the sync ends.
        let stop = stalled.engine.stop();
        tokio::pin!(stop);
        assert!(is_pending(stop.as_mut()).await);
        stalled.fail();
        stop.await;
    });
    assert!(matches!(settled, Err(Unsettled::Failed { is_applied: true, .. })), "{settled:?}");
    assert_eq!(stalled.flags(MOVES), Flags::NOT_STORED);
}

/// Polls once; whether there is more to do.
async fn is_pending(mut future: std::pin::Pin<&mut impl Future<Output = ()>>) -> bool {
    std::future::poll_fn(|context| std::task::Poll::Ready(future.as_mut().poll(context).is_pending())).await
}

/// A thread of ours that panics is no reason to leave senders waiting for ever.
#[tokio::test]
async fn a_journal_thread_that_panics_is_a_journal_that_failed() {
    let stalled = Stalled::with_stored_places(OnJournalFailure::LiveUnacked, 2).await;
    let settlement = stalled.apply(vec![report(&stalled.engine, MOVES, 1, 1)]).await;
    stalled.stalled.recv().expect("the sync begins");
    // The disk panics in the middle of the sync.
    drop(stalled.release);
    let settled = settlement.await;
    assert!(matches!(settled, Err(Unsettled::Failed { is_applied: true, .. })), "{settled:?}");
    assert_eq!(flags(&stalled.engine, MOVES), Flags::NOT_STORED);
    let status = stalled.engine.journal_status();
    assert!(matches!(&status, Some(Status::Failed { reason }) if reason.contains("panic")), "{status:?}");
    assert!(!stalled.engine.has_broken(), "the writer goes on");
    stalled.engine.stop().await;
}
