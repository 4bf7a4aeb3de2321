use geodesy::{Ecef, EcefBox};
use model::UnitHandle;
use rstar::{AABB, PointDistance, RTreeObject, RTreeParams};

/// Most units of a bucket; one more splits it.
pub(crate) const BUCKET_UNITS_MAX: usize = 64;
/// Room around the units of a bucket when its box is made anew, metres: a move inside it writes to no tree.
pub(crate) const SLACK_M: f64 = 25.0;

/// Neighbouring units, as columns, with the box that the tree knows.
#[derive(Debug)]
pub(crate) struct Bucket {
    pub(crate) units: Vec<UnitHandle>,
    pub(crate) points: Vec<Ecef>,
    pub(crate) outer: EcefBox,
}

impl Bucket {
    pub(crate) fn of(units: Vec<UnitHandle>, points: Vec<Ecef>) -> Self {
        let outer = tight(&points).grown(SLACK_M);
        Self { units, points, outer }
    }

    /// Splits at the median of the longest side; gives the upper half. Halves by number, so that it
    /// also ends when all units stand on one spot.
    pub(crate) fn split(&mut self) -> Self {
        let bounds = tight(&self.points);
        let side = |axis: &usize| bounds.upper[*axis] - bounds.lower[*axis];
        let axis = (0..3).max_by(|a, b| side(a).total_cmp(&side(b))).expect("there are three axes");
        let mut rows: Vec<_> = self.units.drain(..).zip(self.points.drain(..)).collect();
        rows.sort_by(|a, b| a.1.0[axis].total_cmp(&b.1.0[axis]));
        let upper = rows.split_off(rows.len() / 2);
        let (units, points) = rows.into_iter().unzip();
        *self = Self::of(units, points);
        let (units, points) = upper.into_iter().unzip();
        Self::of(units, points)
    }
}

/// The least box around `points`, of which there is at least one.
pub(crate) fn tight(points: &[Ecef]) -> EcefBox {
    let mut bounds = EcefBox::of_point(points.first().expect("a bucket that is asked for its box holds a unit"));
    points.iter().for_each(|point| bounds.include(point));
    bounds
}

/// A bucket's box in the tree.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) bucket: u32,
    pub(crate) bounds: EcefBox,
}

impl RTreeObject for Entry {
    type Envelope = AABB<[f64; 3]>;

    fn envelope(&self) -> Self::Envelope {
        AABB::from_corners(self.bounds.lower, self.bounds.upper)
    }
}

impl PointDistance for Entry {
    fn distance_2(&self, point: &[f64; 3]) -> f64 {
        self.bounds.min_chord_m(&Ecef(*point)).powi(2)
    }
}

/// Up to 16 children: measured faster than the library's 6 for this use.
#[derive(Debug)]
pub(crate) struct Wide;

impl RTreeParams for Wide {
    const MIN_SIZE: usize = 6;
    const MAX_SIZE: usize = 16;
    const REINSERTION_COUNT: usize = 5;
    type DefaultInsertionStrategy = rstar::RStarInsertionStrategy;
}
