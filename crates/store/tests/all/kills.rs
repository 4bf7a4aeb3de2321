//! A process is killed in the middle of changes: every change has its row, every row its change, and nothing that was
//! confirmed is missing.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use model::{Organisation, Principal, Role};
use serde_json::Value;
use store::audit::{Filter, Look};
use store::exchange::UnitRow;
use store::{IfMatch, Store};

use crate::{at, by, device, holder, organisation, record, span, unit};

/// Tells the test that it is the process to be killed, and where it works.
const FOLDER: &str = "MUSTER_STORE_KILLS_FOLDER";
const CHANGES: u64 = 10_000;
/// Lines after which a process is killed: 1 to so many.
const LINES_MAX: u64 = 400;

/// Changes without end; says of each, once it is confirmed, `KIND NUMBER`.
fn change_until_killed(folder: &Path) {
    let (store, local) = (Store::open(folder).unwrap(), Principal::local());
    let mut out = std::io::stdout().lock();
    let mut say = |kind: &str, number: u64| {
        writeln!(out, "\n{kind} {number}").and_then(|()| out.flush()).unwrap();
    };
    let principal = std::sync::Arc::new(holder("desk-1", Role::Dispatcher));
    for n in store.version().unwrap().. {
        let by = by(&local, n as i64);
        match n % 8 {
            0 => {
                let rows: Vec<_> = (0..20).map(|at| UnitRow::of(&record(&format!("unit-{}", (n + at) % 64)))).collect();
                let rows = rows.into_iter().map(|row| UnitRow { call_sign: n.to_string(), ..row }).collect::<Vec<_>>();
                store.import_units(&by, &rows).unwrap();
                say("version", store.version().unwrap());
            }
            1 => {
                let name = organisation(&format!("org-{}", n % 7));
                let node = Organisation { name, label: n.to_string(), parent: None, territory: Vec::new() };
                say("version", store.put_organisation(&by, &node, IfMatch::Always).unwrap());
            }
            2 => {
                store.create_token(&by, &holder(&format!("desk-{n}"), Role::Viewer), at(n as i64 + 1)).unwrap();
                say("tokens", store.tokens().unwrap().len() as u64);
            }
            3 => {
                let gone = unit(&format!("unit-{}", n % 64));
                if store.unit(&gone).unwrap().is_some() {
                    say("version", store.retire_unit(&by, &gone, IfMatch::Present).unwrap());
                }
            }
            4 => {
                let look = Look {
                    time: at(n as i64),
                    principal: principal.clone(),
                    action: "look.nearest",
                    resource: String::new(),
                    units: vec![unit("unit-1")],
                };
                store.looks(&[look]).unwrap();
                let filter = Filter { action: Some("look.nearest".to_owned()), ..Filter::default() };
                say("row", store.query_audit(&filter, None, 1).unwrap().rows[0].sequence);
            }
            _ => {
                let mut one = record(&format!("unit-{}", n % 64));
                one.devices = vec![(device(&format!("a:{}", n % 64)), span(n as i64, None))];
                say("version", store.put_unit(&by, &one, IfMatch::Always).unwrap());
            }
        }
        // A look and a token raise no version, and the next change must not be the same again.
        if n % 8 == 2 || n % 8 == 4 {
            let one = record(&format!("extra-{}", n % 64));
            say("version", store.put_unit(&by, &one, IfMatch::Always).unwrap());
        }
    }
}

/// Starts a process that changes, and kills it after `lines` of what it says. Returns the largest number of each kind.
fn kill_after(folder: &Path, lines: u64) -> BTreeMap<String, u64> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kills::ten_thousand_changes_with_kills_lose_nothing", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut said = BTreeMap::new();
    let (mut counted, mut is_killed) = (0, false);
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        // The harness of the tests has its own lines.
        let words: Vec<_> = line.split(' ').collect();
        let [kind @ ("version" | "tokens" | "row"), number] = words[..] else { continue };
        let Ok(number) = number.parse::<u64>() else { continue };
        said.insert(kind.to_owned(), number);
        counted += 1;
        if counted >= lines && !is_killed {
            // SIGKILL; what it still says up to there counts as confirmed too.
            child.kill().unwrap();
            is_killed = true;
        }
    }
    child.wait().unwrap();
    assert!(is_killed, "it ended by itself");
    said
}

/// Every version has one row that names it, every unit that is there has its row, and every token.
fn check(store: &Store) {
    let mut lines = Vec::new();
    store.export_audit(&Filter::default(), &mut lines).unwrap();
    let (mut versions, mut tokens) = (BTreeMap::new(), 0);
    for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let row: Value = serde_json::from_slice(line).unwrap();
        tokens += usize::from(row["action"] == "token.create");
        if let Some(version) = row["detail"]["version"].as_u64() {
            let before = versions.insert(version, row["resource"].as_str().unwrap().to_owned());
            assert_eq!(before, None, "version {version} has one row");
        }
    }
    let all: Vec<_> = versions.keys().copied().collect();
    assert_eq!(
        all,
        (1..=store.version().unwrap()).collect::<Vec<_>>(),
        "each change has its row, and each row its change"
    );
    assert_eq!(tokens, store.tokens().unwrap().len());
    for found in store.units(None, 1_000).unwrap() {
        assert_eq!(versions[&found.version], found.value.unit.name.as_str());
    }
    for found in store.organisations().unwrap() {
        assert_eq!(versions[&found.version], found.value.name.as_str());
    }
}

#[test]
fn ten_thousand_changes_with_kills_lose_nothing() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return change_until_killed(Path::new(&folder));
    }
    // SIGKILL takes nothing from the system's memory, so a disk in memory shows the same and is not waited for.
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let (mut kills, mut seed) = (0, 7_u64);
    loop {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let said = kill_after(folder.path(), 1 + (seed >> 33) % LINES_MAX);
        kills += 1;
        let store = Store::open(folder.path()).unwrap();
        let verdict = store.verify_audit(&[]).unwrap();
        assert_eq!(verdict.fault, None, "after {kills} kills");
        let stored = BTreeMap::from([
            ("version".to_owned(), store.version().unwrap()),
            ("tokens".to_owned(), store.tokens().unwrap().len() as u64),
            ("row".to_owned(), verdict.head.sequence),
        ]);
        for (kind, number) in said {
            assert!(stored[&kind] >= number, "{kind} {number} was confirmed, and {} is there", stored[&kind]);
        }
        if store.version().unwrap() >= CHANGES {
            check(&store);
            println!("{} changes, {kills} kills", store.version().unwrap());
            break;
        }
    }
    assert!(kills >= 5, "{kills} kills");
}
