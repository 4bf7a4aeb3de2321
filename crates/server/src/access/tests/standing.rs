//! Standing queries see what their organisation sees, and tell nobody else.

use std::time::{Duration, Instant};

use axum::http::StatusCode;
use model::limits::STANDING_BUDGET;
use model::{DeviceId, Principal, Role, Unit, UnitName};
use store::By;
use store::audit::Filter;

use super::{Caller, OUR_ZONE, OURS, Scene, THEIR_ZONE, THEIRS, principal, request, station};

/// A second unit of the east.
const OURS_TOO: &str = "east-8";

/// A zone that is not there, with a name as long as theirs.
const NO_ZONE: &str = "beat-of-the-third";

/// The body of a query that ends in an hour.
pub(super) fn asked(question: &str) -> String {
    let now = model::Clock::now(&crate::SystemClock::default());
    format!(r#"{{"incident":"robbery 12","until":"{}",{question}}}"#, now.after(Duration::from_secs(3_600)))
}

fn near(unit: &str, other: &str) -> String {
    asked(&format!(r#""near":{{"unit":"{unit}","other":"{other}","metres":300}}"#))
}

fn strength(zone: &str, fewer_than: u32) -> String {
    asked(&format!(r#""strength":{{"zone":"{zone}","fewer_than":{fewer_than}}}"#))
}

fn nearest() -> String {
    asked(r#""nearest":{"lat":22.817,"lon":108.366,"k":5}"#)
}

impl Scene {
    async fn with_a_second_unit() -> Self {
        let scene = Self::new().await;
        let organisation = Some(model::OrganisationName::new("org-east").unwrap());
        let unit = Unit { organisation, ..Unit::named(UnitName::new(OURS_TOO).unwrap()) };
        scene.server.enrol(unit, &[DeviceId::of("muster", OURS_TOO).unwrap()]).unwrap();
        scene.report(OURS_TOO, "22.8180").await;
        scene
    }

    /// The token of a dispatcher of some organisation.
    fn desk(&self, name: &str, organisation: &str) -> Option<String> {
        let (now, local) = (self.now(), Principal::local());
        let holder = principal(name, Role::Dispatcher, Some(organisation));
        let by = By { principal: &local, now, reason: None };
        let store = &self.server.service().store;
        Some(store.create_token(&by, &holder, now.after(Duration::from_secs(3_600))).unwrap())
    }

    async fn standing(&self, method: &str, number: &str, token: Option<&String>, body: String) -> (StatusCode, String) {
        let token = token.map(String::as_str);
        let (status, _, answer) = self.ask(request(method, &format!("/v1/standing{number}"), token, body)).await;
        (status, answer)
    }

    /// What a listener is told of standing queries from the first event on.
    async fn heard(&self, token: Option<&String>) -> String {
        let path = "/v1/events?after=0&kind=standing,standing_ended";
        self.ask(request("GET", path, token.map(String::as_str), "")).await.2
    }

    /// Rounds until so many events of standing queries are there.
    async fn rounds(&self, count: usize) {
        let (service, deadline) = (self.server.service(), Instant::now() + Duration::from_secs(30));
        let told = || {
            let page = service.engine.watch().unwrap().after(0).unwrap();
            page.events.iter().filter(|noted| noted.event.is_of_standing()).count()
        };
        while told() < count {
            assert!(Instant::now() < deadline, "{} of {count} are told", told());
            service.standings.suppose_begun(self.now().shifted_ms(-60_000));
            service.look_at_standing(self.now(), STANDING_BUDGET).await.unwrap();
        }
    }
}

#[tokio::test]
async fn each_kind_is_answered_with_the_sight_of_its_organisation_and_told_to_it_alone() {
    let scene = Scene::with_a_second_unit().await;
    let (east, west) = (scene.desk("desk-east", "org-east"), scene.desk("desk-west", "org-west"));
    let (east, west) = (east.as_ref(), west.as_ref());
    for (hidden, unknown) in
        [(near(OURS, THEIRS), near(OURS, "west-0")), (strength(THEIR_ZONE, 1), strength(NO_ZONE, 1))]
    {
        let hidden = scene.standing("POST", "", east, hidden).await;
        let unknown = scene.standing("POST", "", east, unknown).await;
        assert_eq!(hidden.0, 404);
        assert_eq!(hidden.1.replace(THEIRS, "west-0").replace(THEIR_ZONE, NO_ZONE), unknown.1);
    }
    for body in [near(OURS, OURS_TOO), strength(OUR_ZONE, 3), nearest()] {
        let (status, answer) = scene.standing("POST", "", east, body).await;
        assert_eq!(status, 201, "{answer}");
    }
    scene.rounds(3).await;
    let heard = scene.heard(east).await;
    for told in [
        r#""answer":"near","first":"true","incident":"robbery 12","metres":111,"other":"east-8","standing":1"#,
        r#""answer":"below","fewer_than":3,"first":"true","have":2,"incident":"robbery 12","standing":2"#,
        r#""nearest":["east-7","east-8"],"nearer_outside_scope":"true""#,
    ] {
        let mut parts = told.split(",\"").map(|part| part.trim_start_matches('"'));
        assert!(parts.all(|part| heard.contains(part)), "{told} is not in {heard}");
    }
    assert!(![THEIRS, THEIR_ZONE].iter().any(|word| heard.contains(word)), "{heard}");
    let others = scene.heard(west).await;
    assert!(!others.contains("event: standing"), "{others}");
    assert!(scene.heard(scene.token(Caller::Whole(Role::Viewer)).as_ref()).await.contains("event: standing"));
    let rows = scene.server.service().store.query_audit(&Filter::default(), None, 1_000).unwrap().rows;
    let looks: Vec<_> = rows.iter().filter(|row| row.action == "look.standing").collect();
    assert_eq!(looks.len(), 2, "a count shows nobody");
    assert!(looks.iter().all(|row| row.principal == "desk-east" && row.resource == "robbery 12"));
    scene.server.stop().await;
}

#[tokio::test]
async fn a_change_is_told_and_a_colleague_may_end_what_others_do_not_know() {
    let scene = Scene::with_a_second_unit().await;
    let (east, west) = (scene.desk("desk-east", "org-east"), scene.desk("desk-west", "org-west"));
    let (east, west) = (east.as_ref(), west.as_ref());
    let (status, answer) = scene.standing("POST", "", east, strength(OUR_ZONE, 3)).await;
    assert!(status == 201 && answer.contains("/v1/standing/1"), "{answer}");
    scene.rounds(1).await;
    let organisation = Some(model::OrganisationName::new("org-east").unwrap());
    let unit = Unit { organisation, ..Unit::named(UnitName::new("east-9").unwrap()) };
    scene.server.enrol(unit, &[DeviceId::of("muster", "east-9").unwrap()]).unwrap();
    scene.report("east-9", "22.8175").await;
    scene.rounds(2).await;
    assert!(scene.heard(east).await.contains(r#""answer":"enough""#));
    let shown = scene.standing("GET", "/1", east, String::new()).await.1;
    assert!(shown.contains(r#""answer":"enough""#) && shown.contains(r#""owner":"desk-east""#), "{shown}");
    for method in ["GET", "DELETE"] {
        let hidden = scene.standing(method, "/1", west, String::new()).await;
        let unknown = scene.standing(method, "/9", west, String::new()).await;
        assert_eq!((hidden.0.as_u16(), hidden.1.replace("`1`", "`9`")), (404, unknown.1), "{method}");
    }
    assert!(scene.standing("GET", "", west, String::new()).await.1.contains(r#""standing":[]"#));
    let colleague = scene.token(Caller::East(Role::Dispatcher));
    assert_eq!(scene.standing("DELETE", "/1", colleague.as_ref(), String::new()).await.0, 204);
    assert_eq!(scene.standing("GET", "/1", colleague.as_ref(), String::new()).await.0, 404);
    scene.rounds(3).await;
    let heard = scene.heard(east).await;
    assert!(heard.contains("event: standing_ended") && heard.contains(r#""why":"deleted""#), "{heard}");
    scene.server.stop().await;
}

/// Whoever commands an organisation, and has other ground, hears only of units that it sees itself.
#[tokio::test]
async fn whoever_commands_it_hears_of_no_unit_that_it_does_not_see() {
    let scene = Scene::with_a_second_unit().await;
    let chief = scene.token(Caller::Whole(Role::Administrator));
    let until = scene.now().after(Duration::from_secs(3_600));
    for (path, body) in [
        ("bureau", "{}".to_owned()),
        ("org-north", r#"{"parent":"bureau"}"#.to_owned()),
        ("org-east", station(22.8, 108.3)),
        ("org-east/command", format!(r#"{{"under":"org-north","until":"{until}"}}"#)),
    ] {
        let path = format!("/v1/organisations/{path}");
        let (status, _, answer) = scene.ask(request("PUT", &path, chief.as_deref(), body)).await;
        assert_eq!(status, 200, "{answer}");
    }
    let (east, north) = (scene.desk("desk-east", "org-east"), scene.desk("desk-north", "org-north"));
    let (east, north) = (east.as_ref(), north.as_ref());
    for body in [nearest(), near(OURS, OURS_TOO)] {
        assert_eq!(scene.standing("POST", "", east, body).await.0, 201);
    }
    scene.rounds(2).await;
    assert!(scene.heard(east).await.contains(THEIRS), "on its own ground");
    let heard = scene.heard(north).await;
    assert!(heard.contains(OURS) && heard.contains(r#""answer":"near""#), "{heard}");
    assert!(!heard.contains(THEIRS) && !heard.contains("nearest"), "{heard}");
    scene.server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused_by_the_name_of_its_field() {
    let scene = Scene::with_a_second_unit().await;
    let east = scene.token(Caller::East(Role::Dispatcher));
    for (body, field) in [
        (asked(r#""near":{"unit":"east-7","other":"east-7","metres":1}"#), "other"),
        (asked(r#""nearest":{"lat":99,"lon":108.366,"k":5}"#), "lat"),
        (asked(r#""nearest":{"lat":22.8,"lon":108.366,"k":21}"#), "k"),
        (asked(r#""nearest":{"lat":22.8,"lon":108.366,"k":5,"kind":["community"]}"#), "kind"),
        (asked(r#""nearest":{"lat":22.8,"lon":108.366,"k":5},"strength":{"zone":"z","fewer_than":1}"#), "nearest"),
        (near(OURS, OURS_TOO).replace("robbery 12", ""), "incident"),
        (near(OURS, OURS_TOO).replace("202", "203"), "until"),
    ] {
        let (status, answer) = scene.standing("POST", "", east.as_ref(), body).await;
        assert_eq!((status.as_u16(), answer.contains(&format!(r#""field":"{field}""#))), (400, true), "{answer}");
    }
    scene.server.stop().await;
}
