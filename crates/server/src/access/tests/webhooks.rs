//! P26 for webhooks: who may write them, and what each is sent.

use ingest::Allowed;
use model::{Role, UnitName};
use store::audit::Filter;

use super::{Caller, OUR_ZONE, OURS, Scene, THEIR_ZONE, THEIRS, request};
use crate::config::WebhookConfig;
use crate::webhooks::tests::receiver::{Receiver, SECRET};

/// The path and the body of an operation on a webhook of the east.
pub(super) fn question(method: &str, path: &str) -> (String, String) {
    let own = "/v1/webhooks/east-new";
    match path.strip_prefix("/v1/webhooks/{webhook}") {
        Some("") if method == "PUT" => (own.to_owned(), body("http://cad.example/", "org-east", false)),
        Some("/replay") => (format!("{own}/replay"), r#"{"from":1}"#.to_owned()),
        Some(rest) => (format!("{own}{rest}"), String::new()),
        None => (path.to_owned(), String::new()),
    }
}

/// Receivers of the tests are on this machine.
pub(super) fn at_home() -> WebhookConfig {
    WebhookConfig { networks: Allowed::new(&["127.0.0.0/8".to_owned()], &[]).unwrap(), ..WebhookConfig::default() }
}

fn body(url: &str, organisation: &str, enabled: bool) -> String {
    format!(r#"{{"url":"{url}","secret":"{SECRET}","org":"{organisation}","enabled":{enabled}}}"#)
}

#[tokio::test]
async fn a_webhook_is_sent_what_its_organisation_sees_and_the_audit_says_so_first() {
    let (scene, receiver) = (Scene::new().await, Receiver::new().await);
    let chief = scene.token(Caller::East(Role::Administrator));
    let ask = async |method: &str, path: &str, body: String| {
        let (status, _, answer) = scene.ask(request(method, path, chief.as_deref(), body)).await;
        assert_eq!(status, 200, "{answer}");
    };
    ask("PUT", "/v1/webhooks/east-hook", body(&receiver.url, "org-east", true)).await;
    ask("POST", "/v1/webhooks/east-hook/replay", r#"{"from":1}"#.to_owned()).await;
    let said = serde_json::to_string(&receiver.taken(1).await).unwrap();
    assert_eq!([OURS, OUR_ZONE, THEIRS, THEIR_ZONE].map(|word| said.contains(word)), [true, true, false, false]);
    let looks = |unit: &str| {
        let filter = Filter { unit: Some(UnitName::new(unit).unwrap()), ..Filter::default() };
        let rows = scene.server.service().store.query_audit(&filter, None, 1_000).unwrap().rows;
        rows.iter().filter(|row| row.action == "look.webhook" && row.principal == "webhook:east-hook").count()
    };
    assert_eq!((looks(OURS), looks(THEIRS)), (1, 0));
    scene.server.stop().await;
}

#[tokio::test]
async fn another_organisations_webhook_answers_like_one_that_is_not_there() {
    let scene = Scene::new().await;
    let (whole, east) =
        (scene.token(Caller::Whole(Role::Administrator)), scene.token(Caller::East(Role::Administrator)));
    let ask = async |token: &Option<String>, method: &str, path: &str, body: &str| {
        let (status, _, answer) = scene.ask(request(method, path, token.as_deref(), body.to_owned())).await;
        (status.as_u16(), answer)
    };
    let theirs = body("http://cad.example/", "org-west", false);
    assert_eq!(ask(&whole, "PUT", "/v1/webhooks/west-hook", &theirs).await.0, 200);
    for (method, path, body) in [
        ("GET", "/v1/webhooks/west-hook", ""),
        ("DELETE", "/v1/webhooks/west-hook", ""),
        ("GET", "/v1/webhooks/west-hook/dead", ""),
        ("POST", "/v1/webhooks/west-hook/replay", r#"{"from":1}"#),
    ] {
        let (theirs, none) =
            (ask(&east, method, path, body).await, ask(&east, method, &path.replace("west", "gone"), body).await);
        assert_eq!((theirs.0, theirs.1.replace("west", "gone")), none, "{method} {path}");
        assert_eq!(theirs.0, 404, "{method} {path}");
    }
    let ours = body("http://cad.example/", "org-east", false);
    for (path, body) in [("/v1/webhooks/west-hook", &ours), ("/v1/webhooks/east-hook", &theirs)] {
        assert_eq!(ask(&east, "PUT", path, body).await.0, 403, "{path}");
    }
    assert_eq!(ask(&east, "PUT", "/v1/webhooks/east-hook", &ours).await.0, 200);
    let (_, listed) = ask(&east, "GET", "/v1/webhooks", "").await;
    assert!(listed.contains("east-hook") && !listed.contains("west") && !listed.contains(SECRET), "{listed}");
    let (_, listed) = ask(&whole, "GET", "/v1/webhooks", "").await;
    assert!(listed.contains("east-hook") && listed.contains("west-hook") && !listed.contains(SECRET), "{listed}");
    scene.server.stop().await;
}

/// Whose receiver is down is nobody else's to know, and how it fails says what is in the network of the server.
#[tokio::test]
async fn a_webhook_that_fails_is_an_alarm_for_its_owner_only_and_in_one_word() {
    let (scene, receiver) = (Scene::new().await, Receiver::new().await);
    receiver.answer(|_| axum::http::StatusCode::IM_A_TEAPOT);
    let ask = async |caller, method: &str, path: &str, body: String| {
        scene.ask(request(method, path, scene.token(caller).as_deref(), body)).await
    };
    let chief = Caller::East(Role::Administrator);
    let (status, _, answer) = ask(chief, "PUT", "/v1/webhooks/east-hook", body(&receiver.url, "org-east", true)).await;
    assert_eq!(status, 200, "{answer}");
    ask(chief, "POST", "/v1/webhooks/east-hook/replay", r#"{"from":1}"#.to_owned()).await;
    let failing = async {
        while !scene.server.service().webhooks.are_failing() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), failing).await.expect("it fails three times");
    let own = ask(chief, "GET", "/v1/webhooks/east-hook", String::new()).await.2;
    assert!(own.contains(r#""why":"refused_by_receiver""#), "{own}");
    let whole = ask(Caller::Whole(Role::Administrator), "GET", "/v1/webhooks/east-hook", String::new()).await.2;
    assert!(whole.contains("418"), "{whole}");
    let stats = ask(Caller::Whole(Role::Administrator), "GET", "/v1/stats", String::new()).await.2;
    assert!(stats.contains("webhook_failing"), "{stats}");
    let units = ask(Caller::East(Role::Viewer), "GET", "/v1/units", String::new()).await.2;
    assert!(!units.contains("webhook_failing"), "{units}");
    scene.server.stop().await;
}
