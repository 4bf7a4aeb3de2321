use model::Heard;
use model::limits::{BATCH_BUFFERS_MAX, BATCH_REPORTS_MAX};
use parking_lot::Mutex;

/// Memory of batches that were applied, for those to come. Large memory goes back to the system each time it is freed, and costs
/// a page fault for every 4 KiB when it is asked for again.
#[derive(Debug, Default)]
pub(crate) struct Buffers(Mutex<Vec<Vec<Heard>>>);

impl Buffers {
    /// An empty batch.
    pub(crate) fn take(&self) -> Vec<Heard> {
        self.0.lock().pop().unwrap_or_default()
    }

    /// Keeps the memory of `batch`, if it is of a usual size and there is room.
    pub(crate) fn give(&self, mut batch: Vec<Heard>) {
        batch.clear();
        let mut buffers = self.0.lock();
        if (1..=2 * BATCH_REPORTS_MAX).contains(&batch.capacity()) && buffers.len() < BATCH_BUFFERS_MAX {
            buffers.push(batch);
        }
    }
}
