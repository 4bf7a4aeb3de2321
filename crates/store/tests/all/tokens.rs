//! Tokens open doors for as long as they may, and the file does not hold what opens them.

use model::limits::TOKEN_LIFE_MAX;
use model::{Principal, Role};
use store::audit::Filter;
use store::{BOOTSTRAP, By, Refusal, Store};

use crate::{at, by, holder, organisation, refusal};

#[test]
fn a_token_opens_until_it_ends_or_is_revoked() {
    let (store, local) = (Store::in_memory().unwrap(), Principal::local());
    let desk = Principal { organisation: Some(organisation("west")), ..holder("desk-1", Role::Dispatcher) };
    let secret = store.create_token(&by(&local, 0), &desk, at(1_000)).unwrap();
    assert!(secret.starts_with("muster_") && secret.len() == 7 + 43, "{secret}");
    let bearer = store.by_secret(&secret, at(999)).unwrap().unwrap();
    assert_eq!((&bearer.principal, bearer.expires, bearer.is_one_time), (&desk, at(1_000), false));
    assert_eq!(store.by_secret(&secret, at(1_000)).unwrap(), None);
    for wrong in ["", "muster_", &secret[7..], &format!("{secret}x"), &secret.to_uppercase()] {
        assert_eq!(store.by_secret(wrong, at(0)).unwrap(), None, "{wrong}");
    }
    store.revoke_token(&by(&local, 5), bearer.token).unwrap();
    assert_eq!(store.by_secret(&secret, at(6)).unwrap(), None);
    assert!(matches!(refusal(store.revoke_token(&by(&local, 7), bearer.token)), Refusal::Unknown { .. }));
    let listed = store.tokens().unwrap();
    assert_eq!((listed.len(), listed[0].revoked, listed[0].created_by.as_str()), (1, Some(at(5)), "local"));
}

#[test]
fn neither_file_nor_audit_holds_a_secret() {
    let folder = tempfile::tempdir().unwrap();
    let (store, local) = (Store::open(folder.path()).unwrap(), Principal::local());
    let secret = store.create_token(&by(&local, 0), &holder("desk-1", Role::Viewer), at(1_000)).unwrap();
    drop(store);
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let content = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!content.windows(43).any(|window| window == &secret.as_bytes()[7..]));
    }
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(folder.path().join("muster.db")).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "nobody else reads it");
}

#[test]
fn the_generation_rises_with_changes_of_another_process_too() {
    let folder = tempfile::tempdir().unwrap();
    let (store, other, local) =
        (Store::open(folder.path()).unwrap(), Store::open(folder.path()).unwrap(), Principal::local());
    let before = store.generation().unwrap();
    let secret = other.create_token(&by(&local, 0), &holder("desk-1", Role::Viewer), at(1_000)).unwrap();
    let between = store.generation().unwrap();
    assert!(between > before);
    let token = store.by_secret(&secret, at(0)).unwrap().unwrap().token;
    other.revoke_token(&by(&local, 1), token).unwrap();
    assert!(store.generation().unwrap() > between);
    assert_eq!(store.by_secret(&secret, at(2)).unwrap(), None);
    assert_eq!(store.verify_audit(&[]).unwrap().fault, None);
}

#[test]
fn nobody_is_administrator_and_auditor() {
    let (store, local) = (Store::in_memory().unwrap(), Principal::local());
    let create = |name, role, ms| store.create_token(&by(&local, ms), &holder(name, role), at(ms + 1_000));
    create("wang", Role::Auditor, 0).unwrap();
    create("li", Role::Administrator, 0).unwrap();
    let refused = refusal(create("wang", Role::Administrator, 1));
    assert_eq!(refused, Refusal::TwoPowers { principal: "wang".to_owned(), has: "auditor" });
    assert_eq!(
        refusal(create("li", Role::Auditor, 1)),
        Refusal::TwoPowers { principal: "li".to_owned(), has: "administrator" }
    );
    create("wang", Role::Viewer, 1).unwrap();
    create("wang", Role::Administrator, 1_000).unwrap();
}

#[test]
fn what_cannot_be_a_token_is_refused_by_field() {
    let (store, local) = (Store::in_memory().unwrap(), Principal::local());
    let field = |done| match refusal(done) {
        Refusal::Invalid { field, .. } => field,
        other => panic!("{other}"),
    };
    let desk = holder("desk-1", Role::Viewer);
    assert_eq!(field(store.create_token(&by(&local, 0), &desk, at(0))), "expires");
    let too_long = at(1).after(TOKEN_LIFE_MAX);
    assert_eq!(field(store.create_token(&by(&local, 0), &desk, too_long)), "expires");
    for name in [BOOTSTRAP, "local", "muster"] {
        assert_eq!(field(store.create_token(&by(&local, 0), &holder(name, Role::Viewer), at(1))), "principal");
    }
    let long = "x".repeat(1_025);
    let by = By { principal: &local, now: at(0), reason: Some(&long) };
    assert_eq!(refusal(store.create_token(&by, &desk, at(1))), Refusal::ReasonTooLong { bytes: 1_025 });
    assert_eq!(store.query_audit(&Filter::default(), None, 9).unwrap().rows, []);
}

#[test]
fn the_first_token_makes_a_lasting_administrator_and_ends() {
    let store = Store::in_memory().unwrap();
    let secret = store.bootstrap(at(0)).unwrap().unwrap();
    assert_eq!(store.bootstrap(at(1)).unwrap(), None);
    let first = store.by_secret(&secret, at(1)).unwrap().unwrap();
    assert!(first.is_one_time);
    let create = |role| store.create_token(&by(&first.principal, 2), &holder("li", role), at(10_000));
    assert_eq!(refusal(create(Role::Dispatcher)), Refusal::OneTime);
    assert_eq!(refusal(store.revoke_token(&by(&first.principal, 2), first.token)), Refusal::OneTime);
    let lasting = create(Role::Administrator).unwrap();
    assert_eq!(store.by_secret(&secret, at(3)).unwrap(), None);
    assert_eq!(store.by_secret(&lasting, at(3)).unwrap().unwrap().principal.role, Role::Administrator);
    assert_eq!(store.bootstrap(at(86_400_001)).unwrap(), None);
}

#[test]
fn a_first_token_that_nobody_used_is_made_anew() {
    let store = Store::in_memory().unwrap();
    let day = 86_400_000;
    let secret = store.bootstrap(at(0)).unwrap().unwrap();
    assert_eq!(store.by_secret(&secret, at(day)).unwrap(), None);
    assert_eq!(store.bootstrap(at(day - 1)).unwrap(), None);
    assert!(store.bootstrap(at(day)).unwrap().is_some_and(|again| again != secret));
}
