//! The parts that can be wrong: the floor, and what a lie does to whom.

use std::sync::OnceLock;

use simulate::{Force, Forces};

use super::{Map, Outcome, Run, Troubles, measure};

const RUN: Run = Run { seed: 3, warm_up_s: 420, every_s: 17, looks: 8, questions: 40 };

fn forces() -> &'static Forces {
    static FORCES: OnceLock<Forces> = OnceLock::new();
    FORCES.get_or_init(|| Forces::new(42, 4_000))
}

fn with(troubles: Troubles) -> Outcome {
    measure(forces(), &RUN, &troubles)
}

fn officers_m(outcome: &Outcome, map: Map) -> f32 {
    outcome.places(map).error_m(Force::Officer, 0.95)
}

#[test]
fn who_knows_the_truth_is_never_wrong_and_noise_is_what_the_receivers_have() {
    let outcome = with(Troubles::ALL);
    let truth = outcome.names(Map::Truth);
    assert_eq!((truth.asked, truth.wrong_first, truth.wrong_five, truth.wrong_of_five), (320, 0, 0, 0));
    for force in Force::ALL {
        assert_eq!(outcome.places(Map::Truth).error_m(force, 1.0), 0.0);
        let noise_m = outcome.places(Map::Noise).error_m(force, 1.0);
        assert!((1.0..9.3).contains(&noise_m), "{force:?}: {noise_m}");
    }
    assert!(outcome.names(Map::LastReceived).wrong_five > 0, "the questions can tell maps apart");
}

#[test]
fn a_radio_left_in_a_car_misleads_the_last_report_and_not_muster() {
    let (honest, lying) = (with(Troubles::NONE), with(Troubles { radio_left: 1.0, ..Troubles::NONE }));
    assert!(officers_m(&lying, Map::LastReceived) > 300.0, "{}", officers_m(&lying, Map::LastReceived));
    assert!(officers_m(&honest, Map::LastReceived) < 100.0, "{}", officers_m(&honest, Map::LastReceived));
    let (before, after) = (officers_m(&honest, Map::Muster), officers_m(&lying, Map::Muster));
    assert!(after < before + 5.0, "{before} m without, {after} m with the lie");
}

#[test]
fn single_jumps_mislead_the_last_report_and_not_muster() {
    let (honest, lying) = (with(Troubles::NONE), with(Troubles { jumps: 1.0, ..Troubles::NONE }));
    let (all, ours) = (|outcome: &Outcome, map: Map| outcome.places(map).error_m(Force::Car, 0.98), Map::Muster);
    assert!(all(&lying, Map::LastReceived) > 2_000.0, "{}", all(&lying, Map::LastReceived));
    assert!(all(&lying, ours) < 2.0 * all(&honest, ours), "{} and {}", all(&honest, ours), all(&lying, ours));
    assert!(lying.names(ours).far_first < lying.names(Map::LastReceived).far_first);
}

#[test]
fn a_silent_unit_is_named_by_the_last_report_and_not_for_long_by_muster() {
    let outcome = with(Troubles { silent: 0.5, ..Troubles::NONE });
    assert!(outcome.names(Map::LastReceived).silent_first > 10 * outcome.names(Map::Muster).silent_first);
}

#[test]
fn the_same_seed_gives_the_same_figures() {
    let figures = |outcome: &Outcome| Map::ALL.map(|map| (outcome.names(map).wrong_five, officers_m(outcome, map)));
    assert_eq!(figures(&with(Troubles::ALL)), figures(&with(Troubles::ALL)));
}
