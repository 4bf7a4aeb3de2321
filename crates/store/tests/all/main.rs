//! The store from outside: what it keeps, what it refuses, and what it says of a file that somebody changed.

mod audit;
mod exchange;
mod exchange_zones;
mod file;
mod kills;
mod organisations;
mod said;
mod secrets;
mod standing;
mod tokens;
mod units;
mod webhooks;
mod zones;

use model::{DeviceId, OrganisationName, Principal, PrincipalName, Role, Span, Timestamp, Unit, UnitName, UnitRecord};
use store::{By, Refusal, StoreError};

/// A time on the day of the tests.
fn at(ms: i64) -> Timestamp {
    Timestamp::from_civil((2026, 11, 23), (6, 0, 0), 0).unwrap().shifted_ms(ms)
}

fn span(from: i64, until: Option<i64>) -> Span {
    Span { from: at(from), until: until.map(at) }
}

fn by(principal: &Principal, ms: i64) -> By<'_> {
    By { principal, now: at(ms), reason: None }
}

fn holder(name: &str, role: Role) -> Principal {
    Principal { name: PrincipalName::new(name).unwrap(), role, organisation: None }
}

fn organisation(name: &str) -> OrganisationName {
    OrganisationName::new(name).unwrap()
}

fn unit(name: &str) -> UnitName {
    UnitName::new(name).unwrap()
}

fn device(name: &str) -> DeviceId {
    DeviceId::new(name).unwrap()
}

fn record(name: &str) -> UnitRecord {
    UnitRecord::of(Unit::named(unit(name)))
}

fn refusal<T: std::fmt::Debug>(done: Result<T, StoreError>) -> Refusal {
    match done {
        Err(StoreError::Refused(refusal)) => refusal,
        other => panic!("no refusal: {other:?}"),
    }
}
