use crate::limits::CAPABILITIES_MAX;
use crate::words::words;
use crate::{DeviceId, OrganisationName, Timestamp, UnitName};

words! {
    /// What a unit is.
    UnitKind, "kind of unit",
    /// Nobody said.
    Unknown = "unknown",
    /// An officer on foot.
    Foot = "foot",
    /// A patrol car.
    Car = "car",
    /// A motorcycle.
    Motorcycle = "motorcycle",
    /// An armed assault car.
    ArmedCar = "armed_car",
    /// A helicopter or another aircraft with a crew on board.
    Helicopter = "helicopter",
    /// A drone.
    Drone = "drone",
    /// A boat.
    Boat = "boat",
    /// A fixed post with officers.
    Post = "post",
    /// A fixed video post.
    VideoPost = "video_post",
    /// A guard, warden or volunteer.
    Community = "community",
}

impl UnitKind {
    /// Faster than this (m/s) between two fixes is a jump, to be confirmed by a second fix.
    #[must_use]
    pub const fn speed_mps_max(self) -> f64 {
        match self {
            Self::Foot | Self::Community | Self::Post | Self::VideoPost => 45.0,
            Self::Boat => 35.0,
            Self::Drone => 60.0,
            Self::Car | Self::Motorcycle | Self::ArmedCar => 75.0,
            Self::Helicopter | Self::Unknown => 130.0,
        }
    }

    /// Whether it flies.
    #[must_use]
    pub const fn is_air(self) -> bool {
        matches!(self, Self::Helicopter | Self::Drone)
    }
}

words! {
    /// What a unit can take on now.
    Status, "status",
    /// Nobody said: it counts as available until duty data exist.
    Unknown = "unknown",
    /// On duty and free.
    Available = "available",
    /// On duty and bound.
    Busy = "busy",
    /// Not on duty.
    OffDuty = "off_duty",
}

/// A set of up to [`CAPABILITIES_MAX`] capability words, as bits; `engine` keeps which bit is which word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Capabilities(u64);

/// There are already [`CAPABILITIES_MAX`] capability words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there are already {CAPABILITIES_MAX} different capabilities")]
pub struct CapabilityError;

impl Capabilities {
    /// The set with the one capability number `bit`.
    ///
    /// # Errors
    /// [`CapabilityError`] from bit 64 on.
    pub const fn of_bit(bit: usize) -> Result<Self, CapabilityError> {
        if bit < CAPABILITIES_MAX { Ok(Self(1 << bit)) } else { Err(CapabilityError) }
    }

    /// The set as bits.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The set of these bits.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// This set and `other`.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` is in this set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Who is on the map: the entry of one unit in the roster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Its name; unique.
    pub name: UnitName,
    /// What it is.
    pub kind: UnitKind,
    /// What it can take on now.
    pub status: Status,
    /// Whose it is.
    pub organisation: Option<OrganisationName>,
    /// What it can do, as words; sorted.
    pub capabilities: Vec<String>,
    /// Left out of default answers.
    pub covert: bool,
}

impl Unit {
    /// A unit of which only the name is known.
    #[must_use]
    pub fn named(name: UnitName) -> Self {
        Self {
            name,
            kind: UnitKind::Unknown,
            status: Status::Unknown,
            organisation: None,
            capabilities: Vec::new(),
            covert: false,
        }
    }
}

/// A span of time, from `from` on and before `until`; without end while `until` is `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// From then on.
    pub from: Timestamp,
    /// Not any more from then on.
    pub until: Option<Timestamp>,
}

impl Span {
    /// Whether `now` lies in it.
    #[must_use]
    pub fn holds(&self, now: Timestamp) -> bool {
        self.from <= now && self.until.is_none_or(|until| now < until)
    }

    /// Whether some instant lies in both.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let ends_before = |a: &Self, b: &Self| a.until.is_some_and(|until| until <= b.from);
        !ends_before(self, other) && !ends_before(other, self)
    }
}

words! {
    /// Who says what a unit does. The first stands before the others.
    Owner, "owner",
    /// A dispatch system, or a dispatcher.
    Cad = "cad",
    /// The unit itself, at its terminal.
    Terminal = "terminal",
}

/// What is said of a unit; `None` takes it back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SaidOf {
    /// What it can take on now.
    Status(Option<Status>),
    /// What it is sent to: an incident, a task.
    Assignment(Option<String>),
}

impl SaidOf {
    /// `status` or `assignment`.
    #[must_use]
    pub const fn what(&self) -> &'static str {
        match self {
            Self::Status(_) => "status",
            Self::Assignment(_) => "assignment",
        }
    }

    /// The word in the audit.
    #[must_use]
    pub const fn action(&self) -> &'static str {
        match self {
            Self::Status(_) => "unit.status",
            Self::Assignment(_) => "unit.assignment",
        }
    }

    /// The value as text.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Status(status) => status.map(Status::as_str),
            Self::Assignment(assignment) => assignment.as_deref(),
        }
    }
}

/// Something that is said of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// What.
    pub of: SaidOf,
    /// When it was so: the event time.
    pub time: Timestamp,
    /// Which system or person says so; may be empty.
    pub source: String,
}

/// A status that a unit set at its terminal, as a gateway brings it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TerminalStatus {
    /// Whose.
    pub unit: UnitName,
    /// What it can take on now.
    pub status: Status,
    /// When it was set; `None`: when it came.
    pub time: Option<Timestamp>,
    /// Makes it one change however often it comes; may be empty.
    pub idempotency_key: String,
}

/// All that people have written down of a unit. The part that searches need is in [`Self::unit`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitRecord {
    /// Its entry in the roster.
    pub unit: Unit,
    /// What it is called on the radio; may be empty.
    pub call_sign: String,
    /// Its names in other systems: the system, then the name there.
    pub external: Vec<(String, String)>,
    /// The devices that it carries, and when.
    pub devices: Vec<(DeviceId, Span)>,
    /// The units that ride in it, and when.
    pub crew: Vec<(UnitName, Span)>,
    /// When it is on duty, and in which zone; the zone may be empty.
    pub duty: Option<(Span, String)>,
    /// The status that stands, if somebody said one since; else that of [`Self::unit`] holds.
    pub status_said: Option<(Owner, Said)>,
    /// What it is sent to, if somebody said so.
    pub assignment: Option<(Owner, Said)>,
}

impl UnitRecord {
    /// The record of a unit of which only the entry in the roster is known.
    #[must_use]
    pub fn of(unit: Unit) -> Self {
        Self {
            unit,
            call_sign: String::new(),
            external: Vec::new(),
            devices: Vec::new(),
            crew: Vec::new(),
            duty: None,
            status_said: None,
            assignment: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_read_as_they_print_and_a_wrong_one_names_the_right_ones() {
        for kind in UnitKind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(*kind));
        }
        let error = "tank".parse::<UnitKind>().unwrap_err().to_string();
        assert!(error.starts_with("\"tank\" is no kind of unit; known are: unknown, foot, car"), "{error}");
    }
}
