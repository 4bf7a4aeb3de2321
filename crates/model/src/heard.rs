use crate::{DeviceHandle, DeviceId, Position, PositionReport, PrincipalName, Timestamp, UnitHandle};

/// Which unit a device belongs to, as dense numbers. A session keeps it, so that no report pays a look-up by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binding {
    /// The device.
    pub device: DeviceHandle,
    /// The unit that carries it.
    pub unit: UnitHandle,
}

/// One admitted thing that a device said: what `ingest` hands to the engine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Heard {
    /// Who said it.
    pub binding: Binding,
    /// When its last byte was read.
    pub received: Timestamp,
    /// What it was.
    pub what: What,
}

/// What was heard.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum What {
    /// A place.
    Report(PositionReport),
    /// Anything without a place.
    Contact,
    /// Good-bye.
    LogOut,
}

/// A pressed emergency button, of a device known or not.
#[derive(Debug, Clone, PartialEq)]
pub struct Press {
    /// The device that was pressed.
    pub device: DeviceId,
    /// When, by the device's clock.
    pub pressed_at: Option<Timestamp>,
    /// When we heard of it.
    pub received_at: Timestamp,
    /// It comes out of a backlog.
    pub is_delayed: bool,
    /// The place in the same frame, if it had a valid one, and when that was true.
    pub place: Option<(Position, Timestamp)>,
}

/// What a person did about an emergency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handling {
    /// The number under which it rings.
    pub number: u64,
    /// Who did it.
    pub by: PrincipalName,
    /// When.
    pub at: Timestamp,
    /// What it was.
    pub step: Step,
}

/// The steps of an emergency after it was raised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Somebody has seen it, and it rings on.
    Seen,
    /// It is over.
    Cleared {
        /// Why, in words.
        reason: String,
    },
}
