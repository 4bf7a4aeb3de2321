//! gRPC: the same questions and the same reports, as `proto/muster/v1` has them.

mod ahead;
mod events;
mod found;
mod gateways;
mod laid;
mod queries;
mod zones;

use std::sync::Arc;

use model::limits;
use tokio::sync::watch;
use tonic::service::Routes;
use tonic::transport::server::Server;
use tonic_health::ServingStatus;
use tracing::warn;

use crate::access;
use crate::run::Service;
use crate::tls::Incoming;

/// The generated services; their answers are [`laid`].
pub(crate) mod stubs {
    #![expect(unreachable_pub, clippy::allow_attributes_without_reason, clippy::too_many_lines, reason = "generated")]
    include!(concat!(env!("OUT_DIR"), "/muster.v1.rs"));
}

/// The generated clients, which read answers as the schema has them.
#[cfg(test)]
pub(crate) mod clients {
    #![expect(unreachable_pub, clippy::allow_attributes_without_reason, reason = "generated")]
    include!(concat!(env!("OUT_DIR"), "/clients/muster.v1.rs"));
}

pub(crate) const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/muster.v1.descriptors"));

pub(crate) async fn serve(incoming: Incoming, service: Arc<Service>, mut stopped: watch::Receiver<bool>) {
    use stubs::{ingest_server::IngestServer, query_server::QueryServer, zones_server::ZonesServer};
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_serving::<IngestServer<gateways::Gateways>>().await;
    reporter.set_serving::<QueryServer<queries::Queries>>().await;
    reporter.set_serving::<ZonesServer<zones::ZoneCalls>>().await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .build_v1()
        .expect("the descriptors were made by the build");
    let watched = Arc::clone(&service);
    let watching = tokio::spawn(async move {
        watched.engine.broken().await;
        reporter.set_not_serving::<IngestServer<gateways::Gateways>>().await;
        reporter.set_not_serving::<QueryServer<queries::Queries>>().await;
        reporter.set_not_serving::<ZonesServer<zones::ZoneCalls>>().await;
        // The server as a whole.
        reporter.set_service_status("", ServingStatus::NotServing).await;
    });
    let calls = ours(&service, &stopped).add_service(health).add_service(reflection).into_axum_router();
    let calls = calls.layer(axum::middleware::from_fn_with_state(service, access::check_call));
    let ended = async move {
        let _ = stopped.wait_for(|stopped| *stopped).await;
    };
    let served = Server::builder()
        .initial_stream_window_size(limits::GRPC_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(limits::GRPC_CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(limits::GRPC_STREAMS_MAX)
        .http2_keepalive_interval(Some(limits::GRPC_KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(limits::GRPC_KEEPALIVE_TIMEOUT))
        .add_routes(calls.into())
        .serve_with_incoming_shutdown(incoming, ended)
        .await;
    watching.abort();
    if let Err(error) = served {
        warn!(%error, "gRPC ended.");
    }
}

/// Our own calls, not yet checked.
fn ours(service: &Arc<Service>, stopped: &watch::Receiver<bool>) -> Routes {
    use stubs::{ingest_server::IngestServer, query_server::QueryServer, zones_server::ZonesServer};
    let limit = limits::GRPC_BYTES_MAX;
    let gateways = gateways::Gateways::new(Arc::clone(service), stopped.clone());
    let queries = queries::Queries { service: Arc::clone(service) };
    let zones = zones::ZoneCalls { service: Arc::clone(service) };
    Routes::new(IngestServer::new(gateways).max_decoding_message_size(limit))
        .add_service(QueryServer::new(queries).max_decoding_message_size(limit))
        .add_service(ZonesServer::new(zones).max_decoding_message_size(limit))
}

/// Our own calls as callers reach them.
#[cfg(test)]
pub(crate) fn checked(service: &Arc<Service>, stopped: &watch::Receiver<bool>) -> axum::Router {
    ours(service, stopped)
        .into_axum_router()
        .layer(axum::middleware::from_fn_with_state(Arc::clone(service), access::check_call))
}

#[cfg(test)]
mod tests;
