//! How far what a map shows is from the truth, and how often it names a wrong unit: Muster beside simpler maps that hear the same
//! reports of the simulated city. Nothing here is timed.

mod maps;
mod score;
mod table;
#[cfg(test)]
mod tests;
mod world;

use model::{Position, Timestamp};
use simulate::{Force, Forces};
use testkit::Seeded;

pub use maps::Map;
pub use score::{Names, Places};
pub use table::{names_rows, places_rows, summary_rows};
pub use world::Troubles;

use maps::{Known, Maps};
use score::{Candidates, Score};
use world::World;

/// The day begins here; the city is a pure function of seed and time.
fn start() -> Timestamp {
    Timestamp::from_rfc3339("2026-11-23T06:00:00Z").expect("it is a time")
}

/// What is measured, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    /// Of questions, delays and troubles.
    pub seed: u64,
    /// Simulated seconds before the first look.
    pub warm_up_s: i64,
    /// Simulated seconds between two looks.
    pub every_s: i64,
    /// How often it is looked.
    pub looks: i64,
    /// Questions at each look.
    pub questions: usize,
}

impl Run {
    /// Half an hour; 9,000 questions.
    pub const WHOLE: Self = Self { seed: 7, warm_up_s: 600, every_s: 19, looks: 60, questions: 150 };
}

/// What was found, a map at a time, in the order of [`Map::ALL`].
#[derive(Debug)]
pub struct Outcome {
    places: [Places; Map::ALL.len()],
    names: [Names; Map::ALL.len()],
    /// Reports that the maps heard.
    pub reports: u64,
}

impl Outcome {
    /// How far the places of `map` are from the true ones.
    #[must_use]
    pub fn places(&self, map: Map) -> &Places {
        &self.places[map as usize]
    }

    /// Whom `map` names as nearest.
    #[must_use]
    pub fn names(&self, map: Map) -> &Names {
        &self.names[map as usize]
    }
}

/// Lets the city live for the time of `run` with `troubles`, and looks at all maps. About 10 s for the whole city.
///
/// # Panics
/// When Muster's answer is not the one that a plain scan of its own places gives.
#[must_use]
pub fn measure(forces: &Forces, run: &Run, troubles: &Troubles) -> Outcome {
    let mut world = World::new(forces, start(), run.seed, troubles);
    let mut maps = Maps::new(forces, &world);
    let candidates = Candidates::of(forces);
    let mut score = Score::default();
    let mut random = Seeded::new(run.seed);
    let (mut second, mut reports) = (0, 0);
    for look in 0..run.looks {
        let until = run.warm_up_s + look * run.every_s;
        while second < until {
            for report in world.second(second) {
                maps.hear(&report);
                reports += 1;
            }
            second += 1;
        }
        let now = start().shifted_ms(until * 1_000);
        let truth = Known::truth(forces, now);
        let known = Map::ALL.map(|map| maps.known(map, &truth, now));
        score.places(forces, &truth, &known);
        let seen = known.each_ref().map(|known| candidates.seen(known));
        for _ in 0..run.questions {
            let centre = place_of_incident(&truth, &candidates, &mut random);
            let answers = seen.each_ref().map(|seen| seen.nearest(centre));
            assert_eq!(maps.nearest(centre, now), answers[Map::Muster as usize], "a search finds what a scan finds");
            score.names(&truth, &answers, centre, |unit| world.is_silent(unit, until * 1_000));
        }
    }
    let (places, names) = score.end();
    Outcome { places, names, reports }
}

/// Somewhere within a kilometre of a police unit: incidents are where people are, and so are the police.
fn place_of_incident(truth: &Known, candidates: &Candidates, random: &mut Seeded) -> Position {
    let near = truth.position(candidates.any(random)).expect("every unit is somewhere");
    let mut off_e7 = |metres_e7: f64| (random.between(-1_000.0, 1_000.0) / metres_e7) as i32;
    let (lat, lon) = (near.lat_e7() + off_e7(0.011_1), near.lon_e7() + off_e7(0.010_3));
    Position::from_e7(lat, lon).expect("the city is not at the end of the earth")
}

/// Whether a unit is one that can be sent when nobody asks for more: police on the ground.
fn is_sendable(force: Force) -> bool {
    force != Force::Community && !force.kind().is_air()
}
