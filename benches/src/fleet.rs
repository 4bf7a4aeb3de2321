use model::Position;
use testkit::{Seeded, Shape};

/// Metres of 1e-7 degree of latitude.
const METRES_E7: f64 = 0.011_132;
const SPEED_MPS_MAX: f64 = 20.0;
/// One in so many turns each second.
const TURNS: u64 = 20;

/// How the units of a city lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spread {
    /// Anywhere in the city's square.
    Uniform,
    /// In thirty hot spots.
    Clustered,
}

impl Spread {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Uniform, Self::Clustered];

    /// A word for tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Uniform => "uniform",
            Self::Clustered => "clustered",
        }
    }

    /// One place.
    pub fn place(self, random: &mut Seeded) -> Position {
        match self {
            Self::Uniform => {
                Position::from_degrees(random.between(22.53, 23.07), random.between(108.06, 108.64)).expect("a city")
            }
            Self::Clustered => Shape::City.place(random),
        }
    }
}

/// A fleet that moves: up to 20 m/s, one in twenty turns each second, one report per unit and second in a shuffled order.
#[derive(Debug)]
pub struct Fleet {
    /// Where everyone is, by unit.
    pub places: Vec<Position>,
    /// Steps of a second, 1e-7 degrees north and east.
    steps: Vec<[i32; 2]>,
    order: Vec<u32>,
    next: usize,
    random: Seeded,
}

impl Fleet {
    /// `units` of `spread`, the same for the same seed.
    #[must_use]
    pub fn new(seed: u64, units: usize, spread: Spread) -> Self {
        let mut random = Seeded::new(seed);
        let places = (0..units).map(|_| spread.place(&mut random)).collect();
        let steps = (0..units).map(|_| step(&mut random)).collect();
        Self { places, steps, order: (0..units as u32).collect(), next: units, random }
    }

    /// The middle of the city.
    ///
    /// # Panics
    /// Never: it is on earth.
    #[must_use]
    pub fn middle() -> Position {
        Position::from_degrees(22.8, 108.35).expect("a city is on earth")
    }

    /// The next `count` reports; each unit reports once in a second.
    ///
    /// # Panics
    /// Never: no unit reaches a pole.
    pub fn reports(&mut self, count: usize) -> Vec<(u32, Position)> {
        (0..count).map(|_| self.report()).collect()
    }

    fn report(&mut self) -> (u32, Position) {
        if self.next == self.order.len() {
            self.next = 0;
            for place in (1..self.order.len()).rev() {
                self.order.swap(place, (self.random.next() % (place as u64 + 1)) as usize);
            }
        }
        let unit = self.order[self.next];
        self.next += 1;
        let at = unit as usize;
        if self.random.next().is_multiple_of(TURNS) {
            self.steps[at] = step(&mut self.random);
        }
        let (place, step) = (self.places[at], self.steps[at]);
        let moved = Position::from_e7(place.lat_e7() + step[0], place.lon_e7() + step[1]);
        self.places[at] = moved.expect("a city is not at the pole");
        (unit, self.places[at])
    }

    /// A place to ask at: within 200 m of some unit.
    ///
    /// # Panics
    /// Never: no unit is at a pole.
    pub fn ask(&self, random: &mut Seeded) -> Position {
        let near = self.places[(random.next() % self.places.len() as u64) as usize];
        let mut off = || (random.between(-200.0, 200.0) / METRES_E7) as i32;
        Position::from_e7(near.lat_e7() + off(), near.lon_e7() + off()).expect("a city is not at the pole")
    }

    /// A star of 20 corners, 3 to 5 km across, around some unit.
    ///
    /// # Panics
    /// Never: no unit is at a pole.
    pub fn outline(&self, random: &mut Seeded) -> Vec<Position> {
        let middle = self.ask(random);
        let corner = |number: u32| {
            let angle = f64::from(number) / 20.0 * std::f64::consts::TAU;
            let radius = random.between(1_500.0, 2_500.0) / METRES_E7;
            let (north, east) = angle.sin_cos();
            let east = east / middle.lat_deg().to_radians().cos();
            Position::from_e7(middle.lat_e7() + (north * radius) as i32, middle.lon_e7() + (east * radius) as i32)
                .expect("a city is not at the pole")
        };
        (0..20).map(corner).collect()
    }
}

fn step(random: &mut Seeded) -> [i32; 2] {
    let (north, east) = random.between(0.0, std::f64::consts::TAU).sin_cos();
    let speed = random.between(0.0, SPEED_MPS_MAX) / METRES_E7;
    [(north * speed) as i32, (east * speed) as i32]
}
