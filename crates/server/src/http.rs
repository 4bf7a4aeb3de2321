//! HTTP: routes are registered only through `utoipa-axum`, so that the OpenAPI document and the router cannot differ.

mod alarm;
mod ask;
mod emergencies;
mod events;
mod features;
mod gaps;
mod gate;
mod gateways;
mod glass;
mod guard;
mod health;
mod nearest;
mod organisations;
mod page;
mod params;
mod precondition;
mod problem;
mod quarantine;
mod reports;
mod said;
mod session;
mod standing;
mod stats;
mod tokens;
mod units;
mod webhooks;
mod within;
pub(crate) mod zones;

pub(crate) use events::body as event_body;
pub(crate) use features::{ages_of, lost_word};
pub(crate) use gate::Gate;
pub(crate) use guard::Hosts;
pub(crate) use problem::Problem;
pub(crate) use stats::Rates;
pub(crate) use units::UnitBody;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::access;
use crate::run::Service;

#[derive(utoipa::OpenApi)]
#[openapi(info(
    title = "Muster",
    description = "Which units are nearest, and which are in this area. Answers are GeoJSON, longitude before latitude; \
                   errors are problem details (RFC 9457) that name field and value. Times are UTC, RFC 3339; lengths are \
                   metres, ages seconds.",
    license(name = "Apache-2.0 OR MIT")
))]
struct Document;

fn routes() -> (Router<Arc<Service>>, OpenApi) {
    OpenApiRouter::with_openapi(<Document as utoipa::OpenApi>::openapi())
        .routes(routes!(nearest::nearest))
        .routes(routes!(within::within))
        .routes(routes!(units::list))
        .routes(routes!(units::read, units::write, units::delete))
        .routes(routes!(reports::take))
        .routes(routes!(emergencies::list))
        .routes(routes!(emergencies::seen))
        .routes(routes!(emergencies::cleared))
        .routes(routes!(events::listen))
        .routes(routes!(events::listeners))
        .routes(routes!(standing::list, standing::add))
        .routes(routes!(standing::read, standing::delete))
        .routes(routes!(glass::smash, glass::list))
        .routes(routes!(quarantine::list))
        .routes(routes!(said::status))
        .routes(routes!(said::assignment))
        .routes(routes!(organisations::list))
        .routes(routes!(organisations::read, organisations::write, organisations::delete))
        .routes(routes!(organisations::command))
        .routes(routes!(zones::list))
        .routes(routes!(zones::board))
        .routes(routes!(zones::rehearse))
        .routes(routes!(zones::read, zones::write, zones::delete))
        .routes(routes!(zones::units))
        .routes(routes!(zones::strength))
        .routes(routes!(session::open, session::close))
        .routes(routes!(tokens::make, tokens::list))
        .routes(routes!(tokens::revoke))
        .routes(routes!(webhooks::list))
        .routes(routes!(webhooks::read, webhooks::write, webhooks::delete))
        .routes(routes!(webhooks::dead))
        .routes(routes!(webhooks::replay))
        .routes(routes!(gaps::list))
        .routes(routes!(gateways::list))
        .routes(routes!(stats::read))
        .routes(routes!(health::alive))
        .routes(routes!(health::ready))
        .routes(routes!(health::metrics))
        .split_for_parts()
}

/// The OpenAPI 3.1 document of this server.
#[must_use]
pub fn openapi() -> OpenApi {
    routes().1
}

pub(crate) fn router(service: &Arc<Service>) -> Router {
    let (api, document) = routes();
    let document = document.to_json().expect("the OpenAPI document is made of plain values");
    let described = move || async move { ([(axum::http::header::CONTENT_TYPE, "application/json")], document) };
    api.route("/openapi.json", axum::routing::get(described))
        .merge(page::routes())
        .fallback(problem::no_such_place)
        .method_not_allowed_fallback(problem::no_such_method)
        .layer(DefaultBodyLimit::max(model::limits::JSON_BYTES_MAX))
        .layer(middleware::from_fn_with_state(Arc::clone(service), access::check))
        .layer(middleware::from_fn_with_state(Arc::clone(service), alarm::tell))
        .layer(middleware::from_fn_with_state(Arc::clone(service), guard::check))
        .with_state(Arc::clone(service))
}

#[cfg(test)]
mod tests;
