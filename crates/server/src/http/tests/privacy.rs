//! What is kept of officers off duty and of volunteers.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::started;

async fn send(http: SocketAddr, method: &'static str, path: &'static str, body: Value) -> Value {
    let sent = tokio::task::spawn_blocking(move || {
        let agent = ureq::Agent::new_with_config(ureq::Agent::config_builder().http_status_as_error(false).build());
        let request = if method == "PUT" {
            agent.put(format!("http://{http}{path}"))
        } else {
            agent.post(format!("http://{http}{path}"))
        };
        let mut response = request.header("content-type", "application/json").send(body.to_string()).unwrap();
        let text = response.body_mut().read_to_string().unwrap();
        assert!(response.status().is_success(), "{text}");
        serde_json::from_str(&text).unwrap()
    });
    sent.await.unwrap()
}

/// Where the unit is shown after a report from 22.8171234 N 108.3661234 E, and why not where it is not.
async fn report(
    http: SocketAddr,
    unit: &'static str,
    device: &'static str,
    emergency: bool,
) -> Result<[f64; 2], String> {
    let one = json!({"device": device, "lat": 22.817_123_4, "lon": 108.366_123_4, "emergency": emergency});
    let answer = send(http, "POST", "/v1/reports", json!({"reports": [one]})).await;
    if let Some(reason) = answer["refused"][0]["reason"].as_str() {
        return Err(reason.to_owned());
    }
    let found = super::ask(http, unit, &[]).await.2;
    Ok(["1", "0"].map(|at| found["geometry"]["coordinates"][at.parse::<usize>().unwrap()].as_f64().unwrap()))
}

const HERE: [f64; 2] = [22.817_123_4, 108.366_123_4];

#[tokio::test(flavor = "multi_thread")]
async fn of_an_officer_off_duty_nothing_is_kept_until_the_button_is_pressed() {
    let (server, http) = started().await;
    send(http, "PUT", "/v1/units/o-1", json!({"kind": "foot", "devices": ["cot:o1"]})).await;
    send(http, "PUT", "/v1/units/o-1/status", json!({"status": "off_duty"})).await;
    assert_eq!(report(http, "/v1/units/o-1", "cot:o1", false).await, Err("off_duty".to_owned()));
    let found = super::ask(http, "/v1/units/o-1", &[]).await.2;
    assert!(found["geometry"].is_null() && found["properties"]["contact_age_s"].is_null(), "{found}");
    send(http, "PUT", "/v1/units/o-1/status", json!({"status": "available"})).await;
    assert_eq!(report(http, "/v1/units/o-1", "cot:o1", false).await, Ok(HERE), "on duty at once");
    send(http, "PUT", "/v1/units/o-1/status", json!({"status": "off_duty"})).await;
    assert_eq!(report(http, "/v1/units/o-1", "cot:o1", true).await, Ok(HERE), "to be found");
    let ringing = super::ask(http, "/v1/emergencies", &[]).await.2;
    assert_eq!(ringing["emergencies"][0]["lat"], HERE[0], "{ringing}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volunteer_is_coarse_until_it_is_tasked_and_hidden_when_it_checks_out() {
    let (server, http) = started().await;
    send(http, "PUT", "/v1/units/v-1", json!({"kind": "community", "devices": ["cot:v1"]})).await;
    let coarse = report(http, "/v1/units/v-1", "cot:v1", false).await.unwrap();
    assert!(
        coarse != HERE && (coarse[0] - HERE[0]).abs() < 0.000_5 && (coarse[1] - HERE[1]).abs() < 0.000_5,
        "{coarse:?}"
    );
    let properties = super::ask(http, "/v1/units/v-1", &[]).await.2["properties"].clone();
    assert_eq!((&properties["accuracy_m"], &properties["flags"]), (&json!(100.0), &json!(["coarse"])), "{properties}");
    send(http, "PUT", "/v1/units/v-1/assignment", json!({"assignment": "incident-7"})).await;
    assert_eq!(report(http, "/v1/units/v-1", "cot:v1", false).await, Ok(HERE));
    send(http, "PUT", "/v1/units/v-1/assignment", json!({"assignment": null})).await;
    assert_eq!(report(http, "/v1/units/v-1", "cot:v1", false).await, Ok(coarse));
    send(http, "PUT", "/v1/units/v-1/status", json!({"status": "off_duty"})).await;
    assert_eq!(report(http, "/v1/units/v-1", "cot:v1", false).await, Err("off_duty".to_owned()));
    server.stop().await;
}
