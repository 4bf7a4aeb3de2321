//! P26 for units that are lent to the sight of another organisation.

use std::time::{Duration, Instant};

use axum::http::StatusCode;
use model::Role;
use store::audit::Filter;

use super::{Caller, OURS, Scene, THEIR_LAT, THEIRS, request};

/// What a dispatcher of the east is told where the unit of the west could be named.
async fn told(scene: &Scene) -> Vec<(StatusCode, String)> {
    let east = scene.token(Caller::East(Role::Dispatcher));
    let mut answers = Vec::new();
    for path in ["/v1/units/west-9", "/v1/units", "/v1/nearest?lat=22.8177&lon=108.366&k=10&explain=true"] {
        let (status, _, answer) = scene.ask(request("GET", path, east.as_deref(), "")).await;
        answers.push((status, answer));
    }
    answers
}

fn names(answers: &[(StatusCode, String)]) -> Vec<bool> {
    answers.iter().map(|(status, answer)| *status == 200 && answer.contains(THEIRS)).collect()
}

async fn put(scene: &Scene, caller: Caller, unit: &str, body: String) -> (u16, String) {
    let path = format!("/v1/units/{unit}/assignment");
    let (status, _, answer) = scene.ask(request("PUT", &path, scene.token(caller).as_deref(), body)).await;
    (status.as_u16(), answer)
}

async fn scene() -> Scene {
    let scene = Scene::new().await;
    let chief = scene.token(Caller::Whole(Role::Administrator));
    for name in ["org-east", "org-west"] {
        let path = format!("/v1/organisations/{name}");
        assert_eq!(scene.ask(request("PUT", &path, chief.as_deref(), "{}")).await.0, 200);
    }
    scene.report(THEIRS, THEIR_LAT).await;
    scene.report(OURS, "22.8171").await;
    scene
}

fn lending(scene: &Scene, for_ms: i64) -> String {
    let until = scene.now().shifted_ms(for_ms);
    format!(r#"{{"assignment":"incident-3","for_org":"org-east","until":"{until}"}}"#)
}

#[tokio::test]
async fn a_unit_that_is_lent_is_seen_until_it_is_taken_back_and_is_unknown_before_and_after() {
    let scene = scene().await;
    let desk = Caller::Whole(Role::Dispatcher);
    let before = told(&scene).await;
    assert_eq!(names(&before), [false; 3], "{before:?}");
    let lent = lending(&scene, 3_600_000);
    assert_eq!(put(&scene, Caller::East(Role::Commander), THEIRS, lent.clone()).await.0, 404, "not theirs to take");
    assert_eq!(names(&told(&scene).await), [false; 3]);
    let (status, answer) = put(&scene, desk, THEIRS, lent).await;
    assert_eq!(status, 200, "{answer}");
    let during = told(&scene).await;
    assert_eq!(names(&during), [true; 3], "{during:?}");
    // Seen, and no more theirs than before: neither to direct nor to lend on.
    let again = lending(&scene, 7_200_000);
    assert_eq!(put(&scene, Caller::East(Role::Commander), THEIRS, again).await.0, 403);
    assert_eq!(put(&scene, desk, THEIRS, r#"{"assignment":null}"#.to_owned()).await.0, 200);
    let after = told(&scene).await;
    assert_eq!(names(&after), [false; 3], "{after:?}");
    assert_eq!((after[0].0, before[0].0), (StatusCode::NOT_FOUND, StatusCode::NOT_FOUND));
    let nobody = request("GET", "/v1/units/nobody", scene.token(Caller::East(Role::Dispatcher)).as_deref(), "");
    assert_eq!(after[0].1, scene.ask(nobody).await.2.replace("nobody", THEIRS), "as one that is not there");
    let rows = scene.server.service().store.query_audit(&Filter::default(), None, 1_000).unwrap().rows;
    let is_lending = |row: &&store::audit::Row| row.action == "unit.assignment" && row.resource == THEIRS;
    let lent = rows.iter().filter(is_lending).filter(|row| row.detail.contains(r#""for_org":"org-east""#));
    assert_eq!(lent.count(), 1, "{rows:?}");
    scene.server.stop().await;
}

#[tokio::test]
async fn what_is_lent_ends_by_itself() {
    let scene = scene().await;
    let (status, answer) = put(&scene, Caller::Whole(Role::Commander), THEIRS, lending(&scene, 2_000)).await;
    let began = Instant::now();
    assert_eq!(status, 200, "{answer}");
    if began.elapsed() < Duration::from_millis(1_000) {
        assert_eq!(names(&told(&scene).await), [true; 3]);
    }
    while names(&told(&scene).await).contains(&true) {
        assert!(began.elapsed() < Duration::from_secs(20), "it ended, and is seen");
        tokio::task::yield_now().await;
    }
    scene.server.stop().await;
}

#[tokio::test]
async fn nobody_lends_without_an_end_or_to_nobody() {
    let scene = scene().await;
    let soon = scene.now().shifted_ms(60_000);
    let late = scene.now().shifted_ms(25 * 3_600_000);
    for (body, field) in [
        (r#"{"assignment":"i","for_org":"org-east"}"#.to_owned(), "until"),
        (format!(r#"{{"assignment":"i","until":"{soon}"}}"#), "for_org"),
        (format!(r#"{{"assignment":null,"for_org":"org-east","until":"{soon}"}}"#), "for_org"),
        (format!(r#"{{"assignment":"i","for_org":"nowhere","until":"{soon}"}}"#), "for_org"),
        (format!(r#"{{"assignment":"i","for_org":"org-east","until":"{late}"}}"#), "until"),
        (r#"{"assignment":"i","for_org":"org-east","until":"2020-01-01T00:00:00Z"}"#.to_owned(), "until"),
    ] {
        let (status, answer) = put(&scene, Caller::Whole(Role::Commander), THEIRS, body).await;
        assert_eq!((status, answer.contains(field)), (400, true), "{answer}");
    }
    assert_eq!(names(&told(&scene).await), [false; 3]);
    scene.server.stop().await;
}
