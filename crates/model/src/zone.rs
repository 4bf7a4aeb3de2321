use crate::{Hours, OrganisationName, Position, Rings, Status, Timestamp, UnitKind, ZoneName, limits};

/// A named area that matters: a beat, a responsibility zone, a cordon. Zones lie in layers and may overlap.
#[derive(Debug, Clone, PartialEq)]
pub struct Zone {
    /// Its name; unique.
    pub name: ZoneName,
    /// What people call it; may be empty.
    pub label: String,
    /// Its layer, 1 to [`limits::ZONE_LAYER_MAX`]; 1 lies on top.
    pub layer: u8,
    /// Whose it is: seen by whoever sees that organisation. `None`: everybody's.
    pub organisation: Option<OrganisationName>,
    /// Where it is, WGS-84.
    pub shape: Shape,
    /// How far the local clock of its hours is ahead of UTC, in minutes.
    pub utc_offset_min: i16,
    /// When it is watched; empty: always. Outside these hours nobody is in it, as far as events go.
    pub hours: Vec<Hours>,
    /// How many units it needs.
    pub minimum: Vec<Minimum>,
    /// When a unit counts as having crossed its border.
    pub settle: Settle,
    /// Whoever stays in it so long makes one event `dwell`; seconds.
    pub dwell_s: Option<u32>,
    /// Whoever stays longer makes one event `overstay`; seconds.
    pub stay_s_max: Option<u32>,
}

/// The ground of a zone.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// Polygons with holes.
    Polygons(Vec<Rings>),
    /// All places within so many geodesic metres.
    Circle {
        /// Its centre.
        centre: Position,
        /// Metres, above 0.
        radius_m: f64,
    },
    /// H3 cells of any resolution, as their 64-bit numbers.
    Cells(Vec<u64>),
}

/// So many units of some kinds, at some hours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Minimum {
    /// Which kinds count; empty: all police kinds.
    pub kinds: Vec<UnitKind>,
    /// When; empty: always.
    pub hours: Vec<Hours>,
    /// At least so many.
    pub at_least: u32,
}

/// A unit has crossed a border when it is [`Self::FAR`] times `margin_m` beyond it, or has been `margin_m` beyond it in every
/// fix for `time_s`. What wavers nearer than that stays where it was: a parked car with a bad receiver makes no storm.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settle {
    /// Metres beyond the border, above 0.
    pub margin_m: f32,
    /// Seconds between the first fix beyond the margin and the one that settles it.
    pub time_s: u32,
}

impl Settle {
    /// Farther beyond the border than this many margins one fix is enough.
    pub const FAR: f32 = 4.0;
}

impl Default for Settle {
    fn default() -> Self {
        Self { margin_m: limits::ZONE_MARGIN_M, time_s: limits::ZONE_SETTLE_S }
    }
}

impl Zone {
    /// Whether it is watched at `now`.
    #[must_use]
    pub fn is_watched(&self, now: Timestamp) -> bool {
        crate::hours_hold(&self.hours, now, self.utc_offset_min)
    }

    /// What it needs at `now`.
    pub fn needs(&self, now: Timestamp) -> impl Iterator<Item = &Minimum> {
        self.minimum.iter().filter(move |one| crate::hours_hold(&one.hours, now, self.utc_offset_min))
    }
}

impl Minimum {
    /// Whether a unit of `kind` and `status` counts: it is not off duty, and of a kind that was named or, when none was, police.
    #[must_use]
    pub fn counts(&self, kind: UnitKind, status: Status) -> bool {
        let is_wanted = if self.kinds.is_empty() { kind != UnitKind::Community } else { self.kinds.contains(&kind) };
        is_wanted && status != Status::OffDuty
    }
}
