use std::sync::Arc;
use std::thread::JoinHandle;

use model::limits::{AUDIT_AT_ONCE, AUDIT_QUEUE_MAX};
use store::audit::{Look, Record};
use store::{Store, StoreError};
use tokio::sync::{mpsc, oneshot};
use tracing::error;

/// Takes looks and records to the store, many in one transaction. No answer leaves before its look is there.
pub(crate) struct Auditor {
    queue: mpsc::Sender<Message>,
    thread: Option<JoinHandle<()>>,
}

enum Message {
    Look(Look, oneshot::Sender<bool>),
    Record(Record, oneshot::Sender<bool>),
}

/// Nothing is shown and nothing is changed that cannot be audited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the audit cannot be written, so nothing is shown: see the log of the server")]
pub(crate) struct NotAudited;

impl Auditor {
    pub(crate) fn start(store: Arc<Store>) -> Self {
        let (queue, messages) = mpsc::channel(AUDIT_QUEUE_MAX);
        let thread = std::thread::Builder::new().name("muster-audit".to_owned());
        let thread = thread.spawn(move || write(&store, messages)).expect("the thread of the audit starts");
        Self { queue, thread: Some(thread) }
    }

    /// Returns once `look` is in the audit.
    pub(crate) async fn looked(&self, look: Look) -> Result<(), NotAudited> {
        let (done, written) = oneshot::channel();
        self.put(Message::Look(look, done), written).await
    }

    /// Returns once `record` is in the audit, on stable storage.
    pub(crate) async fn note(&self, record: Record) -> Result<(), NotAudited> {
        let (done, written) = oneshot::channel();
        self.put(Message::Record(record, done), written).await
    }

    async fn put(&self, message: Message, written: oneshot::Receiver<bool>) -> Result<(), NotAudited> {
        self.queue.send(message).await.map_err(|_| NotAudited)?;
        if written.await.unwrap_or(false) { Ok(()) } else { Err(NotAudited) }
    }
}

impl Drop for Auditor {
    /// What waits is written first.
    fn drop(&mut self) {
        let (closed, _) = mpsc::channel(1);
        self.queue = closed;
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(!matches!(ended, Some(Err(_))) || std::thread::panicking(), "the audit ends without a panic");
    }
}

fn write(store: &Store, mut messages: mpsc::Receiver<Message>) {
    let mut taken = Vec::with_capacity(AUDIT_AT_ONCE);
    while messages.blocking_recv_many(&mut taken, AUDIT_AT_ONCE) > 0 {
        let (mut looks, mut records) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
        for message in taken.drain(..) {
            match message {
                Message::Look(look, done) => {
                    looks.0.push(look);
                    looks.1.push(done);
                }
                Message::Record(record, done) => {
                    records.0.push(record);
                    records.1.push(done);
                }
            }
        }
        tell(store.looks(&looks.0), looks.1);
        tell(store.audit(&records.0), records.1);
    }
}

fn tell(written: Result<(), StoreError>, waiting: Vec<oneshot::Sender<bool>>) {
    if let Err(error) = &written {
        error!(%error, "THE AUDIT CANNOT BE WRITTEN: nothing is shown to anyone who logs on.");
    }
    for done in waiting {
        // Nobody may wait for it any more.
        let _ = done.send(written.is_ok());
    }
}
