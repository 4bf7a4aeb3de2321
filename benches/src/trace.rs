//! The one trace: a clustered city that moves, the questions, and what a plain scan answers.

use model::Position;
use testkit::Seeded;

use crate::{Fleet, Spread};

/// Reports of each unit in the trace, which is then played backwards.
const ROUNDS: usize = 10;
/// Different questions.
const QUESTIONS: usize = 4_096;
/// The scan ranks all units in a plane, 0.3 % off at most, and so many of the nearest by geodesic.
const SCANNED: usize = 200;

/// Who reported, and from where.
pub type Report = (u32, Position);

/// What all servers are told and asked.
#[derive(Debug)]
pub struct Trace {
    /// Where everyone is at first, by unit.
    pub places: Vec<Position>,
    /// Everyone once, in some order; then everyone again.
    rounds: Vec<Vec<Report>>,
    /// Where questions are asked from, within 200 m of some unit.
    pub questions: Vec<Position>,
}

impl Trace {
    /// The same for the same number of units.
    #[must_use]
    pub fn new(units: usize) -> Self {
        let mut fleet = Fleet::new(42, units, Spread::Clustered);
        let mut random = Seeded::new(7);
        let questions = (0..QUESTIONS).map(|_| fleet.ask(&mut random)).collect();
        let places = fleet.places.clone();
        let rounds = (0..ROUNDS).map(|_| fleet.reports(units)).collect();
        Self { places, rounds, questions }
    }

    /// The first places of `lane`'s units, of `lanes`.
    #[must_use]
    pub fn first(&self, lane: usize, lanes: usize) -> Vec<Vec<Report>> {
        let all = (0..).zip(self.places.iter().copied());
        vec![all.filter(|(unit, _)| *unit as usize % lanes == lane).collect()]
    }

    /// What `lane` reports, of `lanes`: a unit always reports on the same connection.
    #[must_use]
    pub fn reports(&self, lane: usize, lanes: usize) -> Vec<Vec<Report>> {
        let of_lane =
            |round: &Vec<Report>| round.iter().copied().filter(|(unit, _)| *unit as usize % lanes == lane).collect();
        self.rounds.iter().map(of_lane).collect()
    }

    /// The ten nearest to question `at` while everyone is at the first place.
    #[must_use]
    pub fn nearest(&self, at: usize) -> Vec<u32> {
        let centre = self.questions[at];
        let narrow = centre.lat_deg().to_radians().cos();
        let off = |place: &Position| {
            let north = f64::from(place.lat_e7() - centre.lat_e7());
            let east = f64::from(place.lon_e7() - centre.lon_e7()) * narrow;
            north * north + east * east
        };
        let mut all: Vec<Report> = (0..).zip(self.places.iter().copied()).collect();
        if all.len() > SCANNED {
            all.select_nth_unstable_by(SCANNED, |a, b| off(&a.1).total_cmp(&off(&b.1)));
            all.truncate(SCANNED);
        }
        testkit::by_distance(centre, &all).into_iter().take(10).map(|(unit, _)| unit).collect()
    }
}
