use std::num::NonZeroU32;

use axum::extract::OriginalUri;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use ingest::NotSettled;
use serde::Serialize;
use utoipa::ToSchema;

use crate::search::Unanswered;

/// An error as RFC 9457 problem details. `field` and `value` name what was wrong.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// A URN for the kind of problem.
    #[serde(rename = "type")]
    kind: String,
    /// The kind of problem, for a person.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What was wrong here, and what to do.
    detail: String,
    /// The parameter or member.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    /// Its value as sent, shortened.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    /// Seconds after which another try makes sense; also the header `Retry-After`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u32>)]
    retry_after_s: Option<NonZeroU32>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, word: &str, title: &'static str, detail: impl ToString) -> Self {
        let kind = format!("urn:muster:problem:{word}");
        let (status, detail) = (status.as_u16(), detail.to_string());
        Self { kind, title, status, detail, field: None, value: None, retry_after_s: None }
    }

    /// A parameter or member that cannot be used.
    pub(crate) fn bad(field: impl ToString, value: impl ToString, detail: impl ToString) -> Self {
        let mut problem = Self::new(StatusCode::BAD_REQUEST, "bad-value", "A value cannot be used", detail);
        problem.field = Some(field.to_string());
        problem.value = Some(value.to_string().chars().take(80).collect());
        problem
    }

    pub(crate) fn not_found(detail: impl ToString) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "There is no such thing", detail)
    }

    /// Who asks may not do this.
    pub(crate) fn forbidden(detail: impl ToString) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "Who asks may not do this", detail)
    }

    /// Who asks has asked too often.
    pub(crate) fn too_fast(detail: impl ToString) -> Self {
        let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "rate", "Too many requests", detail);
        Self { retry_after_s: Some(NonZeroU32::MIN), ..problem }
    }

    /// A table of the server is full.
    pub(crate) fn too_many(detail: impl ToString) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "too-many", "There are too many already", detail)
    }

    fn stopping() -> Self {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        Self::new(status, "stopping", "The server is stopping", "nothing of the request was settled; send it again")
    }

    /// A change or a batch that is not on stable storage.
    pub(crate) fn not_settled(error: &NotSettled) -> Self {
        match error {
            NotSettled::NotStored { reason, detail, .. } => {
                let (status, word) = (StatusCode::SERVICE_UNAVAILABLE, reason.replace('_', "-"));
                Self::new(status, &word, "It is not stored", format!("{detail}; send it again later"))
            }
            _ => Self::stopping(),
        }
    }

    /// The HTTP status.
    pub(crate) const fn status(&self) -> u16 {
        self.status
    }

    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_string(&self).expect("a problem is made of plain values");
        let mut response = (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response();
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.get().into());
        }
        response
    }
}

impl From<Unanswered> for Problem {
    fn from(unanswered: Unanswered) -> Self {
        let Unanswered::Overloaded { retry_after, .. } = unanswered else {
            let title = "Out of time";
            return Self::new(StatusCode::GATEWAY_TIMEOUT, "deadline-exceeded", title, unanswered);
        };
        let title = "The server is overloaded";
        let mut problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", title, unanswered);
        // The header knows whole seconds only.
        let seconds = u32::try_from(retry_after.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
        problem.retry_after_s = NonZeroU32::new(seconds);
        problem
    }
}

pub(crate) async fn no_such_place(OriginalUri(uri): OriginalUri) -> Problem {
    Problem::not_found(format!("{} is not here; /openapi.json lists what is", uri.path()))
}

pub(crate) async fn no_such_method(method: Method, OriginalUri(uri): OriginalUri) -> Problem {
    let detail = format!("{} does not take {method}; /openapi.json lists what it takes", uri.path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "The method is not allowed here", detail)
}
