use std::str::FromStr;
use std::time::Duration;

use index::{Digest, Slot};
use model::{Capabilities, OrganisationHandle, Status, Timestamp, UnitKind};

use crate::{AskError, OmittedReason};

/// Which units count. Empty lists do not restrict.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Filter {
    kinds: Vec<UnitKind>,
    statuses: Vec<Status>,
    capabilities: Capabilities,
    organisations: Vec<OrganisationHandle>,
    included: Vec<Include>,
    age_ms_max: Option<i64>,
    /// A capability that nobody has was asked for.
    unknown_capability: bool,
    /// An organisation that nobody belongs to was.
    unknown_organisation: bool,
}

/// What widens the default candidates of a nearest query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Include {
    /// Guards, wardens, volunteers.
    Community,
    /// Helicopters and drones.
    Air,
    /// Units that are bound.
    Busy,
    /// Units off duty.
    OffDuty,
}

/// A word that widens nothing. The caller's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} cannot be included; known are: community, air, busy, off_duty")]
pub struct UnknownInclude(String);

impl FromStr for Include {
    type Err = UnknownInclude;

    fn from_str(text: &str) -> Result<Self, UnknownInclude> {
        match text {
            "community" => Ok(Self::Community),
            "air" => Ok(Self::Air),
            "busy" => Ok(Self::Busy),
            "off_duty" => Ok(Self::OffDuty),
            _ => Err(UnknownInclude(text.chars().take(32).collect())),
        }
    }
}

/// Who is asked for when the filter does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Candidates {
    /// Those who can be sent: no community, aircraft, busy, off-duty or covert units, and none out of contact.
    Sendable,
    /// Everyone but covert units.
    All,
}

impl Filter {
    /// A filter that lets everyone through.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Only these kinds. Naming one includes it, also where it is no default candidate.
    #[must_use]
    pub fn kinds(self, kinds: Vec<UnitKind>) -> Self {
        Self { kinds, ..self }
    }

    /// Only these statuses. Naming one includes it.
    #[must_use]
    pub fn statuses(self, statuses: Vec<Status>) -> Self {
        Self { statuses, ..self }
    }

    /// Must have `capability` too.
    #[must_use]
    pub fn capability(self, capability: Capabilities) -> Self {
        Self { capabilities: self.capabilities.with(capability), ..self }
    }

    /// Of this organisation, or of another one that was named.
    #[must_use]
    pub fn organisation(mut self, organisation: OrganisationHandle) -> Self {
        self.organisations.push(organisation);
        self
    }

    /// Must have a capability that is not known, and the asker may not learn that it is not.
    #[must_use]
    pub fn unknown_capability(self) -> Self {
        Self { unknown_capability: true, ..self }
    }

    /// The same for an organisation: of this one, or of another that was named.
    #[must_use]
    pub fn unknown_organisation(self) -> Self {
        Self { unknown_organisation: true, ..self }
    }

    /// Whether units of named organisations only count.
    pub(crate) fn names_organisations(&self) -> bool {
        self.unknown_organisation || !self.organisations.is_empty()
    }

    /// Widens the default candidates.
    #[must_use]
    pub fn include(mut self, include: Include) -> Self {
        self.included.push(include);
        self
    }

    /// Leaves out fixes older than `age`.
    ///
    /// # Errors
    /// [`AskError`] when `age` is 0.
    pub fn max_age(self, age: Duration) -> Result<Self, AskError> {
        if age.is_zero() {
            return Err(AskError::new("max_age_s", 0, "must be above 0"));
        }
        Ok(Self { age_ms_max: Some(i64::try_from(age.as_millis()).unwrap_or(i64::MAX)), ..self })
    }

    /// The same as [`Self::omits`] by what a digest knows, for a search among [`Candidates::Sendable`]; `None` when the slot
    /// must be asked.
    pub(crate) fn omits_by_digest(&self, digest: Digest, as_of: Timestamp) -> Option<Option<OmittedReason>> {
        if !digest.is_surely_fresh(as_of) {
            return None;
        }
        let reason = self.class_omits(digest.kind(), digest.status(), digest.covert(), Candidates::Sendable);
        (reason.is_some() || !self.asks_more()).then_some(reason)
    }

    /// Whether a unit that its digest does not leave out must be asked for its slot.
    pub(crate) fn asks_more(&self) -> bool {
        self.unknown_capability
            || self.capabilities != Capabilities::default()
            || self.names_organisations()
            || self.age_ms_max.is_some()
    }

    /// Why a unit of this kind and status is left out.
    fn class_omits(
        &self,
        kind: UnitKind,
        status: Status,
        covert: bool,
        candidates: Candidates,
    ) -> Option<OmittedReason> {
        let sendable = candidates == Candidates::Sendable;
        let has = |include: Include| self.included.contains(&include);
        let kind_out = || {
            let by_default = sendable
                && ((kind == UnitKind::Community && !has(Include::Community)) || (kind.is_air() && !has(Include::Air)));
            if self.kinds.is_empty() { by_default } else { !self.kinds.contains(&kind) }
        };
        let status_out = || {
            let by_default = sendable
                && ((status == Status::Busy && !has(Include::Busy))
                    || (status == Status::OffDuty && !has(Include::OffDuty)));
            if self.statuses.is_empty() { by_default } else { !self.statuses.contains(&status) }
        };
        if covert {
            Some(OmittedReason::Covert)
        } else if kind_out() {
            Some(OmittedReason::Kind)
        } else if status_out() {
            Some(OmittedReason::Status)
        } else {
            None
        }
    }

    /// Why `slot` is left out; the first reason in the order of [`OmittedReason`].
    pub(crate) fn omits(&self, slot: &Slot, as_of: Timestamp, candidates: Candidates) -> Option<OmittedReason> {
        let unit = &slot.traits;
        if candidates == Candidates::Sendable && slot.is_out_of_contact(as_of) {
            return Some(OmittedReason::OutOfContact);
        }
        let organisation_out =
            || self.names_organisations() && unit.organisation.is_none_or(|one| !self.organisations.contains(&one));
        let too_old = || self.age_ms_max.is_some_and(|max| slot.fix_age_ms(as_of).is_none_or(|age| age > max));
        self.class_omits(unit.kind, unit.status, unit.covert, candidates).or_else(|| {
            if self.unknown_capability || !unit.capabilities.contains(self.capabilities) {
                Some(OmittedReason::Capability)
            } else if organisation_out() {
                Some(OmittedReason::Organisation)
            } else if too_old() {
                Some(OmittedReason::MaxAge)
            } else {
                None
            }
        })
    }
}
