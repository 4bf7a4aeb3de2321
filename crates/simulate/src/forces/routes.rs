use model::Timestamp;

use super::{Force, trips};
use crate::City;
use crate::plane::Point;
use crate::rng::hashed;

/// A place on a way, with the time of arrival and of leaving, in ms since the start of the round.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Waypoint {
    point: Point,
    arrive_ms: u32,
    leave_ms: u32,
}

/// One unit's round: it ends where it began, and begins again.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Round {
    first: u32,
    count: u32,
    /// How far into the round the unit was in 1970.
    offset_ms: u32,
}

/// The timetables of all units: 12 bytes a unit and 16 a waypoint.
#[derive(Debug, Default)]
pub(super) struct Routes {
    waypoints: Vec<Waypoint>,
    rounds: Vec<Round>,
}

/// Where a unit is and how it moves.
#[derive(Debug, Clone, Copy)]
pub(super) struct Motion {
    pub(super) east_m: f64,
    pub(super) north_m: f64,
    pub(super) speed_mps: f64,
    pub(super) course_deg: f64,
}

/// Makes the timetables of all units; `first` as in `Forces`.
pub(super) fn plan(city: &City, first: &[u32; Force::ALL.len() + 1]) -> Routes {
    let mut routes = Routes::default();
    let mut trips = trips::Trips::new(city);
    for (place, force) in Force::ALL.into_iter().enumerate() {
        for ordinal in 0..(first[place + 1] - first[place]) as usize {
            let first = routes.waypoints.len() as u32;
            let mut timetable = Timetable { waypoints: &mut routes.waypoints, first: first as usize };
            trips.fill(force, ordinal, &mut timetable);
            let period_ms = timetable.close();
            let count = routes.waypoints.len() as u32 - first;
            let offset_ms = hashed(&[city.seed(), 0x4F46_4653, force as u64, ordinal as u64]) % u64::from(period_ms);
            routes.rounds.push(Round { first, count, offset_ms: offset_ms as u32 });
        }
    }
    routes.waypoints.shrink_to_fit();
    routes
}

/// Writes one round into the common list.
#[derive(Debug)]
pub(super) struct Timetable<'a> {
    waypoints: &'a mut Vec<Waypoint>,
    first: usize,
}

impl Timetable<'_> {
    /// Where the round begins.
    pub(super) fn begin(&mut self, point: Point) {
        self.waypoints.push(Waypoint { point, arrive_ms: 0, leave_ms: 0 });
    }

    /// Stays for so long.
    pub(super) fn stay(&mut self, seconds: f64) {
        if let Some(last) = self.waypoints.last_mut() {
            last.leave_ms += (seconds * 1_000.0) as u32;
        }
    }

    /// Goes straight to `point`, not faster than `speed_mps`. A way of under a metre is none.
    pub(super) fn go(&mut self, point: Point, speed_mps: f64) {
        if let Some(last) = self.waypoints.last().copied() {
            let distance_m = last.point.distance_m(point);
            if distance_m < 1.0 {
                return;
            }
            let arrive_ms = last.leave_ms + (distance_m / speed_mps * 1_000.0).ceil().max(1.0) as u32;
            self.waypoints.push(Waypoint { point, arrive_ms, leave_ms: arrive_ms });
        }
    }

    pub(super) fn here(&self) -> Option<Point> {
        self.waypoints.last().map(|last| last.point)
    }

    /// How long the round takes, in ms, at least 1. The caller has gone back to the start.
    fn close(&mut self) -> u32 {
        debug_assert!(
            self.here().is_some_and(|end| end.distance_m(self.waypoints[self.first].point) < 1.0),
            "a round ends where it began"
        );
        let last = self.waypoints.last_mut().expect("a round has a beginning");
        last.leave_ms = last.leave_ms.max(1);
        last.leave_ms
    }
}

impl Routes {
    /// Where unit number `unit` is at `at`: a binary search in its own round.
    pub(super) fn at(&self, unit: usize, at: Timestamp) -> Motion {
        let round = self.rounds[unit];
        let waypoints = &self.waypoints[round.first as usize..(round.first + round.count) as usize];
        let period_ms = i64::from(waypoints[waypoints.len() - 1].leave_ms);
        let into_ms = (at.unix_ms() + i64::from(round.offset_ms)).rem_euclid(period_ms) as u32;
        let place = waypoints.partition_point(|waypoint| waypoint.arrive_ms <= into_ms) - 1;
        let from = waypoints[place];
        let next = waypoints.get(place + 1).copied();
        let (east_m, north_m) = (f64::from(from.point.east_m), f64::from(from.point.north_m));
        let course_deg = next.map_or(0.0, |next| from.point.bearing_deg(next.point));
        match next {
            Some(next) if into_ms > from.leave_ms => {
                let leg_ms = f64::from(next.arrive_ms - from.leave_ms);
                let share = f64::from(into_ms - from.leave_ms) / leg_ms;
                let (way_east_m, way_north_m) = from.point.way_to(next.point);
                Motion {
                    east_m: east_m + way_east_m * share,
                    north_m: north_m + way_north_m * share,
                    speed_mps: way_east_m.hypot(way_north_m) * 1_000.0 / leg_ms,
                    course_deg,
                }
            }
            _ => Motion { east_m, north_m, speed_mps: 0.0, course_deg },
        }
    }

    /// Where the round of unit number `unit` begins.
    pub(super) fn home(&self, unit: usize) -> Point {
        self.waypoints[self.rounds[unit].first as usize].point
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.waypoints.capacity() * size_of::<Waypoint>() + self.rounds.capacity() * size_of::<Round>()
    }
}
