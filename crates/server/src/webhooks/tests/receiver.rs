//! What webhooks send to: a receiver on loopback that checks each signature itself, and answers as a test tells it to.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use parking_lot::Mutex;
use ring::hmac;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// What every webhook of the tests signs with.
pub(crate) const SECRET: &str = "a secret that is long enough";
/// Longer than anything takes here.
const PATIENCE: Duration = Duration::from_secs(60);

/// How it answers to these events.
type Rule = dyn Fn(&[Value]) -> StatusCode + Send + Sync;

pub(crate) struct Receiver {
    pub(crate) url: String,
    taken: Arc<Taken>,
    served: JoinHandle<()>,
}

struct Taken {
    rule: Mutex<Arc<Rule>>,
    events: Mutex<Vec<Value>>,
    posts: tokio::sync::watch::Sender<u64>,
}

impl Receiver {
    /// One that takes everything.
    pub(crate) async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/in?key=hidden", listener.local_addr().unwrap());
        let rule: Arc<Rule> = Arc::new(|_| StatusCode::NO_CONTENT);
        let posts = tokio::sync::watch::Sender::new(0);
        let taken = Arc::new(Taken { rule: Mutex::new(rule), events: Mutex::default(), posts });
        let router = Router::new().fallback(take).with_state(Arc::clone(&taken));
        let served = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, taken, served }
    }

    /// From now on it answers so; only events that it answers 2xx to are taken.
    pub(crate) fn answer(&self, rule: impl Fn(&[Value]) -> StatusCode + Send + Sync + 'static) {
        *self.taken.rule.lock() = Arc::new(rule);
    }

    /// All that it has taken, once that is `count` events or more.
    pub(crate) async fn taken(&self, count: usize) -> Vec<Value> {
        let mut posts = self.taken.posts.subscribe();
        let all = posts.wait_for(|_| self.taken.events.lock().len() >= count);
        drop(tokio::time::timeout(PATIENCE, all).await.expect("it is sent everything in time"));
        self.taken.events.lock().clone()
    }

    /// Returns once it was called so often, whatever it answered.
    pub(crate) async fn called(&self, count: u64) {
        let mut posts = self.taken.posts.subscribe();
        let all = posts.wait_for(|posts| *posts >= count);
        drop(tokio::time::timeout(PATIENCE, all).await.expect("it is called in time"));
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.served.abort();
    }
}

/// The numbers of events.
pub(crate) fn numbers(events: &[Value]) -> Vec<u64> {
    events.iter().map(|event| event["number"].as_u64().unwrap()).collect()
}

async fn take(State(taken): State<Arc<Taken>>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    assert_eq!(uri.to_string(), "/in?key=hidden", "a redirect is not followed");
    let text = |name: &str| headers.get(name).unwrap().to_str().unwrap().to_owned();
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let signed = [text("muster-timestamp").as_bytes(), b".", &body].concat();
    let hex = text("muster-signature").strip_prefix("v1=").unwrap().to_owned();
    let pair = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    let tag: Vec<u8> = (0..hex.len()).step_by(2).map(pair).collect();
    hmac::verify(&key, &signed, &tag).expect("the signature holds");
    let events: Vec<Value> = serde_json::from_slice(&body).unwrap();
    assert!((1..=100).contains(&events.len()), "{}", events.len());
    let bounds = match events[0]["kind"].as_str() {
        Some("gap") if events[0]["number"].is_null() => (events[0]["from"].to_string(), events[0]["until"].to_string()),
        _ => (events[0]["number"].to_string(), events.last().unwrap()["number"].to_string()),
    };
    assert_eq!(bounds, (text("muster-event-from"), text("muster-event-to")));
    let rule = Arc::clone(&taken.rule.lock());
    let status = rule(&events);
    if status.is_success() {
        taken.events.lock().extend(events);
    }
    taken.posts.send_modify(|posts| *posts += 1);
    let mut response = (status, "and so on").into_response();
    if status.is_redirection() {
        response.headers_mut().insert(header::LOCATION, HeaderValue::from_static("/elsewhere"));
    }
    response
}
