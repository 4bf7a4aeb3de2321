use std::time::Duration;

use model::Timestamp;

use crate::Forces;

/// The city's day at the start of a load.
const START_UNIX_MS: i64 = 1_795_413_600_000;
/// Time between two places that are taken from the city; between them a unit goes straight on.
const LEG_MS: u64 = 10_000;
const LEGS: usize = 6;

/// Units of the city with their ways, laid out so that a place costs a few nanoseconds: the generator shares its machine
/// with the server, and is not what is to be measured.
#[derive(Debug)]
pub struct Fleet {
    names: Vec<String>,
    /// Places in 1e-7 degrees (latitude, longitude), a list of all units for each end of a leg.
    ends: Vec<Vec<[i32; 2]>>,
    /// cm/s and 0.01 degree at the start.
    motions: Vec<[u32; 2]>,
}

impl Fleet {
    /// The first devices of `units` units of the seeded city; costs about 5 us and 100 bytes a unit.
    ///
    /// # Panics
    /// When `units` does not fit into 32 bits.
    #[must_use]
    pub fn new(seed: u64, units: usize) -> Self {
        let forces = Forces::new(seed, units);
        let start = Timestamp::from_unix_ms(START_UNIX_MS).expect("a day of 2026");
        let ends = (0..=LEGS as u64).map(|end| {
            let at = start.after(Duration::from_millis(end * LEG_MS));
            let place = |unit| {
                let place = forces.truth(unit, at).position;
                [place.lat_e7(), place.lon_e7()]
            };
            (0..units).map(place).collect()
        });
        let ends = ends.collect();
        let names = (0..units).map(|unit| match forces.devices_of(unit).first() {
            Some(device) => device.id.as_str().to_owned(),
            None => format!("bench:{unit}"),
        });
        let motions = (0..units).map(|unit| {
            let truth = forces.truth(unit, start);
            [(truth.speed_mps * 100.0) as u32, (truth.course_deg * 100.0) as u32]
        });
        Self { names: names.collect(), ends, motions: motions.collect() }
    }

    /// How many units there are.
    #[must_use]
    pub fn units(&self) -> usize {
        self.names.len()
    }

    /// The name of a unit's device, `protocol:id`.
    pub(super) fn name(&self, unit: usize) -> &str {
        &self.names[unit]
    }

    /// cm/s and 0.01 degree.
    pub(super) fn motion(&self, unit: usize) -> [u32; 2] {
        self.motions[unit]
    }

    /// Where a unit is, in 1e-7 degrees (latitude, longitude). It goes its way for a minute, then back, and so on.
    #[must_use]
    pub fn place_e7(&self, unit: usize, at: Duration) -> [i32; 2] {
        const WAY_MS: u64 = LEG_MS * LEGS as u64;
        let at_ms = u64::try_from(at.as_millis()).unwrap_or(0) % (2 * WAY_MS);
        let along_ms = if at_ms < WAY_MS { at_ms } else { 2 * WAY_MS - at_ms };
        let leg = ((along_ms / LEG_MS) as usize).min(LEGS - 1);
        let share = (along_ms - leg as u64 * LEG_MS) as i64;
        let (from, to) = (self.ends[leg][unit], self.ends[leg + 1][unit]);
        [0, 1].map(|axis| from[axis] + (i64::from(to[axis] - from[axis]) * share / LEG_MS as i64) as i32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_move_without_jumps_and_stay_in_the_city() {
        let fleet = Fleet::new(42, 500);
        let mut moved = 0;
        for unit in 0..fleet.units() {
            for second in 0..130 {
                let [lat, lon] = fleet.place_e7(unit, Duration::from_secs(second));
                let [next_lat, next_lon] = fleet.place_e7(unit, Duration::from_secs(second + 1));
                assert!((225_000_000..231_000_000).contains(&lat) && (1_080_000_000..1_087_000_000).contains(&lon));
                // 1e-7 degrees are about a centimetre: under 100 m/s.
                assert!((next_lat - lat).abs() < 10_000 && (next_lon - lon).abs() < 10_000, "{unit} at {second} s");
                moved += usize::from((lat, lon) != (next_lat, next_lon));
            }
        }
        assert!(moved > 10_000, "{moved}");
    }

    #[test]
    fn the_same_seed_is_the_same_fleet() {
        let (one, two) = (Fleet::new(7, 50), Fleet::new(7, 50));
        let at = Duration::from_millis(12_345);
        assert!(
            (0..50).all(|unit| one.place_e7(unit, at) == two.place_e7(unit, at) && one.name(unit) == two.name(unit))
        );
        let other = Fleet::new(8, 50);
        assert!((0..50).any(|unit| one.place_e7(unit, at) != other.place_e7(unit, at)));
    }
}
