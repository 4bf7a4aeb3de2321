use crate::{DeviceHandle, PositionReport, Timestamp, UnitHandle};

/// Which unit a device belongs to, as dense numbers. A session keeps it, so that no report pays a look-up by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binding {
    /// The device.
    pub device: DeviceHandle,
    /// The unit that carries it.
    pub unit: UnitHandle,
}

/// One admitted thing that a device said: what `ingest` hands to the engine.
#[derive(Debug, Clone, PartialEq)]
pub struct Heard {
    /// Who said it.
    pub binding: Binding,
    /// When its last byte was read.
    pub received: Timestamp,
    /// What it was.
    pub what: What,
}

/// What was heard.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// A place.
    Report(PositionReport),
    /// Anything without a place.
    Contact,
    /// Good-bye.
    LogOut,
}
