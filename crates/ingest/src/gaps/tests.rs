use std::collections::BTreeSet;

use model::DeviceId;
use proptest::prelude::*;

use super::*;

fn sender(name: &str) -> SenderName {
    SenderName::of_device(&DeviceId::of("jt808", name).unwrap())
}

fn said(name: &str, number: u64) -> FrameNumber {
    FrameNumber { sender: sender(name), number, modulus: Modulus::TwoTo16 }
}

/// Missing, reordered, restarts after all of `numbers`.
fn after(modulus: Modulus, numbers: &[u64]) -> (u64, u64, u64) {
    let mut sequence = Sequence::starting(numbers[0]);
    for number in &numbers[1..] {
        sequence.take(*number, modulus);
    }
    (sequence.missing, sequence.reordered, sequence.restarts)
}

fn after_u16(numbers: &[u64]) -> (u64, u64, u64) {
    after(Modulus::TwoTo16, numbers)
}

#[test]
fn numbers_that_were_skipped_are_missing() {
    assert_eq!(after_u16(&[7]), (0, 0, 0), "what came before the first is not known");
    assert_eq!(after_u16(&[7, 8, 9]), (0, 0, 0));
    assert_eq!(after_u16(&[7, 8, 11, 12, 14]), (3, 0, 0));
    assert_eq!(after(Modulus::TwoTo64, &[1, 1 << 20]), ((1 << 20) - 2, 0, 0));
}

#[test]
fn the_wrap_is_no_restart() {
    assert_eq!(after_u16(&[65_534, 65_535, 0, 1]), (0, 0, 0));
    assert_eq!(after_u16(&[65_533, 2]), (4, 0, 0), "65,534, 65,535, 0 and 1");
    assert_eq!(after_u16(&[65_534, 1, 65_535, 65_534, 0]), (0, 2, 0), "overtaken and repeated on the other side");
    assert_eq!(after(Modulus::TwoTo64, &[u64::MAX - 1, 1, 0]), (1, 1, 0));
}

#[test]
fn a_repeated_number_changes_nothing() {
    assert_eq!(after_u16(&[5, 5, 5]), (0, 0, 0));
    assert_eq!(after_u16(&[5, 6, 7, 5, 6, 9, 7, 5]), (1, 0, 0));
    assert_eq!(after_u16(&[5, 8, 6, 6, 6]), (1, 1, 0), "found once only");
}

#[test]
fn an_overtaken_number_is_no_longer_missing() {
    assert_eq!(after_u16(&[0, 3]), (2, 0, 0));
    assert_eq!(after_u16(&[0, 3, 1]), (1, 1, 0));
    assert_eq!(after_u16(&[0, 3, 1, 2]), (0, 2, 0));
    assert_eq!(after_u16(&[10, 9]), (0, 1, 0), "it came before the first, and nothing lies between");
    assert_eq!(after_u16(&[10, 7]), (2, 1, 0), "8 and 9 lie between the two that came");
    assert_eq!(after_u16(&[10, 7, 9, 8, 7, 10]), (0, 3, 0));
}

#[test]
fn the_window_ends_at_64_and_forgets_what_left_it() {
    assert_eq!(after_u16(&[0, 64, 0]), (63, 0, 0), "heard, 64 behind");
    assert_eq!(after_u16(&[0, 65, 1]), (63, 1, 0), "overtaken, 64 behind");
    assert_eq!(after_u16(&[0, 65, 0]), (64, 0, 1), "65 behind is too far to tell");
    assert_eq!(after_u16(&[0, 1, 66, 2]), (63, 1, 0), "a jump over the whole window empties it");
    assert_eq!(after_u16(&[0, 1, 65, 1, 2]), (62, 1, 0));
}

#[test]
fn what_is_neither_ahead_nor_a_little_behind_is_a_restart() {
    assert_eq!(after_u16(&[100, 32_867]), (32_766, 0, 0), "one less than half of the numbers");
    assert_eq!(after_u16(&[100, 32_868]), (0, 0, 1), "half of them");
    assert_eq!(after_u16(&[500, 502, 0, 1, 3]), (2, 0, 1), "what was missing stays so");
    assert_eq!(after_u16(&[501, 0, 501]), (500, 0, 1), "the window starts anew too");
    let end = 1 << 32;
    assert_eq!(after(Modulus::TwoTo64, &[1, end]), (end - 2, 0, 0));
    assert_eq!(after(Modulus::TwoTo64, &[1, 1 + end]), (0, 0, 1));
    assert_eq!(after(Modulus::TwoTo64, &[1_000, 1]), (0, 0, 1));
}

#[test]
fn who_was_heard_longest_ago_is_forgotten_and_counted() {
    let (gaps, counters) = (Gaps::remembering(2), Counters::default());
    let hear = |name: &str, number: u64| gaps.hear(said(name, number), "jt808", Duration::ZERO, &counters);
    let names =
        || gaps.worst(9, Duration::ZERO).iter().map(|of| (of.sender.to_string(), of.missing)).collect::<Vec<_>>();
    hear("a", 1);
    hear("b", 1);
    hear("a", 3);
    hear("c", 1);
    assert_eq!(names(), [("jt808:a".to_owned(), 1), ("jt808:c".to_owned(), 0)], "b was silent longest");
    assert_eq!(counters.gap_senders_forgotten_so_far("jt808"), 1);
    hear("b", 9);
    assert_eq!(names(), [("jt808:b".to_owned(), 0), ("jt808:c".to_owned(), 0)], "b is heard as if for the first time");
    assert_eq!(counters.gap_senders_forgotten_so_far("jt808"), 2);
}

#[test]
fn a_flood_of_forged_senders_stays_within_the_limit() {
    let (gaps, counters) = (Gaps::remembering(100), Counters::default());
    for number in 0..10_000u64 {
        gaps.hear(said(&number.to_string(), number % 65_536), "jt808", Duration::ZERO, &counters);
    }
    let table = gaps.table();
    assert_eq!((table.rows.len(), table.order.len()), (100, 100));
    assert_eq!(counters.gap_senders_forgotten_so_far("jt808"), 9_900);
}

#[test]
fn most_missing_come_first_and_ties_go_by_name() {
    let (gaps, counters) = (Gaps::default(), Counters::default());
    for (name, newest) in [("d", 2), ("b", 4), ("a", 2), ("c", 9), ("e", 1)] {
        for number in [0, newest] {
            gaps.hear(said(name, number), "jt808", Duration::from_secs(newest), &counters);
        }
    }
    let of = |name: &str, newest: u64| SenderGaps {
        sender: sender(name),
        protocol: "jt808",
        missing: newest - 1,
        reordered: 0,
        restarts: 0,
        last_number: newest,
        heard_age: Duration::from_secs(10 - newest),
    };
    let all = [of("c", 9), of("b", 4), of("a", 2), of("d", 2), of("e", 1)];
    let now = Duration::from_secs(10);
    assert_eq!(gaps.worst(9, now), all);
    assert_eq!(gaps.worst(3, now), all[..3]);
}

/// One copy of a frame on its way: its place in the sequence, and how far it is held up.
fn any_delivery() -> impl Strategy<Value = Vec<(u64, u64)>> {
    let copies = prop_oneof![2 => Just(0usize), 6 => Just(1), 1 => Just(2), 1 => Just(3)];
    prop::collection::vec((copies, prop::array::uniform3(0u64..32)), 1..400).prop_map(|frames| {
        let copies = |(place, (copies, held)): (u64, (usize, [u64; 3]))| {
            held.into_iter().take(copies).map(move |held| (place + held, place))
        };
        let mut sent: Vec<_> = (0u64..).zip(frames).flat_map(copies).collect();
        sent.sort_by_key(|(arrives, _)| *arrives);
        sent
    })
}

proptest! {
    /// What is missing must be the numbers between the first and the last delivered ones that never
    /// came, and what is reordered those that first came after a higher one.
    #[test]
    fn gaps_agree_with_a_list_of_what_was_delivered(
        sent in any_delivery(),
        start in prop_oneof![Just(0u64), 65_200..65_536u64, Just(u64::MAX - 100), any::<u64>()],
        modulus in prop_oneof![Just(Modulus::TwoTo16), Just(Modulus::TwoTo64)],
    ) {
        let number = |place: u64| modulus.steps(0, start.wrapping_add(place));
        let Some((_, first)) = sent.first() else { return Ok(()) };
        let mut sequence = Sequence::starting(number(*first));
        let (mut delivered, mut overtaken) = (BTreeSet::from([*first]), 0);
        for (_, place) in &sent[1..] {
            let is_overtaken = delivered.last().is_some_and(|last| place < last);
            overtaken += u64::from(delivered.insert(*place) && is_overtaken);
            sequence.take(number(*place), modulus);
        }
        let (low, high) = (delivered.first().copied().unwrap(), delivered.last().copied().unwrap());
        let never_came = (low..=high).filter(|place| !delivered.contains(place)).count() as u64;
        prop_assert_eq!(sequence.missing, never_came);
        prop_assert_eq!((sequence.reordered, sequence.restarts), (overtaken, 0));
        prop_assert_eq!(sequence.newest, number(high));
    }

    /// Whatever is sent, what the steps told adds up to what is shown.
    #[test]
    fn steps_add_up_under_any_numbers(
        numbers in prop::collection::vec(prop_oneof![0..200u64, 65_400..65_536u64, any::<u16>().prop_map(u64::from)], 2..300),
    ) {
        let mut sequence = Sequence::starting(numbers[0]);
        let (mut skipped_sum, mut overtaken, mut restarts) = (0, 0, 0);
        for number in &numbers[1..] {
            match sequence.take(*number, Modulus::TwoTo16) {
                Step::Ahead { skipped } => skipped_sum += skipped,
                Step::Overtaken { skipped } => (skipped_sum, overtaken) = (skipped_sum + skipped, overtaken + 1),
                Step::Repeated => {}
                Step::Restart => restarts += 1,
            }
            prop_assert!(sequence.window.count_ones() as u64 <= sequence.before);
        }
        prop_assert_eq!(sequence.missing, skipped_sum - overtaken);
        prop_assert_eq!((sequence.reordered, sequence.restarts), (overtaken, restarts));
    }
}
