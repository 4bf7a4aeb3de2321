use crate::{Timestamp, UnitHandle};

/// A gateway fell silent, or was heard again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayChange {
    /// Its name, as it calls itself.
    pub gateway: String,
    /// Silent now, or heard again.
    pub is_lost: bool,
    /// When this was noted.
    pub noted: Timestamp,
    /// When it was heard last.
    pub heard: Timestamp,
    /// Of one that is lost, the units whose devices came through it last, each once, by number; some may be heard on another way.
    pub units: Vec<UnitHandle>,
}
