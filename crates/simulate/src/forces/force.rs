use model::UnitKind;

/// A kind of force of the city, in the order in which its units are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(usize)]
pub enum Force {
    /// Patrol officers on foot, with a radio and a terminal each.
    Officer,
    /// District patrol cars.
    Car,
    /// Armed assault cars of the special police.
    ArmedCar,
    /// Motorcycles of the traffic police.
    Motorcycle,
    /// Helicopters.
    Helicopter,
    /// Drones.
    Drone,
    /// Guards, wardens and volunteers with a phone.
    Community,
}

impl Force {
    /// All of them, in order.
    pub const ALL: [Self; 7] =
        [Self::Officer, Self::Car, Self::ArmedCar, Self::Motorcycle, Self::Helicopter, Self::Drone, Self::Community];

    /// How many units of it the whole city has.
    #[must_use]
    pub const fn units(self) -> usize {
        match self {
            Self::Officer => 1_800,
            Self::Car => 759,
            Self::ArmedCar => 82,
            Self::Motorcycle => 800,
            Self::Helicopter => 2,
            Self::Drone => 20,
            Self::Community => 31_582,
        }
    }

    /// How many devices each of its units carries.
    #[must_use]
    pub const fn devices(self) -> usize {
        match self {
            Self::Officer => 2,
            _ => 1,
        }
    }

    /// The first part of its call signs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Officer => "officer",
            Self::Car => "car",
            Self::ArmedCar => "armed",
            Self::Motorcycle => "moto",
            Self::Helicopter => "heli",
            Self::Drone => "drone",
            Self::Community => "community",
        }
    }

    /// What a person calls several of them.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Officer => "officers on foot",
            Self::Car => "patrol cars",
            Self::ArmedCar => "armed cars",
            Self::Motorcycle => "motorcycles",
            Self::Helicopter => "helicopters",
            Self::Drone => "drones",
            Self::Community => "community people",
        }
    }

    /// The kind of unit on the map.
    #[must_use]
    pub const fn kind(self) -> UnitKind {
        match self {
            Self::Officer => UnitKind::Foot,
            Self::Car => UnitKind::Car,
            Self::ArmedCar => UnitKind::ArmedCar,
            Self::Motorcycle => UnitKind::Motorcycle,
            Self::Helicopter => UnitKind::Helicopter,
            Self::Drone => UnitKind::Drone,
            Self::Community => UnitKind::Community,
        }
    }

    /// None of its units ever goes faster, in m/s.
    #[must_use]
    pub const fn speed_mps_max(self) -> f64 {
        match self {
            Self::Officer | Self::Community => 2.0,
            Self::Car | Self::Motorcycle => 25.0,
            Self::ArmedCar => 22.0,
            Self::Helicopter => 60.0,
            Self::Drone => 16.0,
        }
    }

    /// How many people whom the roster names ride in each of its units.
    pub(super) const fn crew(self) -> usize {
        match self {
            Self::ArmedCar => 4,
            Self::Helicopter => 2,
            _ => 0,
        }
    }

    pub(super) const fn capabilities(self) -> &'static [&'static str] {
        match self {
            Self::ArmedCar => &["armed"],
            Self::Helicopter => &["camera", "searchlight"],
            Self::Drone => &["camera"],
            _ => &[],
        }
    }
}

/// How many units of each force make up `units` in all, in proportion to the whole city (largest
/// remainders first); at least one of each when there are enough.
pub(crate) fn shares(units: usize) -> [usize; Force::ALL.len()] {
    let whole = super::UNITS as u128;
    let exact = Force::ALL.map(|force| units as u128 * force.units() as u128);
    let mut counts = exact.map(|share| (share / whole) as usize);
    let mut by_remainder: Vec<usize> = (0..counts.len()).collect();
    by_remainder.sort_by_key(|place| std::cmp::Reverse(exact[*place] % whole));
    let missing = units - counts.iter().sum::<usize>();
    for place in by_remainder.into_iter().take(missing) {
        counts[place] += 1;
    }
    if units >= counts.len() {
        while let Some(empty) = counts.iter().position(|count| *count == 0) {
            let largest = (0..counts.len()).max_by_key(|place| counts[*place]).unwrap_or_default();
            counts[largest] -= 1;
            counts[empty] += 1;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_and_leave_no_force_out() {
        assert_eq!(shares(crate::forces::UNITS), Force::ALL.map(Force::units));
        for units in (0..400).chain([1_000, 2_500, 35_044, 35_046, 70_090, 1_000_000]) {
            let counts = shares(units);
            assert_eq!(counts.iter().sum::<usize>(), units);
            assert!(units < 7 || counts.iter().all(|count| *count > 0), "{units}: {counts:?}");
        }
        assert_eq!(shares(2 * crate::forces::UNITS), Force::ALL.map(|force| 2 * force.units()));
    }
}
