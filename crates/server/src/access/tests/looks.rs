//! P26 for the audit: a change whose answer says where a unit is, is a look.

use model::{Role, UnitName};
use store::audit::Filter;

use super::{Caller, OURS, Scene, request};

#[tokio::test]
async fn the_answer_of_a_change_that_says_a_place_is_a_look_in_the_audit() {
    let scene = Scene::new().await;
    let chief = scene.token(Caller::East(Role::Administrator));
    let looks = |action: &str| {
        let filter = Filter { unit: Some(UnitName::new(OURS).unwrap()), ..Filter::default() };
        let rows = scene.server.service().store.query_audit(&filter, None, 1_000).unwrap().rows;
        rows.iter().filter(|row| row.action == action && row.principal == "e-administrator").count()
    };
    let unit = format!("/v1/units/{OURS}");
    for (number, (path, body)) in [
        (unit.clone(), r#"{"org":"org-east"}"#),
        (format!("{unit}/status"), r#"{"status":"busy"}"#),
        (format!("{unit}/assignment"), r#"{"assignment":"incident-3"}"#),
    ]
    .into_iter()
    .enumerate()
    {
        let (status, _, answer) = scene.ask(request("PUT", &path, chief.as_deref(), body)).await;
        assert_eq!((status.as_u16(), answer.contains("22.817")), (200, true), "{answer}");
        assert_eq!(looks("look.unit"), number + 1, "{path}");
    }
    let place = Some((model::Position::from_degrees(22.817, 108.366).unwrap(), scene.now()));
    let device = model::DeviceId::of("muster", OURS).unwrap();
    let press = model::Press { device, pressed_at: None, received_at: scene.now(), is_delayed: false, place };
    scene.server.service().engine.ring(press);
    for (number, step) in ["seen", "cleared"].into_iter().enumerate() {
        let path = format!("/v1/emergencies/1/{step}");
        let body = if step == "seen" { "" } else { r#"{"reason":"a test"}"# };
        let (status, _, answer) = scene.ask(request("POST", &path, chief.as_deref(), body)).await;
        assert_eq!((status.as_u16(), answer.contains("22.817")), (200, true), "{answer}");
        assert_eq!(looks("look.emergencies"), number + 1, "{path}");
    }
    scene.server.stop().await;
}
