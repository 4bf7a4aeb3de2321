//! The demo of somebody who does not see everything: who that is, and what it is answered.

use clap::ValueEnum;
use model::{OrganisationName, Principal, PrincipalName, Role};
use serde_json::Value;

use super::FIRST_QUESTION;
use super::fixture::Loaded;
use crate::query::print_nearest;

/// Beyond the east end of the town: far from the ground of the station that is asked for.
const FAR_QUESTION: (f64, f64) = (22.801, 108.465);

/// As whom the demo asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Login {
    /// A dispatcher of the station at the old centre
    Station,
    /// A dispatcher of its district
    District,
    /// A dispatcher of the bureau
    Bureau,
    /// A viewer of the station
    Viewer,
    /// A dispatcher of the station
    Dispatcher,
    /// A commander of the station
    Commander,
}

impl Login {
    /// Whom the token is made for.
    pub(super) fn principal(self) -> Principal {
        let (role, office) = match self {
            Self::Station | Self::Dispatcher => (Role::Dispatcher, "station-01"),
            Self::District => (Role::Dispatcher, "district-1"),
            Self::Bureau => (Role::Dispatcher, "bureau"),
            Self::Viewer => (Role::Viewer, "station-01"),
            Self::Commander => (Role::Commander, "station-01"),
        };
        let name = PrincipalName::new("demo").expect("a word is a name");
        Principal { name, role, organisation: Some(OrganisationName::new(office).expect("a word is a name")) }
    }
}

/// Somebody who has a token, and what it may ask.
#[derive(Clone)]
pub(super) struct Guest {
    pub(super) principal: Principal,
    pub(super) token: String,
    /// The map's address.
    pub(super) map: String,
    /// Organisations that it commands.
    own: Vec<OrganisationName>,
    /// A unit of its own and one of a station far away, when the fleet has them.
    units: [Option<String>; 2],
}

impl Guest {
    pub(super) fn new(principal: Principal, token: String, map: String, loaded: &Loaded) -> Self {
        let mut own: Vec<OrganisationName> = principal.organisation.iter().cloned().collect();
        // An office comes after the one above it.
        for office in &loaded.organisations {
            if office.parent.as_ref().is_some_and(|parent| own.contains(parent)) {
                own.push(office.name.clone());
            }
        }
        let office = |number: u16| OrganisationName::new(&format!("station-{number:02}")).ok();
        let unit_of = |office: Option<OrganisationName>| {
            let found = loaded.records.iter().find(|one| one.unit.organisation == office && !one.devices.is_empty());
            found.map(|one| one.unit.name.to_string())
        };
        let units = [unit_of(office(1)), (8..=63).rev().find_map(|number| unit_of(office(number)))];
        Self { principal, token, map, own, units }
    }

    /// Asks as this principal, and says what came back. Calls block.
    pub(super) fn ask(&self) -> anyhow::Result<()> {
        let office = self.principal.organisation.as_ref().map_or("all", |name| name.as_str());
        for ((lat, lon), place) in [(FIRST_QUESTION, "Chaoyang Square"), (FAR_QUESTION, "Xianhu, in the east")] {
            let path = format!("/v1/nearest?lat={lat}&lon={lon}&k=5");
            println!("\nA {} of {office} asks: who is nearest to {place}?   GET {path}", self.principal.role);
            let (_, answer) = self.get(&path, Some(&self.token))?;
            print_nearest(&answer);
            let units = answer["features"].as_array().map_or(&[][..], Vec::as_slice);
            let is_own = |unit: &&Value| {
                unit["properties"]["org"].as_str().is_some_and(|org| self.own.iter().any(|own| own.as_str() == org))
            };
            let own = units.iter().filter(is_own).count();
            println!("{own} of {} are its own; any others are on its ground or close to it.", units.len());
            println!("nearer_outside_scope: {}", answer["nearer_outside_scope"]);
        }
        println!("\nWhat else it is answered:");
        let [own, far] = &self.units;
        let paths = [own.as_deref(), far.as_deref(), Some("no-such-unit")].into_iter().flatten();
        for path in paths.map(|unit| format!("/v1/units/{unit}")).chain(["/v1/stats".to_owned()]) {
            self.say(&path, Some(&self.token))?;
        }
        self.say("/v1/units", None)?;
        println!();
        Ok(())
    }

    fn say(&self, path: &str, token: Option<&str>) -> anyhow::Result<()> {
        let (status, answer) = self.get(path, token)?;
        let said = answer["detail"].as_str().or(answer["properties"]["org"].as_str()).unwrap_or_default();
        let who = if token.is_some() { "" } else { " without a token" };
        println!("  GET {path}{who}: {status} {said}");
        Ok(())
    }

    fn get(&self, path: &str, token: Option<&str>) -> anyhow::Result<(u16, Value)> {
        let config = ureq::Agent::config_builder().http_status_as_error(false).build();
        let mut request = ureq::Agent::new_with_config(config).get(format!("{}{path}", self.map));
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let mut answer = request.call()?;
        Ok((answer.status().as_u16(), answer.body_mut().read_json()?))
    }
}
