//! Questions over HTTP.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The words of the header `Muster-Alarm`.
    pub alarms: Vec<String>,
    /// The body as it came.
    pub text: String,
}

impl Answer {
    /// The body as JSON; null when it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }
}

/// Asks one server; keeps its connection.
#[derive(Debug, Clone)]
pub struct Asker {
    agent: ureq::Agent,
    server: SocketAddr,
}

impl Asker {
    /// For the server at this address.
    #[must_use]
    pub fn of(server: SocketAddr) -> Self {
        let patience = Some(Duration::from_secs(30));
        let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(patience).build();
        Self { agent: ureq::Agent::new_with_config(config), server }
    }

    /// Gets a path.
    ///
    /// # Errors
    /// When no answer comes.
    pub fn ask(&self, path: &str) -> Result<Answer, ureq::Error> {
        read(self.agent.get(format!("http://{}{path}", self.server)).call()?)
    }

    /// Posts JSON to a path.
    ///
    /// # Errors
    /// When no answer comes.
    pub fn post(&self, path: &str, body: &Value) -> Result<Answer, ureq::Error> {
        let request = self.agent.post(format!("http://{}{path}", self.server));
        read(request.header("content-type", "application/json").send(body.to_string())?)
    }
}

fn read(mut response: ureq::http::Response<ureq::Body>) -> Result<Answer, ureq::Error> {
    let alarms =
        response.headers().get_all("muster-alarm").iter().filter_map(|word| Some(word.to_str().ok()?.to_owned()));
    let (status, alarms) = (response.status().as_u16(), alarms.collect());
    Ok(Answer { status, alarms, text: response.body_mut().read_to_string()? })
}
