use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use model::limits::{GLASS_REASON_BYTES_MIN, REASON_BYTES_MAX};
use serde::{Deserialize, Serialize};
use tracing::warn;
use utoipa::ToSchema;

use super::ask::json;
use super::problem::Problem;
use crate::access::{Asker, Broken};
use crate::run::Service;

/// Why a commander must see beyond its scope.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GlassAsk {
    /// 10 to 1,024 bytes, in one's own words.
    reason: String,
}

/// Glass that was broken.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GlassBody {
    principal: String,
    org: String,
    reason: String,
    from: String,
    /// It ends by itself.
    until: String,
}

/// Who broke the glass.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GlassList {
    broken: Vec<GlassBody>,
}

/// Sees all units for 30 minutes. The reason is in the audit before anything is seen, and every superior finds it in the list.
#[utoipa::path(
    post,
    path = "/v1/break-glass",
    request_body = GlassAsk,
    responses((status = 200, body = GlassBody), (status = 400, body = Problem), (status = 403, body = Problem))
)]
pub(crate) async fn smash(
    State(service): State<Arc<Service>>,
    asker: Asker,
    body: Result<Json<GlassAsk>, JsonRejection>,
) -> Result<Json<GlassBody>, Problem> {
    let Some(organisation) = asker.principal.organisation.clone() else {
        return Err(Problem::forbidden("who sees all has no glass to break"));
    };
    let GlassAsk { reason } = json(body)?;
    let reason = reason.trim().to_owned();
    if !(GLASS_REASON_BYTES_MIN..=REASON_BYTES_MAX).contains(&reason.len()) {
        let rule = format!("a reason has {GLASS_REASON_BYTES_MIN} to {REASON_BYTES_MAX} bytes");
        return Err(Problem::bad("reason", &reason, rule));
    }
    service.broke_glass(&asker, &reason).await?;
    let now = service.engine.live().now();
    let broken = service.glass.smash(asker.principal.name.clone(), organisation, reason, now);
    warn!(principal = %broken.principal, organisation = %broken.organisation, reason = %broken.reason, "GLASS WAS BROKEN.");
    Ok(Json(GlassBody::of(broken)))
}

/// Who broke the glass among those whom the caller commands, itself included; newest of each principal, since the server started.
#[utoipa::path(get, path = "/v1/break-glass", responses((status = 200, body = GlassList)))]
pub(crate) async fn list(State(service): State<Arc<Service>>, asker: Asker) -> Json<GlassList> {
    let all = service.glass.all().into_iter().filter(|one| service.commands(&asker, &one.organisation));
    Json(GlassList { broken: all.map(GlassBody::of).collect() })
}

impl GlassBody {
    fn of(broken: Broken) -> Self {
        Self {
            principal: broken.principal.to_string(),
            org: broken.organisation.to_string(),
            reason: broken.reason,
            from: broken.from.to_string(),
            until: broken.until.to_string(),
        }
    }
}
