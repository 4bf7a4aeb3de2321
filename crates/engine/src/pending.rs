use journal::Entry;
use parking_lot::Mutex;

/// Changes that are made at once, and wait for the writer to put them into the journal before any report that comes after them.
#[derive(Debug, Default)]
pub(crate) struct Pending(Mutex<Vec<Entry>>);

impl Pending {
    /// Adds one. Called under the lock of what it changes, so that the order is the same in both.
    pub(crate) fn push(&self, entry: Entry) {
        self.0.lock().push(entry);
    }

    /// Takes all.
    pub(crate) fn take(&self) -> Vec<Entry> {
        std::mem::take(&mut *self.0.lock())
    }

    pub(crate) fn len(&self) -> usize {
        self.0.lock().len()
    }
}
