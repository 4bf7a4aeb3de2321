//! Whoever reports for some devices only is refused for the others, by value, and counted.

use std::time::Duration;

use model::{Principal, Role};
use prost::Message as _;
use store::By;
use wire::proto::{self, gateway_up};

use super::{Caller, OURS, Scene, THEIRS, principal, request};

fn batch() -> Vec<u8> {
    let report = |name: &str| proto::Report {
        device: format!("muster:{name}"),
        lat_e7: 228_170_000,
        lon_e7: 1_083_660_000,
        ..Default::default()
    };
    let batch = proto::ReportBatch { batch_sequence: 1, reports: vec![report(OURS), report(THEIRS)] };
    let payload = Some(gateway_up::Payload::Reports(batch));
    let message = proto::GatewayUp { gateway: "gw".into(), payload }.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0][..], &length, &message].concat()
}

#[tokio::test]
async fn a_gateway_reports_for_its_devices_and_for_no_others() {
    let scene = Scene::new().await;
    let (now, local) = (scene.now(), Principal::local());
    let by = By { principal: &local, now, reason: None };
    let holder = principal("gw-east", Role::Gateway, None);
    let devices = ["muster:east-*".to_owned()];
    let hour = now.after(Duration::from_secs(3_600));
    let token = scene.server.service().store.create_token_for(&by, &holder, hour, &devices).unwrap();
    let report = |name: &str| format!(r#"{{"device":"muster:{name}","lat":22.817,"lon":108.366}}"#);
    let body = format!(r#"{{"reports":[{},{}]}}"#, report(OURS), report(THEIRS));
    let (status, _, answer) = scene.ask(request("POST", "/v1/reports", Some(&token), body)).await;
    assert_eq!(status, 200, "{answer}");
    assert!(answer.contains(r#""accepted":1,"refused":[{"index":1,"reason":"device_not_allowed""#), "{answer}");
    let (_, _, answer) = scene.ask(request("POST", "/muster.v1.Ingest/Connect", Some(&token), batch())).await;
    assert!(answer.contains("device_not_allowed") && answer.contains(THEIRS) && !answer.contains(OURS), "{answer}");
    let chief = scene.token(Caller::Whole(Role::Administrator));
    let (_, _, metrics) = scene.ask(request("GET", "/metrics", chief.as_deref(), "")).await;
    let counted = metrics.lines().filter(|line| line.contains("device_not_allowed") && line.ends_with(" 1"));
    assert_eq!(counted.count(), 2, "json and grpc: {metrics}");
    scene.server.stop().await;
}

fn framed(payload: gateway_up::Payload) -> Vec<u8> {
    let message = proto::GatewayUp { gateway: "gw".into(), payload: Some(payload) }.encode_to_vec();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0][..], &length, &message].concat()
}

/// A terminal speaks for its unit where CAD is silent, once for each key; who may not report for the unit may not speak for it.
#[tokio::test]
async fn a_status_from_a_gateway_takes_effect_as_the_terminals_word() {
    let scene = Scene::new().await;
    let gateway = scene.token(Caller::Whole(Role::Gateway));
    let desk = scene.token(Caller::Whole(Role::Dispatcher));
    let say = async |token: &Option<String>, unit: &str, status: proto::UnitStatus, key: &str| {
        let (unit, idempotency_key) = (unit.to_owned(), key.to_owned());
        let change = proto::StatusChange { unit, status: status as i32, time_ms: None, idempotency_key };
        let body = framed(gateway_up::Payload::Status(change));
        scene.ask(request("POST", "/muster.v1.Ingest/Connect", token.as_deref(), body)).await
    };
    let counted = |reason| scene.server.service().setting.counters.dropped_so_far("grpc", reason);
    let until = async |is_so: &dyn Fn(&str) -> bool| {
        let began = std::time::Instant::now();
        loop {
            let (_, _, answer) = scene.ask(request("GET", "/v1/units/east-7", desk.as_deref(), "")).await;
            if is_so(&answer) {
                return;
            }
            assert!(began.elapsed() < Duration::from_secs(20), "{answer}");
            tokio::task::yield_now().await;
        }
    };
    say(&gateway, OURS, proto::UnitStatus::Busy, "k1").await;
    until(&|answer| answer.contains(r#""status":"busy""#) && answer.contains(r#""status_owner":"terminal""#)).await;
    say(&gateway, OURS, proto::UnitStatus::Available, "k1").await;
    until(&|_| counted("status_repeated") == 1).await;
    let said = r#"{"status":"available"}"#;
    assert_eq!(scene.ask(request("PUT", "/v1/units/east-7/status", desk.as_deref(), said)).await.0, 200);
    say(&gateway, OURS, proto::UnitStatus::OffDuty, "k2").await;
    say(&gateway, "nobody", proto::UnitStatus::Busy, "k3").await;
    until(&|_| counted("status_unknown_unit") == 1).await;
    until(&|answer| answer.contains(r#""status":"available""#) && answer.contains(r#""status_owner":"cad""#)).await;
    let (now, local) = (scene.now(), Principal::local());
    let by = By { principal: &local, now, reason: None };
    let (holder, hour) = (principal("gw-west", Role::Gateway, None), now.after(Duration::from_secs(3_600)));
    let west = ["muster:west-*".to_owned()];
    let west = scene.server.service().store.create_token_for(&by, &holder, hour, &west).unwrap();
    say(&Some(west), OURS, proto::UnitStatus::Busy, "k4").await;
    until(&|_| counted("status_device_not_allowed") == 1).await;
    scene.server.stop().await;
}

#[tokio::test]
async fn devices_of_a_token_are_patterns_and_only_gateways_have_some() {
    let scene = Scene::new().await;
    let chief = scene.token(Caller::Whole(Role::Administrator));
    let make = async |role: &str, devices: &str| {
        let body = format!(r#"{{"principal":"gw-1","role":"{role}","devices":["{devices}"]}}"#);
        let (status, _, answer) = scene.ask(request("POST", "/v1/tokens", chief.as_deref(), body)).await;
        (status.as_u16(), answer)
    };
    for (role, devices) in [("gateway", "tetra-lip"), ("gateway", "*"), ("viewer", "tetra-lip:*")] {
        let (status, answer) = make(role, devices).await;
        assert_eq!((status, answer.contains("devices")), (400, true), "{answer}");
    }
    assert_eq!(make("gateway", "tetra-lip:*").await.0, 201);
    let (_, _, tokens) = scene.ask(request("GET", "/v1/tokens", chief.as_deref(), "")).await;
    assert!(tokens.contains(r#""devices":["tetra-lip:*"]"#), "{tokens}");
    scene.server.stop().await;
}
