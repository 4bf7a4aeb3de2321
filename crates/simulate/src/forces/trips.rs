use super::Force;
use super::routes::Timetable;
use crate::city::{City, PostKind, RoadClass, WaysHome};
use crate::plane::Point;
use crate::rng::Rng;

/// How far a car goes from its station or post, in metres.
const CAR_RADIUS_M: f64 = 5_000.0;
/// Armed cars go anywhere.
const ARMED_RADIUS_M: f64 = f64::MAX;

/// Makes up the rounds of the forces: who goes where, by which roads, and how long they stay.
pub(super) struct Trips<'a> {
    city: &'a City,
    /// Crossroads of each station's beat.
    beats: Vec<Vec<u32>>,
    /// Ways back to each station and each armed post, made when first asked for.
    to_station: Vec<Option<WaysHome>>,
    to_post: Vec<Option<WaysHome>>,
    armed_posts: Vec<u32>,
}

impl<'a> Trips<'a> {
    pub(super) fn new(city: &'a City) -> Self {
        let armed = city.posts().iter().filter(|post| post.kind == PostKind::Armed);
        let armed_posts: Vec<u32> = armed.map(|post| post.node).collect();
        Self {
            city,
            beats: city.beat_lists(),
            to_station: city.stations().iter().map(|_| None).collect(),
            to_post: armed_posts.iter().map(|_| None).collect(),
            armed_posts,
        }
    }

    /// Writes the round of unit `ordinal` of `force`.
    pub(super) fn fill(&mut self, force: Force, ordinal: usize, timetable: &mut Timetable<'_>) {
        let city = self.city;
        let rng = &mut Rng::of(&[city.seed(), 0x524F_554E, force as u64, ordinal as u64]);
        let station = ordinal % city.stations().len();
        match force {
            Force::Car | Force::Motorcycle => {
                let home = city.stations()[station].node;
                let ways = self.to_station[station].get_or_insert_with(|| city.graph().ways_home(home, CAR_RADIUS_M));
                drive(city, ways, home, force, rng, timetable);
            }
            Force::ArmedCar => {
                let post = ordinal % self.armed_posts.len();
                let home = self.armed_posts[post];
                let ways = self.to_post[post].get_or_insert_with(|| city.graph().ways_home(home, ARMED_RADIUS_M));
                drive(city, ways, home, force, rng, timetable);
            }
            Force::Officer => walk_beat(city, &self.beats[station], rng, timetable),
            Force::Community => keep_watch(city, &self.beats[station], rng, timetable),
            Force::Helicopter => fly(Point::new(0.0, 0.0), (14_000.0, 10_000.0), (35.0, 55.0), rng, timetable),
            Force::Drone => {
                let post = city.stations()[(ordinal * 3) % city.stations().len()].point;
                fly(post, (1_500.0, 1_500.0), (6.0, 14.0), rng, timetable);
            }
        }
    }
}

/// Two patrols: quickly to somewhere, slowly on through the streets there, and quickly home.
fn drive(city: &City, ways: &WaysHome, home: u32, force: Force, rng: &mut Rng, timetable: &mut Timetable<'_>) {
    let driver = Driver { city, pace: rng.between(0.85, 1.1), speed_mps_max: force.speed_mps_max() };
    timetable.begin(city.graph().point(home));
    for _ in 0..2 {
        timetable.stay(rng.between(60.0, 420.0));
        let goal = busy(city, &ways.reached, rng);
        let mut out = ways.way(goal);
        out.reverse();
        driver.follow(&out, rng, timetable);
        timetable.stay(rng.between(60.0, 300.0));
        let blocks = 12 + rng.below(24);
        let round = wander(city, goal, blocks, |class, to| class != RoadClass::Express && ways.does_reach(to), rng);
        driver.follow(&round, rng, timetable);
        timetable.stay(rng.between(0.0, 240.0));
        driver.follow(&ways.way(round[round.len() - 1]), rng, timetable);
    }
}

/// Drives along crossroads, not faster than the road and the car allow.
struct Driver<'a> {
    city: &'a City,
    /// Share of the usual speed of a road.
    pace: f64,
    speed_mps_max: f64,
}

impl Driver<'_> {
    /// `way` starts at the crossroads where the car stands.
    fn follow(&self, way: &[u32], rng: &mut Rng, timetable: &mut Timetable<'_>) {
        let roads = self.city.graph();
        for two in way.windows(2) {
            let class = roads.class(two[0], two[1]).unwrap_or(RoadClass::Street);
            let speed_mps = (class.speed_mps() * self.pace).min(self.speed_mps_max);
            timetable.go(roads.point(two[1]), speed_mps);
            // A red light: rare on express roads, which have slip roads instead.
            let red = if class == RoadClass::Express { 0.01 } else { 0.12 };
            if rng.happens(red) {
                timetable.stay(rng.between(8.0, 60.0));
            }
        }
    }
}

/// Walks some blocks and the same way back, with stops.
fn walk_beat(city: &City, beat: &[u32], rng: &mut Rng, timetable: &mut Timetable<'_>) {
    let start = busy(city, beat, rng);
    let blocks = 6 + rng.below(10);
    let way = wander(city, start, blocks, |class, _| class != RoadClass::Express, rng);
    let speed_mps = rng.between(1.0, 1.6);
    timetable.begin(city.graph().point(start));
    timetable.stay(rng.between(60.0, 600.0));
    for node in way.iter().skip(1).chain(way.iter().rev().skip(1)) {
        timetable.go(city.graph().point(*node), speed_mps);
        if rng.happens(0.4) {
            timetable.stay(rng.between(20.0, 240.0));
        }
    }
}

/// Stays around one place: a third at a door, the others up and down a street or two.
fn keep_watch(city: &City, beat: &[u32], rng: &mut Rng, timetable: &mut Timetable<'_>) {
    let start = busy(city, beat, rng);
    let way = wander(city, start, 1 + rng.below(3), |class, _| class != RoadClass::Express, rng);
    let points: Vec<Point> = way.iter().map(|node| city.graph().point(*node)).collect();
    let next = points.get(1).copied().unwrap_or(points[0]);
    // Somewhere on the first street.
    let door = points[0].towards(next, rng.between(0.05, 0.6));
    timetable.begin(door);
    timetable.stay(rng.between(300.0, 1_800.0));
    if points.len() < 2 || rng.happens(1.0 / 3.0) {
        return;
    }
    let speed_mps = rng.between(0.7, 1.4);
    let mut stops = vec![door.towards(next, rng.between(0.2, 0.9))];
    if rng.happens(0.4) {
        stops.push(next);
        stops.extend(points.iter().skip(2));
    }
    for stop in stops.iter().chain(stops.iter().rev().skip(1)) {
        timetable.go(*stop, speed_mps);
        timetable.stay(rng.between(60.0, 900.0));
    }
    timetable.go(door, speed_mps);
}

/// Flies straight from point to point around `middle` and hovers at some of them.
fn fly(middle: Point, reach_m: (f64, f64), speeds_mps: (f64, f64), rng: &mut Rng, timetable: &mut Timetable<'_>) {
    timetable.begin(middle);
    timetable.stay(rng.between(20.0, 120.0));
    for _ in 0..8 + rng.below(8) {
        let (east_m, north_m) = (rng.between(-reach_m.0, reach_m.0), rng.between(-reach_m.1, reach_m.1));
        timetable.go(middle.moved(east_m, north_m), rng.between(speeds_mps.0, speeds_mps.1));
        if rng.happens(0.4) {
            timetable.stay(rng.between(20.0, 180.0));
        }
    }
    timetable.go(middle, speeds_mps.0);
}

/// Draws a crossroads, the busier of two.
fn busy(city: &City, nodes: &[u32], rng: &mut Rng) -> u32 {
    let two = [nodes[rng.below(nodes.len())], nodes[rng.below(nodes.len())]];
    if city.bustle(two[0]) > city.bustle(two[1]) { two[0] } else { two[1] }
}

/// A way of about so many blocks from `start` (included), rather straight on than around the
/// corner, over roads for which `may_take` holds. Turns round only where there is no other way.
fn wander(
    city: &City,
    start: u32,
    blocks: usize,
    may_take: impl Fn(RoadClass, u32) -> bool,
    rng: &mut Rng,
) -> Vec<u32> {
    let roads = city.graph();
    let mut way = vec![start];
    for _ in 0..blocks {
        let here = way[way.len() - 1];
        let before = way.len().checked_sub(2).map(|place| way[place]);
        let links = || roads.links(here).iter().filter(|link| may_take(link.class, link.to));
        let onward = links().filter(|link| Some(link.to) != before).max_by(|a, b| {
            let rank = |to: u32| straightness(roads.point(here), before.map(|node| roads.point(node)), roads.point(to));
            rank(a.to).total_cmp(&rank(b.to))
        });
        let choices: Vec<u32> = links().map(|link| link.to).filter(|to| Some(*to) != before).collect();
        let next = match (onward, before) {
            (Some(straight), Some(_)) if rng.happens(0.6) => straight.to,
            (Some(_), _) => choices[rng.below(choices.len())],
            (None, Some(before)) => before,
            (None, None) => break,
        };
        way.push(next);
    }
    way
}

/// 1 straight on, -1 straight back.
fn straightness(here: Point, before: Option<Point>, next: Point) -> f64 {
    let Some(before) = before else { return 0.0 };
    (before.bearing_deg(here) - here.bearing_deg(next)).to_radians().cos()
}
