use geodesy::{Ruler, distance_m};
use model::Position;
use simulate::{Force, Forces, Point};
use testkit::Seeded;

use super::is_sendable;
use super::maps::{Class, Known, Map};

/// Units that a question asks for.
pub(super) const K: usize = 5;
/// So many by the plane are looked at again by exact distances: the plane is off by up to 0.3 %.
const LOOKED_AT: usize = 12;
/// Nobody is named wrongly whose true way is so little longer: units parked side by side are equally right.
const SAME_M: f64 = 1.0;
/// A wrong name that costs a patrol car some ten seconds.
const FAR_M: f64 = 100.0;

/// Metres between shown and true places.
#[derive(Debug, Default)]
pub struct Places {
    errors_m: [Vec<f32>; Force::ALL.len()],
    /// Of those called fresh.
    fresh_m: [Vec<f32>; Force::ALL.len()],
    /// Looks at which the unit was left out, or had no place.
    absent: [u64; Force::ALL.len()],
}

impl Places {
    /// The error that `share` of all shown places of a force do not exceed, in metres; 0 without any.
    #[must_use]
    pub fn error_m(&self, force: Force, share: f64) -> f32 {
        percentile(&self.errors_m[force as usize], share)
    }

    /// The same of those that are not marked as stale.
    #[must_use]
    pub fn fresh_error_m(&self, force: Force, share: f64) -> f32 {
        percentile(&self.fresh_m[force as usize], share)
    }

    /// Share of looks at which a unit of this force had a place that is not stale.
    #[must_use]
    pub fn fresh_share(&self, force: Force) -> f64 {
        let shown = self.errors_m[force as usize].len() as f64 + self.absent[force as usize] as f64;
        self.fresh_m[force as usize].len() as f64 / shown.max(1.0)
    }
}

/// Sorted once, at the end.
fn percentile(sorted: &[f32], share: f64) -> f32 {
    let at = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(at.saturating_sub(1)).copied().unwrap_or(0.0)
}

/// Whom a map named.
#[derive(Debug, Default, Clone)]
pub struct Names {
    /// Questions.
    pub asked: u64,
    /// The first name was wrong: another unit is really nearer, by more than a metre.
    pub wrong_first: u64,
    /// ... by more than 100 m.
    pub far_first: u64,
    /// The first name is a unit of which nothing is heard any more.
    pub silent_first: u64,
    /// Answers of five with a wrong name, or with fewer than five.
    pub wrong_five: u64,
    /// Wrong names in all answers of five.
    pub wrong_of_five: u64,
    /// What the first name is farther than the right one, in metres, one a question.
    extra_m: Vec<f32>,
}

impl Names {
    /// How much farther the first name really is than the right one would be, on average, in metres.
    #[must_use]
    pub fn extra_m_mean(&self) -> f64 {
        self.extra_m.iter().map(|metres| f64::from(*metres)).sum::<f64>() / (self.asked as f64).max(1.0)
    }

    /// The same, not exceeded in `share` of all questions.
    #[must_use]
    pub fn extra_m(&self, share: f64) -> f32 {
        percentile(&self.extra_m, share)
    }
}

/// Who can be sent: police on the ground.
pub(super) struct Candidates {
    /// With their place in the order of names.
    units: Vec<(u32, u32)>,
}

impl Candidates {
    pub(super) fn of(forces: &Forces) -> Self {
        let mut names: Vec<_> = (0..forces.units())
            .filter(|unit| is_sendable(forces.force(*unit)))
            .map(|unit| (forces.unit(unit).name, unit as u32))
            .collect();
        names.sort();
        Self { units: (0..).zip(names).map(|(order, (_, unit))| (unit, order)).collect() }
    }

    /// One of them.
    pub(super) fn any(&self, random: &mut Seeded) -> u32 {
        self.units[(random.next() % self.units.len() as u64) as usize].0
    }

    /// Those that `known` would name, on the plane.
    pub(super) fn seen(&self, known: &Known) -> Seen {
        let seen = self.units.iter().filter_map(|(unit, order)| {
            let (position, class) = known.place(*unit).filter(|(_, class)| *class != Class::Gone)?;
            let Point { east_m, north_m } = point(position);
            Some(Row { class, east_m, north_m, order: *order, unit: *unit, position })
        });
        Seen(seen.collect())
    }
}

/// The candidates of one map at one look.
pub(super) struct Seen(Vec<Row>);

#[derive(Clone, Copy)]
struct Row {
    class: Class,
    east_m: f32,
    north_m: f32,
    order: u32,
    unit: u32,
    position: Position,
}

impl Seen {
    /// The nearest [`K`]: fresh ones first, ties by name.
    pub(super) fn nearest(&self, centre: Position) -> Vec<u32> {
        let here = point(centre);
        let ranked = |row: &Row| {
            let (east_m, north_m) = (row.east_m - here.east_m, row.north_m - here.north_m);
            (row.class, f64::from(east_m * east_m + north_m * north_m), row.order, row.unit, row.position)
        };
        let by_rank = |one: &Ranked, other: &Ranked| {
            one.0.cmp(&other.0).then(one.1.total_cmp(&other.1)).then(one.2.cmp(&other.2))
        };
        let mut all: Vec<Ranked> = self.0.iter().map(ranked).collect();
        if all.len() > LOOKED_AT {
            all.select_nth_unstable_by(LOOKED_AT, by_rank);
            all.truncate(LOOKED_AT);
        }
        for one in &mut all {
            one.1 = distance_m(centre, one.4);
        }
        all.sort_by(by_rank);
        all.iter().take(K).map(|one| one.3).collect()
    }
}

/// Class, metres or their square, order of the name, unit, place.
type Ranked = (Class, f64, u32, u32, Position);

fn point(position: Position) -> Point {
    Point::from_degrees(position.lat_deg(), position.lon_deg())
}

/// What was found so far, by map.
#[derive(Default)]
pub(super) struct Score {
    places: [Places; Map::ALL.len()],
    names: [Names; Map::ALL.len()],
}

impl Score {
    /// Looks where each map has each unit.
    pub(super) fn places(&mut self, forces: &Forces, truth: &Known, known: &[Known; Map::ALL.len()]) {
        for unit in 0..forces.units() as u32 {
            let force = forces.force(unit as usize) as usize;
            let right = truth.position(unit).map(point).expect("every unit is somewhere");
            for (places, known) in self.places.iter_mut().zip(known) {
                let Some((position, class)) = known.place(unit).filter(|(_, class)| *class != Class::Gone) else {
                    places.absent[force] += 1;
                    continue;
                };
                let error_m = right.distance_m(point(position)) as f32;
                places.errors_m[force].push(error_m);
                if class == Class::Fresh {
                    places.fresh_m[force].push(error_m);
                }
            }
        }
    }

    /// What each map answered to a question for the nearest to `centre`.
    pub(super) fn names(
        &mut self,
        truth: &Known,
        answers: &[Vec<u32>; Map::ALL.len()],
        centre: Position,
        is_silent: impl Fn(u32) -> bool,
    ) {
        let ruler = Ruler::at(centre);
        let way_m = |unit: u32| ruler.way_to(truth.position(unit).expect("every unit is somewhere")).distance_m;
        let right = &answers[Map::Truth as usize];
        let (first_m, last_m) = (way_m(right[0]), way_m(right[right.len() - 1]));
        for (names, found) in self.names.iter_mut().zip(answers) {
            names.asked += 1;
            // Nobody named is as wrong as somebody at the other end of the city.
            let extra_m = found.first().map_or(f64::from(f32::MAX), |unit| way_m(*unit) - first_m);
            names.wrong_first += u64::from(extra_m > SAME_M);
            names.far_first += u64::from(extra_m > FAR_M);
            names.silent_first += u64::from(found.first().is_some_and(|unit| is_silent(*unit)));
            let right_ones = found.iter().filter(|unit| way_m(**unit) <= last_m + SAME_M).count();
            names.wrong_of_five += (K - right_ones) as u64;
            names.wrong_five += u64::from(right_ones < K);
            names.extra_m.push(extra_m as f32);
        }
    }

    pub(super) fn end(mut self) -> ([Places; Map::ALL.len()], [Names; Map::ALL.len()]) {
        for places in &mut self.places {
            let all = places.errors_m.iter_mut().chain(&mut places.fresh_m);
            all.for_each(|errors| errors.sort_by(f32::total_cmp));
        }
        self.names.iter_mut().for_each(|names| names.extra_m.sort_by(f32::total_cmp));
        (self.places, self.names)
    }
}
