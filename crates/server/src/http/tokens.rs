use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use ingest::Allowed;
use model::{OrganisationName, Principal, PrincipalName};
use serde::{Deserialize, Serialize};
use store::{By, Refusal, StoreError, TokenRecord};
use utoipa::ToSchema;

use super::ask::json;
use super::problem::Problem;
use crate::access::Asker;
use crate::run::Service;

/// Seconds that a token lives when nobody says: 90 days.
const LIFE_S_DEFAULT: u64 = 90 * 86_400;

/// Who is to hold a new token.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenAsk {
    /// A person or a program: 1 to 96 bytes without blanks and slashes.
    principal: String,
    /// viewer, dispatcher, commander, administrator, auditor or gateway.
    role: String,
    /// Whose units it sees; absent: all.
    org: Option<String>,
    /// Seconds from now; default 90 days, at most 400.
    expires_in_s: Option<u64>,
    /// For role gateway: the devices that it may report for, `jt808:13900000001` or `tetra-lip:*`; absent: all.
    #[serde(default)]
    devices: Vec<String>,
}

/// A new token.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TokenMade {
    /// To be sent as `Authorization: Bearer`. Shown this once.
    token: String,
    principal: String,
    expires: String,
}

/// What may be known of a token.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TokenBody {
    /// Its number.
    token: u64,
    principal: String,
    #[schema(value_type = String)]
    role: &'static str,
    org: Option<String>,
    created: String,
    created_by: String,
    expires: String,
    revoked: Option<String>,
    devices: Vec<String>,
}

/// All tokens.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TokenList {
    tokens: Vec<TokenBody>,
}

/// Makes a token. A principal that was made an administrator cannot be an auditor, and the other way.
#[utoipa::path(
    post,
    path = "/v1/tokens",
    request_body = TokenAsk,
    responses(
        (status = 201, body = TokenMade),
        (status = 400, body = Problem),
        (status = 403, body = Problem),
        (status = 409, body = Problem, description = "The store refuses it, and says why"),
    )
)]
pub(crate) async fn make(
    State(service): State<Arc<Service>>,
    asker: Asker,
    body: Result<Json<TokenAsk>, JsonRejection>,
) -> Result<(StatusCode, Json<TokenMade>), Problem> {
    let TokenAsk { principal, role, org, expires_in_s, devices } = json(body)?;
    Allowed::new(&[], &devices).map_err(|error| Problem::bad("devices", "", error))?;
    let bad_name = |field, text: &str, error: model::NameError| Problem::bad(field, text, error);
    let holder = Principal {
        name: PrincipalName::new(&principal).map_err(|error| bad_name("principal", &principal, error))?,
        role: role.parse().map_err(|error| Problem::bad("role", &role, error))?,
        organisation: org
            .map(|org| OrganisationName::new(&org).map_err(|error| bad_name("org", &org, error)))
            .transpose()?,
    };
    let now = service.engine.live().now();
    let expires = now.after(Duration::from_secs(expires_in_s.unwrap_or(LIFE_S_DEFAULT)));
    let made = service.stored(move |store| {
        let by = By { principal: &asker.principal, now, reason: None };
        store.create_token_for(&by, &holder, expires, &devices)
    });
    let token = made.await?;
    Ok((StatusCode::CREATED, Json(TokenMade { token, principal, expires: expires.to_string() })))
}

/// All tokens, also those that ended; never what they are.
#[utoipa::path(get, path = "/v1/tokens", responses((status = 200, body = TokenList)))]
pub(crate) async fn list(State(service): State<Arc<Service>>, asker: Asker) -> Result<Json<TokenList>, Problem> {
    asker.is_lasting()?;
    let body = |token: TokenRecord| TokenBody {
        token: token.token,
        principal: token.principal.name.to_string(),
        role: token.principal.role.as_str(),
        org: token.principal.organisation.map(|name| name.to_string()),
        created: token.created.to_string(),
        created_by: token.created_by,
        expires: token.expires.to_string(),
        revoked: token.revoked.map(|time| time.to_string()),
        devices: token.devices,
    };
    let tokens = service.stored(|store| store.tokens()).await?;
    Ok(Json(TokenList { tokens: tokens.into_iter().map(body).collect() }))
}

/// Revokes a token. It opens nothing any more within a second, also on open streams and in sessions.
#[utoipa::path(
    delete,
    path = "/v1/tokens/{token}",
    params(("token" = u64, Path, description = "Its number")),
    responses((status = 204), (status = 404, body = Problem))
)]
pub(crate) async fn revoke(
    State(service): State<Arc<Service>>,
    asker: Asker,
    Path(token): Path<String>,
) -> Result<StatusCode, Problem> {
    asker.is_lasting()?;
    let number: u64 = token.parse().map_err(|error| Problem::bad("token", &token, error))?;
    let now = service.engine.live().now();
    let revoked =
        service.stored(move |store| store.revoke_token(&By { principal: &asker.principal, now, reason: None }, number));
    revoked.await.map(|()| StatusCode::NO_CONTENT)
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::Refused(Refusal::Unknown { .. }) => Self::not_found(error),
            StoreError::Refused(Refusal::Invalid { field, .. }) => Self::bad(*field, "", &error),
            StoreError::Refused(Refusal::OneTime) => Self::forbidden(error),
            StoreError::Refused(Refusal::Changed { .. }) => {
                Self::new(StatusCode::PRECONDITION_FAILED, "changed", "It is not as expected", error)
            }
            StoreError::Refused(_) => Self::new(StatusCode::CONFLICT, "conflict", "The change is not taken", error),
            _ => Self::new(StatusCode::SERVICE_UNAVAILABLE, "store", "The store takes nothing now", error),
        }
    }
}
