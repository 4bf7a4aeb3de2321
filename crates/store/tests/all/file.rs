//! What the store says of a file that it cannot trust, or a disk that is full.

use std::fs;

use model::{Principal, PrincipalName, Role, Timestamp};
use rusqlite::Connection;
use store::{By, Store, StoreError};

const NOW: Timestamp = Timestamp::MIN;

fn create(store: &Store, name: &str) -> Result<String, StoreError> {
    let holder = Principal { name: PrincipalName::new(name).unwrap(), role: Role::Viewer, organisation: None };
    let by = By { principal: &Principal::local(), now: NOW, reason: None };
    store.create_token(&by, &holder, NOW.shifted_ms(1))
}

#[test]
fn a_file_of_a_newer_layout_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    drop(Store::open(folder.path()).unwrap());
    Connection::open(folder.path().join("muster.db")).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let error = Store::open(folder.path()).unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 99, .. }), "{error}");
    assert!(error.to_string().contains("muster.db has layout 99"), "{error}");
}

#[test]
fn a_damaged_file_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    for n in 0..50 {
        create(&store, &format!("desk-{n}")).unwrap();
    }
    drop(store);
    let path = folder.path().join("muster.db");
    let whole = fs::read(&path).unwrap();
    let pages = whole.len() / 4_096;
    assert!(pages > 20, "{pages} pages");
    // Every page alone: none of them is read to find the layout, so only the check of the whole file can tell.
    for page in 1..pages {
        let mut bytes = whole.clone();
        bytes[page * 4_096..][..64].fill(0x5a);
        fs::write(&path, &bytes).unwrap();
        let error = Store::open(folder.path()).map(|_| page).unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "page {page}: {error}");
        assert!(error.to_string().contains("muster restore"), "{error}");
    }
    fs::write(&path, b"this is no database, it is a text that somebody put here").unwrap();
    assert!(matches!(Store::open(folder.path()).unwrap_err(), StoreError::Damaged { .. }));
    fs::write(&path, &whole).unwrap();
    assert_eq!(Store::open(folder.path()).unwrap().tokens().unwrap().len(), 50);
}

#[test]
fn a_tool_does_not_make_a_store_where_there_is_none() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(Store::open_existing(folder.path()).unwrap_err(), StoreError::Unusable { .. }));
    assert!(!Store::is_in(folder.path()));
}
