use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use model::Timestamp;
use model::limits::UNITS_MAX;

use crate::forces::shares;
use crate::tally::LeftOut;
use crate::{Device, Force, Forces, Protocol, Target, UNITS};

/// Reports a second that one device may be asked for.
const RATE_HZ_MAX: f64 = 1_000.0;
const RATE_HZ_MIN: f64 = 0.000_1;

/// What to simulate, and to whom.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Who listens: one target a protocol.
    pub targets: Vec<Target>,
    /// Units in all. Default: the whole city, [`UNITS`].
    pub units: usize,
    /// Reports a second of each device; `None` (default) for the usual interval of each kind of device.
    pub rate_hz: Option<f64>,
    /// How long; `None` (default) until it is stopped.
    pub duration: Option<Duration>,
    /// Seed of the city, of all movements and of the receivers' errors. Default: 42.
    pub seed: u64,
    /// The city's time when the run starts. Reports are dated from here on: now, for a server that looks at its clock.
    pub start: Timestamp,
    /// How many officers press their emergency button once, 15 to 45 s after the start. Default: 1.
    pub emergencies: usize,
    /// How gateways write their batches on a stream. Default: [`Batches::Rows`].
    pub batches: Batches,
}

/// How a gateway writes its batches on a stream; in datagrams they are rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Batches {
    /// Each report with all that its device says, under the device's name.
    #[default]
    Rows,
    /// Column by column, devices by number: a third of the bytes, without altitudes.
    Columns,
}

/// Why a simulation does not start. The caller's fault: change the plan. Trouble with single
/// connections is no error: it is counted in the tally.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SimulateError {
    /// Nobody would be spoken to.
    #[error("no target is given; name at least one, as PROTOCOL=tcp://HOST:PORT")]
    NoTarget,
    /// Devices would not know which to take.
    #[error("{protocol} has two targets; give one")]
    TwoTargets {
        /// The protocol.
        protocol: Protocol,
    },
    /// A target made by hand has a transport that its protocol does not run over.
    #[error("the simulator does not speak {target}")]
    Transport {
        /// The target.
        target: Target,
    },
    /// No units, or too many.
    #[error("{units} units cannot be simulated; 1 to {UNITS_MAX} can")]
    Units {
        /// The number asked for.
        units: usize,
    },
    /// No rate at all, or too high.
    #[error("a rate of {rate_hz} Hz a device is outside {RATE_HZ_MIN} to {RATE_HZ_MAX}")]
    Rate {
        /// The rate asked for.
        rate_hz: f64,
    },
    /// So few units were asked for that none of them speaks a protocol with a target.
    #[error("none of the {units} units speaks a protocol that has a target; ask for more units or name more targets")]
    NobodySpeaks {
        /// The number asked for.
        units: usize,
    },
    /// The name of a host has no address.
    #[error("{address:?} cannot be looked up: {source}")]
    Resolve {
        /// Host and port.
        address: String,
        /// What the system said.
        source: io::Error,
    },
}

impl Plan {
    /// The whole city, seed 42, at its usual cadence, until it is stopped.
    #[must_use]
    pub const fn new(targets: Vec<Target>, start: Timestamp) -> Self {
        Self {
            targets,
            units: UNITS,
            rate_hz: None,
            duration: None,
            seed: 42,
            start,
            emergencies: 1,
            batches: Batches::Rows,
        }
    }

    /// Checks what can be checked without a network.
    ///
    /// # Errors
    /// [`SimulateError`] names the first part of the plan that is wrong.
    pub fn check(&self) -> Result<(), SimulateError> {
        if self.targets.is_empty() {
            return Err(SimulateError::NoTarget);
        }
        let mut spoken = BTreeSet::new();
        for target in &self.targets {
            if target.transport == crate::Transport::Http {
                return Err(SimulateError::Transport { target: target.clone() });
            }
            if !spoken.insert(target.protocol) {
                return Err(SimulateError::TwoTargets { protocol: target.protocol });
            }
        }
        if self.units == 0 || self.units > UNITS_MAX {
            return Err(SimulateError::Units { units: self.units });
        }
        match self.rate_hz {
            Some(rate_hz) if !(RATE_HZ_MIN..=RATE_HZ_MAX).contains(&rate_hz) => Err(SimulateError::Rate { rate_hz }),
            _ => Ok(()),
        }
    }

    /// The forces that take no part, since no target speaks their protocol.
    #[must_use]
    pub fn left_out(&self) -> Vec<LeftOut> {
        let counts = Force::ALL.into_iter().zip(shares(self.units));
        let by_protocol = counts.flat_map(|(force, units)| {
            Protocol::ALL.map(|protocol| LeftOut { force, protocol, units: spoken_by(force, protocol, units) })
        });
        by_protocol.filter(|one| one.units > 0 && self.target(one.protocol).is_none()).collect()
    }

    pub(crate) fn target(&self, protocol: Protocol) -> Option<&Target> {
        self.targets.iter().find(|target| target.protocol == protocol)
    }

    pub(crate) fn interval(&self, device: &Device) -> Duration {
        self.rate_hz.map_or(device.interval, |rate_hz| Duration::from_secs_f64(rate_hz.recip()))
    }

    /// The officers who press their button, each with the time at which. Not the same one twice.
    pub(crate) fn alarms(&self, forces: &Forces) -> Vec<(u32, Duration)> {
        let mut rng = crate::rng::Rng::of(&[self.seed, 0x534F_5321]);
        let mut officers: Vec<u32> = forces.numbers(Force::Officer).collect();
        let count = self.emergencies.min(officers.len());
        let mut press = || {
            let officer = officers.swap_remove(rng.below(officers.len()));
            (officer, Duration::from_secs_f64(rng.between(15.0, 45.0)))
        };
        (0..count).map(|_| press()).collect()
    }
}

/// How many of `units` units of a force speak a protocol.
fn spoken_by(force: Force, protocol: Protocol, units: usize) -> usize {
    match (force, protocol) {
        (Force::Car | Force::ArmedCar, Protocol::Jt808) => units,
        (Force::Car | Force::ArmedCar, _) => 0,
        (Force::Motorcycle, Protocol::Nmea) => units.div_ceil(2),
        (Force::Motorcycle, Protocol::Taip) => units / 2,
        (Force::Motorcycle, _) => 0,
        (_, Protocol::Muster) => units,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(targets: &[&str]) -> Plan {
        let targets = targets.iter().map(|text| text.parse().unwrap()).collect();
        Plan::new(targets, Timestamp::from_unix_ms(0).unwrap())
    }

    #[test]
    fn a_force_without_a_target_is_left_out_and_named() {
        let left_out = plan(&["muster=tcp://127.0.0.1:1", "nmea=udp://127.0.0.1:2"]).left_out();
        let said: Vec<String> = left_out.iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "759 patrol cars are left out: no target speaks jt808",
                "82 armed cars are left out: no target speaks jt808",
                "400 motorcycles are left out: no target speaks taip",
            ]
        );
    }

    /// The summary is made without the roster; it must say what the roster says.
    #[test]
    fn left_out_agrees_with_the_roster() {
        for units in [1, 7, 101, 4_000] {
            let forces = Forces::new(1, units);
            for protocol in Protocol::ALL {
                let speaks = |unit: &usize| forces.devices_of(*unit).iter().any(|device| device.protocol == protocol);
                let by_roster = (0..units).filter(speaks).count();
                let by_rule: usize = Force::ALL.iter().map(|f| spoken_by(*f, protocol, forces.count(*f))).sum();
                assert_eq!(by_rule, by_roster, "{protocol}, {units} units");
            }
        }
    }

    #[test]
    fn a_plan_that_cannot_run_is_refused() {
        let good = plan(&["muster=tcp://127.0.0.1:1"]);
        assert!(good.check().is_ok());
        assert!(matches!(plan(&[]).check(), Err(SimulateError::NoTarget)));
        let twice = plan(&["taip=tcp://127.0.0.1:1", "taip=udp://127.0.0.1:1"]);
        assert!(matches!(twice.check(), Err(SimulateError::TwoTargets { protocol: Protocol::Taip })));
        for rate_hz in [0.0, -1.0, f64::NAN, 1e9] {
            let wrong = Plan { rate_hz: Some(rate_hz), ..good.clone() };
            assert!(matches!(wrong.check(), Err(SimulateError::Rate { .. })), "{rate_hz}");
        }
        assert!(matches!(Plan { units: 0, ..good }.check(), Err(SimulateError::Units { units: 0 })));
    }

    #[test]
    fn the_seed_says_who_presses_the_button() {
        let forces = Forces::new(42, 2_000);
        let two = Plan { emergencies: 2, ..plan(&["muster=tcp://127.0.0.1:1"]) };
        let alarms = two.alarms(&forces);
        assert_eq!(alarms, two.alarms(&forces));
        assert_ne!(alarms[0].0, alarms[1].0);
        assert!(alarms.iter().all(|(unit, at)| forces.force(*unit as usize) == Force::Officer && at.as_secs() < 45));
    }
}
