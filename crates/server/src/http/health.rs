use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;

use super::problem::Problem;
use crate::run::Service;

/// The process answers.
#[utoipa::path(get, path = "/healthz", responses((status = 200, body = String)))]
pub(crate) async fn alive() -> &'static str {
    "ok\n"
}

/// All listeners are bound and live state is complete. Alarms follow, a line each.
#[utoipa::path(get, path = "/readyz", responses((status = 200, body = String), (status = 503, body = Problem)))]
pub(crate) async fn ready(State(service): State<Arc<Service>>) -> Result<String, Problem> {
    if service.is_ready() {
        let alarms = service.alarms().into_iter().map(|alarm| format!("alarm: {alarm}\n"));
        return Ok(std::iter::once("ready\n".to_owned()).chain(alarms).collect());
    }
    let is_broken = service.engine.has_broken();
    let broken = "engine_stopped: a fault of the server; nothing is applied any more, restart it";
    let detail = if is_broken { broken } else { "the server is starting or stopping" };
    Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not-ready", "Not ready", detail))
}

/// All counters and histograms, as OpenMetrics text.
#[utoipa::path(get, path = "/metrics", responses((status = 200, body = String)))]
pub(crate) async fn metrics(State(service): State<Arc<Service>>) -> impl IntoResponse {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], service.metrics.text())
}
