//! How many looks a second the audit takes, at two sizes of a batch: `cargo bench -p store --bench looks`.
//!
//! Each look saw 10 units of a city of 20,000. The time is the wall's, with the head and its syncs; the chain is checked behind it.

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use model::{Principal, PrincipalName, Role, Timestamp, UnitName};
use store::Store;
use store::audit::{Filter, Look};

const LOOKS: usize = 200_000;
const UNITS: u64 = 20_000;

fn looks(count: usize) -> Result<Vec<Look>, Box<dyn Error>> {
    let names: Result<Vec<_>, _> = (0..UNITS).map(|n| UnitName::new(&format!("car-{n:05}"))).collect();
    let (names, mut seed) = (names?, 42_u64);
    let principal = Principal { name: PrincipalName::new("desk-1")?, role: Role::Dispatcher, organisation: None };
    let principal = Arc::new(principal);
    let mut look = |at: usize| {
        let unit = |_| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            names[((seed >> 33) % UNITS) as usize].clone()
        };
        let (principal, units) = (Arc::clone(&principal), (0..10).map(unit).collect());
        let time = Timestamp::MIN.shifted_ms(at as i64);
        Look { time, principal, action: "look.nearest", resource: String::new(), units }
    };
    Ok((0..count).map(&mut look).collect())
}

fn main() -> Result<(), Box<dyn Error>> {
    let looks = looks(LOOKS)?;
    println!(
        "| looks a batch | looks a second | bytes a look | rows checked a second | by unit, ms |\n|---|---|---|---|---|"
    );
    for batch in [100, 1_000] {
        let folder = tempfile::tempdir()?;
        let store = Store::open(folder.path())?;
        let begun = Instant::now();
        for part in looks.chunks(batch) {
            store.looks(part)?;
        }
        let written = begun.elapsed().as_secs_f64();
        let begun = Instant::now();
        let verdict = store.verify_audit(&[])?;
        let checked = begun.elapsed().as_secs_f64();
        assert_eq!((verdict.rows, verdict.fault), (LOOKS as u64, None));
        let filter = Filter { unit: Some(looks[0].units[0].clone()), ..Filter::default() };
        let begun = Instant::now();
        let found = store.query_audit(&filter, None, 1_000)?.rows.len();
        let asked_ms = begun.elapsed().as_secs_f64() * 1e3;
        assert_eq!(found, looks.iter().filter(|look| look.units.contains(&looks[0].units[0])).count());
        drop(store);
        let bytes = std::fs::metadata(folder.path().join("muster.db"))?.len() as f64 / LOOKS as f64;
        let (written, checked) = (LOOKS as f64 / written, LOOKS as f64 / checked);
        println!("| {batch} | {written:.0} | {bytes:.0} | {checked:.0} | {asked_ms:.0} |");
    }
    Ok(())
}
