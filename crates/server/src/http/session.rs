use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::problem::Problem;
use crate::access::COOKIE;
use crate::run::Service;

/// Who has logged on.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SessionBody {
    /// The principal.
    principal: String,
    /// viewer, dispatcher, commander, administrator, auditor or gateway.
    #[schema(value_type = String)]
    role: &'static str,
    /// Whose units it sees; null sees all.
    org: Option<String>,
    /// The session ends then, or with its token.
    expires: String,
}

/// Trades a token for a session: a cookie that scripts cannot read and that other sites' pages do not send. For browsers.
#[utoipa::path(
    post,
    path = "/v1/session",
    params(("Authorization" = String, Header, description = "`Bearer TOKEN`")),
    responses(
        (status = 200, body = SessionBody, description = "With `Set-Cookie`"),
        (status = 401, body = Problem, description = "The token does not hold"),
        (status = 503, body = Problem, description = "Too many sessions are open"),
    )
)]
pub(crate) async fn open(State(service): State<Arc<Service>>, headers: HeaderMap) -> Result<Response, Problem> {
    let opened = service.open_session(&headers).await?;
    let seconds = opened.expires.ms_since(service.engine.live().now()) / 1_000;
    let cookie =
        format!("{COOKIE}={}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}{}", opened.id, service.secure());
    let body = SessionBody {
        principal: opened.principal.name.to_string(),
        role: opened.principal.role.as_str(),
        org: opened.principal.organisation.as_ref().map(ToString::to_string),
        expires: opened.expires.to_string(),
    };
    Ok(([(header::SET_COOKIE, cookie)], Json(body)).into_response())
}

/// Ends the session of the cookie; without one nothing happens.
#[utoipa::path(delete, path = "/v1/session", responses((status = 204, description = "The cookie is taken back")))]
pub(crate) async fn close(State(service): State<Arc<Service>>, headers: HeaderMap) -> impl IntoResponse {
    service.log_on.close_session(&headers);
    let cookie = format!("{COOKIE}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0{}", service.secure());
    (StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)])
}
