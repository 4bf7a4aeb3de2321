//! What must hold for any load: checked against seeded offers on a clock that the test sets.

use std::collections::BTreeMap;
use std::time::Duration;

use model::limits;
use proptest::prelude::*;
use query::{Admission, Class, Lane, Offer, Room, Ticket, Turn};

const SEATS: usize = 2;
const MS: Duration = Duration::from_millis(1);

fn admission() -> Admission {
    Admission::new(Room::new(SEATS).unwrap())
}

/// Takes seats for `lane` until none is left for it.
fn filled(lane: Lane) -> Admission {
    let mut admission = admission();
    while admission.searching() < Room::new(SEATS).unwrap().ceiling(lane) {
        assert_eq!(admission.offer(lane, Class::Nearest, Duration::ZERO, MS), Offer::Start);
    }
    admission
}

fn waits(offer: Offer) -> Ticket {
    match offer {
        Offer::Wait(ticket) => ticket,
        other => panic!("it waits, not {other:?}"),
    }
}

#[test]
fn when_the_map_floods_dispatch_and_emergencies_start_at_once() {
    let mut admission = filled(Lane::Map);
    waits(admission.offer(Lane::Map, Class::Within, Duration::ZERO, MS));
    assert_eq!(admission.offer(Lane::Dispatch, Class::Nearest, Duration::ZERO, MS), Offer::Start);
    waits(admission.offer(Lane::Dispatch, Class::Nearest, Duration::ZERO, MS));
    assert_eq!(admission.offer(Lane::Emergency, Class::Nearest, Duration::ZERO, MS), Offer::Start);
    waits(admission.offer(Lane::Emergency, Class::Nearest, Duration::ZERO, MS));
}

#[test]
fn a_free_seat_goes_to_the_first_lane_and_there_to_who_came_first() {
    let mut admission = filled(Lane::Emergency);
    let until = Duration::from_secs(1);
    let mut ask = |lane| waits(admission.offer(lane, Class::Nearest, Duration::ZERO, until));
    let (map, first, second, emergency) =
        (ask(Lane::Map), ask(Lane::Dispatch), ask(Lane::Dispatch), ask(Lane::Emergency));
    let mut turns = Vec::new();
    for _ in 0..6 {
        admission.leave(Class::Nearest, MS);
        turns.extend(admission.turn(MS));
    }
    // The reserved seats stay empty: dispatch waits for one of the first three, the map for one of the first two.
    assert_eq!(turns, [emergency, first, second, map].map(Turn::Start));
}

#[test]
fn a_free_seat_is_not_offered_past_those_who_wait_for_it() {
    let until = Duration::from_secs(1);
    for lane in [Lane::Map, Lane::Bulk] {
        let mut admission = filled(Lane::Map);
        let first = waits(admission.offer(Lane::Map, Class::Nearest, Duration::ZERO, until));
        admission.leave(Class::Nearest, MS);
        // Nobody has been called yet: the seat is free, and it is not for one who comes now.
        let second = waits(admission.offer(lane, Class::Nearest, MS, until));
        assert_eq!(admission.turn(MS), Some(Turn::Start(first)));
        assert_eq!(admission.turn(MS), None);
        admission.leave(Class::Nearest, MS);
        assert_eq!(admission.turn(MS), Some(Turn::Start(second)));
    }
    let mut admission = filled(Lane::Map);
    waits(admission.offer(Lane::Map, Class::Nearest, Duration::ZERO, until));
    admission.leave(Class::Nearest, MS);
    assert_eq!(admission.offer(Lane::Dispatch, Class::Nearest, MS, until), Offer::Start, "a lane before it goes first");
}

#[test]
fn a_query_that_cannot_meet_its_deadline_is_refused_before_it_waits() {
    let mut admission = filled(Lane::Map);
    admission.leave(Class::Nearest, MS * 10);
    assert_eq!(admission.offer(Lane::Map, Class::Nearest, MS, MS * 100), Offer::Start);
    // Two search for 10 ms each on two seats, and the query itself takes 10 ms: 20 ms.
    assert_eq!(admission.offer(Lane::Map, Class::Nearest, MS, MS * 20), Offer::Refuse { retry_after: MS * 10 });
    waits(admission.offer(Lane::Map, Class::Nearest, MS, MS * 21));
    assert_eq!(admission.offer(Lane::Map, Class::Nearest, MS, MS * 25), Offer::Refuse { retry_after: MS * 15 });
}

#[test]
fn an_average_spoilt_by_an_outlier_refuses_nobody_once_a_seat_is_free() {
    let mut admission = filled(Lane::Map);
    admission.leave(Class::Nearest, Duration::from_secs(60));
    assert_eq!(admission.offer(Lane::Map, Class::Nearest, MS, MS * 2), Offer::Start);
    assert!(matches!(admission.offer(Lane::Map, Class::Nearest, MS, MS * 2), Offer::Refuse { .. }));
}

#[test]
fn a_deadline_that_passes_in_the_queue_costs_no_seat() {
    let mut admission = filled(Lane::Emergency);
    let late = waits(admission.offer(Lane::Dispatch, Class::Nearest, Duration::ZERO, MS));
    let in_time = waits(admission.offer(Lane::Dispatch, Class::Nearest, Duration::ZERO, MS * 9));
    let before = admission.searching();
    assert_eq!(admission.turn(MS), Some(Turn::Late(late)));
    assert_eq!((admission.turn(MS), admission.searching()), (None, before), "and the next one waits on");
    assert!(admission.withdraw(Lane::Dispatch, in_time));
    assert!(!admission.withdraw(Lane::Dispatch, in_time), "once");
    assert_eq!(admission.offer(Lane::Dispatch, Class::Nearest, MS, MS), Offer::Late);
}

#[test]
fn queues_end_at_their_limits_and_the_emergency_lane_has_none() {
    let mut admission = filled(Lane::Emergency);
    let until = Duration::from_secs(10);
    for (lane, waiting_max) in [(Lane::Bulk, limits::BULK_WAITING_MAX), (Lane::Map, limits::MAP_WAITING_MAX)] {
        for _ in 0..waiting_max {
            waits(admission.offer(lane, Class::Within, Duration::ZERO, until));
        }
    }
    let refused = |admission: &mut Admission, lane| {
        matches!(admission.offer(lane, Class::Within, Duration::ZERO, until), Offer::Refuse { .. })
    };
    assert!(refused(&mut admission, Lane::Bulk) && refused(&mut admission, Lane::Map));
    assert!(!refused(&mut admission, Lane::Dispatch), "those who wait behind it are not in its way");
    for _ in 0..2 * limits::DISPATCH_WAITING_MAX {
        assert!(!refused(&mut admission, Lane::Emergency));
    }
    assert!(refused(&mut admission, Lane::Dispatch));
}

/// Offers a query each millisecond that has waited for `waited`; how long it took until one was refused.
fn crowded_after(admission: &mut Admission, lane: Lane, waited: Duration) -> Option<u32> {
    (0..1_000).find(|ms| admission.crowded(lane, MS * *ms, waited, MS).is_some())
}

#[test]
fn a_queue_that_stands_refuses_what_waits_too_long_and_nothing_else() {
    assert_eq!(crowded_after(&mut admission(), Lane::Dispatch, MS * 2), Some(100));
    assert_eq!(crowded_after(&mut admission(), Lane::Dispatch, MS), None);
    assert_eq!(crowded_after(&mut admission(), Lane::Emergency, MS * 2), None);
    let mut admission = admission();
    crowded_after(&mut admission, Lane::Bulk, MS * 2);
    assert_eq!(admission.crowded(Lane::Bulk, MS * 101, MS, MS), None, "this one has waited for less");
    assert_eq!(admission.crowded(Lane::Bulk, MS * 101, MS * 2, MS), Some(Duration::ZERO));
    assert_eq!(admission.crowded(Lane::Bulk, MS * 122, MS * 2, MS), None, "for 20 ms nobody waited too long");
}

#[test]
fn bursts_are_no_crowd() {
    let mut admission = admission();
    for burst in 0..50 {
        for ms in 0..80 {
            assert_eq!(admission.crowded(Lane::Map, MS * (burst * 100 + ms), MS * ms, MS * 2), None);
        }
    }
}

#[test]
fn a_wait_that_is_still_to_come_counts_too_and_longest_for_the_last_lane() {
    let mut admission = filled(Lane::Emergency);
    admission.leave(Class::Nearest, MS * 10);
    assert_eq!(admission.offer(Lane::Emergency, Class::Nearest, MS, MS * 50), Offer::Start);
    assert_eq!(crowded_after(&mut admission, Lane::Dispatch, Duration::ZERO), Some(100));
    let mut wait = |lane| admission.crowded(lane, MS * 101, Duration::ZERO, MS);
    // Four search for 10 ms each, on the three seats that dispatch may use and the two of the map.
    assert_eq!(wait(Lane::Map), Some(MS * 20));
    assert_eq!(wait(Lane::Dispatch), Some(MS * 40 / 3));
    assert_eq!(wait(Lane::Emergency), None);
}

#[test]
fn degraded_searches_have_seats_of_their_own() {
    let mut admission = filled(Lane::Emergency);
    for _ in 0..limits::DEGRADED_SEATS {
        assert!(admission.offer_degraded());
    }
    assert!(!admission.offer_degraded());
    admission.leave_degraded();
    assert!(admission.offer_degraded());
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Offer { lane: Lane, class: Class, patience_ms: u32 },
    Leave { which: usize, held_us: u32 },
    Withdraw { which: usize },
    Pass { ms: u32 },
}

fn any_step() -> impl Strategy<Value = Step> {
    let lane = prop::sample::select(Lane::ALL.to_vec());
    let class = prop::sample::select(Class::ALL.to_vec());
    prop_oneof![
        6 => (lane, class, 0..200u32).prop_map(|(lane, class, patience_ms)| Step::Offer { lane, class, patience_ms }),
        3 => (any::<usize>(), 0..50_000u32).prop_map(|(which, held_us)| Step::Leave { which, held_us }),
        1 => any::<usize>().prop_map(|which| Step::Withdraw { which }),
        2 => (0..40u32).prop_map(|ms| Step::Pass { ms }),
    ]
}

/// Both sides of the account, and who is where.
struct Load {
    admission: Admission,
    now: Duration,
    seated: Vec<(Lane, Class)>,
    waiting: BTreeMap<Ticket, (Lane, Class, Duration)>,
    offered: usize,
    kept: usize,
    refused: usize,
    late: usize,
    withdrawn: usize,
}

impl Load {
    fn new() -> Self {
        let (admission, now) = (admission(), Duration::ZERO);
        let (seated, waiting) = (Vec::new(), BTreeMap::new());
        Self { admission, now, seated, waiting, offered: 0, kept: 0, refused: 0, late: 0, withdrawn: 0 }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Offer { lane, class, patience_ms } => self.offer(lane, class, self.now + MS * patience_ms),
            Step::Leave { which, held_us } if !self.seated.is_empty() => {
                let (_, class) = self.seated.swap_remove(which % self.seated.len());
                self.admission.leave(class, Duration::from_micros(held_us.into()));
            }
            Step::Withdraw { which } if !self.waiting.is_empty() => {
                let ticket = *self.waiting.keys().nth(which % self.waiting.len()).unwrap();
                let (lane, ..) = self.waiting.remove(&ticket).unwrap();
                assert!(self.admission.withdraw(lane, ticket));
                self.withdrawn += 1;
            }
            Step::Pass { ms } => self.now += MS * ms,
            Step::Leave { .. } | Step::Withdraw { .. } => {}
        }
        while let Some(turn) = self.admission.turn(self.now) {
            self.turn(turn);
        }
    }

    fn offer(&mut self, lane: Lane, class: Class, until: Duration) {
        // What refuses a lane refuses every lane after it: bulk first, dispatch last.
        let refuses = |lane| matches!(self.admission.clone().offer(lane, class, self.now, until), Offer::Refuse { .. });
        let refused: Vec<_> = Lane::ALL.into_iter().map(refuses).collect();
        assert!(refused.is_sorted() && !refused[0], "{refused:?}");
        self.offered += 1;
        match self.admission.offer(lane, class, self.now, until) {
            Offer::Start => {
                let before = self.waiting.values().any(|(waiting, ..)| *waiting <= lane);
                assert!(!before, "it overtook one of its own lane or of a lane before it");
                self.kept += 1;
                self.seated.push((lane, class));
            }
            Offer::Wait(ticket) => assert!(self.waiting.insert(ticket, (lane, class, until)).is_none()),
            Offer::Refuse { .. } => self.refused += 1,
            Offer::Late => {
                assert!(until <= self.now);
                self.late += 1;
            }
        }
    }

    fn turn(&mut self, turn: Turn) {
        let (Turn::Start(ticket) | Turn::Late(ticket)) = turn;
        let (lane, class, until) = self.waiting.remove(&ticket).expect("a turn is for one who waits, once");
        if let Turn::Late(_) = turn {
            assert!(until <= self.now, "late is late");
            self.late += 1;
            return;
        }
        assert!(until > self.now, "nobody starts after the deadline");
        let inverted = self.waiting.values().any(|(waiting, _, until)| *waiting < lane && *until > self.now);
        assert!(!inverted, "a query of {lane:?} started before one of a lane before it");
        let first = self.waiting.iter().find(|(_, (waiting, ..))| *waiting == lane).map(|(ticket, _)| *ticket);
        assert!(first.is_none_or(|first| first > ticket), "in a lane who came first goes first");
        self.kept += 1;
        self.seated.push((lane, class));
    }

    fn check(&self) {
        let room = Room::new(SEATS).unwrap();
        assert_eq!(self.admission.searching(), self.seated.len());
        for lane in Lane::ALL {
            let from_here = self.seated.iter().filter(|(seated, _)| *seated >= lane).count();
            assert!(from_here <= room.ceiling(lane), "the seats before {lane:?} are kept for those before it");
            let waiting = self.waiting.values().filter(|(waiting, ..)| *waiting == lane).count();
            assert_eq!(self.admission.waiting(lane), waiting);
            assert!(waiting == 0 || self.seated.len() >= room.ceiling(lane), "nobody waits before a free seat");
        }
        assert_eq!(self.kept + self.refused + self.late + self.withdrawn + self.waiting.len(), self.offered);
    }
}

proptest! {
    /// Emergencies are never refused; no lane overtakes one before it; seats and queues keep their limits; all are accounted for.
    #[test]
    fn any_load_keeps_the_rules_of_the_lanes(steps in prop::collection::vec(any_step(), 1..400)) {
        let mut load = Load::new();
        for step in steps {
            load.take(step);
            load.check();
        }
    }
}
