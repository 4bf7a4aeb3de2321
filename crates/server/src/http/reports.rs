use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use ingest::{Admission, Admitter};
use model::{Timestamp, limits};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wire::proto::{self, gateway_up};
use wire::{Context, Decoded};

use super::ask::json;
use super::problem::Problem;
use crate::access::Asker;
use crate::run::Service;

/// The protocol name under which these reports are counted.
const PROTOCOL: &str = "json";

/// A batch of positions.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BatchBody {
    /// At most 4,096.
    #[schema(value_type = Vec<ReportBody>)]
    reports: Vec<serde_json::Value>,
}

/// One position of one device.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReportBody {
    /// `protocol:id`; without a colon it is read as `muster:id`.
    device: String,
    /// When the place was true, RFC 3339; absent: dated by receipt.
    time: Option<String>,
    /// Degrees, -90 to 90, WGS-84.
    lat: f64,
    /// Degrees, -180 to 180, WGS-84.
    lon: f64,
    /// False when the receiver had no fix; default true.
    valid: Option<bool>,
    /// Metres per second, 0 to 1,000.
    speed_mps: Option<f32>,
    /// Degrees clockwise from north, 0 to 360.
    course_deg: Option<f32>,
    /// Metres above mean sea level.
    altitude_m: Option<f32>,
    /// Radius that holds the true place in 95 of 100 cases, metres.
    accuracy_m: Option<f32>,
    /// The emergency button is pressed.
    #[serde(default)]
    emergency: bool,
    /// Stored and sent late.
    #[serde(default)]
    backlog: bool,
}

/// What became of a batch, after everything of it is settled.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BatchAnswer {
    /// How many positions were taken.
    accepted: usize,
    /// The others.
    refused: Vec<RefusedReport>,
}

/// A report that was not taken.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RefusedReport {
    /// Its place in the batch, from 0.
    index: u32,
    /// A stable word.
    #[schema(value_type = String)]
    reason: &'static str,
    /// Field and value.
    detail: String,
}

/// Takes a batch. 200 means: everything is settled, and what was refused is listed.
#[utoipa::path(
    post,
    path = "/v1/reports",
    request_body = BatchBody,
    responses(
        (status = 200, body = BatchAnswer),
        (status = 400, body = Problem, description = "No JSON, or too many reports"),
        (status = 413, body = Problem, description = "The body is longer than 1 MiB"),
        (status = 503, body = Problem, description = "Not stored: the journal has no room or has failed, or the server is stopping. Send it again later"),
    )
)]
pub(crate) async fn take(
    State(service): State<Arc<Service>>,
    asker: Asker,
    body: Result<Json<BatchBody>, JsonRejection>,
) -> Result<Json<BatchAnswer>, Problem> {
    let batch = json(body)?;
    if batch.reports.len() > limits::BATCH_REPORTS_MAX {
        let detail = format!("a batch has at most {} reports", limits::BATCH_REPORTS_MAX);
        return Err(Problem::bad("reports", batch.reports.len(), detail));
    }
    let mut refused = Vec::new();
    let mut places = Vec::new();
    let mut reports = Vec::new();
    for (index, value) in (0u32..).zip(batch.reports) {
        match report_of(value) {
            Ok(report) => {
                places.push(index);
                reports.push(report);
            }
            Err(detail) => refused.push(RefusedReport { index, reason: "malformed", detail }),
        }
    }
    let counters = &service.setting.counters;
    counters.decoded(PROTOCOL, refused.len());
    counters.refused(PROTOCOL, "malformed", refused.len());
    let received = service.setting.clock.now();
    let admission = {
        let mut decoded = Decoded::default();
        let batch = proto::ReportBatch { batch_sequence: 0, reports };
        let up = proto::GatewayUp { gateway: String::new(), payload: Some(gateway_up::Payload::Reports(batch)) };
        let read = wire::muster::Session::default().read(up, &Context { received }, &mut decoded);
        read.map_err(|error| Problem::bad("reports", "", error))?;
        let mut admitter = Admitter::new(&service.setting, PROTOCOL).only(asker.devices());
        let mut admission = Admission::default();
        admitter.admit(&mut decoded, &[], received, &mut admission);
        admission
    };
    let settlement = ingest::Intake::submit(&*service.setting.intake, admission.heard).await;
    let settlement = settlement.map_err(|error| Problem::not_settled(&error))?;
    counters.admitted(PROTOCOL, admission.reports);
    settlement.await.map_err(|error| Problem::not_settled(&error))?;
    refused.extend(admission.refusals.into_iter().map(|refusal| RefusedReport {
        index: places[refusal.place as usize],
        reason: refusal.reason,
        detail: refusal.detail,
    }));
    refused.sort_by_key(|refusal| refusal.index);
    Ok(Json(BatchAnswer { accepted: admission.reports, refused }))
}

fn report_of(value: serde_json::Value) -> Result<proto::Report, String> {
    let body: ReportBody = serde_json::from_value(value).map_err(|error| error.to_string())?;
    let time_ms = match &body.time {
        None => None,
        Some(text) => {
            let time =
                Timestamp::from_rfc3339(text).ok_or_else(|| format!("`time` is {text:?}, no RFC 3339 instant"))?;
            Some(time.unix_ms())
        }
    };
    // Far outside saturates; the range is checked where all reports are.
    let e7 = |degrees: f64| (degrees * 1e7).round() as i32;
    Ok(proto::Report {
        device: body.device,
        time_ms,
        lat_e7: e7(body.lat),
        lon_e7: e7(body.lon),
        no_fix: body.valid == Some(false),
        speed_mps: body.speed_mps,
        course_deg: body.course_deg,
        altitude_m: body.altitude_m,
        accuracy_m: body.accuracy_m,
        emergency: body.emergency,
        backlog: body.backlog,
        ..proto::Report::default()
    })
}
