use super::{DISTRICTS, Roads, STATIONS};
use crate::plane::Point;
use crate::rng::Rng;

/// A place that the city is known by: patrols and crowds are drawn to it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    /// Its name.
    pub name: &'static str,
    /// Where it is.
    pub point: Point,
    /// The crossroads next to it.
    pub road: Point,
}

/// A police station.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Station {
    /// 1 to 63.
    pub number: u16,
    /// The district that it belongs to, 1 to 9.
    pub district: u8,
    /// Where it is: at a crossroads.
    pub point: Point,
    pub(crate) node: u32,
}

/// A fixed post.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Post {
    /// What it is.
    pub kind: PostKind,
    /// From 1, within its kind.
    pub number: u16,
    /// Where it is: at a crossroads.
    pub point: Point,
    pub(crate) node: u32,
}

/// What a fixed post is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PostKind {
    /// Armed post of the special police: 10.
    Armed,
    /// Traffic police booth: 64.
    TrafficBooth,
    /// Police service station: 10.
    Service,
    /// Checkpoint on a way out of the city: 12.
    Gate,
}

/// Name, latitude, longitude, district whose seat it is (0 = none).
const PLACES: [(&str, f64, f64, u8); 12] = [
    ("Chaoyang Square", 22.817, 108.316, 1),
    ("Minzu Square", 22.815, 108.357, 0),
    ("Nanhu Lake", 22.806, 108.357, 0),
    ("Minge Lake", 22.820, 108.388, 2),
    ("Wuxiang", 22.750, 108.380, 3),
    ("Dashatian", 22.756, 108.322, 4),
    ("Tingjiang Road", 22.795, 108.290, 5),
    ("Wuliting", 22.833, 108.296, 6),
    ("East railway station", 22.843, 108.430, 7),
    ("Anji", 22.874, 108.290, 8),
    ("Xianhu", 22.801, 108.465, 9),
    ("Airport", 22.608, 108.172, 0),
];
const STATION_DISTANCE_M: f64 = 700.0;
const POST_DISTANCE_M: f64 = 300.0;
const GATE_RADIUS_M: f32 = 14_300.0;

pub(super) fn places(roads: &Roads, airport: Point) -> Vec<Place> {
    let place = |(name, lat, lon, _): (&'static str, f64, f64, u8)| {
        let point = Point::from_degrees(lat, lon);
        let road = roads.point(roads.nearest(point));
        Place { name, point, road: if name == "Airport" { airport } else { road } }
    };
    PLACES.map(place).to_vec()
}

/// How much goes on at each crossroads: falls off with the distance to the nearest places.
pub(super) fn bustle(roads: &Roads, places: &[Place]) -> Vec<f32> {
    let at = |point: &Point| {
        let of = |place: &Place| (-point.distance_m(place.point) / 1_500.0).exp();
        places.iter().map(of).fold(0.0, f64::max) as f32
    };
    roads.points().iter().map(at).collect()
}

/// Seven stations a district: the first at its seat, the others around it, where more goes on rather than less.
pub(super) fn stations(roads: &Roads, bustle: &[f32], rng: &mut Rng) -> Vec<Station> {
    let seats = PLACES.iter().filter(|place| place.3 > 0).map(|place| (place.3, Point::from_degrees(place.1, place.2)));
    let seats: Vec<(u8, Point)> = seats.collect();
    let walkable = (0..roads.points().len() as u32).filter(|node| roads.is_walkable(*node));
    let mut of_district = vec![Vec::new(); DISTRICTS + 1];
    for node in walkable {
        let point = roads.point(node);
        let nearest = seats.iter().min_by(|a, b| a.1.distance_m(point).total_cmp(&b.1.distance_m(point)));
        if let Some((district, _)) = nearest.filter(|(_, seat)| seat.distance_m(point) < 5_000.0) {
            of_district[usize::from(*district)].push(node);
        }
    }
    let mut taken: Vec<Station> = Vec::with_capacity(STATIONS);
    for (district, seat) in seats {
        for turn in 0..STATIONS / DISTRICTS {
            let free = &of_district[usize::from(district)];
            let is_clear = |node: u32| taken.iter().all(|s| s.point.distance_m(roads.point(node)) > STATION_DISTANCE_M);
            let node = if turn == 0 { roads.nearest(seat) } else { busy_node(free, bustle, is_clear, rng) };
            taken.push(Station { number: taken.len() as u16 + 1, district, point: roads.point(node), node });
        }
    }
    taken
}

/// Draws a crossroads from `nodes` that `is_clear`, the busier of two; after many tries any.
fn busy_node(nodes: &[u32], bustle: &[f32], is_clear: impl Fn(u32) -> bool, rng: &mut Rng) -> u32 {
    let mut node = nodes[rng.below(nodes.len())];
    for _ in 0..200 {
        let two = [nodes[rng.below(nodes.len())], nodes[rng.below(nodes.len())]];
        node = if bustle[two[0] as usize] > bustle[two[1] as usize] { two[0] } else { two[1] };
        if is_clear(node) {
            break;
        }
    }
    node
}

/// For each crossroads the station closest to it, from 0.
pub(super) fn beats(roads: &Roads, stations: &[Station]) -> Vec<u8> {
    let closest = |point: &Point| {
        let by_distance = |a: &(u8, &Station), b: &(u8, &Station)| {
            a.1.point.distance_m(*point).total_cmp(&b.1.point.distance_m(*point))
        };
        (0u8..).zip(stations).min_by(by_distance).map_or(0, |(index, _)| index)
    };
    roads.points().iter().map(closest).collect()
}

pub(super) fn posts(roads: &Roads, bustle: &[f32], rng: &mut Rng) -> Vec<Post> {
    let centre = Point::new(-500.0, -1_000.0);
    let inner = (0..roads.points().len() as u32).filter(|node| roads.is_walkable(*node));
    let inner: Vec<u32> = inner.filter(|node| roads.point(*node).distance_m(centre) < 10_000.0).collect();
    let mut posts: Vec<Post> = Vec::new();
    for (kind, count) in [(PostKind::Armed, 10), (PostKind::TrafficBooth, 64), (PostKind::Service, 10)] {
        for number in 1..=count {
            let is_clear =
                |node: u32| posts.iter().all(|post| post.point.distance_m(roads.point(node)) > POST_DISTANCE_M);
            let node = busy_node(&inner, bustle, is_clear, rng);
            posts.push(Post { kind, number, point: roads.point(node), node });
        }
    }
    for number in 1..=12u16 {
        let angle = f32::from(number) / 12.0 * std::f32::consts::TAU;
        let node = roads.nearest(Point::new(GATE_RADIUS_M * angle.cos(), GATE_RADIUS_M * 0.8 * angle.sin()));
        posts.push(Post { kind: PostKind::Gate, number, point: roads.point(node), node });
    }
    posts
}
