use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

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
}

/// What rings now.
#[utoipa::path(get, path = "/v1/emergencies", responses((status = 200, body = EmergencyList)))]
pub(crate) async fn list(State(service): State<Arc<Service>>, asker: Asker) -> Result<Json<EmergencyList>, Problem> {
    let live = service.engine.live();
    let now = live.now();
    let body = |emergency: engine::Emergency| EmergencyBody {
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
    };
    let emergencies: Vec<_> = live.ringing(&asker.scope).into_iter().map(body).collect();
    let seen = emergencies.iter().filter_map(|emergency: &EmergencyBody| emergency.unit.as_deref());
    service.looked(&asker, "look.emergencies", seen).await?;
    Ok(Json(EmergencyList { as_of: now.to_string(), emergencies }))
}
