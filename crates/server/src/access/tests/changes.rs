//! Who may change what of units and organisations.

use super::*;

#[tokio::test]
async fn a_change_that_expects_another_version_is_refused() {
    let scene = Scene::new().await;
    let chief = scene.token(Caller::Whole(Role::Administrator));
    let body = r#"{"call_sign":"East 1","external":{"cad":"4711"},"kind":"car"}"#;
    let put = |header: Option<(&'static str, &str)>| {
        let mut request = request("PUT", "/v1/units/car-1", chief.as_deref(), body);
        if let Some((name, value)) = header {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        scene.ask(request)
    };
    let (status, _, answer) = put(Some(("if-none-match", "*"))).await;
    assert_eq!(status, 200, "{answer}");
    assert!(answer.contains("\"call_sign\":\"East 1\",\"external\":{\"cad\":\"4711\"}"), "{answer}");
    let etag = |answer: &str| answer.split("\"etag\": \"\\\"").nth(1).unwrap().split('\\').next().unwrap().to_owned();
    let first = etag(&answer);
    assert_eq!(put(Some(("if-none-match", "*"))).await.0, 412);
    let (status, _, answer) = put(Some(("if-match", &format!("\"{first}\"")))).await;
    assert_eq!(status, 200);
    assert_ne!(etag(&answer), first);
    assert_eq!(put(Some(("if-match", &format!("\"{first}\"")))).await.0, 412);
    assert_eq!(put(Some(("if-match", "7"))).await.0, 400);
    scene.server.stop().await;
}

#[tokio::test]
async fn a_dispatcher_directs_its_own_units_and_sees_what_stands() {
    let scene = Scene::new().await;
    let desk = scene.token(Caller::East(Role::Dispatcher));
    let put = |path: &str, body: &str| scene.ask(request("PUT", path, desk.as_deref(), body.to_owned()));
    let status = format!("/v1/units/{OURS}/status");
    let (code, _, answer) = put(&status, r#"{"status":"busy","source":"cad-1","idempotency_key":"k1"}"#).await;
    assert_eq!(code, 200, "{answer}");
    assert!(answer.contains("\"status\":\"busy\"") && answer.contains("\"status_owner\":\"cad\""), "{answer}");
    let repeated = put(&status, r#"{"status":"available","idempotency_key":"k1"}"#).await.2;
    assert!(repeated.contains("\"status\":\"busy\""), "{repeated}");
    let (_, _, nearest) = scene.ask(request("GET", "/v1/nearest?lat=22.817&lon=108.366", desk.as_deref(), "")).await;
    assert!(nearest.contains("\"omitted\":{\"status\":1}"), "a busy unit is no candidate: {nearest}");
    let assignment = put(&format!("/v1/units/{OURS}/assignment"), r#"{"assignment":"incident-12"}"#).await.2;
    assert!(assignment.contains("\"assignment\":\"incident-12\""), "{assignment}");
    let hidden = put(&format!("/v1/units/{THEIRS}/status"), r#"{"status":"busy"}"#).await;
    assert_eq!(hidden.0, 404);
    let misspelt = put(&status, r#"{"status":"busy","idempotency_kye":"k9"}"#).await;
    assert_eq!(misspelt.0, 400, "a key that is ignored would make two changes: {}", misspelt.2);
    for (bad, field) in [(r#"{"status":"tired"}"#, "status"), (r#"{"status":"busy","owner":"boss"}"#, "owner")] {
        let (code, _, answer) = put(&status, bad).await;
        assert_eq!((code.as_u16(), answer.contains(&format!("\"field\":\"{field}\""))), (400, true), "{answer}");
    }
    scene.server.stop().await;
}

#[tokio::test]
async fn broken_glass_shows_all_to_a_commander_and_itself_to_the_superior() {
    let scene = Scene::new().await;
    let (commander, chief) = (scene.token(Caller::East(Role::Commander)), scene.token(Caller::Whole(Role::Commander)));
    let units = async || scene.ask(request("GET", "/v1/units", commander.as_deref(), "")).await.2;
    assert!(!units().await.contains(THEIRS));
    let smash = |reason: &str| {
        let body = format!(r#"{{"reason":"{reason}"}}"#);
        scene.ask(request("POST", "/v1/break-glass", commander.as_deref(), body))
    };
    assert_eq!(smash("because").await.0, 400);
    assert!(!units().await.contains(THEIRS));
    assert_eq!(smash("shots at the bridge, west does not answer").await.0, 200);
    assert!(units().await.contains(THEIRS));
    let east_of_whole = request("DELETE", "/v1/units/west-9", commander.as_deref(), "");
    assert_eq!(scene.ask(east_of_whole).await.0, 403, "it sees, and may not do more");
    let nobodys = Unit::named(UnitName::new("nobodys").unwrap());
    scene.server.enrol(nobodys, &[]).unwrap();
    let direct = request("PUT", "/v1/units/nobodys/status", commander.as_deref(), r#"{"status":"busy"}"#);
    assert_eq!(scene.ask(direct).await.0, 403, "what nobody owns is not its to direct");
    let told = scene.ask(request("GET", "/v1/break-glass", chief.as_deref(), "")).await.2;
    assert!(told.contains("e-commander") && told.contains("shots at the bridge"), "{told}");
    let rows = scene.server.service().store.query_audit(&Filter::default(), None, 1_000).unwrap().rows;
    let broken: Vec<_> = rows.iter().filter(|row| row.action == "break_glass").collect();
    assert_eq!(broken.len(), 1);
    assert!(broken[0].detail.contains("shots at the bridge") && broken[0].principal == "e-commander");
    scene.server.stop().await;
}

#[tokio::test]
async fn a_stranger_is_listed_until_it_is_enrolled() {
    let scene = Scene::new().await;
    let chief = scene.token(Caller::Whole(Role::Administrator));
    let report = async || {
        let text = r#"{"reports":[{"device":"muster:stray","lat":22.817,"lon":108.366}]}"#;
        let token = scene.token(Caller::Whole(Role::Gateway));
        scene.ask(request("POST", "/v1/reports", token.as_deref(), text)).await.2
    };
    let listed = async || scene.ask(request("GET", "/v1/quarantine", chief.as_deref(), "")).await.2;
    assert!(report().await.contains("unknown_device"));
    assert!(listed().await.contains("muster:stray"));
    let body = r#"{"devices":["muster:stray"],"org":"org-east"}"#;
    assert_eq!(scene.ask(request("PUT", "/v1/units/found-1", chief.as_deref(), body)).await.0, 200);
    assert!(report().await.contains("\"accepted\":1"));
    assert!(!listed().await.contains("muster:stray"));
    scene.server.stop().await;
}

/// A duty has a zone; whoever is not there when it begins has left it, and is back when it is there.
#[tokio::test]
async fn a_unit_outside_the_beat_of_its_duty_has_left_it() {
    let scene = Scene::new().await;
    let admin = scene.token(Caller::Whole(Role::Administrator));
    let put = async |path: &str, body: String| scene.ask(request("PUT", path, admin.as_deref(), body)).await;
    let zone = r#"{"type":"Feature","datum":"wgs84","geometry":{"type":"Point","coordinates":[108.5,22.9]},"properties":{"layer":3,"radius_m":500}}"#;
    let (status, _, answer) = put("/v1/zones/far-beat", zone.to_owned()).await;
    assert_eq!(status, 200, "{answer}");
    let duty = |duty: &str| format!(r#"{{"org":"org-east","duty":{duty}}}"#);
    let path = format!("/v1/units/{OURS}");
    assert_eq!(put(&path, duty(r#"{"zone":"a b"}"#)).await.0, 400);
    assert_eq!(put(&path, duty(r#"{"until":"yesterday"}"#)).await.0, 400);
    let (status, _, answer) = put(&path, duty(r#"{"zone":"far-beat"}"#)).await;
    assert_eq!(status, 200, "{answer}");
    scene.server.service().engine.watch().unwrap().last().wait_for(|last| *last >= 5).await.unwrap();
    let (_, _, said) = scene.ask(request("GET", "/v1/events?after=4&kind=beat_left", admin.as_deref(), "")).await;
    assert!(said.contains("event: beat_left\n") && said.contains("far-beat") && said.contains(OURS), "{said}");
    let over = duty(r#"{"from":"2026-01-01T00:00:00Z","until":"2026-01-01T08:00:00Z"}"#);
    assert!(put(&path, over).await.2.contains("off_duty"), "outside its duty it is off duty");
    // A crew rides from then to then, and is told to who sees the riders.
    assert_eq!(put("/v1/units/rider-1", r#"{"kind":"foot","org":"org-west"}"#.to_owned()).await.0, 200);
    let crew = r#"{"org":"org-east","crew":[{"unit":"rider-1","until":"2099-01-01T00:00:00Z"}]}"#;
    assert!(put(&path, crew.to_owned()).await.2.contains(r#""crew":[{"unit":"rider-1""#));
    assert_eq!(put(&path, r#"{"org":"org-east","crew":[{"unit":"nobody"}]}"#.to_owned()).await.0, 400);
    let east = scene.token(Caller::East(Role::Dispatcher));
    let (status, _, seen) = scene.ask(request("GET", &path, east.as_deref(), "")).await;
    assert!(status == 200 && !seen.contains("rider-1"), "{seen}");
    scene.server.stop().await;
}
