use model::{
    AccuracyBasis, Altitude, Capabilities, DeviceHandle, Flags, OrganisationHandle, Position, Status, TimeBasis,
    Timestamp, UnitKind,
};

/// A fix is never stale before this age, in milliseconds.
pub const STALE_MS_MIN: i64 = 15_000;
/// A unit is never out of contact before this age, in milliseconds.
pub const OUT_OF_CONTACT_MS_MIN: i64 = 50_000;
/// Expected interval of a device whose own is not learned yet, in milliseconds.
pub const UNKNOWN_INTERVAL_MS: u32 = 15_000;

/// The place of a unit and all that came with it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fix {
    /// Where.
    pub position: Position,
    /// When the place was true; its age counts from here. Never after `received`.
    pub time: Timestamp,
    /// When we read it.
    pub received: Timestamp,
    /// The device that it comes from.
    pub source: DeviceHandle,
    /// Whose clock `time` is.
    pub time_basis: TimeBasis,
    /// Speed in m/s.
    pub speed_mps: Option<f32>,
    /// Course in degrees clockwise from north.
    pub course_deg: Option<f32>,
    /// Altitude.
    pub altitude: Option<Altitude>,
    /// Radius that holds the true place in 95 of 100 cases, metres.
    pub accuracy_m: Option<f32>,
    /// Who says so.
    pub accuracy_basis: Option<AccuracyBasis>,
    /// What else the report and the rules said.
    pub flags: Flags,
}

/// What filters ask about a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnitTraits {
    /// What it is.
    pub kind: UnitKind,
    /// What it can take on.
    pub status: Status,
    /// Whose it is.
    pub organisation: Option<OrganisationHandle>,
    /// What it can do.
    pub capabilities: Capabilities,
    /// Left out of default answers.
    pub covert: bool,
}

impl Default for UnitTraits {
    fn default() -> Self {
        Self {
            kind: UnitKind::Unknown,
            status: Status::Unknown,
            organisation: None,
            capabilities: Capabilities::default(),
            covert: false,
        }
    }
}

/// All that is known of one unit now.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Slot {
    /// Where it is; `None` before the first fix.
    pub fix: Option<Fix>,
    /// When anything was last heard of it.
    pub contact_time: Option<Timestamp>,
    /// How often its current source reports, learned, in milliseconds.
    pub expected_interval_ms: Option<u32>,
    /// What filters ask.
    pub traits: UnitTraits,
}

impl Slot {
    /// Age of the place in milliseconds, 0 or more.
    #[must_use]
    pub fn fix_age_ms(&self, as_of: Timestamp) -> Option<i64> {
        self.fix.map(|fix| as_of.ms_since(fix.time).max(0))
    }

    /// Age of the last contact in milliseconds, 0 or more.
    #[must_use]
    pub fn contact_age_ms(&self, as_of: Timestamp) -> Option<i64> {
        self.contact_time.map(|time| as_of.ms_since(time).max(0))
    }

    /// Whether the place is older than three expected intervals, at least [`STALE_MS_MIN`].
    #[must_use]
    pub fn is_stale(&self, as_of: Timestamp) -> bool {
        self.fix_age_ms(as_of).is_some_and(|age| age > STALE_MS_MIN.max(3 * self.interval_ms()))
    }

    /// Whether nothing was heard for ten expected intervals, at least [`OUT_OF_CONTACT_MS_MIN`].
    #[must_use]
    pub fn is_out_of_contact(&self, as_of: Timestamp) -> bool {
        self.contact_age_ms(as_of).is_none_or(|age| age > OUT_OF_CONTACT_MS_MIN.max(10 * self.interval_ms()))
    }

    fn interval_ms(&self) -> i64 {
        i64::from(self.expected_interval_ms.unwrap_or(UNKNOWN_INTERVAL_MS))
    }
}
