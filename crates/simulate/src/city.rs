mod grid;
mod parts;
mod places;
mod river;
mod roads;
mod territories;

use model::{Position, Rings};

use crate::plane::Point;
use crate::rng::Rng;
pub use places::{Place, Post, PostKind, Station};
pub use river::River;
pub use roads::RoadClass;
pub(crate) use roads::{Roads, WaysHome};

/// Districts of the city.
pub const DISTRICTS: usize = 9;
/// Police stations of the city.
pub const STATIONS: usize = 63;
/// Bridges over the Yong.
pub const BRIDGES: usize = 10;

/// A synthetic Nanning: an arterial grid of 40 x 30 km, two ring roads, smaller streets between, the
/// river Yong crossed at ten bridges only, stations and posts. The same seed gives the same city.
#[derive(Debug, Clone, PartialEq)]
pub struct City {
    seed: u64,
    river: River,
    roads: Roads,
    bridges: Vec<Bridge>,
    places: Vec<Place>,
    stations: Vec<Station>,
    posts: Vec<Post>,
    /// For each crossroads the station whose beat it lies in, from 0.
    beats: Vec<u8>,
    /// The corners of each station's ground.
    cells: Vec<Vec<Position>>,
    /// For each crossroads how much goes on there; 1 at the middle of a hot spot.
    bustle: Vec<f32>,
}

/// A road over the river, from bank to bank.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bridge {
    /// Its northern end.
    pub north: Point,
    /// Its southern end.
    pub south: Point,
    /// The road that it carries.
    pub class: RoadClass,
}

/// One straight piece of road.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Road {
    /// One end.
    pub from: Point,
    /// The other end.
    pub to: Point,
    /// What road it is.
    pub class: RoadClass,
}

impl City {
    /// Builds the city of `seed`. About 50 ms and 1 MB.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let river = River::yong();
        let plan = grid::lay_out(seed, &river);
        let (roads, renamed) = Roads::connected(&plan.points, &plan.edges);
        let kept = |node: u32| roads.point(renamed[node as usize]);
        let bridges = plan.edges.iter().filter_map(|(a, b, class)| {
            let (a, b) = (plan.points[*a as usize], plan.points[*b as usize]);
            (river.crossings(a, b) > 0).then_some((a, b, *class))
        });
        let bridges = bridges.map(|(a, b, class)| {
            let (north, south) = if a.north_m > b.north_m { (a, b) } else { (b, a) };
            Bridge { north, south, class }
        });
        let bridges = bridges.collect();
        let airport = kept(plan.airport);
        let places = places::places(&roads, airport);
        let bustle = places::bustle(&roads, &places);
        let mut rng = Rng::of(&[seed, 0x5747_4154]);
        let stations = places::stations(&roads, &bustle, &mut rng);
        let beats = places::beats(&roads, &stations);
        let posts = places::posts(&roads, &bustle, &mut rng);
        let cells = territories::cells(&stations);
        Self { seed, river, roads, bridges, places, stations, posts, beats, cells, bustle }
    }

    /// The seed that it was built from.
    #[must_use]
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    /// The river.
    #[must_use]
    pub const fn river(&self) -> &River {
        &self.river
    }

    /// The bridges, [`BRIDGES`] of them.
    #[must_use]
    pub fn bridges(&self) -> &[Bridge] {
        &self.bridges
    }

    /// Squares, lakes, railway stations: where much goes on.
    #[must_use]
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// The police stations, number 1 first.
    #[must_use]
    pub fn stations(&self) -> &[Station] {
        &self.stations
    }

    /// The station on whose ground a place lies: the nearest one.
    #[must_use]
    pub fn station_of(&self, point: Point) -> &Station {
        let by_distance = |a: &&Station, b: &&Station| a.point.distance_m(point).total_cmp(&b.point.distance_m(point));
        self.stations.iter().min_by(by_distance).expect("a city has stations")
    }

    /// The ground of those stations for which `is_in` holds, as polygons whose outlines run counter-clockwise. The ground of all
    /// stations is the city; no two stations share more than a border.
    #[must_use]
    pub fn territory(&self, is_in: impl Fn(&Station) -> bool) -> Vec<Rings> {
        let cells = self.stations.iter().zip(&self.cells).filter(|(station, _)| is_in(station));
        territories::joined(&cells.map(|(_, cell)| cell.as_slice()).collect::<Vec<_>>())
    }

    /// The ground of each station, in the order of the stations, parted into as many beats as `count_of` says: they leave no gap
    /// and do not overlap, and share their corners bit by bit. None of a station that stands where another does.
    pub(crate) fn beats_of_stations(&self, count_of: impl Fn(&Station) -> usize) -> Vec<Vec<Rings>> {
        parts::parted(&self.cells, |at| count_of(&self.stations[at]))
    }

    /// Armed posts, traffic booths, service stations and the gates on the ways out.
    #[must_use]
    pub fn posts(&self) -> &[Post] {
        &self.posts
    }

    /// Each straight piece of road once, bridges included.
    pub fn roads(&self) -> impl Iterator<Item = Road> + '_ {
        let point = |node| self.roads.point(node);
        self.roads.edges().map(move |(from, to, class)| Road { from: point(from), to: point(to), class })
    }

    pub(crate) const fn graph(&self) -> &Roads {
        &self.roads
    }

    pub(crate) fn bustle(&self, node: u32) -> f32 {
        self.bustle[node as usize]
    }

    /// The crossroads where people may walk, for each station the list of its beat; none is empty.
    pub(crate) fn beat_lists(&self) -> Vec<Vec<u32>> {
        let mut lists = vec![Vec::new(); self.stations.len()];
        for (node, station) in (0u32..).zip(&self.beats) {
            if self.roads.is_walkable(node) {
                lists[usize::from(*station)].push(node);
            }
        }
        // Two stations at one crossroads share it.
        for (list, station) in lists.iter_mut().zip(&self.stations).filter(|(list, _)| list.is_empty()) {
            list.push(station.node);
        }
        lists
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_gives_the_same_city_and_another_seed_another() {
        assert_eq!(City::new(7), City::new(7));
        assert_ne!(City::new(7).roads, City::new(8).roads);
    }

    #[test]
    fn river_is_crossed_only_at_ten_bridges() {
        for seed in 0..20 {
            let city = City::new(seed);
            assert_eq!(city.bridges().len(), BRIDGES, "seed {seed}");
            let crossing: Vec<Road> =
                city.roads().filter(|road| city.river().crossings(road.from, road.to) > 0).collect();
            assert_eq!(crossing.len(), BRIDGES, "seed {seed}: every bridge is in use");
            for road in crossing {
                assert_eq!(city.river().crossings(road.from, road.to), 1, "seed {seed}");
                assert!(road.from.distance_m(road.to) < 1_000.0, "seed {seed}: {road:?}");
                let is_bridge = |bridge: &Bridge| {
                    [(bridge.north, bridge.south), (bridge.south, bridge.north)].contains(&(road.from, road.to))
                };
                assert!(city.bridges().iter().any(is_bridge), "seed {seed}: {road:?}");
            }
        }
    }

    /// A plain look at each bank: taking the bridges away cuts the city in two.
    #[test]
    fn without_its_bridges_the_city_falls_apart() {
        let city = City::new(1);
        let dry: Vec<_> = city
            .roads
            .edges()
            .filter(|(a, b, _)| city.river.crossings(city.roads.point(*a), city.roads.point(*b)) == 0)
            .collect();
        let (largest, _) = Roads::connected(city.roads.points(), &dry);
        assert!(largest.points().len() < city.roads.points().len() * 9 / 10);
    }

    #[test]
    fn city_has_its_stations_posts_and_extent() {
        let city = City::new(42);
        assert_eq!(city.stations().len(), STATIONS);
        for district in 1..=DISTRICTS {
            assert_eq!(city.stations().iter().filter(|station| usize::from(station.district) == district).count(), 7);
        }
        let count = |kind| city.posts().iter().filter(|post| post.kind == kind).count();
        let counts = [PostKind::Armed, PostKind::TrafficBooth, PostKind::Service, PostKind::Gate].map(count);
        assert_eq!(counts, [10, 64, 10, 12]);
        let easts = || city.roads().map(|road| road.from.east_m);
        assert!(easts().fold(f32::MAX, f32::min) < -19_000.0 && easts().fold(f32::MIN, f32::max) > 19_000.0);
        for class in [RoadClass::Street, RoadClass::Arterial, RoadClass::Express] {
            assert!(city.roads().filter(|road| road.class == class).count() > 100, "{class:?}");
        }
    }

    #[test]
    fn each_place_has_a_road_close_by() {
        let city = City::new(42);
        for place in city.places() {
            assert!(
                place.point.distance_m(place.road) < 400.0,
                "{}: {:.0} m",
                place.name,
                place.point.distance_m(place.road)
            );
        }
        let airport = city.places().iter().find(|place| place.name == "Airport").unwrap();
        let home = city.graph().nearest(Point::from_degrees(22.817, 108.316));
        let ways = city.graph().ways_home(home, f64::MAX);
        assert_eq!(ways.reached.len(), city.graph().points().len(), "all roads hang together");
        assert!(airport.point.distance_m(city.graph().point(home)) > 20_000.0);
    }
}
