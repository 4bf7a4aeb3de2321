//! The audit says what happened, and whether somebody changed it since.

use std::path::Path;
use std::sync::Arc;

use model::limits::{AUDIT_DETAIL_BYTES_MAX, AUDIT_HEAD_ROWS, LOOK_UNITS_MAX};
use model::{Principal, Role, UnitName};
use proptest::prelude::*;
use rusqlite::{Connection, params};
use serde_json::json;
use store::audit::{Filter, Head, Look, Outcome, Problem, Record, Verdict};
use store::{By, Store};

use crate::{at, holder};

fn log_on(ms: i64, name: &str) -> Record {
    let outcome = if ms % 2 == 0 { Outcome::Ok } else { Outcome::Refused };
    let principal = Some(holder(name, Role::Dispatcher));
    Record {
        time: at(ms),
        principal,
        action: "log_on",
        resource: "session".to_owned(),
        outcome,
        detail: json!({"n": ms}),
    }
}

fn look(ms: i64, name: &str, units: &[&str]) -> Look {
    let units = units.iter().map(|unit| UnitName::new(unit).unwrap()).collect();
    let principal = Arc::new(holder(name, Role::Dispatcher));
    Look { time: at(ms), principal, action: "look.nearest", resource: String::new(), units }
}

/// A store with `rows` rows of all sorts.
fn written(folder: &Path, rows: i64) -> Store {
    let store = Store::open(folder).unwrap();
    for n in 0..rows {
        match n % 3 {
            0 => store.audit(&[log_on(n, "desk-1")]).unwrap(),
            1 => store.looks(&[look(n, "desk-2", &["car-1", "car-2", "foot-7"])]).unwrap(),
            _ => store.audit(&[log_on(n, "desk-3")]).unwrap(),
        }
    }
    store
}

fn sql(folder: &Path) -> Connection {
    Connection::open(folder.join("muster.db")).unwrap()
}

fn verdict(folder: &Path) -> Verdict {
    Store::open(folder).unwrap().verify_audit(&[]).unwrap()
}

fn first_fault(folder: &Path) -> u64 {
    verdict(folder).fault.expect("a fault").sequence
}

#[test]
fn who_looked_at_whom_is_answered_by_unit_and_by_principal() {
    let store = Store::in_memory().unwrap();
    store
        .looks(&[look(0, "desk-1", &["car-9", "car-10"]), look(1, "desk-2", &["car-1"]), look(2, "desk-1", &[])])
        .unwrap();
    store.audit(&[log_on(3, "desk-1")]).unwrap();
    let by_unit = Filter { unit: Some(UnitName::new("car-10").unwrap()), ..Filter::default() };
    let found = store.query_audit(&by_unit, None, 10).unwrap();
    assert_eq!(found.rows.len(), 1);
    assert_eq!((found.rows[0].principal.as_str(), found.rows[0].time), ("desk-1", at(0)));
    assert_eq!(found.rows[0].units, Some(vec!["car-10".to_owned(), "car-9".to_owned()]));
    let by_principal =
        Filter { principal: Some("desk-1".to_owned()), action: Some("look.*".to_owned()), ..Filter::default() };
    let sequences: Vec<_> =
        store.query_audit(&by_principal, None, 10).unwrap().rows.iter().map(|row| row.sequence).collect();
    assert_eq!(sequences, [3, 1]);
}

#[test]
fn pages_have_every_row_once_in_any_time_order() {
    let store = Store::in_memory().unwrap();
    for ms in [5, 3, 3, 9, 0, 9, 9, 1] {
        store.audit(&[log_on(ms, "desk-1")]).unwrap();
    }
    let filter = Filter { from: Some(at(1)), until: Some(at(9)), ..Filter::default() };
    let (mut after, mut seen) = (None, Vec::new());
    loop {
        let page = store.query_audit(&filter, after, 1).unwrap();
        seen.extend(page.rows.iter().map(|row| row.sequence));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, [1, 3, 2, 8]);
}

#[test]
fn export_is_a_json_object_a_line_in_order() {
    let store = Store::in_memory().unwrap();
    store.audit(&[log_on(1, "desk-1")]).unwrap();
    store.looks(&[look(2, "desk-2", &["car-1"])]).unwrap();
    let mut out = Vec::new();
    assert_eq!(store.export_audit(&Filter::default(), &mut out).unwrap(), 2);
    let lines: Vec<serde_json::Value> =
        String::from_utf8(out).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["outcome"], "refused");
    assert_eq!(lines[0]["detail"], json!({"n": 1}));
    assert_eq!(lines[1]["units"], json!(["car-1"]));
    assert_eq!(lines[1]["hash"].as_str().unwrap().len(), 64);
}

#[test]
fn a_look_at_very_many_is_several_rows_and_a_long_detail_is_its_digest() {
    let store = Store::in_memory().unwrap();
    let names: Vec<_> = (0..=LOOK_UNITS_MAX).map(|n| format!("car-{n}")).collect();
    store.looks(&[look(0, "desk-1", &names.iter().map(String::as_str).collect::<Vec<_>>())]).unwrap();
    let mut long = log_on(1, "desk-1");
    long.detail = json!({"reason": "r", "text": "x".repeat(AUDIT_DETAIL_BYTES_MAX)});
    store.audit(&[long]).unwrap();
    let rows = store.query_audit(&Filter::default(), None, 10).unwrap().rows;
    let seen: Vec<_> = rows.iter().map(|row| row.units.as_ref().map(Vec::len)).collect();
    assert_eq!(seen, [None, Some(1), Some(LOOK_UNITS_MAX)]);
    assert!(
        rows[0].detail.starts_with(r#"{"bytes":"#) && rows[0].detail.contains(r#""reason":"r""#),
        "{}",
        rows[0].detail
    );
}

#[test]
fn an_untouched_audit_is_whole_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    drop(written(folder.path(), 30));
    let verdict = verdict(folder.path());
    assert_eq!((verdict.rows, verdict.fault), (30, None));
    assert_eq!(verdict.without_head, Vec::<u64>::new());
}

#[test]
fn a_removed_row_and_a_row_without_its_hash_are_named() {
    let folder = tempfile::tempdir().unwrap();
    drop(written(folder.path(), 20));
    sql(folder.path()).execute("DELETE FROM audit WHERE sequence = 7", []).unwrap();
    let fault = verdict(folder.path()).fault.unwrap();
    assert_eq!((fault.sequence, fault.problem), (7, Problem::Removed { next: 8 }));

    let folder = tempfile::tempdir().unwrap();
    drop(written(folder.path(), 20));
    let copy = "INSERT INTO audit SELECT 21, time_ms, principal, role, organisation, action, resource, outcome, detail, seen, hash
                FROM audit WHERE sequence = 20";
    sql(folder.path()).execute(copy, []).unwrap();
    let fault = verdict(folder.path()).fault.unwrap();
    assert_eq!((fault.sequence, fault.problem), (21, Problem::Changed));
}

#[test]
fn a_cut_end_is_found_also_when_the_store_went_on() {
    let folder = tempfile::tempdir().unwrap();
    drop(written(folder.path(), 20));
    sql(folder.path()).execute("DELETE FROM audit WHERE sequence > 17", []).unwrap();
    let store = Store::open(folder.path()).unwrap();
    let fault = store.verify_audit(&[]).unwrap().fault.unwrap();
    // The row that the opening wrote has taken the number 18.
    assert!(matches!(fault.problem, Problem::Cut { last: 18, .. }), "{fault}");
    for n in 0..10 {
        store.audit(&[log_on(n, "desk-1")]).unwrap();
    }
    drop(store);
    let fault = verdict(folder.path()).fault.unwrap();
    assert!(matches!(fault.problem, Problem::Rewritten { .. }), "{fault}");
}

#[test]
fn an_end_cut_beside_a_running_store_is_told_by_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let store = written(folder.path(), 20);
    sql(folder.path()).execute("DELETE FROM audit WHERE sequence > 17", []).unwrap();
    std::fs::remove_file(folder.path().join("audit-head")).unwrap();
    store.audit(&[log_on(100, "desk-1")]).unwrap();
    let fault = store.verify_audit(&[]).unwrap().fault.unwrap();
    assert!(matches!(&fault.problem, Problem::Broken { detail } if detail.contains(r#""sequence":20"#)), "{fault}");
    assert_eq!(fault.sequence, 18);
}

#[test]
fn a_last_row_rewritten_with_its_right_hash_is_found_by_the_head() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    drop(written(folder.path(), 9));
    // The same rows but the last: its hash is right, and it is not the one that was kept.
    let store = written(other.path(), 8);
    store.audit(&[log_on(500, "desk-1")]).unwrap();
    drop(store);
    let attach = format!("ATTACH '{}' AS other", other.path().join("muster.db").display());
    let forge = "DELETE FROM audit WHERE sequence = 9; INSERT INTO audit SELECT * FROM other.audit WHERE sequence = 9";
    sql(folder.path()).execute_batch(&format!("{attach}; {forge}")).unwrap();
    let fault = verdict(folder.path()).fault.unwrap();
    assert!(matches!(fault.problem, Problem::Rewritten { .. }), "{fault}");
    assert_eq!(fault.sequence, 9);
}

#[test]
fn a_head_noted_elsewhere_proves_what_was_before_it() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let noted = written(folder.path(), 9).verify_audit(&[]).unwrap().head;
    assert_eq!(Head::parse(&noted.to_string()), Some(noted));
    let store = written(folder.path(), 3);
    assert_eq!(store.verify_audit(&[noted]).unwrap().fault, None);
    // Somebody puts a whole other audit in its place, with its head.
    let other = written(other.path(), 12);
    other.audit(&[log_on(7, "x")]).unwrap();
    let rewritten = Head { sequence: 9, hash: [7; 32] };
    assert_eq!(other.verify_audit(&[rewritten]).unwrap().fault.unwrap().sequence, 9);
    let beyond = Head { sequence: 99, hash: [7; 32] };
    assert_eq!(other.verify_audit(&[beyond]).unwrap().fault.unwrap().sequence, 14);
}

#[test]
fn a_missing_head_is_told_and_a_garbled_one_is_a_fault() {
    let folder = tempfile::tempdir().unwrap();
    drop(written(folder.path(), 9));
    std::fs::remove_file(folder.path().join("audit-head")).unwrap();
    let missing = verdict(folder.path());
    assert_eq!((missing.fault, missing.without_head), (None, vec![10]));
    std::fs::write(folder.path().join("audit-head"), "muster audit head 1\nnothing\n").unwrap();
    assert!(matches!(verdict(folder.path()).fault.unwrap().problem, Problem::HeadUnreadable));
}

#[test]
fn the_head_follows_the_looks_and_an_orderly_end() {
    let folder = tempfile::tempdir().unwrap();
    let head = || std::fs::read_to_string(folder.path().join("audit-head")).unwrap();
    let store = Store::open(folder.path()).unwrap();
    let few = [look(0, "desk-1", &["car-1"]), look(1, "desk-1", &["car-2"])];
    // The first looks have no head before them.
    store.looks(&few).unwrap();
    assert!(head().contains("\n00000000000000000002:"), "{}", head());
    store.looks(&few).unwrap();
    assert!(head().contains("\n00000000000000000002:"), "{}", head());
    store.looks(&[look(3_600_001, "desk-1", &["car-1"])]).unwrap();
    assert!(head().contains("\n00000000000000000005:"), "{}", head());
    let many = vec![look(3_600_002, "desk-1", &["car-1"]); AUDIT_HEAD_ROWS as usize];
    store.looks(&many).unwrap();
    store.looks(&few).unwrap();
    assert!(head().contains("\n00000000000000010007:"), "{}", head());
    store.looks(&few).unwrap();
    drop(store);
    assert!(head().contains("\n00000000000000010009:"), "{}", head());
}

#[test]
fn removal_by_age_leaves_a_chain_that_can_be_checked() {
    let day = 86_400_000;
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    for n in 0..10 {
        store.audit(&[log_on(n * day, "desk-1")]).unwrap();
    }
    let local = Principal::local();
    let by = |days: i64| By { principal: &local, now: at(days * day), reason: None };
    assert_eq!(store.expire_audit(&by(399)).unwrap(), 0);
    assert_eq!(store.expire_audit(&by(404)).unwrap(), 4);
    assert_eq!(store.expire_audit(&by(406)).unwrap(), 2);
    let verdict = store.verify_audit(&[]).unwrap();
    assert_eq!((verdict.rows, verdict.expired, &verdict.fault), (4 + 2, 6, &None));
    assert_eq!(store.expire_audit(&by(2_000)).unwrap(), 6);
    let verdict = store.verify_audit(&[verdict.head]).unwrap();
    assert_eq!((verdict.rows, verdict.expired, verdict.fault), (1, 12, None));
    drop(store);
    // The same removal by hand, anchor and all, is not vouched for by any row.
    let store = Store::open(folder.path()).unwrap();
    store.audit(&[log_on(2_000 * day, "desk-1")]).unwrap();
    let by_hand = "UPDATE audit_anchor SET (sequence, hash) = (SELECT sequence, hash FROM audit WHERE sequence = 13);
                   DELETE FROM audit WHERE sequence = 13";
    sql(folder.path()).execute_batch(by_hand).unwrap();
    let fault = store.verify_audit(&[]).unwrap().fault.unwrap();
    assert_eq!((fault.sequence, fault.problem), (13, Problem::AnchorUnknown));
}

/// One thing that somebody does to rows with SQL, and the first row that is not as it was.
fn tamper(connection: &Connection, how: u8, row: i64, other: i64) -> i64 {
    let columns =
        ["time_ms", "principal", "role", "organisation", "action", "resource", "outcome", "detail", "seen", "hash"];
    let column = columns[usize::from(how) % columns.len()];
    match how {
        0 | 10 | 20 => {
            let sql = format!("UPDATE audit SET {column} = {column} + 1 WHERE sequence = ?1");
            connection.execute(&sql, [row]).unwrap();
        }
        8 | 9 => {
            let sql = format!("UPDATE audit SET {column} = randomblob(32) WHERE sequence = ?1");
            connection.execute(&sql, [row]).unwrap();
        }
        1..=7 => {
            let sql = format!("UPDATE audit SET {column} = coalesce({column}, '') || 'x' WHERE sequence = ?1");
            connection.execute(&sql, [row]).unwrap();
        }
        11..=14 => {
            connection.execute("DELETE FROM audit WHERE sequence = ?1", [row]).unwrap();
        }
        15 => {
            // A column emptied into its neighbour: nothing but where one ends and the other begins differs.
            let sql = "UPDATE audit SET action = '', resource = action || resource WHERE sequence = ?1";
            connection.execute(sql, [row]).unwrap();
        }
        _ => {
            let swap =
                "UPDATE audit SET sequence = CASE sequence WHEN ?1 THEN -1 ELSE -2 END WHERE sequence IN (?1, ?2)";
            connection.execute(swap, params![row, other]).unwrap();
            let back = "UPDATE audit SET sequence = CASE sequence WHEN -1 THEN ?2 ELSE ?1 END WHERE sequence < 0";
            connection.execute(back, params![row, other]).unwrap();
            return row.min(other);
        }
    }
    row
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever somebody does to any row of the file, the first row that is not as it was is named.
    #[test]
    fn any_change_by_hand_is_found(how in 0_u8..20, row in 1_i64..=24, other in 1_i64..=24) {
        prop_assume!(how < 16 || row != other);
        static WRITTEN: std::sync::OnceLock<tempfile::TempDir> = std::sync::OnceLock::new();
        let whole = WRITTEN.get_or_init(|| {
            let folder = tempfile::tempdir().unwrap();
            drop(written(folder.path(), 24));
            folder
        });
        let folder = tempfile::tempdir().unwrap();
        for file in ["muster.db", "audit-head"] {
            std::fs::copy(whole.path().join(file), folder.path().join(file)).unwrap();
        }
        let first = tamper(&sql(folder.path()), how, row, other);
        // A cut end is named by the row after the one that the opening of the store wrote.
        let expected = if (11..=14).contains(&how) && row == 24 { vec![24, 25] } else { vec![first as u64] };
        let named = first_fault(folder.path());
        prop_assert!(expected.contains(&named), "{} is named, of {:?}", named, expected);
    }

    /// A chain of any rows is whole, and says what was written.
    #[test]
    fn any_rows_come_back_as_they_were_written(rows in proptest::collection::vec((any::<i32>(), ".{0,20}", ".{0,20}"), 1..30)) {
        let store = Store::in_memory().unwrap();
        let records: Vec<_> = rows.iter().map(|(ms, resource, text)| Record {
            time: at(i64::from(*ms)),
            principal: None,
            action: "test",
            resource: resource.clone(),
            outcome: Outcome::Refused,
            detail: json!({"text": text}),
        }).collect();
        store.audit(&records).unwrap();
        let mut shown = store.query_audit(&Filter::default(), None, 100).unwrap().rows;
        shown.sort_by_key(|row| row.sequence);
        for (record, row) in records.iter().zip(&shown) {
            prop_assert_eq!((record.time, &record.resource, record.detail.to_string()), (row.time, &row.resource, row.detail.clone()));
        }
        let verdict = store.verify_audit(&[]).unwrap();
        prop_assert_eq!((verdict.rows, verdict.fault), (rows.len() as u64, None));
    }
}
