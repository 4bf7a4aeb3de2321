//! What is written down of the units: call signs, posts, and who rides in what.

use model::{OrganisationName, Position, Span, Timestamp, Unit, UnitKind, UnitName, UnitRecord};

use super::offices::{self, SPECIAL_POLICE, TRAFFIC_POLICE, organisation_name};
use super::{Force, Forces};
use crate::city::{Post, PostKind, STATIONS};

impl Forces {
    /// All that is written down of a unit: what it carries, and who rides in it.
    ///
    /// # Panics
    /// When there is no such unit.
    #[must_use]
    pub fn record(&self, unit: usize) -> UnitRecord {
        let (force, ordinal) = self.place(unit);
        let always = Span { from: Timestamp::MIN, until: None };
        let entry = self.unit(unit);
        let persons = (1..=force.crew()).map(|person| (crew_name(&entry, person), always));
        UnitRecord {
            call_sign: self.call_sign(unit, force, ordinal),
            devices: self.devices_of(unit).into_iter().map(|device| (device.id, always)).collect(),
            crew: persons.collect(),
            ..UnitRecord::of(entry)
        }
    }

    /// All of them but the community's people: units that move, posts, and who rides in vehicles. About 4,000 of the whole city.
    pub fn records(&self) -> impl Iterator<Item = UnitRecord> + '_ {
        let police = (0..self.units()).filter(|unit| self.force(*unit) != Force::Community);
        police.map(|unit| self.record(unit)).chain(self.posts()).chain(self.crews())
    }

    /// The fixed posts, which carry nothing.
    pub fn posts(&self) -> impl Iterator<Item = UnitRecord> + '_ {
        self.city.posts().iter().map(|post| {
            let (word, title, capability) = match post.kind {
                PostKind::Armed => ("armed", "Armed post", Some("armed")),
                PostKind::TrafficBooth => ("booth", "Booth", Some("traffic")),
                PostKind::Service => ("service", "Service station", None),
                PostKind::Gate => ("gate", "Gate", Some("checkpoint")),
            };
            let unit = Unit {
                kind: UnitKind::Post,
                organisation: Some(self.office_of(post)),
                capabilities: capability.into_iter().map(str::to_owned).collect(),
                ..Unit::named(unit_name(&format!("post-{word}-{:02}", post.number)))
            };
            UnitRecord { call_sign: format!("{title} {}", post.number), ..UnitRecord::of(unit) }
        })
    }

    /// Those who ride in armed cars and helicopters. They carry nothing of their own: they are where the vehicle is.
    pub fn crews(&self) -> impl Iterator<Item = UnitRecord> + '_ {
        let vehicles = [Force::ArmedCar, Force::Helicopter].into_iter().flat_map(|force| self.numbers(force));
        vehicles.flat_map(|number| {
            let vehicle = self.record(number as usize);
            (1..=vehicle.crew.len()).map(move |person| {
                let unit = Unit {
                    kind: UnitKind::Foot,
                    organisation: vehicle.unit.organisation.clone(),
                    ..Unit::named(crew_name(&vehicle.unit, person))
                };
                UnitRecord { call_sign: format!("{} crew {person}", vehicle.call_sign), ..UnitRecord::of(unit) }
            })
        })
    }

    /// Where a unit's round begins and ends.
    ///
    /// # Panics
    /// When there is no such unit.
    #[must_use]
    pub fn home(&self, unit: usize) -> Position {
        self.routes.home(unit).position()
    }

    /// The office that a unit belongs to: where it starts decides which station's it is.
    pub(super) fn office(&self, unit: usize, force: Force) -> OrganisationName {
        let station = || self.city.station_of(self.routes.home(unit));
        match force {
            Force::Officer | Force::Community | Force::Car => offices::of_station(station()),
            Force::Drone => offices::of_district(station().district),
            Force::ArmedCar | Force::Helicopter => organisation_name(SPECIAL_POLICE),
            Force::Motorcycle => organisation_name(TRAFFIC_POLICE),
        }
    }

    fn office_of(&self, post: &Post) -> OrganisationName {
        let station = self.city.station_of(post.point);
        match post.kind {
            PostKind::Armed => organisation_name(SPECIAL_POLICE),
            PostKind::TrafficBooth => organisation_name(TRAFFIC_POLICE),
            PostKind::Service => offices::of_station(station),
            PostKind::Gate => offices::of_district(station.district),
        }
    }

    fn call_sign(&self, unit: usize, force: Force, ordinal: usize) -> String {
        let station = self.city.station_of(self.routes.home(unit));
        // Stations take turns, so this counts within one.
        let (number, turn) = (ordinal + 1, ordinal / STATIONS + 1);
        match force {
            Force::Officer => format!("{} {turn}", offices::station_title(station)),
            Force::Car => format!("{} car {turn}", offices::station_title(station)),
            Force::Drone => format!("{} drone {number}", offices::district_title(station.district)),
            Force::ArmedCar => format!("Falcon {number}"),
            Force::Motorcycle => format!("Swift {number}"),
            Force::Helicopter => format!("Kite {number}"),
            Force::Community => format!("Neighbour {number}"),
        }
    }
}

fn crew_name(vehicle: &Unit, person: usize) -> UnitName {
    unit_name(&format!("{}-crew-{person}", vehicle.name))
}

pub(super) fn unit_name(text: &str) -> UnitName {
    UnitName::new(text).expect("our units have names without blanks")
}
