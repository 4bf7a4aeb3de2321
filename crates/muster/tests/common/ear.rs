//! A listener to events that comes again after each lost connection, and keeps what it heard.

use std::io::{BufRead, BufReader};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;

use super::agent;

/// All that was heard over all connections, in order.
#[derive(Debug, Default)]
pub(crate) struct Ear {
    frames: Mutex<Vec<Frame>>,
    news: Condvar,
}

/// An event as it came.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) number: u64,
    pub(crate) data: Value,
}

impl Frame {
    /// A member of the data; nothing when it is not there.
    pub(crate) fn text(&self, name: &str) -> String {
        self.data[name].as_str().unwrap_or_default().to_owned()
    }

    /// Whether a unit came into a zone or left it.
    pub(crate) fn is_crossing(&self) -> bool {
        matches!(self.data["kind"].as_str(), Some("enter" | "exit"))
    }

    /// `enter beat-1 2026-11-23T06:25:30.000Z`.
    pub(crate) fn words(&self) -> String {
        ["kind", "zone", "time"].map(|name| self.text(name)).join(" ")
    }
}

impl Ear {
    /// Listens until the connection is lost, from what was heard last on. Each number follows the one before, also over connections.
    pub(crate) fn listen(&self, http: &str) {
        let last = self.frames().last().map_or(0, |frame| frame.number);
        // The server may be gone by now.
        let Ok(answer) = agent().get(format!("{http}/v1/events")).header("last-event-id", last.to_string()).call()
        else {
            return;
        };
        assert_eq!(answer.status().as_u16(), 200);
        let (mut number, mut data) = (None::<u64>, None::<Value>);
        for line in BufReader::new(answer.into_body().into_reader()).lines().map_while(Result::ok) {
            match line.split_once(": ") {
                Some(("id", id)) => number = Some(id.parse().expect("an id is a number")),
                // A line that the end has cut is no JSON, and its frame does not end.
                Some(("data", text)) => data = serde_json::from_str(text).ok(),
                _ if line.is_empty() => {
                    if let Some((number, data)) = number.take().zip(data.take()) {
                        self.take(Frame { number, data });
                    }
                }
                _ => {}
            }
        }
    }

    fn take(&self, frame: Frame) {
        let mut frames = self.frames.lock().expect("no listener panicked");
        let last = frames.last().map_or(0, |frame| frame.number);
        assert_eq!(frame.number, last + 1, "events come in order, none twice and none left out: {frame:?}");
        frames.push(frame);
        self.news.notify_all();
    }

    /// What was heard so far.
    pub(crate) fn frames(&self) -> Vec<Frame> {
        self.frames.lock().expect("no listener panicked").clone()
    }

    /// Waits until what was heard is enough; `false` when that takes too long.
    pub(crate) fn wait_until(&self, patience: Duration, is_enough: impl Fn(&[Frame]) -> bool) -> bool {
        let frames = self.frames.lock().expect("no listener panicked");
        let waited = self.news.wait_timeout_while(frames, patience, |frames| !is_enough(frames));
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}
