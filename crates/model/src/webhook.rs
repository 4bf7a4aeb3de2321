use std::fmt;

use crate::limits::{WEBHOOK_SECRET_BYTES_MAX, WEBHOOK_SECRET_BYTES_MIN};
use crate::{EventKind, OrganisationName, UnitName, WebhookName, ZoneName};

/// Where events are sent as they happen, and which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Its name.
    pub name: WebhookName,
    /// To whom, `http` or `https`; may carry credentials in its query.
    pub url: String,
    /// Whose scope it has; `None`: all is sent.
    pub organisation: Option<OrganisationName>,
    /// Only these kinds; empty: all.
    pub kinds: Vec<EventKind>,
    /// Only events of these units; empty: of all.
    pub units: Vec<UnitName>,
    /// Only events of these zones; empty: of all.
    pub zones: Vec<ZoneName>,
    /// Whether anything is sent.
    pub is_enabled: bool,
}

/// What a webhook signs with. Its text is in no log and in no answer.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookSecret(String);

impl WebhookSecret {
    /// Takes a secret of [`WEBHOOK_SECRET_BYTES_MIN`] to [`WEBHOOK_SECRET_BYTES_MAX`] bytes; `None` for any other.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        (WEBHOOK_SECRET_BYTES_MIN..=WEBHOOK_SECRET_BYTES_MAX).contains(&text.len()).then(|| Self(text.to_owned()))
    }

    /// The text, to sign with and to be stored.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_neither_short_nor_long_and_not_shown() {
        assert_eq!(WebhookSecret::new(&"x".repeat(WEBHOOK_SECRET_BYTES_MIN - 1)), None);
        assert_eq!(WebhookSecret::new(&"x".repeat(WEBHOOK_SECRET_BYTES_MAX + 1)), None);
        let secret = WebhookSecret::new("correct-horse-battery").unwrap();
        assert!(!format!("{secret:?}").contains("horse"));
        assert_eq!(secret.expose(), "correct-horse-battery");
    }
}
