mod devices;
mod force;
mod offices;
mod records;
mod routes;
mod trips;
mod zones;

use std::sync::Arc;
use std::time::Duration;

use model::{DeviceId, Organisation, Position, Status, Timestamp, Unit};

use crate::City;
use crate::plane::position_at;
use crate::rng::{fraction, hashed, scrambled};
pub use devices::{Device, Protocol, UnknownProtocol};
pub use force::Force;
pub(crate) use force::shares;
use routes::Routes;

/// Units of the whole city.
pub const UNITS: usize = 35_045;
/// Devices that the units of the whole city carry.
pub const DEVICES: usize = 36_845;
/// Height of the streets above mean sea level, in metres.
const GROUND_M: f32 = 76.0;

/// All patrol forces of a city: who they are, what they carry, and where each of them is at any time.
///
/// Everything is a pure function of (seed, number of units, unit, time). Units are counted from 0, kind by kind.
#[derive(Debug)]
pub struct Forces {
    city: City,
    /// First unit of each force, in the order of [`Force::ALL`], and the number of units at the end.
    first: [u32; Force::ALL.len() + 1],
    organisations: Vec<Organisation>,
    routes: Routes,
}

/// Where a unit really is: what no device knows exactly.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Truth {
    /// Where, WGS-84, rounded to 1e-7 degrees.
    pub position: Position,
    /// Metres above mean sea level.
    pub altitude_m: f32,
    /// Speed over ground in m/s; 0 when still.
    pub speed_mps: f32,
    /// Degrees clockwise from north, 0 up to but without 360: of the way that it goes, or goes next.
    pub course_deg: f32,
    /// Whether it moves.
    pub moving: bool,
}

/// What the satellite receiver of a device says: the truth with an error of a few metres.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fix {
    /// When the place was true.
    pub time: Timestamp,
    /// Where the receiver believes to be, WGS-84.
    pub position: Position,
    /// Metres above mean sea level.
    pub altitude_m: f32,
    /// m/s over ground.
    pub speed_mps: f32,
    /// Degrees clockwise from north, 0 up to but without 360; `None` when still.
    pub course_deg: Option<f32>,
    /// Radius in metres that holds the true place in 95 of 100 cases.
    pub accuracy_m: f32,
    /// Whether the emergency button is pressed.
    pub emergency: bool,
}

impl Forces {
    /// The forces of the city of `seed`: [`UNITS`] of them when `units` is that number, otherwise scaled in
    /// proportion, exactly `units`, at least one of each kind when there are seven or more.
    ///
    /// Costs about 0.15 s and 8 MB for the whole city; both grow with `units`.
    ///
    /// # Panics
    /// When `units` does not fit into 32 bits.
    #[must_use]
    pub fn new(seed: u64, units: usize) -> Self {
        Self::of(City::new(seed), units)
    }

    /// The same for a city at hand.
    ///
    /// # Panics
    /// When `units` does not fit into 32 bits.
    #[must_use]
    pub fn of(city: City, units: usize) -> Self {
        let mut first = [0u32; Force::ALL.len() + 1];
        for (index, count) in shares(units).into_iter().enumerate() {
            first[index + 1] = first[index] + u32::try_from(count).expect("units are counted in 32 bits");
        }
        let organisations = offices::all(&city);
        let routes = routes::plan(&city, &first);
        Self { city, first, organisations, routes }
    }

    /// The city that they patrol.
    #[must_use]
    pub const fn city(&self) -> &City {
        &self.city
    }

    /// How many units there are.
    #[must_use]
    pub fn units(&self) -> usize {
        self.first[Force::ALL.len()] as usize
    }

    /// How many devices they carry.
    #[must_use]
    pub fn devices(&self) -> usize {
        Force::ALL.iter().map(|force| self.count(*force) * force.devices()).sum()
    }

    /// How many units of one force there are.
    #[must_use]
    pub fn count(&self, force: Force) -> usize {
        let place = force as usize;
        (self.first[place + 1] - self.first[place]) as usize
    }

    /// The force that a unit belongs to.
    ///
    /// # Panics
    /// When there is no such unit.
    #[must_use]
    pub fn force(&self, unit: usize) -> Force {
        self.place(unit).0
    }

    /// The bureau, special and traffic police, the districts, their stations, with their grounds; an office after the one above it.
    #[must_use]
    pub fn organisations(&self) -> &[Organisation] {
        &self.organisations
    }

    /// All units in order, each with the devices that it carries: to enrol them in a server.
    pub fn roster(&self) -> impl Iterator<Item = (Unit, Vec<DeviceId>)> + '_ {
        (0..self.units()).map(|unit| {
            let devices = self.devices_of(unit).into_iter().map(|device| device.id);
            (self.unit(unit), devices.collect())
        })
    }

    /// A unit as the roster lists it.
    ///
    /// # Panics
    /// When there is no such unit.
    #[must_use]
    pub fn unit(&self, unit: usize) -> Unit {
        let (force, ordinal) = self.place(unit);
        let digits = if force == Force::Community { 5 } else { 4 };
        let name = format!("{}-{:0digits$}", force.as_str(), ordinal + 1);
        Unit {
            kind: force.kind(),
            status: Status::Available,
            organisation: Some(self.office(unit, force)),
            capabilities: force.capabilities().iter().map(|word| (*word).to_owned()).collect(),
            ..Unit::named(records::unit_name(&name))
        }
    }

    /// The devices of a unit.
    ///
    /// # Panics
    /// When there is no such unit.
    #[must_use]
    pub fn devices_of(&self, unit: usize) -> Vec<Device> {
        let (force, ordinal) = self.place(unit);
        devices::of(force, ordinal)
    }

    /// Where a unit really is at `at`. About 0.2 us, without allocation.
    ///
    /// # Panics
    /// When there is no such unit.
    #[must_use]
    pub fn truth(&self, unit: usize, at: Timestamp) -> Truth {
        let motion = self.routes.at(unit, at);
        Truth {
            position: position_at(motion.east_m, motion.north_m),
            altitude_m: self.altitude_m(unit),
            speed_mps: motion.speed_mps as f32,
            course_deg: course(motion.course_deg),
            moving: motion.speed_mps > 0.0,
        }
    }

    /// What the receiver of a unit's device number `slot` says at `at`: off by a slowly wandering error of
    /// about 3 m that is seeded and different for each device. Nobody presses a button here. About 0.3 us.
    ///
    /// # Panics
    /// When there is no such unit.
    #[must_use]
    pub fn fix(&self, unit: usize, slot: usize, at: Timestamp) -> Fix {
        let motion = self.routes.at(unit, at);
        let device = hashed(&[self.city.seed(), 0x4E4F_4953, unit as u64, slot as u64]);
        let (east_m, north_m) = receiver_error_m(device, at);
        let moving = motion.speed_mps > 0.0;
        Fix {
            time: at,
            position: position_at(motion.east_m + east_m, motion.north_m + north_m),
            altitude_m: self.altitude_m(unit) + (east_m - north_m) as f32,
            speed_mps: motion.speed_mps as f32,
            course_deg: moving.then(|| course(motion.course_deg)),
            accuracy_m: 10.0,
            emergency: false,
        }
    }

    fn altitude_m(&self, unit: usize) -> f32 {
        let (force, ordinal) = self.place(unit);
        match force {
            Force::Helicopter => 380.0 + 40.0 * (ordinal % 5) as f32,
            Force::Drone => 170.0 + 5.0 * (ordinal % 8) as f32,
            _ => GROUND_M,
        }
    }

    /// The force and the number within it, from 0.
    fn place(&self, unit: usize) -> (Force, usize) {
        assert!(unit < self.units(), "there are {} units, so none has the number {unit}", self.units());
        let force = self.first.partition_point(|first| *first as usize <= unit) - 1;
        (Force::ALL[force], unit - self.first[force] as usize)
    }

    pub(crate) fn numbers(&self, force: Force) -> std::ops::Range<u32> {
        self.first[force as usize]..self.first[force as usize + 1]
    }
}

fn course(degrees: f64) -> f32 {
    let degrees = degrees as f32;
    if degrees >= 360.0 { 0.0 } else { degrees }
}

/// Error of a satellite receiver, metres east and north: wanders within 6 m, a new aim every 30 s, with 0.5 m of jitter on top.
fn receiver_error_m(device: u64, at: Timestamp) -> (f64, f64) {
    const AIM_MS: i64 = 30_000;
    let aim = |number: i64, axis: u64| {
        let hash = scrambled(device ^ scrambled(number.cast_unsigned() ^ (axis << 62)));
        // The sum of two even draws: small errors are likelier than large ones.
        (fraction(hash) + fraction(scrambled(hash)) - 1.0) * 6.0
    };
    let (number, share) = (at.unix_ms().div_euclid(AIM_MS), at.unix_ms().rem_euclid(AIM_MS) as f64 / AIM_MS as f64);
    let jitter = scrambled(device ^ scrambled(at.unix_ms().cast_unsigned()));
    let error_m = |axis: u64, jitter: u64| {
        aim(number, axis) * (1.0 - share) + aim(number + 1, axis) * share + fraction(jitter) - 0.5
    };
    (error_m(1, jitter), error_m(2, scrambled(jitter)))
}

/// A device of a unit, and the means to ask where it believes to be.
#[derive(Debug, Clone)]
pub(crate) struct Receiver {
    pub(crate) forces: Arc<Forces>,
    pub(crate) unit: u32,
    pub(crate) slot: u8,
    /// The city's time at the start of the run.
    pub(crate) start: Timestamp,
}

impl Receiver {
    /// What it says at this time since the start of the run.
    pub(crate) fn fix(&self, elapsed: Duration) -> Fix {
        self.forces.fix(self.unit as usize, usize::from(self.slot), self.start.after(elapsed))
    }
}

#[cfg(test)]
mod tests;
