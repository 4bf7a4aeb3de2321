use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use model::limits::REASON_BYTES_MAX;
use model::{Event, EventKind, Handling, Step};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ask::json;
use super::problem::Problem;
use crate::access::Asker;
use crate::run::Service;

/// The emergencies that nobody cleared, oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EmergencyList {
    as_of: String,
    emergencies: Vec<EmergencyBody>,
}

/// One pressed button. The place is that of the device that was pressed, never a fused one.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EmergencyBody {
    emergency: u64,
    device: String,
    /// Null: the device is unknown here. It rings all the same.
    unit: Option<String>,
    /// By the device's clock.
    pressed_at: Option<String>,
    received_at: String,
    repeated_at: String,
    /// It came out of a backlog.
    delayed: bool,
    lat: Option<f64>,
    lon: Option<f64>,
    /// Seconds since the place was true.
    fix_age_s: Option<f64>,
    /// Who has seen it first; null: nobody yet.
    seen_by: Option<String>,
    seen_at: Option<String>,
}

/// Why an emergency is over.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClearAsk {
    /// In words, 1 to 1024 bytes; in the audit and in the event.
    reason: String,
}

/// What rings now.
#[utoipa::path(get, path = "/v1/emergencies", responses((status = 200, body = EmergencyList)))]
pub(crate) async fn list(State(service): State<Arc<Service>>, asker: Asker) -> Result<Json<EmergencyList>, Problem> {
    let live = service.engine.live();
    let now = live.now();
    let body = |emergency: engine::Emergency| body(emergency, now);
    let emergencies: Vec<_> = live.ringing(&asker.scope).into_iter().map(body).collect();
    let seen = emergencies.iter().filter_map(|emergency: &EmergencyBody| emergency.unit.as_deref());
    service.looked(&asker, "look.emergencies", seen).await?;
    Ok(Json(EmergencyList { as_of: now.to_string(), emergencies }))
}

fn body(emergency: engine::Emergency, now: model::Timestamp) -> EmergencyBody {
    let seen = emergency.seen;
    EmergencyBody {
        emergency: emergency.number,
        device: emergency.device.to_string(),
        unit: emergency.unit.map(|unit| unit.to_string()),
        pressed_at: emergency.pressed_at.map(|time| time.to_string()),
        received_at: emergency.received_at.to_string(),
        repeated_at: emergency.repeated_at.to_string(),
        delayed: emergency.is_delayed,
        lat: emergency.place.map(|(position, _)| position.lat_deg()),
        lon: emergency.place.map(|(position, _)| position.lon_deg()),
        fix_age_s: emergency.place.map(|(_, time)| now.ms_since(time).max(0) as f64 / 1_000.0),
        seen_by: seen.as_ref().map(|(by, _)| by.to_string()),
        seen_at: seen.as_ref().map(|(_, at)| at.to_string()),
    }
}

/// Says that a dispatcher has seen an emergency. It rings on; whoever was first stays named.
#[utoipa::path(
    post,
    path = "/v1/emergencies/{emergency}/seen",
    params(("emergency" = u64, Path, description = "Its number")),
    responses(
        (status = 200, body = EmergencyBody),
        (status = 404, body = Problem, description = "None of that number rings"),
        (status = 503, body = Problem, description = "It is seen, and that is not stored yet"),
    )
)]
pub(crate) async fn seen(
    State(service): State<Arc<Service>>,
    asker: Asker,
    Path(emergency): Path<String>,
) -> Result<Json<EmergencyBody>, Problem> {
    handle(&service, &asker, &emergency, Step::Seen).await
}

/// Ends an emergency, with the reason. A button that is still down does not ring again until it was released, or was silent for
/// ten minutes.
#[utoipa::path(
    post,
    path = "/v1/emergencies/{emergency}/cleared",
    params(("emergency" = u64, Path, description = "Its number")),
    request_body = ClearAsk,
    responses(
        (status = 200, body = EmergencyBody, description = "As it was when it ended"),
        (status = 400, body = Problem),
        (status = 403, body = Problem, description = "The unit is seen, and not the caller's to direct"),
        (status = 404, body = Problem, description = "None of that number rings"),
        (status = 503, body = Problem, description = "It is over, and that is not stored yet"),
    )
)]
pub(crate) async fn cleared(
    State(service): State<Arc<Service>>,
    asker: Asker,
    Path(emergency): Path<String>,
    body: Result<Json<ClearAsk>, JsonRejection>,
) -> Result<Json<EmergencyBody>, Problem> {
    let ClearAsk { reason } = json(body)?;
    if reason.trim().is_empty() || reason.len() > REASON_BYTES_MAX {
        return Err(Problem::bad("reason", &reason, format!("say why, in 1 to {REASON_BYTES_MAX} bytes")));
    }
    handle(&service, &asker, &emergency, Step::Cleared { reason }).await
}

/// In the audit first, then in the journal, then an event.
async fn handle(service: &Service, asker: &Asker, number: &str, step: Step) -> Result<Json<EmergencyBody>, Problem> {
    let unknown = || Problem::not_found(format!("no emergency {number} rings"));
    let number_of = number.parse::<u64>().map_err(|_| unknown())?;
    let live = service.engine.live();
    let ringing = live.ringing(&asker.scope).into_iter().find(|one| one.number == number_of).ok_or_else(unknown)?;
    let unit = ringing.unit.as_ref().and_then(|name| live.unit(name, &asker.scope)).map(|view| view.unit);
    let organisation = unit.as_ref().and_then(|unit| unit.organisation.clone());
    // Whoever sees it may say so; it is ended by whoever commands the unit, and by anybody where that is nobody.
    let is_theirs = organisation.as_ref().is_none_or(|one| service.commands(asker, one));
    if !is_theirs && step != Step::Seen {
        return Err(Problem::forbidden("this unit is not yours to direct"));
    }
    let (kind, word, reason) = match &step {
        Step::Seen => (EventKind::EmergencySeen, "emergency.seen", None),
        Step::Cleared { reason } => (EventKind::EmergencyCleared, "emergency.cleared", Some(reason.clone())),
    };
    service.handled(asker, word, number, reason.as_deref()).await?;
    // The answer says where it is.
    service.looked(asker, "look.emergencies", ringing.unit.iter().map(model::UnitName::as_str)).await?;
    let (now, by) = (live.now(), asker.principal.name.clone());
    let handled = service.engine.handle(Handling { number: number_of, by: by.clone(), at: now, step });
    let handled = handled.ok_or_else(unknown)?;
    let place = handled.place.map(|(place, _)| place);
    let event = Event { unit: ringing.unit.clone(), organisation, place, ..Event::of(kind, now, now) };
    let event = event.with("emergency", number).with("device", handled.device.as_str()).with("by", by.as_str());
    let event = reason.iter().fold(event, |event, reason| event.with("reason", reason.as_str()));
    if let Some(watch) = service.engine.watch() {
        let is_over = kind == EventKind::EmergencyCleared;
        let raised = is_over.then(|| (EventKind::EmergencyRaised, number.to_owned(), false));
        watch.note(event, raised);
    }
    service.settle().await?;
    Ok(Json(body(engine::Emergency { unit: ringing.unit, ..handled }, now)))
}
