use std::time::Duration;

/// How a local log keeps its segments.
#[derive(Debug, Clone)]
pub struct Options {
    /// Bytes of a segment; reserved before it is used. [`model::limits::JOURNAL_SEGMENT_BYTES_MIN`] to 1 GiB.
    pub segment_bytes: u32,
    /// How long the first entry of a group may wait for others before it is written.
    pub group_time: Duration,
    /// A group of so many bytes is written at once.
    pub group_bytes: usize,
    /// Bytes that may wait for a slow disk before appends wait too.
    pub unsynced_bytes_max: usize,
    /// A segment that found no room is tried again after this.
    pub reserve_again_after: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: model::limits::JOURNAL_SEGMENT_BYTES,
            group_time: model::limits::JOURNAL_GROUP_TIME,
            group_bytes: model::limits::JOURNAL_GROUP_BYTES,
            unsynced_bytes_max: model::limits::JOURNAL_UNSYNCED_BYTES_MAX,
            reserve_again_after: Duration::from_secs(1),
        }
    }
}
