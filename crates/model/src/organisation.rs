use crate::{OrganisationName, Position, Timestamp, UnitName};

/// A polygon: the outline first, then its holes; each ring ends where it begins.
pub type Rings = Vec<Vec<Position>>;

/// A bureau, a district, a station: one node of the tree of who commands whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Organisation {
    /// Its name; unique.
    pub name: OrganisationName,
    /// What people call it; may be empty.
    pub label: String,
    /// Whom it belongs to; `None` at the top.
    pub parent: Option<OrganisationName>,
    /// The ground it answers for, as polygons (WGS-84). Empty when it has none of its own.
    pub territory: Vec<Rings>,
}

/// Operational command for a time: beside its parent, `organisation` answers to `under`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Who is commanded, with all below it.
    pub organisation: OrganisationName,
    /// By whom.
    pub under: OrganisationName,
    /// From then on.
    pub from: Timestamp,
    /// Not any more from then on.
    pub until: Timestamp,
}

impl Command {
    /// Whether it holds at `now`.
    #[must_use]
    pub fn holds(&self, now: Timestamp) -> bool {
        self.from <= now && now < self.until
    }
}

/// A unit is lent to the sight of another organisation, for what it is assigned to: its principals see it wherever it is, and
/// command it no more than before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sight {
    /// Who is seen.
    pub unit: UnitName,
    /// By principals of whom.
    pub organisation: OrganisationName,
    /// From then on.
    pub from: Timestamp,
    /// Not any more from then on; at most [`crate::limits::SIGHT_TIME_MAX`] later.
    pub until: Timestamp,
}

impl Sight {
    /// Whether it holds at `now`.
    #[must_use]
    pub fn holds(&self, now: Timestamp) -> bool {
        self.from <= now && now < self.until
    }
}
