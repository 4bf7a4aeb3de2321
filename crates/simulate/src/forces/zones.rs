//! The city's zones. How many there are in each layer is what the report says; their borders are made up.

use model::{Minimum, OrganisationName, Position, Rings, Settle, Shape, UnitKind, Zone, ZoneName};

use super::Forces;
use super::offices::{self, SPECIAL_POLICE, TRAFFIC_POLICE, organisation_name};
use crate::city::{DISTRICTS, PostKind, Station};

/// Rapid-response zones of the special police, layer 1.
const RAPID_ZONES: usize = 11;
/// Districts that have four responsibility zones, layer 2; the others have three.
const DISTRICTS_OF_FOUR: u8 = 4;
/// Stations that have three beats, layer 3; the others have two.
const STATIONS_OF_THREE: u16 = 22;
/// A booth answers first within so many metres, layer 4.
const BOOTH_M: f64 = 200.0;
/// The city's clock.
const UTC_OFFSET_MIN: i16 = 8 * 60;

impl Forces {
    /// 11 rapid-response zones over 31 responsibility zones over 148 beats, and 64 booths, with what each needs by the hour.
    /// Zones of a layer leave no gap in the city and do not overlap, but for booths.
    #[must_use]
    pub fn zones(&self) -> Vec<Zone> {
        [self.rapid_zones(), self.responsibility_zones(), self.beats(), self.booths()].concat()
    }

    fn rapid_zones(&self) -> Vec<Zone> {
        let stations = self.city().stations();
        let centres = apart(stations, RAPID_ZONES);
        let nearest = |station: &Station| {
            let away = |at: &usize| centres[*at].point.distance_m(station.point);
            (0..centres.len()).min_by(|one, other| away(one).total_cmp(&away(other)))
        };
        let zone = |at: usize| {
            let ground = self.city().territory(|station| nearest(station) == Some(at));
            let label = format!("Rapid Response {} 快反{}区", at + 1, at + 1);
            let minimum = vec![needs(&[UnitKind::ArmedCar], &[], 2)];
            zone(&format!("rapid-{:02}", at + 1), label, 1, organisation_name(SPECIAL_POLICE), ground, minimum)
        };
        (0..centres.len()).map(zone).collect()
    }

    fn responsibility_zones(&self) -> Vec<Zone> {
        let mut zones = Vec::new();
        for district in 1..=DISTRICTS as u8 {
            let stations = self.city().stations().iter().filter(|one| one.district == district);
            let count = if district <= DISTRICTS_OF_FOUR { 4 } else { 3 };
            for group in groups(stations.copied().collect(), count) {
                let ground = self.city().territory(|one| group.iter().any(|member| member.number == one.number));
                let number = zones.len() + 1;
                let label = format!("{} Zone {number} 责任{number}区", offices::district_title(district));
                let minimum = vec![
                    needs(&[UnitKind::Car], &["mon-sun 07:00-23:00"], 8),
                    needs(&[UnitKind::Car], &["mon-sun 23:00-07:00"], 4),
                ];
                let name = format!("zone-{number:02}");
                zones.push(zone(&name, label, 2, offices::of_district(district), ground, minimum));
            }
        }
        zones
    }

    fn beats(&self) -> Vec<Zone> {
        let has_three = |number: u16| number * STATIONS_OF_THREE / 63 > (number - 1) * STATIONS_OF_THREE / 63;
        let beats = self.city().beats_of_stations(|station| if has_three(station.number) { 3 } else { 2 });
        let mut zones = Vec::new();
        for (station, beats) in self.city().stations().iter().zip(beats) {
            for (ground, turn) in beats.into_iter().zip(1..) {
                let number = zones.len() + 1;
                let label = format!("{} Beat {turn} 巡区{number}", offices::station_title(station));
                let minimum = vec![
                    needs(&[UnitKind::Foot], &["mon-sun 07:00-22:00"], 6),
                    needs(&[UnitKind::Foot, UnitKind::Car], &["mon-sun 22:00-07:00"], 4),
                ];
                let name = format!("beat-{number:03}");
                zones.push(zone(&name, label, 3, offices::of_station(station), vec![ground], minimum));
            }
        }
        zones
    }

    fn booths(&self) -> Vec<Zone> {
        let booths = self.city().posts().iter().filter(|post| post.kind == PostKind::TrafficBooth);
        let booth = |post: &crate::Post| {
            let rush = ["mon-fri 07:00-09:30", "mon-fri 17:00-19:30"];
            let minimum = vec![needs(&[UnitKind::Motorcycle], &rush, 1)];
            let label = format!("Booth {} 交警岗亭{}", post.number, post.number);
            let shape = Shape::Circle { centre: post.point.position(), radius_m: BOOTH_M };
            let name = format!("booth-{:02}", post.number);
            Zone { shape, ..zone(&name, label, 4, organisation_name(TRAFFIC_POLICE), Vec::new(), minimum) }
        };
        booths.map(booth).collect()
    }
}

fn zone(
    name: &str,
    label: String,
    layer: u8,
    organisation: OrganisationName,
    ground: Vec<Rings>,
    minimum: Vec<Minimum>,
) -> Zone {
    Zone {
        name: ZoneName::new(name).expect("our zones have names without blanks"),
        label,
        layer,
        organisation: Some(organisation),
        shape: Shape::Polygons(ground.into_iter().map(without_repeats).collect()),
        utc_offset_min: UTC_OFFSET_MIN,
        hours: Vec::new(),
        minimum,
        settle: Settle::default(),
        dwell_s: None,
        stay_s_max: None,
    }
}

fn without_repeats(mut rings: Rings) -> Rings {
    rings.iter_mut().for_each(Vec::<Position>::dedup);
    rings
}

fn needs(kinds: &[UnitKind], hours: &[&str], at_least: u32) -> Minimum {
    let hours = hours.iter().map(|text| text.parse().expect("our hours are hours of the week"));
    Minimum { kinds: kinds.to_vec(), hours: hours.collect(), at_least }
}

/// So many stations that are far from each other: each next one is the farthest from those before.
fn apart(stations: &[Station], count: usize) -> Vec<Station> {
    let mut chosen: Vec<Station> = stations.first().copied().into_iter().collect();
    while chosen.len() < count.min(stations.len()) {
        let away =
            |one: &Station| chosen.iter().map(|other| one.point.distance_m(other.point)).fold(f64::INFINITY, f64::min);
        chosen.extend(stations.iter().max_by(|one, other| away(one).total_cmp(&away(other))).copied());
    }
    chosen
}

/// Neighbours together, in so many groups of nearly the same size.
fn groups(mut stations: Vec<Station>, count: usize) -> Vec<Vec<Station>> {
    let mut groups = Vec::new();
    for left in (1..=count).rev() {
        let size = stations.len().div_ceil(left);
        // The one at the rim, so that nobody is left alone in the middle.
        let far = |one: &Station| stations.iter().map(|other| one.point.distance_m(other.point)).sum::<f64>();
        let first = stations.iter().max_by(|one, other| far(one).total_cmp(&far(other))).copied();
        let Some(first) = first else { break };
        let away = |one: &Station| first.point.distance_m(one.point);
        stations.sort_by(|one, other| away(one).total_cmp(&away(other)));
        groups.push(stations.drain(..size.min(stations.len())).collect());
    }
    groups
}
