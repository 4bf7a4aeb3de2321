//! Every answer says when the server itself is in trouble.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;

use crate::run::Service;

const HEADER: HeaderName = HeaderName::from_static("muster-alarm");

/// Adds `Muster-Alarm` with the words of all alarms, if there are any.
pub(crate) async fn tell(State(service): State<Arc<Service>>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    for alarm in service.alarms() {
        response.headers_mut().append(HEADER, HeaderValue::from_static(alarm));
    }
    response
}
