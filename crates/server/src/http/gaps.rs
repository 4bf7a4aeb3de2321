use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use ingest::SenderGaps;
use model::limits;
use serde::Serialize;
use utoipa::ToSchema;

use super::params::Params;
use super::problem::Problem;
use crate::run::Service;

/// Senders in an answer that asks for no other number.
const LIMIT_DEFAULT: usize = 100;

/// Senders of numbered datagrams, those with most missing first, ties by name.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GapList {
    as_of: String,
    senders: Vec<GapBody>,
}

/// What one sender's numbers say of the way to here. Counted since the start of the server, for as
/// long as the sender is remembered.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GapBody {
    /// `protocol:id` of a device that numbers its frames, `gateway:name` of a gateway that numbers its batches.
    sender: String,
    #[schema(value_type = String)]
    protocol: &'static str,
    /// Numbers that never came.
    missing: u64,
    /// Frames that came after one with a higher number.
    reordered: u64,
    /// How often the sender started its numbers anew.
    restarts: u64,
    /// The newest number.
    last_number: u64,
    /// Seconds since the sender was heard.
    heard_age_s: f64,
}

/// What datagrams never came.
#[utoipa::path(
    get,
    path = "/v1/gaps",
    params(("limit" = Option<u32>, Query, description = "Senders in the answer, 1 to 1000; default 100")),
    responses((status = 200, body = GapList), (status = 400, body = Problem))
)]
pub(crate) async fn list(State(service): State<Arc<Service>>, mut params: Params) -> Result<Json<GapList>, Problem> {
    let limit = params.parsed("limit")?.unwrap_or(LIMIT_DEFAULT);
    if !(1..=limits::GAPS_SHOWN_MAX).contains(&limit) {
        return Err(Problem::bad("limit", limit, format!("must be 1 to {}", limits::GAPS_SHOWN_MAX)));
    }
    params.finish()?;
    let setting = &service.setting;
    let worst = setting.gaps.worst(limit, setting.clock.monotonic());
    let senders = worst.into_iter().map(body).collect();
    Ok(Json(GapList { as_of: setting.clock.now().to_string(), senders }))
}

fn body(gaps: SenderGaps) -> GapBody {
    GapBody {
        sender: gaps.sender.to_string(),
        protocol: gaps.protocol,
        missing: gaps.missing,
        reordered: gaps.reordered,
        restarts: gaps.restarts,
        last_number: gaps.last_number,
        heard_age_s: gaps.heard_age.as_millis() as f64 / 1_000.0,
    }
}
