use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use ingest::GatewayView;
use serde::Serialize;
use utoipa::ToSchema;

use super::params::Params;
use super::problem::Problem;
use crate::run::Service;

/// Gateways that were heard since the server started, by name.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GatewayList {
    as_of: String,
    gateways: Vec<GatewayBody>,
    /// Times that a gateway came which found no room in this list of 4,096: it is served and not watched.
    overflowed: u64,
}

/// One gateway.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GatewayBody {
    /// As it calls itself.
    gateway: String,
    /// Silent for longer than 8 intervals (at least 2 s), or its last connection ended over 1 s ago.
    lost: bool,
    first_heard: String,
    last_heard: String,
    /// Seconds since then.
    heard_age_s: f64,
    /// The usual time between two of its frames, learned; null before the second.
    interval_s: Option<f64>,
    /// Frames since the start.
    frames: u64,
    /// Connections now; a sender of datagrams has none.
    sessions: u32,
    /// Units whose devices came through it last.
    units: usize,
}

/// Who brings in what radios and terminals say.
#[utoipa::path(
    get,
    path = "/v1/gateways",
    responses((status = 200, body = GatewayList), (status = 400, body = Problem))
)]
pub(crate) async fn list(State(service): State<Arc<Service>>, params: Params) -> Result<Json<GatewayList>, Problem> {
    params.finish()?;
    let (views, overflowed) = service.setting.gateways.list();
    let gateways = views.into_iter().map(body).collect();
    Ok(Json(GatewayList { as_of: service.engine.live().now().to_string(), gateways, overflowed }))
}

fn body(view: GatewayView) -> GatewayBody {
    GatewayBody {
        gateway: view.gateway,
        lost: view.is_lost,
        first_heard: view.first_heard.to_string(),
        last_heard: view.last_heard.to_string(),
        heard_age_s: view.heard_age.as_millis() as f64 / 1_000.0,
        interval_s: view.interval.map(|interval| interval.as_micros() as f64 / 1e6),
        frames: view.frames,
        sessions: view.sessions,
        units: view.units,
    }
}
