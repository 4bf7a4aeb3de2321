use std::collections::BTreeMap;

use index::Slot;
use model::{Minimum, Status, Timestamp, UnitKind};

/// How many units, by how well their places are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Heads {
    /// With a fresh place.
    pub fresh: u32,
    /// With a stale one.
    pub stale: u32,
    /// Not heard for so long that nobody knows whether they are still there; they count for no minimum.
    pub out_of_contact: u32,
}

/// Who is somewhere, by kind and status. Covert units are counted apart and in nothing else, as in other answers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Strength {
    heads: BTreeMap<(UnitKind, Status), Heads>,
    covert: u32,
}

impl Strength {
    /// One unit more, as it is at `as_of`.
    pub fn add(&mut self, slot: &Slot, as_of: Timestamp) {
        let (kind, status) = (slot.traits.kind, slot.traits.status);
        if slot.traits.covert {
            self.covert = self.covert.saturating_add(1);
            return;
        }
        let heads = self.heads.entry((kind, status)).or_default();
        let count = if slot.is_out_of_contact(as_of) {
            &mut heads.out_of_contact
        } else if slot.is_stale(as_of) {
            &mut heads.stale
        } else {
            &mut heads.fresh
        };
        *count = count.saturating_add(1);
    }

    /// Kinds and statuses that are there, each with how many.
    pub fn heads(&self) -> impl Iterator<Item = (UnitKind, Status, Heads)> {
        self.heads.iter().map(|((kind, status), heads)| (*kind, *status, *heads))
    }

    /// How many covert units are there.
    #[must_use]
    pub const fn covert(&self) -> u32 {
        self.covert
    }

    /// How many count for `minimum`: those of its kinds that are not off duty and not out of contact.
    #[must_use]
    pub fn of(&self, minimum: &Minimum) -> u32 {
        let counted = self.heads().filter(|(kind, status, _)| minimum.counts(*kind, *status));
        counted.fold(0, |all, (_, _, heads)| all.saturating_add(heads.fresh).saturating_add(heads.stale))
    }

    /// Whether every minimum is kept.
    pub fn keeps<'a>(&self, mut minimums: impl Iterator<Item = &'a Minimum>) -> bool {
        minimums.all(|minimum| self.of(minimum) >= minimum.at_least)
    }
}
