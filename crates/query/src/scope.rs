use std::collections::BTreeSet;
use std::sync::Arc;

use geodesy::Area;
use index::Slot;
use model::{OrganisationHandle, Position, UnitHandle};

/// Whose units the asker may see. There is no question without one. Cheap to clone.
#[derive(Debug, Clone, PartialEq)]
pub struct Scope(Option<Arc<Realm>>);

/// What a scope that does not hold everything is made of. A unit is seen when one of these shows it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Realm {
    /// Units of these organisations, wherever they are.
    pub organisations: BTreeSet<OrganisationHandle>,
    /// Units on this ground, whosever they are, but covert ones.
    pub ground: Vec<Area>,
    /// And so many metres beyond its borders.
    pub strip_m: f64,
    /// These units: lent for an incident of one's own.
    pub units: BTreeSet<UnitHandle>,
    /// And these as long as they ring close by: what they did before is not shown.
    pub ringing: BTreeSet<UnitHandle>,
}

impl Scope {
    /// Every unit.
    #[must_use]
    pub const fn everything() -> Self {
        Self(None)
    }

    /// Only what `realm` shows.
    #[must_use]
    pub fn of(realm: Realm) -> Self {
        Self(Some(Arc::new(realm)))
    }

    /// Whether nothing is hidden.
    #[must_use]
    pub const fn is_everything(&self) -> bool {
        self.0.is_none()
    }

    /// Whether `unit`, of which `slot` is known, is seen. Tens of nanoseconds for units of one's own, some for each edge of
    /// the ground for others.
    #[must_use]
    pub fn sees(&self, unit: UnitHandle, slot: &Slot) -> bool {
        let Some(realm) = &self.0 else { return true };
        let is_near = |fix: index::Fix| realm.ground.iter().any(|area| area.reaches(fix.position, realm.strip_m));
        slot.traits.organisation.is_some_and(|one| realm.organisations.contains(&one))
            || realm.units.contains(&unit)
            || realm.ringing.contains(&unit)
            || (!slot.traits.covert && slot.fix.is_some_and(is_near))
    }

    /// Whether `unit`, if it is known and was lent already, of `organisation` was seen when it was at `place`; none for covert units,
    /// which no ground shows. That it rings now shows nothing of what was.
    #[must_use]
    pub fn saw(
        &self,
        unit: Option<UnitHandle>,
        organisation: Option<OrganisationHandle>,
        place: Option<Position>,
    ) -> bool {
        let Some(realm) = &self.0 else { return true };
        let is_near = |place: Position| realm.ground.iter().any(|area| area.reaches(place, realm.strip_m));
        organisation.is_some_and(|one| realm.organisations.contains(&one))
            || unit.is_some_and(|unit| realm.units.contains(&unit))
            || place.is_some_and(is_near)
    }

    /// Whether `place` is on the ground, or at most `metres` beyond its borders.
    #[must_use]
    pub fn reaches(&self, place: Position, metres: f64) -> bool {
        self.0.as_ref().is_none_or(|realm| realm.ground.iter().any(|area| area.reaches(place, metres)))
    }

    /// Whether units of `organisation` are seen wherever they are.
    #[must_use]
    pub fn holds(&self, organisation: OrganisationHandle) -> bool {
        self.0.as_ref().is_none_or(|realm| realm.organisations.contains(&organisation))
    }
}
