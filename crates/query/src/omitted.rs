use model::UnitHandle;

/// Most units that an answer names as left out.
pub const EXPLAINED_MAX: usize = 100;

/// Why a unit is not in an answer. Where several hold, the first counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OmittedReason {
    /// Nothing was heard for ten expected intervals.
    OutOfContact,
    /// Covert units are not in default answers. Counted for those only from whom nothing is hidden.
    Covert,
    /// Not of a kind asked for.
    Kind,
    /// Not of a status asked for.
    Status,
    /// Lacks a capability.
    Capability,
    /// Of another organisation.
    Organisation,
    /// Its fix is older than asked for.
    MaxAge,
    /// Nearer, but its fix is stale, and enough fresh ones were found.
    Stale,
}

impl OmittedReason {
    /// All of them, in order.
    pub const ALL: [Self; 8] = [
        Self::OutOfContact,
        Self::Covert,
        Self::Kind,
        Self::Status,
        Self::Capability,
        Self::Organisation,
        Self::MaxAge,
        Self::Stale,
    ];

    /// The word used in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OutOfContact => "out_of_contact",
            Self::Covert => "covert",
            Self::Kind => "kind",
            Self::Status => "status",
            Self::Capability => "capability",
            Self::Organisation => "organisation",
            Self::MaxAge => "max_age",
            Self::Stale => "stale",
        }
    }
}

/// How many units were left out, and why.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Omitted {
    counts: [u64; OmittedReason::ALL.len()],
    named: Vec<LeftOut>,
    unnamed: u64,
}

/// A unit that was left out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LeftOut {
    /// Which unit.
    pub unit: UnitHandle,
    /// Why.
    pub reason: OmittedReason,
    /// Geodesic metres from the place asked for, to 5 mm.
    pub distance_m: f64,
    /// How old its fix is, in milliseconds; `None` when it has left the map meanwhile.
    pub fix_age_ms: Option<i64>,
}

impl Omitted {
    pub(crate) fn count(&mut self, reason: OmittedReason) {
        self.counts[reason as usize] += 1;
    }

    /// Names some, the nearest first; so many more are counted only.
    pub(crate) fn name(&mut self, named: Vec<LeftOut>, unnamed: u64) {
        (self.named, self.unnamed) = (named, unnamed);
    }

    /// The reasons that left out someone, with how many.
    pub fn iter(&self) -> impl Iterator<Item = (OmittedReason, u64)> {
        OmittedReason::ALL
            .into_iter()
            .map(|reason| (reason, self.counts[reason as usize]))
            .filter(|(_, units)| *units > 0)
    }

    /// Who was left out, in the order of the answer's rank, at most [`EXPLAINED_MAX`]; empty unless it was asked for. Covert units are never
    /// among them.
    #[must_use]
    pub fn named(&self) -> &[LeftOut] {
        &self.named
    }

    /// How many more would have been named, were it not for the limit.
    #[must_use]
    pub const fn unnamed(&self) -> u64 {
        self.unnamed
    }
}
