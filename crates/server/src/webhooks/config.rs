use std::path::PathBuf;
use std::time::Duration;

use ingest::Allowed;
use model::limits::{EVENTS_RETAIN_TIME, WEBHOOK_GIVE_UP};

use crate::config::Settings;

/// Where webhooks may send to, and for how long they try.
#[derive(Debug, Clone)]
pub struct WebhookConfig {
    /// Networks that they may call besides public addresses. Default none; key `webhook_networks`, as in `["10.0.0.0/8"]`.
    pub networks: Allowed,
    /// Certificates that sign those of receivers (PEM); without it only `http` is sent to. Read at the start. Key `webhook_ca`.
    pub ca: Option<PathBuf>,
    /// What could not be delivered for so long goes to the dead-letter list. Key `webhook_give_up_hours`, 1 to 2160; default 24.
    pub give_up: Duration,
}

impl Default for WebhookConfig {
    fn default() -> Self {
        Self { networks: Allowed::default(), ca: None, give_up: WEBHOOK_GIVE_UP }
    }
}

impl WebhookConfig {
    /// Lays what one origin sets over this.
    ///
    /// # Errors
    /// The key, and what is wrong with its value.
    pub(crate) fn lay(&mut self, settings: &Settings) -> Result<(), (&'static str, String)> {
        if let Some(networks) = &settings.webhook_networks {
            self.networks = Allowed::new(networks, &[]).map_err(|error| ("webhook_networks", error.to_string()))?;
        }
        if settings.webhook_ca.is_some() {
            self.ca.clone_from(&settings.webhook_ca);
        }
        if let Some(hours) = settings.webhook_give_up_hours {
            // Beyond that the events are gone.
            let most = EVENTS_RETAIN_TIME.as_secs() / 3_600;
            if !(1..=most).contains(&hours) {
                return Err(("webhook_give_up_hours", format!("{hours} is not 1 to {most}")));
            }
            self.give_up = Duration::from_secs(hours * 3_600);
        }
        Ok(())
    }
}
