use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use model::{DeviceId, limits};
use serde::Serialize;
use utoipa::ToSchema;

use super::params::Params;
use super::problem::Problem;
use crate::run::Service;

/// Devices that no unit carries, by name. `PUT /v1/units/{unit}` with one of them in `devices` enrols it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QuarantineList {
    as_of: String,
    devices: Vec<StrangerBody>,
    /// Times that a device was heard which found no room in this list of 65,536.
    overflowed: u64,
    /// The cursor of the next page; null on the last one.
    next: Option<String>,
    /// Devices, also known ones, that a second session speaks for and is held: its reports move nothing until the first one has ended, or is silent for its
    /// idle deadline. Those of the last two minutes, by name, at most 1000, on each page.
    second_sessions: Vec<SecondSessionBody>,
}

/// A device that two sessions speak for.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SecondSessionBody {
    device: String,
    /// Of the later session.
    protocol: &'static str,
    first_held: String,
    last_held: String,
    /// Reports and contacts of it that were held.
    held: u64,
}

/// A device in quarantine, since the server started.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StrangerBody {
    device: String,
    first_heard: String,
    last_heard: String,
    /// How often it was asked who it is; at least once for each of its reports.
    asked: u64,
}

/// Who sends and is not known here.
#[utoipa::path(
    get,
    path = "/v1/quarantine",
    params(
        ("limit" = Option<u32>, Query, description = "Devices on a page, 1 to 1000; default 1000"),
        ("next" = Option<String>, Query, description = "The `next` of the page before"),
    ),
    responses((status = 200, body = QuarantineList), (status = 400, body = Problem))
)]
pub(crate) async fn list(
    State(service): State<Arc<Service>>,
    mut params: Params,
) -> Result<Json<QuarantineList>, Problem> {
    let limit = params.parsed("limit")?.unwrap_or(limits::PAGE_FEATURES_MAX);
    if !(1..=limits::PAGE_FEATURES_MAX).contains(&limit) {
        return Err(Problem::bad("limit", limit, format!("must be 1 to {}", limits::PAGE_FEATURES_MAX)));
    }
    let after = params.text("next")?;
    let after =
        after.map(|text| DeviceId::new(&text).map_err(|error| Problem::bad("next", &text, error))).transpose()?;
    params.finish()?;
    let live = service.engine.live();
    let is_stranger = |device: &DeviceId| live.roster().binding(device).is_none();
    let (listed, overflowed) = service.quarantine.list(after.as_ref(), limit, is_stranger);
    let next = listed.last().filter(|_| listed.len() == limit).map(|(device, _)| device.to_string());
    let devices = listed.into_iter().map(|(device, stranger)| StrangerBody {
        device: device.to_string(),
        first_heard: stranger.first_heard.to_string(),
        last_heard: stranger.last_heard.to_string(),
        asked: stranger.asked,
    });
    let second_sessions = service.setting.holders.second_sessions(limits::PAGE_FEATURES_MAX).into_iter();
    let second_sessions = second_sessions.map(|second| SecondSessionBody {
        device: second.device.to_string(),
        protocol: second.protocol,
        first_held: second.first_held.to_string(),
        last_held: second.last_held.to_string(),
        held: second.held,
    });
    Ok(Json(QuarantineList {
        as_of: live.now().to_string(),
        devices: devices.collect(),
        overflowed,
        next,
        second_sessions: second_sessions.collect(),
    }))
}
