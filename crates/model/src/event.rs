use std::borrow::Cow;

use crate::words::words;
use crate::{OrganisationName, Position, Timestamp, UnitName, ZoneName};

words! {
    /// What happened.
    EventKind, "kind of event",
    /// A unit is in a zone now.
    Enter = "enter",
    /// A unit is no longer in a zone.
    Exit = "exit",
    /// A unit has been in a zone for the time that the zone names.
    Dwell = "dwell",
    /// A unit stays in a zone longer than the zone allows.
    Overstay = "overstay",
    /// A unit on duty left the zone that its duty names.
    BeatLeft = "beat_left",
    /// It is back.
    BeatJoined = "beat_joined",
    /// A zone has fewer units than its minimum.
    StrengthBelow = "strength_below",
    /// It has enough again.
    StrengthRestored = "strength_restored",
    /// An emergency button was pressed.
    EmergencyRaised = "emergency_raised",
    /// A dispatcher has seen it.
    EmergencySeen = "emergency_seen",
    /// A person cleared it, with a reason.
    EmergencyCleared = "emergency_cleared",
    /// A unit is out of contact.
    ContactLost = "contact_lost",
    /// It was heard again.
    ContactFound = "contact_found",
    /// A gateway is silent, and with it all that report through it.
    GatewayLost = "gateway_lost",
    /// It was heard again.
    GatewayFound = "gateway_found",
    /// The devices of one unit are too far apart.
    Split = "split",
    /// They are together again.
    Joined = "joined",
    /// A standing query has another answer.
    Standing = "standing",
    /// A standing query has ended.
    StandingEnded = "standing_ended",
    /// Something was not looked at, and events may be missing: said, never silent.
    Gap = "gap",
}

/// Something that changed, numbered and durable.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Rises with each, without gaps; its name.
    pub number: u64,
    /// What happened.
    pub kind: EventKind,
    /// When it was true: of a crossing, the time of the fix that settled it.
    pub time: Timestamp,
    /// When it was noted.
    pub noted: Timestamp,
    /// Of which unit.
    pub unit: Option<UnitName>,
    /// Of which zone.
    pub zone: Option<ZoneName>,
    /// Whose unit, or standing query, it is; `None`: nobody's, or neither.
    pub organisation: Option<OrganisationName>,
    /// Whose zone it is; `None`: everybody's, or no zone.
    pub zone_organisation: Option<OrganisationName>,
    /// Where.
    pub place: Option<Position>,
    /// More about it: words and their values.
    pub detail: Vec<(Cow<'static, str>, String)>,
}

impl Event {
    /// An event of which only the kind and the times are known; it has no number yet.
    #[must_use]
    pub const fn of(kind: EventKind, time: Timestamp, noted: Timestamp) -> Self {
        Self {
            number: 0,
            kind,
            time,
            noted,
            unit: None,
            zone: None,
            organisation: None,
            zone_organisation: None,
            place: None,
            detail: Vec::new(),
        }
    }

    /// The same with one word more about it.
    #[must_use]
    pub fn with(mut self, word: &'static str, value: impl Into<String>) -> Self {
        self.detail.push((Cow::Borrowed(word), value.into()));
        self
    }

    /// Whether it is about a standing query: only its organisation, and those above that see its units, may hear of it.
    #[must_use]
    pub const fn is_of_standing(&self) -> bool {
        matches!(self.kind, EventKind::Standing | EventKind::StandingEnded)
    }

    /// All units that it names, with what it says of their places: whoever hears it looks at them.
    pub fn units(&self) -> impl Iterator<Item = UnitName> {
        let is_list = |word: &str| self.is_of_standing() && matches!(word, "nearest" | "other");
        // No name has a blank in it.
        let named = self.detail.iter().filter(move |(word, _)| is_list(word)).flat_map(|(_, names)| names.split(' '));
        self.unit.iter().cloned().chain(named.filter_map(|name| UnitName::new(name).ok()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_of_a_standing_query_names_all_of_its_units() {
        let at = Timestamp::MIN;
        let standing = Event::of(EventKind::Standing, at, at).with("nearest", "a b,c");
        let standing = Event { unit: Some(UnitName::new("d").unwrap()), ..standing.with("other", "e") };
        assert_eq!(standing.units().map(|unit| unit.to_string()).collect::<Vec<_>>(), ["d", "a", "b,c", "e"]);
        // Elsewhere the word may be another's.
        assert_eq!(Event::of(EventKind::GatewayLost, at, at).with("other", "7").units().count(), 0);
    }
}
