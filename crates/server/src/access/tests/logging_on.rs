//! How one logs on, and how long that holds.

use super::*;

#[tokio::test]
async fn a_token_is_traded_for_a_cookie_that_ends_with_it() {
    let scene = Scene::new().await;
    let token = scene.token(Caller::East(Role::Viewer)).unwrap();
    let (status, _, answer) = scene.ask(request("POST", "/v1/session", Some(&token), "")).await;
    assert_eq!(status, 200, "{answer}");
    assert!(answer.contains("HttpOnly; SameSite=Strict"), "{answer}");
    let id = answer.split("muster_session=").nth(1).unwrap().split(';').next().unwrap().to_owned();
    let with_cookie = |method: &str, path: &str| {
        let mut request = request(method, path, None, "");
        request.headers_mut().insert("cookie", format!("other=1; muster_session={id}").parse().unwrap());
        request
    };
    let (status, _, answer) = scene.ask(with_cookie("GET", "/v1/units")).await;
    assert_eq!(status, 200);
    assert!(answer.contains(OURS) && !answer.contains(THEIRS));
    assert_eq!(scene.ask(with_cookie("DELETE", "/v1/session")).await.0, 204);
    assert_eq!(scene.ask(with_cookie("GET", "/v1/units")).await.0, 401);
    for bad in ["", "muster_", "x"] {
        assert_eq!(scene.ask(request("POST", "/v1/session", Some(bad), "")).await.0, 401, "{bad:?}");
    }
    scene.server.stop().await;
}

/// A page that asks too often is told when to come back, and keeps no dispatcher from asking.
#[tokio::test]
async fn whoever_asks_too_often_gets_429_and_others_get_answers() {
    let scene = Scene::paced(3).await;
    let viewer = scene.token(Caller::Whole(Role::Viewer));
    let mut refused = 0;
    for _ in 0..20 {
        let (status, _, answer) = scene.ask(request("GET", "/v1/units", viewer.as_deref(), "")).await;
        match status.as_u16() {
            200 => {}
            429 => refused += 1,
            other => panic!("{other}: {answer}"),
        }
        assert!(status == 200 || answer.contains("urn:muster:problem:rate"), "{answer}");
        assert!(status == 200 || answer.contains("\"retry_after_s\":1"), "{answer}");
    }
    assert!(refused > 0, "20 requests take far less than 6 s");
    let desk = scene.token(Caller::Whole(Role::Dispatcher));
    for _ in 0..20 {
        assert_eq!(scene.ask(request("GET", "/v1/units", desk.as_deref(), "")).await.0, 200);
    }
    assert_eq!(scene.server.service().pace.refused.get(), refused);
    scene.server.stop().await;
}

/// Of the identity provider, with the scope of its `org`.
#[tokio::test]
async fn a_signed_token_sees_what_its_organisation_sees_and_opens_a_session() {
    let scene = Scene::new().await;
    let token = scene.idp.token(scene.now(), |_| ());
    let (status, _, answer) = scene.ask(request("GET", "/v1/units", Some(&token), "")).await;
    assert_eq!(status, 200, "{answer}");
    assert!(answer.contains(OURS) && !answer.contains(THEIRS), "{answer}");
    assert_eq!(scene.ask(request("POST", "/v1/session", Some(&token), "")).await.0, 200);
    let gateway = scene.idp.token(scene.now(), |claims| claims["role"] = "gateway".into());
    assert_eq!(scene.ask(request("GET", "/v1/units", Some(&gateway), "")).await.0, 403);
    let none = scene.idp.token(scene.now(), |claims| claims["exp"] = serde_json::Value::Null);
    let (status, _, answer) = scene.ask(request("GET", "/v1/units", Some(&none), "")).await;
    assert!(status == 401 && answer.contains("has no `exp`"), "{answer}");
    scene.server.stop().await;
}

/// First start: the one-time token makes one administrator and nothing else.
#[tokio::test]
async fn the_one_time_token_makes_an_administrator_and_ends() {
    let any = "127.0.0.1:0".parse().unwrap();
    let config = Config { http: any, grpc: None, data: Data::Off, log_on: LogOnRule::Required, ..Config::default() };
    let server = Server::start(&config).await.unwrap();
    let one_time = server.one_time_token().unwrap().to_owned();
    let (stop, stopped) = watch::channel(false);
    let (http, grpc) = (crate::http::router(server.service()), crate::grpc::checked(server.service(), &stopped));
    let scene = Scene { server, http, grpc, idp: Idp::new(), _stop: stop };
    for (method, path) in [("GET", "/v1/units"), ("GET", "/v1/tokens"), ("GET", "/v1/stats"), ("POST", "/v1/session")] {
        assert_eq!(scene.ask(request(method, path, Some(&one_time), "")).await.0, 403, "{path}");
    }
    let make = |role: &str| format!(r#"{{"principal":"chief","role":"{role}"}}"#);
    assert_eq!(scene.ask(request("POST", "/v1/tokens", Some(&one_time), make("viewer"))).await.0, 403);
    let (status, _, answer) = scene.ask(request("POST", "/v1/tokens", Some(&one_time), make("administrator"))).await;
    assert_eq!(status, 201, "{answer}");
    let chief = answer.split("\"token\":\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    assert_eq!(scene.ask(request("GET", "/v1/tokens", Some(&chief), "")).await.0, 200);
    assert_eq!(scene.ask(request("POST", "/v1/tokens", Some(&chief), make("auditor"))).await.0, 409);
    scene.server.stop().await;
}
