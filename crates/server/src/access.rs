//! Who may do what. Every request passes [`check`] once: it finds out who asks, asks [`authorize`], and hands the handler an
//! [`Asker`]. What is not in the table of operations is refused.

mod operations;
mod policy;

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use model::{Principal, Role};
use query::{Lane, Scope};

use crate::http::Problem;
use crate::run::Service;
use operations::{Operation, operation};
pub(crate) use policy::{Action, Denied, authorize};

/// Who asks, and whose units it may see.
#[derive(Debug, Clone)]
pub(crate) struct Asker {
    pub(crate) principal: Arc<Principal>,
    pub(crate) scope: Scope,
}

impl Asker {
    /// Whether nothing is hidden from it.
    pub(crate) const fn sees_all(&self) -> bool {
        self.scope.is_everything()
    }

    /// The lane of a question: the one named, if the role may use it, and for a viewer never one of those before the map.
    pub(crate) fn lane(&self, named: Option<Lane>) -> Result<Option<Lane>, String> {
        match (self.principal.role, named) {
            (Role::Viewer, None) => Ok(Some(Lane::Map)),
            (Role::Viewer, Some(lane @ (Lane::Emergency | Lane::Dispatch))) => {
                Err(format!("lane {} is not for role viewer", lane.as_str()))
            }
            _ => Ok(named),
        }
    }

    /// A program on this machine, where nobody logs on.
    pub(crate) fn local() -> Self {
        Self { principal: Arc::new(Principal::local()), scope: Scope::everything() }
    }
}

impl<S: Sync> FromRequestParts<S> for Asker {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned().expect("a handler is reached through the check of access only"))
    }
}

/// Lets a request through to its handler, or answers why not.
pub(crate) async fn check(State(service): State<Arc<Service>>, mut request: Request, next: Next) -> Response {
    // Nothing is routed there: the answer that says so tells nothing.
    let Some(path) = request.extensions().get::<MatchedPath>() else { return next.run(request).await };
    let method = if request.method() == Method::HEAD { &Method::GET } else { request.method() };
    let action = match operation(method, path.as_str()) {
        Operation::Known(action) => action,
        Operation::UnknownMethod => return next.run(request).await,
        Operation::UnknownPath => return Problem::forbidden("this operation is open to nobody").into_response(),
    };
    match service.asker(&request).and_then(|asker| authorize(&asker.principal, action).map(|()| asker)) {
        Ok(asker) => {
            request.extensions_mut().insert(asker);
            next.run(request).await
        }
        Err(denied) => Problem::from(denied).into_response(),
    }
}

/// The same for gRPC, whose paths are operations as they stand.
pub(crate) async fn check_call(State(service): State<Arc<Service>>, mut request: Request, next: Next) -> Response {
    let Operation::Known(action) = operation(request.method(), request.uri().path()) else {
        return tonic::Status::unimplemented("there is no such call").into_http();
    };
    match service.asker(&request).and_then(|asker| authorize(&asker.principal, action).map(|()| asker)) {
        Ok(asker) => {
            request.extensions_mut().insert(asker);
            next.run(request).await
        }
        Err(Denied::Unknown) => {
            tonic::Status::unauthenticated("send metadata `authorization: Bearer TOKEN`").into_http()
        }
        Err(Denied::Role { role, .. }) => {
            tonic::Status::permission_denied(format!("role {role} may not do this")).into_http()
        }
    }
}

/// Who asks over gRPC.
pub(crate) fn asker_of<T>(request: &tonic::Request<T>) -> Asker {
    request.extensions().get::<Asker>().cloned().expect("a call is reached through the check of access only")
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Unknown => {
                let detail = "send `Authorization: Bearer TOKEN`, or log on with POST /v1/session";
                Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "Nobody knows who asks", detail)
            }
            Denied::Role { role, .. } => Self::forbidden(format!("role {role} may not do this")),
        }
    }
}
