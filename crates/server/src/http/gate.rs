//! What answers while stored state is being rebuilt: an answer from half of it would name the wrong unit.

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use engine::Recovery;
use tower::ServiceExt;

use super::problem::Problem;

/// Lets nothing but `/healthz` through until it is opened.
#[derive(Clone, Default)]
pub(crate) struct Gate {
    inside: Arc<OnceLock<Router>>,
    recovery: Arc<Recovery>,
}

impl Gate {
    /// Before `recovery` is done.
    pub(crate) fn before(recovery: &Arc<Recovery>) -> Self {
        Self { inside: Arc::default(), recovery: Arc::clone(recovery) }
    }

    /// From now on `inside` answers.
    pub(crate) fn open(&self, inside: Router) {
        assert!(self.inside.set(inside).is_ok(), "the gate is opened once");
    }

    /// Takes every request.
    pub(crate) fn router(&self) -> Router {
        Router::new().fallback(pass).with_state(self.clone())
    }
}

async fn pass(State(gate): State<Gate>, request: Request) -> Response {
    if let Some(inside) = gate.inside.get() {
        return inside.clone().oneshot(request).await.into_response();
    }
    if request.uri().path() == "/healthz" {
        return "ok\n".into_response();
    }
    let (done, total) = gate.recovery.entries();
    let detail = format!("stored reports are being read: {done} of {total}; ask again in a moment");
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not-ready", "Not ready", detail).into_response()
}
