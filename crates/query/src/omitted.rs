use model::UnitHandle;

/// Most units that an answer names as left out.
pub const EXPLAINED_MAX: usize = 100;

/// Why a unit is not in an answer. Where several hold, the first counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OmittedReason {
    /// Nothing was heard for ten expected intervals.
    OutOfContact,
    /// Covert units are not in default answers.
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
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Omitted {
    counts: [u64; OmittedReason::ALL.len()],
    named: Vec<(UnitHandle, OmittedReason)>,
}

impl Omitted {
    pub(crate) fn count(&mut self, reason: OmittedReason) {
        self.counts[reason as usize] += 1;
    }

    pub(crate) fn name(&mut self, unit: UnitHandle, reason: OmittedReason) {
        if self.named.len() < EXPLAINED_MAX {
            self.named.push((unit, reason));
        }
    }

    /// The reasons that left out someone, with how many.
    pub fn iter(&self) -> impl Iterator<Item = (OmittedReason, u64)> {
        OmittedReason::ALL
            .into_iter()
            .map(|reason| (reason, self.counts[reason as usize]))
            .filter(|(_, units)| *units > 0)
    }

    /// Who was left out, at most [`EXPLAINED_MAX`]; empty unless it was asked for.
    #[must_use]
    pub fn named(&self) -> &[(UnitHandle, OmittedReason)] {
        &self.named
    }
}
