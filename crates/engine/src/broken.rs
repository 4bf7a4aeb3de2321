use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Whether a writer has ended by a fault of ours, for whoever looks and for whoever waits.
#[derive(Debug, Default)]
pub(crate) struct Broken {
    is_broken: AtomicBool,
    told: Notify,
}

impl Broken {
    /// A writer has ended.
    pub(crate) fn tell(&self) {
        self.is_broken.store(true, Ordering::Release);
        self.told.notify_waiters();
    }

    pub(crate) fn is_told(&self) -> bool {
        self.is_broken.load(Ordering::Acquire)
    }

    /// Ends once it is told.
    pub(crate) async fn wait(&self) {
        loop {
            // It hears of what is told from here on, so nothing is missed after the look.
            let told = self.told.notified();
            if self.is_told() {
                return;
            }
            told.await;
        }
    }
}
