//! P26 for ground: whoever has some sees who is on it, so that nobody takes any for itself.

use model::Role;

use super::{Caller, OUR_ZONE, OURS, Scene, THEIRS, drawn, principal, request, station};

#[tokio::test]
async fn an_administrator_of_an_organisation_gives_ground_neither_to_itself_nor_to_those_below() {
    let scene = Scene::new().await;
    let (whole, east) =
        (scene.token(Caller::Whole(Role::Administrator)), scene.token(Caller::East(Role::Administrator)));
    let put = async |token: &Option<String>, name: &str, body: String| {
        let path = format!("/v1/organisations/{name}");
        let (status, _, answer) = scene.ask(request("PUT", &path, token.as_deref(), body)).await;
        (status.as_u16(), answer)
    };
    let ground = |west: f64| station(22.8, west).replace("bureau", "org-east");
    let none = r#"{"parent":"org-east","label":"first"}"#.to_owned();
    let (status, answer) = put(&east, "east-post", none).await;
    assert_eq!(status, 200, "{answer}");
    // The west is there: a new one and one that is known get none of it.
    for name in ["east-post", "east-new", "org-east"] {
        let (status, answer) = put(&east, name, ground(108.3)).await;
        assert_eq!(status, 403, "{answer}");
    }
    let now = scene.now();
    let local = model::Principal::local();
    let by = store::By { principal: &local, now, reason: None };
    let viewer = principal("post-viewer", Role::Viewer, Some("east-post"));
    let until = now.after(std::time::Duration::from_secs(3_600));
    let viewer = scene.server.service().store.create_token(&by, &viewer, until).unwrap();
    let seen = async || {
        let answer = scene.ask(request("GET", "/v1/units", Some(&viewer), "")).await.2;
        [OURS, THEIRS].map(|name| answer.contains(name))
    };
    assert_eq!(seen().await, [false, false]);
    // Those of the whole give it; with it others may change all else, or take it away.
    let (status, answer) = put(&whole, "east-post", ground(108.3)).await;
    assert_eq!((status, seen().await), (200, [true, true]), "{answer}");
    let same = ground(108.3).replace(r#""datum""#, r#""label":"second","datum""#);
    let (status, answer) = put(&east, "east-post", same).await;
    assert_eq!((status, answer.contains("second")), (200, true), "{answer}");
    assert_eq!(put(&east, "east-post", ground(108.2)).await.0, 403);
    assert_eq!(put(&east, "east-post", r#"{"parent":"org-east"}"#.to_owned()).await.0, 200);
    assert_eq!(put(&east, "east-post", ground(108.3)).await.0, 403);
    assert_eq!(seen().await, [false, false]);
    scene.server.stop().await;
}

/// One button opened all that its unit had done to the neighbour, who then never heard of its end.
#[tokio::test]
async fn an_emergency_beside_ones_ground_is_told_to_its_end_and_opens_no_history() {
    let scene = Scene::new().await;
    let chief = scene.token(Caller::Whole(Role::Administrator));
    let put = async |path: &str, body: String| {
        let (status, _, answer) = scene.ask(request("PUT", path, chief.as_deref(), body)).await;
        assert_eq!(status, 200, "{answer}");
    };
    // The ground of the east begins 3 km from the unit of the west: beyond the strip, and near enough for a button.
    put("/v1/organisations/org-east", station(22.8, 108.396).replace(r#""parent":"bureau","#, "")).await;
    put(&format!("/v1/zones/{OUR_ZONE}"), drawn(OUR_ZONE, "org-east")).await;
    let service = scene.server.service();
    let east = scene.token(Caller::East(Role::Dispatcher));
    let heard = async || scene.ask(request("GET", "/v1/events?after=0", east.as_deref(), "")).await.2;
    assert!(!heard().await.contains(THEIRS));
    let place = Some((model::Position::from_degrees(22.817, 108.366).unwrap(), scene.now()));
    let device = model::DeviceId::of("muster", THEIRS).unwrap();
    service.engine.ring(model::Press { device, pressed_at: None, received_at: scene.now(), is_delayed: false, place });
    let their = async |kind: &str| {
        let is_theirs = |event: &&str| event.contains(THEIRS) && event.contains(kind);
        heard().await.split("\n\n").filter(is_theirs).count()
    };
    while their("emergency_raised").await == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(their("").await, 1, "what it did before is its own");
    let (status, _, answer) = scene.ask(request("GET", "/v1/units/west-9", east.as_deref(), "")).await;
    assert_eq!(status, 200, "{answer}");
    let cleared = r#"{"reason":"false alarm"}"#;
    let (status, _, answer) = scene.ask(request("POST", "/v1/emergencies/1/cleared", chief.as_deref(), cleared)).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(their("emergency_cleared").await, 1);
    assert_eq!(their("").await, 2);
    assert_eq!(scene.ask(request("GET", "/v1/units/west-9", east.as_deref(), "")).await.0, 404);
    scene.server.stop().await;
}

/// Ground tells of no covert unit of others, not even that there is one.
#[tokio::test]
async fn a_covert_unit_on_ones_ground_is_neither_shown_nor_counted() {
    let scene = Scene::new().await;
    let chief = scene.token(Caller::Whole(Role::Administrator));
    let put = async |path: &str, body: String| {
        let (status, _, answer) = scene.ask(request("PUT", path, chief.as_deref(), body)).await;
        assert_eq!(status, 200, "{answer}");
    };
    put("/v1/organisations/org-east", station(22.8, 108.3).replace(r#""parent":"bureau","#, "")).await;
    put("/v1/units/west-9", r#"{"org":"org-west","covert":true}"#.to_owned()).await;
    put("/v1/units/east-8", r#"{"org":"org-east","covert":true,"devices":["muster:east-8"]}"#.to_owned()).await;
    scene.report("east-8", "22.8171").await;
    let circle = r#"{"type":"Point","coordinates":[108.366,22.817],"radius_m":5000}"#;
    let strength = format!("/v1/zones/{OUR_ZONE}/strength");
    let units = format!("/v1/zones/{OUR_ZONE}/units");
    for (method, path, body) in [
        ("GET", "/v1/nearest?lat=22.817&lon=108.366&explain=true", ""),
        ("POST", "/v1/within", circle),
        ("GET", strength.as_str(), ""),
        ("GET", units.as_str(), ""),
    ] {
        let told = async |caller| {
            let (status, _, answer) = scene.ask(request(method, path, scene.token(caller).as_deref(), body)).await;
            assert_eq!(status, 200, "{answer}");
            answer.contains("\"covert\":")
        };
        assert!(!told(Caller::East(Role::Dispatcher)).await, "{path}");
        assert!(told(Caller::Whole(Role::Dispatcher)).await, "{path}");
    }
    let east = scene.token(Caller::East(Role::Dispatcher));
    let status =
        async |unit: &str| scene.ask(request("GET", &format!("/v1/units/{unit}"), east.as_deref(), "")).await.0;
    assert_eq!((status(THEIRS).await.as_u16(), status("east-8").await.as_u16()), (404, 200));
    scene.server.stop().await;
}
