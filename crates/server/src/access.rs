//! Who may do what. Every request passes [`check`] or [`check_call`] once: they find out who asks, ask [`authorize`], and hand the
//! handler an [`Asker`]. What is not in the table of operations is refused; a refusal is in the audit before it leaves.

mod auditor;
mod doors;
mod glass;
mod log_on;
mod operations;
mod pace;
mod policy;
mod provider;
mod scopes;
mod tree;

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use ingest::Allowed;
use model::{Principal, Role};
use query::{Lane, Realm, Scope};

use crate::http::Problem;
use crate::run::Service;
use crate::tls::presented;
pub(crate) use auditor::{Auditor, NotAudited};
pub(crate) use glass::{Broken, Glass};
pub use log_on::LogOnRule;
pub(crate) use log_on::{COOKIE, Grant, LogOn};
use operations::{Operation, operation};
pub(crate) use pace::Pace;
use pace::Urgency;
use policy::authorize;
pub(crate) use policy::{Action, Denied};
pub(crate) use provider::Provider;
pub use provider::{JwksError, JwtConfig};
pub(crate) use scopes::Scopes;
pub(crate) use tree::{Tree, ground};

/// Who asks, and whose units it may see.
#[derive(Debug, Clone)]
pub(crate) struct Asker {
    pub(crate) principal: Arc<Principal>,
    pub(crate) scope: Scope,
    /// The token it was told by; `None` where nobody logs on.
    pub(crate) grant: Option<Grant>,
}

impl Asker {
    /// A program on this machine, where nobody logs on.
    pub(crate) fn local() -> Self {
        Self { principal: Arc::new(Principal::local()), scope: Scope::everything(), grant: None }
    }

    /// Somebody who did not log on, at an operation that is open to all.
    fn nobody() -> Self {
        Self { scope: Scope::of(Realm::default()), ..Self::local() }
    }

    /// Whether nothing is hidden from it.
    pub(crate) const fn sees_all(&self) -> bool {
        self.scope.is_everything()
    }

    /// Whether it is no organisation's: what nobody owns is its to change. Broken glass shows all and gives no such right.
    pub(crate) fn is_of_the_whole(&self) -> bool {
        self.principal.organisation.is_none()
    }

    /// The devices that it may report for.
    pub(crate) fn devices(&self) -> Arc<Allowed> {
        self.grant.as_ref().map_or_else(Arc::default, |grant| Arc::clone(&grant.devices))
    }

    /// Refuses the one-time token, where its one thing is not done.
    pub(crate) fn is_lasting(&self) -> Result<(), Denied> {
        let is_one_time = self.grant.as_ref().is_some_and(|grant| grant.is_one_time);
        if is_one_time { Err(Denied::OneTime) } else { Ok(()) }
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
}

impl<S: Sync> FromRequestParts<S> for Asker {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned().expect("a handler is reached through the check of access only"))
    }
}

/// Who asks over gRPC.
pub(crate) fn asker_of<T>(request: &tonic::Request<T>) -> Asker {
    request.extensions().get::<Asker>().cloned().expect("a call is reached through the check of access only")
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
    let what = format!("{} {}", request.method(), request.uri().path());
    let asked = service.asker(request.headers(), presented(request.extensions()));
    let lane = lane_of(&request);
    match admitted(&service, asked, what, action, lane.as_deref()).await {
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
    let what = format!("{} {}", request.method(), request.uri().path());
    let asked = service.asker(request.headers(), presented(request.extensions()));
    let lane = lane_of(&request);
    match admitted(&service, asked, what, action, lane.as_deref()).await {
        Ok(asker) => {
            request.extensions_mut().insert(asker);
            next.run(request).await
        }
        Err(denied @ (Denied::Unknown | Denied::Token(_))) => {
            tonic::Status::unauthenticated(denied.to_string()).into_http()
        }
        Err(denied @ Denied::Pace) => tonic::Status::resource_exhausted(denied.to_string()).into_http(),
        Err(denied @ (Denied::Unavailable | Denied::Full)) => {
            tonic::Status::unavailable(denied.to_string()).into_http()
        }
        Err(denied) => tonic::Status::permission_denied(denied.to_string()).into_http(),
    }
}

/// Whoever asked, if it may do `action`.
async fn admitted(
    service: &Service,
    asked: Result<Asker, Denied>,
    what: String,
    action: Action,
    lane: Option<&str>,
) -> Result<Asker, Denied> {
    if action == Action::Open {
        return Ok(asked.unwrap_or_else(|_| Asker::nobody()));
    }
    let denied = match &asked {
        Ok(asker) => authorize(asker, action).err(),
        Err(denied) => Some(*denied),
    };
    let Some(denied) = denied else {
        // Not in the audit: whoever asks too often must not fill it.
        return asked.and_then(|asker| if is_in_pace(service, &asker, lane) { Ok(asker) } else { Err(Denied::Pace) });
    };
    let principal = asked.ok().map(|asker| (*asker.principal).clone());
    service.refused(principal, what, denied).await.map_err(|NotAudited| Denied::Unavailable)?;
    Err(denied)
}

/// Where nobody logs on there is nobody to count for.
fn is_in_pace(service: &Service, asker: &Asker, lane: Option<&str>) -> bool {
    let urgency = Urgency::of(asker.principal.role, lane);
    asker.grant.is_none() || service.pace.lets(&asker.principal.name, urgency, service.setting.clock.monotonic())
}

/// The lane that a request names; whether it may is asked later.
fn lane_of(request: &Request) -> Option<String> {
    request.headers().get("muster-lane").and_then(|lane| lane.to_str().ok()).map(str::to_owned)
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Unknown | Denied::Token(_) => {
                Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "Nobody knows who asks", denied)
            }
            Denied::Unavailable | Denied::Full => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "no-log-on", "Nobody can log on now", denied)
            }
            Denied::Role { .. } | Denied::OneTime => Self::forbidden(denied),
            Denied::Pace => Self::too_fast(denied),
        }
    }
}

#[cfg(test)]
mod tests;
