//! `Host` and `Origin` are checked on loopback too: a page of another origin that a browser on this
//! machine shows must neither read nor change anything.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::problem::Problem;
use crate::run::Service;

/// The names by which the server may be called.
#[derive(Debug, Clone)]
pub(crate) struct Hosts {
    names: Vec<String>,
}

impl Hosts {
    pub(crate) fn new(bound: SocketAddr, configured: &[String]) -> Self {
        let mut names: Vec<String> = ["localhost", "127.0.0.1", "[::1]"].map(String::from).to_vec();
        names.push(match bound.ip() {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        });
        names.extend(configured.iter().map(|name| name.to_ascii_lowercase()));
        Self { names }
    }

    /// Whether `authority` (a host with or without a port) is one of ours.
    fn knows(&self, authority: &str) -> bool {
        let host = match authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => host,
            _ => authority,
        };
        self.names.iter().any(|name| name.eq_ignore_ascii_case(host))
    }
}

pub(crate) async fn check(State(service): State<Arc<Service>>, request: Request, next: Next) -> Response {
    match refusal(&service.hosts, &request) {
        Some(problem) => problem.into_response(),
        None => next.run(request).await,
    }
}

fn refusal(hosts: &Hosts, request: &Request) -> Option<Problem> {
    let text = |name| request.headers().get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let host = request.uri().authority().map(ToString::to_string).or_else(|| text(header::HOST));
    let host = host.unwrap_or_default();
    if !hosts.knows(&host) {
        let title = "The Host is not this server's";
        let detail = format!("Host {host:?} is not known here; add it to `hosts` in the configuration");
        return Some(Problem::new(StatusCode::MISDIRECTED_REQUEST, "host", title, detail));
    }
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    let origin = text(header::ORIGIN).filter(|_| changes)?;
    let authority = origin.split_once("://").map(|(_, authority)| authority);
    if authority == Some(host.as_str()) {
        return None;
    }
    let title = "The Origin may not change anything here";
    let detail = format!("Origin {origin:?} is not {host:?}");
    Some(Problem::new(StatusCode::FORBIDDEN, "origin", title, detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_names_are_known() {
        let hosts = Hosts::new("127.0.0.1:8080".parse().unwrap(), &["map.example".into()]);
        for known in ["localhost:8080", "127.0.0.1", "[::1]:8080", "MAP.example"] {
            assert!(hosts.knows(known), "{known}");
        }
        for unknown in ["evil.example", "localhost.evil.example:8080", ""] {
            assert!(!hosts.knows(unknown), "{unknown}");
        }
    }
}
