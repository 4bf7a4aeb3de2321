//! The bureau, its districts and their stations. Their names are made up; only the counts are those of the report.

use model::{Organisation, OrganisationName};

use crate::City;
use crate::city::{DISTRICTS, STATIONS, Station};

/// A tree for each district, in English and in Chinese.
const DISTRICT_NAMES: [(&str, &str); DISTRICTS] = [
    ("Camphor", "樟"),
    ("Lotus", "荷"),
    ("Banyan", "榕"),
    ("Bamboo", "竹"),
    ("Osmanthus", "桂"),
    ("Plum", "梅"),
    ("Pine", "松"),
    ("Willow", "柳"),
    ("Maple", "枫"),
];
/// What is added to it for each of its stations.
const STATION_NAMES: [(&str, &str); STATIONS / DISTRICTS] = [
    ("Gate", "门"),
    ("Bridge", "桥"),
    ("Well", "井"),
    ("Garden", "园"),
    ("Lane", "巷"),
    ("Pond", "塘"),
    ("Ridge", "岭"),
];

pub(super) const SPECIAL_POLICE: &str = "special-police";
pub(super) const TRAFFIC_POLICE: &str = "traffic-police";

pub(super) fn organisation_name(text: &str) -> OrganisationName {
    OrganisationName::new(text).expect("our offices have names without blanks")
}

pub(super) fn of_station(station: &Station) -> OrganisationName {
    organisation_name(&format!("station-{:02}", station.number))
}

pub(super) fn of_district(number: u8) -> OrganisationName {
    organisation_name(&format!("district-{number}"))
}

/// The English name of a station, without the word.
pub(super) fn station_title(station: &Station) -> String {
    format!("{} {}", district_names(station.district).0, station_names(station).0)
}

/// The English name of a district, without the word.
pub(super) const fn district_title(number: u8) -> &'static str {
    district_names(number).0
}

const fn district_names(number: u8) -> (&'static str, &'static str) {
    DISTRICT_NAMES[(number as usize + DISTRICTS - 1) % DISTRICTS]
}

const fn station_names(station: &Station) -> (&'static str, &'static str) {
    STATION_NAMES[(station.number as usize + STATIONS - 1) % STATION_NAMES.len()]
}

/// All of them, an office after the one above it.
pub(super) fn all(city: &City) -> Vec<Organisation> {
    let bureau = Organisation {
        name: organisation_name("bureau"),
        label: "City Police Bureau 市公安局".to_owned(),
        parent: None,
        territory: city.territory(|_| true),
    };
    let forces = [(SPECIAL_POLICE, "Special Police 特警支队"), (TRAFFIC_POLICE, "Traffic Police 交警支队")];
    let mut offices: Vec<Organisation> = vec![bureau.clone()];
    offices.extend(forces.map(|(name, label)| Organisation {
        name: organisation_name(name),
        label: label.to_owned(),
        parent: Some(bureau.name.clone()),
        territory: Vec::new(),
    }));
    offices.extend((1..=DISTRICTS as u8).map(|number| Organisation {
        name: of_district(number),
        label: format!("{} District {}区分局", district_title(number), district_names(number).1),
        parent: Some(bureau.name.clone()),
        territory: city.territory(|station| station.district == number),
    }));
    offices.extend(city.stations().iter().map(|station| Organisation {
        name: of_station(station),
        label: format!(
            "{} Station {}{}派出所",
            station_title(station),
            district_names(station.district).1,
            station_names(station).1
        ),
        parent: Some(of_district(station.district)),
        territory: city.territory(|one| one.number == station.number),
    }));
    offices
}
