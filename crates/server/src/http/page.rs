//! The page at `/`: static files, built in.

use std::sync::Arc;

use axum::Router;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;

use crate::run::Service;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

fn file(kind: &'static str, content: &'static str) -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, content)
}

pub(super) fn routes() -> Router<Arc<Service>> {
    const SCRIPT: &str = "text/javascript; charset=utf-8";
    let page = || async { file("text/html; charset=utf-8", include_str!("../../page/index.html")) };
    let style = || async { file("text/css; charset=utf-8", include_str!("../../page/page.css")) };
    Router::new()
        .route("/", get(page))
        .route("/page.css", get(style))
        .route("/page.js", get(|| async { file(SCRIPT, include_str!("../../page/page.js")) }))
        .route("/events.js", get(|| async { file(SCRIPT, include_str!("../../page/events.js")) }))
        .route("/zones.js", get(|| async { file(SCRIPT, include_str!("../../page/zones.js")) }))
        .route("/words.js", get(|| async { file(SCRIPT, include_str!("../../page/words.js")) }))
}
