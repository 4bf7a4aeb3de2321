use std::fmt;

use crate::{DeviceId, Position, Timestamp};

/// One place that a device reported, as its protocol said it; nothing is guessed. Who sent it stands beside it, so that a report
/// is plain data that crosses threads without a name.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PositionReport {
    /// When the place was true (event time); `None` when the frame does not date it.
    pub time: Option<Timestamp>,
    /// Whose clock `time` is.
    pub time_basis: TimeBasis,
    /// Where, WGS-84.
    pub position: Position,
    /// Whether the receiver had a fix. Without one the place is old or empty: it updates contact and alarms only.
    pub valid: bool,
    /// Speed over ground in m/s.
    pub speed_mps: Option<f32>,
    /// Course over ground in degrees clockwise from north, 0 up to but without 360; `None` when still.
    pub course_deg: Option<f32>,
    /// Altitude with its reference.
    pub altitude: Option<Altitude>,
    /// Radius in metres that holds the true place in 95 of 100 cases; `None` when nobody said. Never made from HDOP alone.
    pub accuracy_m: Option<f32>,
    /// Where `accuracy_m` comes from.
    pub accuracy_basis: Option<AccuracyBasis>,
    /// What else the frame said.
    pub flags: Flags,
}

impl PositionReport {
    /// A valid report of `position` with nothing else known.
    #[must_use]
    pub fn at(position: Position) -> Self {
        Self {
            time: None,
            time_basis: TimeBasis::Receipt,
            position,
            valid: true,
            speed_mps: None,
            course_deg: None,
            altitude: None,
            accuracy_m: None,
            accuracy_basis: None,
            flags: Flags::default(),
        }
    }
}

/// What a device said besides a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceSignal {
    /// Who sent it; `None` where only the connection knows.
    pub device: Option<DeviceId>,
    /// What it means.
    pub kind: SignalKind,
    /// When it happened by the device's clock.
    pub time: Option<Timestamp>,
}

/// The meanings of a [`DeviceSignal`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SignalKind {
    /// The device was heard: heartbeat, registration, log-on.
    Contact,
    /// The emergency button. `delayed` when it comes out of a backlog.
    Emergency {
        /// Pressed earlier, sent only now.
        delayed: bool,
    },
    /// The device said good-bye.
    LogOut,
}

/// Whose clock dates a fix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum TimeBasis {
    /// The satellite receiver's.
    Gnss,
    /// The device's own.
    Device,
    /// The gateway's that passed it on.
    Gateway,
    /// Ours: the moment the bytes arrived.
    Receipt,
}

impl TimeBasis {
    /// The word used in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gnss => "gnss",
            Self::Device => "device",
            Self::Gateway => "gateway",
            Self::Receipt => "receipt",
        }
    }
}

/// Height with what it is measured from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Altitude {
    /// Metres, up positive.
    pub metres: f32,
    /// Measured from what.
    pub reference: AltitudeRef,
}

/// What an altitude is measured from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum AltitudeRef {
    /// The WGS-84 ellipsoid.
    Ellipsoid,
    /// Mean sea level.
    Msl,
    /// The standard atmosphere.
    Pressure,
    /// The ground below.
    Agl,
}

impl AltitudeRef {
    /// The word used in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ellipsoid => "ellipsoid",
            Self::Msl => "msl",
            Self::Pressure => "pressure",
            Self::Agl => "agl",
        }
    }
}

/// Where an accuracy comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum AccuracyBasis {
    /// The device states it.
    Device,
    /// The protocol gives a class with an upper bound.
    Class,
    /// The gateway states it.
    Gateway,
}

impl AccuracyBasis {
    /// The word used in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Class => "class",
            Self::Gateway => "gateway",
        }
    }
}

/// A small set of words that go with a report.
#[derive(Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Flags(u16);

impl Flags {
    /// The emergency button is pressed.
    pub const EMERGENCY: Self = Self(1);
    /// Stored on the device and sent late.
    pub const BACKLOG: Self = Self(1 << 1);
    /// The receiver said "valid" and gave 0 N 0 E: kept as no fix.
    pub const NULL_PLACE: Self = Self(1 << 2);
    /// Dead reckoning or an estimate, not a satellite fix.
    pub const ESTIMATED: Self = Self(1 << 3);
    /// The receiver itself calls the place old.
    pub const OLD: Self = Self(1 << 4);
    /// Answer to a question of ours.
    pub const POLLED: Self = Self(1 << 5);
    /// Dated ahead of the clock; ordered by its receipt.
    pub const TIME_FUTURE: Self = Self(1 << 6);
    /// Farther from the last fix than the kind of unit can move; shown only after a second fix confirmed it.
    pub const JUMP: Self = Self(1 << 7);
    /// The frame's date was missing or impossible; dated by receipt.
    pub const TIME_MISSING: Self = Self(1 << 8);
    /// The journal does not hold it.
    pub const NOT_STORED: Self = Self(1 << 9);
    /// Sources of the unit say that it is in two places.
    pub const SPLIT: Self = Self(1 << 10);

    /// Rounded to about 100 m: a volunteer who is not tasked.
    pub const COARSE: Self = Self(1 << 11);

    const WORDS: [(Self, &'static str); 12] = [
        (Self::EMERGENCY, "emergency"),
        (Self::BACKLOG, "backlog"),
        (Self::NULL_PLACE, "null_place"),
        (Self::ESTIMATED, "estimated"),
        (Self::OLD, "old"),
        (Self::POLLED, "polled"),
        (Self::TIME_FUTURE, "time_future"),
        (Self::JUMP, "jump"),
        (Self::TIME_MISSING, "time_missing"),
        (Self::NOT_STORED, "not_stored"),
        (Self::SPLIT, "split"),
        (Self::COARSE, "coarse"),
    ];

    /// The set as bits; the lowest is [`Self::EMERGENCY`]. They are written to disk: a bit never changes its meaning.
    #[must_use]
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// The set of these bits; `None` when one of them has no meaning.
    #[must_use]
    pub const fn from_bits(bits: u16) -> Option<Self> {
        if bits >> Self::WORDS.len() == 0 { Some(Self(bits)) } else { None }
    }

    /// Whether all of `other` is in this set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// This set and `other`.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// This set without `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Adds `other` when `holds`.
    pub fn set_if(&mut self, holds: bool, other: Self) {
        if holds {
            self.0 |= other.0;
        }
    }

    /// The words of this set, in a fixed order.
    pub fn words(self) -> impl Iterator<Item = &'static str> {
        Self::WORDS.into_iter().filter(move |(flag, _)| self.contains(*flag)).map(|(_, word)| word)
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.words()).finish()
    }
}
