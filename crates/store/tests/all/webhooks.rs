//! Where events are sent: what is kept of it, and what the audit says.

use std::os::unix::fs::PermissionsExt as _;

use model::{EventKind, Principal, Webhook, WebhookName, WebhookSecret, ZoneName};
use store::audit::Filter;
use store::{IfMatch, Refusal, Store};

use crate::{at, by, holder, organisation, refusal, unit};

fn webhook(name: &str) -> Webhook {
    Webhook {
        name: WebhookName::new(name).unwrap(),
        url: "https://cad.example/events?key=hidden".to_owned(),
        organisation: None,
        kinds: vec![EventKind::Enter, EventKind::Exit],
        units: vec![unit("car-1")],
        zones: vec![ZoneName::new("beat-1").unwrap()],
        is_enabled: true,
    }
}

fn secret() -> WebhookSecret {
    WebhookSecret::new("a secret of sixteen").unwrap()
}

#[test]
fn a_webhook_comes_back_with_its_secret_and_where_it_began() {
    let folder = tempfile::tempdir().unwrap();
    let (store, local) = (Store::open(folder.path()).unwrap(), Principal::local());
    let wanted = webhook("cad");
    let first = store.put_webhook(&by(&local, 0), &wanted, Some(&secret()), 17, IfMatch::Absent).unwrap();
    let changed = Webhook { is_enabled: false, kinds: vec![], ..wanted.clone() };
    let second = store.put_webhook(&by(&local, 1), &changed, None, 99, IfMatch::Version(first)).unwrap();
    drop(store);
    let store = Store::open(folder.path()).unwrap();
    let found = store.webhook(&wanted.name).unwrap().unwrap();
    assert_eq!((found.begin, found.made, found.version), (17, first, second), "it goes on where it is");
    assert_eq!((found.webhook, found.secret), (changed, secret()));
    assert_eq!((store.webhooks().unwrap().len(), store.webhooks_version().unwrap()), (1, second));
    let mode = std::fs::metadata(folder.path().join("muster.db")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "it holds secrets");
}

#[test]
fn the_audit_tells_every_change_and_no_secret() {
    let (store, local) = (Store::in_memory().unwrap(), Principal::local());
    let name = webhook("cad").name;
    let version = store.put_webhook(&by(&local, 0), &webhook("cad"), Some(&secret()), 0, IfMatch::Always).unwrap();
    store.note_replay(&by(&local, 1), &name, 5).unwrap();
    assert!(!store.disable_webhook(&by(&local, 2), &name, version + 1).unwrap(), "it was changed meanwhile");
    assert!(store.disable_webhook(&by(&local, 2), &name, version).unwrap());
    assert!(!store.webhook(&name).unwrap().unwrap().webhook.is_enabled);
    store.delete_webhook(&by(&local, 3), &name, IfMatch::Always).unwrap();
    let rows = store.query_audit(&Filter::default(), None, 100).unwrap().rows;
    let mut actions: Vec<_> = rows.iter().map(|row| row.action.as_str()).collect();
    actions.sort_unstable();
    assert_eq!(actions, ["webhook.delete", "webhook.disable", "webhook.put", "webhook.replay"]);
    for hidden in ["sixteen", "hidden"] {
        assert!(rows.iter().all(|row| !row.detail.contains(hidden)), "{rows:?}");
    }
    assert!(matches!(refusal(store.delete_webhook(&by(&local, 4), &name, IfMatch::Always)), Refusal::Unknown { .. }));
}

#[test]
fn what_cannot_be_a_webhook_is_refused_by_field() {
    let (store, local) = (Store::in_memory().unwrap(), Principal::local());
    let put = |webhook: &Webhook, secret: Option<&WebhookSecret>| {
        refusal(store.put_webhook(&by(&local, 0), webhook, secret, 0, IfMatch::Always)).to_string()
    };
    assert!(put(&webhook("cad"), None).contains("secret: a new webhook needs one"));
    assert!(put(&webhook(&"x".repeat(90)), Some(&secret())).contains("webhook: as `webhook:xxx"));
    let long = Webhook { url: "http://x/".repeat(300), ..webhook("cad") };
    assert!(put(&long, Some(&secret())).contains("url: 2700 bytes"));
    let many = Webhook { units: vec![unit("car-1"); 65], ..webhook("cad") };
    assert!(put(&many, Some(&secret())).contains("units: 65 are more than the 64"));
    // Nobody may log on as one.
    let token = store.create_token(&by(&local, 0), &holder("webhook:cad", model::Role::Viewer), at(9));
    assert!(refusal(token).to_string().contains("a name that Muster uses itself"));
}

#[test]
fn an_organisation_with_a_webhook_stays() {
    let (store, local) = (Store::in_memory().unwrap(), Principal::local());
    let east =
        model::Organisation { name: organisation("east"), label: String::new(), parent: None, territory: Vec::new() };
    store.put_organisation(&by(&local, 0), &east, IfMatch::Always).unwrap();
    let of = |name: &str| Webhook { organisation: Some(organisation(name)), ..webhook("cad") };
    let nowhere = store.put_webhook(&by(&local, 0), &of("nowhere"), Some(&secret()), 0, IfMatch::Always);
    assert!(refusal(nowhere).to_string().contains("org: there is no organisation"));
    store.put_webhook(&by(&local, 0), &of("east"), Some(&secret()), 0, IfMatch::Always).unwrap();
    let refused = refusal(store.delete_organisation(&by(&local, 1), &east.name, IfMatch::Always)).to_string();
    assert!(refused.contains("1 webhooks, for example `cad`"), "{refused}");
}
