use model::Position;

use crate::Plane;
use crate::plane::squared;

/// A part of the plane, in local metres.
pub trait Region {
    /// The least box around it: lower and upper corner.
    fn bounds(&self) -> [[f32; 2]; 2];

    /// Whether `place` is in it.
    fn contains(&self, place: [f32; 2]) -> bool;
}

/// A circle with what is in it.
#[derive(Debug, Clone, Copy)]
pub struct Disc {
    centre: [f32; 2],
    radius_m: f32,
}

impl Disc {
    /// `radius_m` around `centre`.
    #[must_use]
    pub fn new(plane: &Plane, centre: Position, radius_m: f32) -> Self {
        Self { centre: plane.xy(centre), radius_m }
    }
}

impl Region for Disc {
    fn bounds(&self) -> [[f32; 2]; 2] {
        [self.centre.map(|at| at - self.radius_m), self.centre.map(|at| at + self.radius_m)]
    }

    #[inline]
    fn contains(&self, place: [f32; 2]) -> bool {
        squared(self.centre, place) <= self.radius_m * self.radius_m
    }
}

/// A polygon without holes, by crossing number.
#[derive(Debug, Clone)]
pub struct Outline(Vec<[f32; 2]>);

impl Outline {
    /// The polygon with these corners, in order.
    #[must_use]
    pub fn new(plane: &Plane, corners: &[Position]) -> Self {
        Self(corners.iter().map(|corner| plane.xy(*corner)).collect())
    }
}

impl Region for Outline {
    fn bounds(&self) -> [[f32; 2]; 2] {
        let fold = |pick: fn(f32, f32) -> f32, from: f32| {
            self.0.iter().fold([from; 2], |so_far, corner| [pick(so_far[0], corner[0]), pick(so_far[1], corner[1])])
        };
        [fold(f32::min, f32::INFINITY), fold(f32::max, f32::NEG_INFINITY)]
    }

    fn contains(&self, [x, y]: [f32; 2]) -> bool {
        let Some(mut from) = self.0.last() else { return false };
        let mut is_inside = false;
        for to in &self.0 {
            if (from[1] > y) != (to[1] > y) && x < from[0] + (to[0] - from[0]) * (y - from[1]) / (to[1] - from[1]) {
                is_inside = !is_inside;
            }
            from = to;
        }
        is_inside
    }
}
