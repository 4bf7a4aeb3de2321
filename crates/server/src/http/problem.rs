use axum::extract::OriginalUri;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use ingest::NotSettled;
use serde::Serialize;
use utoipa::ToSchema;

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
}

impl Problem {
    pub(crate) fn new(status: StatusCode, word: &str, title: &'static str, detail: impl ToString) -> Self {
        let kind = format!("urn:muster:problem:{word}");
        Self { kind, title, status: status.as_u16(), detail: detail.to_string(), field: None, value: None }
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

    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    pub(crate) const fn status(&self) -> u16 {
        self.status
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_string(&self).expect("a problem is made of plain values");
        (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response()
    }
}

impl From<query::QueryError> for Problem {
    fn from(error: query::QueryError) -> Self {
        let title = "Out of time";
        Self::new(StatusCode::GATEWAY_TIMEOUT, "deadline-exceeded", title, error)
    }
}

pub(crate) async fn no_such_place(OriginalUri(uri): OriginalUri) -> Problem {
    Problem::not_found(format!("{} is not here; /openapi.json lists what is", uri.path()))
}

pub(crate) async fn no_such_method(method: Method, OriginalUri(uri): OriginalUri) -> Problem {
    let detail = format!("{} does not take {method}; /openapi.json lists what it takes", uri.path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "The method is not allowed here", detail)
}
