//! The API: HTTP/GeoJSON, gRPC, configuration, the page. The only crate that knows JSON.

mod access;
mod clock;
mod codes;
pub mod config;
mod contract;
mod earth;
mod figures;
mod grpc;
mod http;
mod intake;
mod level;
mod listeners;
mod metrics;
mod quarantine;
mod rehearsal;
mod run;
mod search;
mod seats;
mod small_file;
mod standing;
mod storage;
mod tasked;
mod terminal_statuses;
mod tls;
mod units_file;
mod webhooks;
mod zones;

pub use access::{JwksError, JwtConfig};
pub use clock::SystemClock;
pub use earth::Earth;
pub use http::openapi;
pub use run::{Addresses, Figures, Server, StartError};
pub use tls::{TlsConfig, TlsError};
pub use units_file::UnitsFileError;
pub use webhooks::WebhookConfig;
