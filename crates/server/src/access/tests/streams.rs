//! P26 over streams that stay open.

use std::time::Duration;

use model::{Principal, Role, UnitName};
use store::By;
use store::audit::Filter;
use tower::ServiceExt as _;

use super::{Caller, OUR_ZONE, OURS, Scene, THEIR_ZONE, THEIRS, frame, question, request};

/// Over both streams: one's own unit in one's own zone, and nothing of theirs; whoever sees all hears all.
#[tokio::test]
async fn events_are_told_to_those_who_see_the_unit_and_the_zone() {
    let scene = Scene::new().await;
    for path in ["/v1/events", "/muster.v1.Query/Watch"] {
        let heard = async |caller| {
            let (_, _, said) = scene
                .ask(question(if path == "/v1/events" { "GET" } else { "POST" }, path, scene.token(caller).as_deref()))
                .await;
            [OURS, OUR_ZONE, THEIRS, THEIR_ZONE].map(|word| said.contains(word))
        };
        let all = heard(Caller::Whole(Role::Viewer)).await;
        assert_eq!(all, [true; 4], "{path}");
        // gRPC begins after the first event, which was theirs to hear.
        let east = heard(Caller::East(Role::Dispatcher)).await;
        assert_eq!(east, if path == "/v1/events" { [true, true, false, false] } else { [false; 4] }, "{path}");
    }
    // Every event that named a unit was a look.
    let filter = Filter { unit: Some(UnitName::new(THEIRS).unwrap()), ..Filter::default() };
    let rows = scene.server.service().store.query_audit(&filter, None, 1_000).unwrap().rows;
    assert_eq!(rows.iter().filter(|row| row.action == "look.events" && row.principal == "w-viewer").count(), 2);
    scene.server.stop().await;
}

/// A stream that is open ends when its token is revoked.
#[tokio::test]
async fn a_listener_hears_nothing_more_once_its_token_is_revoked() {
    let scene = Scene::new().await;
    let token = scene.token(Caller::Whole(Role::Viewer)).unwrap();
    let asked = request("GET", "/v1/events?after=0", Some(&token), "");
    let mut body = scene.http.clone().oneshot(asked).await.unwrap().into_body();
    let mut said = Vec::new();
    while !String::from_utf8_lossy(&said).contains(THEIR_ZONE) {
        said.extend(frame(&mut body).await.unwrap().unwrap().into_data().unwrap());
    }
    let (store, now, local) = (&scene.server.service().store, scene.now(), Principal::local());
    let number = store.by_secret(&token, now).unwrap().unwrap().token;
    store.revoke_token(&By { principal: &local, now, reason: None }, number).unwrap();
    let mut last = String::new();
    while let Some(next) = tokio::time::timeout(Duration::from_secs(60), frame(&mut body)).await.unwrap() {
        last = String::from_utf8_lossy(&next.unwrap().into_data().unwrap()).into_owned();
        // Something happens all the time.
        scene.report(OURS, "22.8171").await;
    }
    assert!(last.starts_with("event: end"), "{last}");
    scene.server.stop().await;
}

/// Whoever sees an emergency may say so; it is ended by whoever commands the unit. Both are events, and in the audit.
#[tokio::test]
async fn an_emergency_is_seen_and_cleared_by_those_who_may() {
    let scene = Scene::new().await;
    let ring = |name: &str| {
        let device = model::DeviceId::of("muster", name).unwrap();
        let place = Some((model::Position::from_degrees(22.817, 108.366).unwrap(), scene.now()));
        let press = model::Press { device, pressed_at: None, received_at: scene.now(), is_delayed: false, place };
        scene.server.service().engine.ring(press);
    };
    [OURS, THEIRS, "nobody"].into_iter().for_each(ring);
    let east = scene.token(Caller::East(Role::Dispatcher));
    let post = async |path: &str, body: &str| {
        scene.ask(request("POST", &format!("/v1/emergencies/{path}"), east.as_deref(), body.to_owned())).await
    };
    assert_eq!(post("1/seen", "").await.0, 200);
    let (status, _, answer) = post("1/cleared", r#"{"reason":"false alarm"}"#).await;
    assert_eq!(status, 200, "{answer}");
    assert!(answer.contains(r#""seen_by":"e-dispatcher""#), "{answer}");
    assert_eq!(post("1/cleared", r#"{"reason":"again"}"#).await.0, 404);
    assert_eq!(post("3/cleared", r#"{"reason":" "}"#).await.0, 400);
    assert_eq!(post("3/cleared", r#"{"reason":"a test"}"#).await.0, 200, "nobody's device is anybody's");
    // Theirs is beyond our ground: it answers like one that is not there.
    let (hidden, unknown) = (post("2/seen", "").await, post("9/seen", "").await);
    assert_eq!((hidden.0.as_u16(), hidden.2.replace('2', "?")), (404, unknown.2.replace(['9', '2'], "?")));
    let service = scene.server.service();
    service.engine.watch().unwrap().last().wait_for(|last| *last >= 10).await.unwrap();
    let (_, _, said) = scene.ask(request("GET", "/v1/events?after=4", east.as_deref(), "")).await;
    let count = |kind: &str| said.matches(&format!("event: {kind}\n")).count();
    assert_eq!([count("emergency_raised"), count("emergency_seen"), count("emergency_cleared")], [2, 1, 2], "{said}");
    assert!(!said.contains(THEIRS), "{said}");
    let rows = service.store.query_audit(&Filter::default(), None, 1_000).unwrap().rows;
    let done: Vec<_> = rows.iter().filter(|row| row.action.starts_with("emergency.")).map(|row| &row.action).collect();
    assert_eq!(done.len(), 3, "{done:?}");
    scene.server.stop().await;
}
