use std::fmt;

use model::{Principal, Timestamp};

/// Who makes a change, when, and why: what its row in the audit says.
#[derive(Debug, Clone, Copy)]
pub struct By<'a> {
    /// Who.
    pub principal: &'a Principal,
    /// The time of the change.
    pub now: Timestamp,
    /// Why, in the principal's words; at most [`model::limits::REASON_BYTES_MAX`] bytes.
    pub reason: Option<&'a str>,
}

/// What a change expects to find, as in the HTTP headers `If-Match` and `If-None-Match`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfMatch {
    /// Anything.
    Always,
    /// Nothing of that name: `If-None-Match: *`.
    Absent,
    /// Something of that name: `If-Match: *`.
    Present,
    /// This version: `If-Match: "7"`.
    Version(u64),
}

impl fmt::Display for IfMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Always => f.write_str("anything"),
            Self::Absent => f.write_str("nothing of that name"),
            Self::Present => f.write_str("something of that name"),
            Self::Version(version) => write!(f, "version {version}"),
        }
    }
}

/// A thing and its version, which is its entity tag too: it rises with every change of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versioned<T> {
    /// The version of the last change.
    pub version: u64,
    /// The thing.
    pub value: T,
}
