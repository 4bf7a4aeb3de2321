//! What holds for a while: a unit out of contact, a gateway that is silent, a zone with too few units, a button that rings, a unit
//! outside its beat. Each is told when it begins and when it ends; marks remember which have begun.

use std::collections::{HashMap, HashSet};

use index::OUT_OF_CONTACT_MS_MIN;
use model::{Event, EventKind, Timestamp, UnitHandle, UnitName, ZoneName};

use super::run::{Marking, State, Watcher, is_watched};

impl Watcher {
    /// An event that was found elsewhere. One that ends what never began, or begins what has, is told all the same: somebody did it.
    pub(super) fn note(&mut self, event: Event, marking: Option<Marking>) {
        if let Some((kind, name, is_set)) = marking {
            self.mark(kind, name, is_set, event.noted);
        }
        self.put(event);
    }

    /// The mark of something that is in one state at a time is its name, a blank, and that state.
    pub(super) fn note_state(&mut self, State { event, kind, name, state }: State) {
        let now = self.live.now();
        let before = (kind, format!("{name} "));
        let of_it = self.marks.range(before.clone()..).map(|(mark, _)| mark);
        let of_it: Vec<_> =
            of_it.take_while(|(one, mark)| *one == kind && mark.starts_with(&before.1)).cloned().collect();
        let after = state.map(|state| format!("{name} {state}"));
        let has_been_told = after.is_some() && of_it.iter().any(|(_, mark)| Some(mark) == after.as_ref());
        if has_been_told {
            return;
        }
        for (kind, mark) in of_it {
            self.mark(kind, mark, false, now);
        }
        after.into_iter().for_each(|mark| _ = self.mark(kind, mark, true, now));
        event.into_iter().for_each(|event| self.put(event));
    }

    /// Buttons that ring and were not told. Those that ended are told by whoever cleared them.
    pub(super) fn look_at_emergencies(&mut self) {
        let now = self.live.now();
        if self.set.is_none() {
            return;
        }
        for emergency in self.live.emergencies.active() {
            let name = emergency.number.to_string();
            if !self.mark(EventKind::EmergencyRaised, name.clone(), true, now) {
                continue;
            }
            let unit = self.live.roster.binding(&emergency.device).map(|binding| binding.unit);
            let time = emergency.pressed_at.unwrap_or(emergency.received_at);
            let event = Event::of(EventKind::EmergencyRaised, time, now);
            let event = unit.map_or(event.clone(), |unit| self.of_unit(event, unit, None));
            let event = Event { place: emergency.place.map(|(place, _)| place), ..event };
            let event = event.with("emergency", name).with("device", emergency.device.as_str());
            self.put(if emergency.is_delayed { event.with("delayed", "true") } else { event });
        }
    }

    /// After a start: buttons that were told to ring and do not. Who cleared them is in the journal and was not told, or the journal had
    /// not kept the press.
    pub(super) fn end_emergencies(&mut self) {
        let now = self.live.now();
        let raised = self.marks.keys().filter(|(kind, _)| *kind == EventKind::EmergencyRaised);
        let over = raised.filter(|(_, name)| name.parse().is_ok_and(|number| !self.live.emergencies.rings(number)));
        let over: Vec<_> = over.map(|(_, name)| name.clone()).collect();
        for name in over {
            self.mark(EventKind::EmergencyRaised, name.clone(), false, now);
            let event = Event::of(EventKind::EmergencyCleared, now, now).with("emergency", name);
            self.put(event.with("cause", "rings_no_more_after_a_start"));
        }
    }

    /// Zones that have no minimum any more, or are not watched, do not lack anybody.
    pub(super) fn end_strength(&mut self, now: Timestamp) {
        let Some(set) = &self.set else { return };
        let needing: HashSet<String> = self.strength.zones().map(|zone| set.zone(zone).name.to_string()).collect();
        let below = self.marks.keys().filter(|(kind, _)| *kind == EventKind::StrengthBelow);
        let over: Vec<_> = below.filter(|(_, name)| !needing.contains(name)).map(|(_, name)| name.clone()).collect();
        let event = |name: &String| {
            let zone = ZoneName::new(name).ok();
            let known = zone.as_ref().and_then(|zone| Some(set.zone(set.find(zone)?)));
            let zone_organisation = known.and_then(|zone| zone.organisation.clone());
            let event = Event { zone, zone_organisation, ..Event::of(EventKind::StrengthRestored, now, now) };
            event.with("cause", "zone_changed")
        };
        let events: Vec<_> = over.iter().map(event).collect();
        for (name, event) in over.into_iter().zip(events) {
            self.mark(EventKind::StrengthBelow, name, false, now);
            self.put(event);
        }
    }

    /// Units that fell silent, and silent ones that were heard.
    pub(super) fn look_at_silence(&mut self, now: Timestamp) {
        /// A silent unit is looked at so often.
        const AGAIN_MS: i64 = 1_000;
        /// And any other at least so often: its interval may have become shorter, and the time that it may be silent with it.
        const LOOK_MS_MAX: i64 = OUT_OF_CONTACT_MS_MIN;
        self.silence.reach(self.live.roster.numbers(), now);
        let behind_gateways: HashMap<UnitHandle, Timestamp> =
            self.gateways.values().flat_map(|(since, units)| units.iter().map(|unit| (*unit, *since))).collect();
        for unit in self.silence.take_due(now) {
            let name = self.live.roster.unit(unit).map(|unit| unit.name.to_string());
            let Some((slot, name)) = self.live.index.slot(unit).zip(name) else {
                // Taken off the map: its number does not come again, but its mark must go.
                self.silence.again(unit, now.shifted_ms(60_000));
                continue;
            };
            let silence_ms = slot.silence_ms_max();
            let Some(contact) = slot.contact_time else {
                self.silence.again(unit, now.shifted_ms(LOOK_MS_MAX));
                continue;
            };
            // While nobody listened nobody was silent, nor while its gateway was. Who is told lost is so until it is heard.
            let is_told = self.marks.contains_key(&(EventKind::ContactLost, name.clone()));
            let found = self.found.get(&unit).copied().filter(|found| *found >= contact);
            if found.is_none() {
                self.found.remove(&unit);
            }
            let since = if is_told { contact } else { contact.max(self.started).max(found.unwrap_or(contact)) };
            let lost_at = since.shifted_ms(silence_ms);
            let is_silent = now > lost_at;
            let next = if is_silent { now.shifted_ms(AGAIN_MS) } else { lost_at.shifted_ms(1) };
            self.silence.again(unit, next.min(now.shifted_ms(LOOK_MS_MAX)));
            // Who was heard since on another way, and no more, is lost by itself.
            if is_silent && behind_gateways.get(&unit).is_some_and(|since| contact <= *since) {
                continue;
            }
            if !self.mark(EventKind::ContactLost, name, is_silent, now) {
                continue;
            }
            let kind = if is_silent { EventKind::ContactLost } else { EventKind::ContactFound };
            let event = self.of_unit(Event::of(kind, if is_silent { lost_at } else { contact }, now), unit, None);
            self.put_of_unit(event, unit);
        }
    }

    /// One event for a gateway, however many units report through it.
    pub(super) fn gateway(&mut self, name: &str, units: Option<Vec<UnitHandle>>) {
        let now = self.live.now();
        let is_lost = units.is_some();
        // After a start the mark is there, and who is behind the gateway is not known.
        let is_told = self.marks.contains_key(&(EventKind::GatewayLost, name.to_owned()));
        if let Some(units) = units.as_ref().filter(|_| is_told) {
            self.gateways.insert(name.to_owned(), (now, units.clone()));
        }
        if !self.mark(EventKind::GatewayLost, name.to_owned(), is_lost, now) {
            return;
        }
        let kind = if is_lost { EventKind::GatewayLost } else { EventKind::GatewayFound };
        let count = match units {
            Some(units) => {
                let count = units.len();
                self.gateways.insert(name.to_owned(), (now, units));
                count
            }
            None => {
                let (_, units) = self.gateways.remove(name).unwrap_or((now, Vec::new()));
                // Its units speak again one after the other, each at its interval.
                self.found.extend(units.iter().map(|unit| (*unit, now)));
                units.len()
            }
        };
        self.put(Event::of(kind, now, now).with("gateway", name).with("units", count.to_string()));
    }

    /// Zones that have too few units, and those that have enough again.
    pub(super) fn look_at_strength(&mut self, now: Timestamp) {
        for zone in self.strength.take_due() {
            let Some(set) = &self.set else { return };
            let scope = set.zone(zone).organisation.as_ref().and_then(|one| self.scopes.get(one));
            let lacks = self.strength.lacks(set, zone, scope, &self.live.index, now);
            let (name, organisation) = (set.zone(zone).name.clone(), set.zone(zone).organisation.clone());
            if !self.mark(EventKind::StrengthBelow, name.to_string(), !lacks.is_empty(), now) {
                continue;
            }
            let kind = if lacks.is_empty() { EventKind::StrengthRestored } else { EventKind::StrengthBelow };
            let mut event = Event { zone: Some(name), zone_organisation: organisation, ..Event::of(kind, now, now) };
            if let Some(lack) = lacks.into_iter().next() {
                event = event.with("at_least", lack.at_least.to_string()).with("have", lack.have.to_string());
                if !lack.kinds.is_empty() {
                    event = event.with("kinds", lack.kinds);
                }
            }
            self.put(event);
        }
    }

    /// Duties begin and end: a unit that is not in its beat then has left it.
    pub(super) fn take_beats(&mut self, beats: HashMap<UnitName, ZoneName>) {
        let now = self.live.now();
        let before = std::mem::replace(&mut self.beats, beats);
        let Some(set) = &self.set else { return };
        let changed = self.beats.iter().filter(|(unit, zone)| before.get(*unit) != Some(*zone));
        let (mut away, mut there) = (Vec::new(), Vec::new());
        for (unit, zone) in changed {
            let Some((handle, at)) = self.live.roster.find(unit).zip(set.find(zone)) else { continue };
            let is_placed = self.live.index.slot(handle).is_some_and(|slot| slot.fix.is_some());
            let is_in = self.crossings.stay(handle, at).is_some_and(|stay| stay.is_in);
            if is_placed && !is_in {
                away.push((handle, at));
            } else if is_in {
                there.push((handle, at));
            }
        }
        for (unit, zone) in there {
            // It may have left another beat before.
            let event = self.of_unit(Event::of(EventKind::BeatJoined, now, now), unit, Some(zone));
            self.put_of_beat(event.with("cause", "duty_began"), unit);
        }
        for (unit, zone) in away {
            let event = self.of_unit(Event::of(EventKind::BeatLeft, now, now), unit, Some(zone));
            self.put_of_beat(event.with("cause", "duty_began"), unit);
        }
        let over: Vec<_> = self.marks.keys().filter(|(kind, _)| *kind == EventKind::BeatLeft).cloned().collect();
        for (kind, name) in over {
            if !self.beats.keys().any(|unit| unit.as_str() == name) {
                self.mark(kind, name, false, now);
            }
        }
    }

    /// An event of a unit and its beat, if it says something new.
    pub(super) fn put_of_beat(&mut self, event: Event, handle: UnitHandle) {
        if self.live.index.traits(handle).is_some_and(|traits| !is_watched(&traits)) {
            return;
        }
        let Some(unit) = event.unit.as_ref().map(ToString::to_string) else { return };
        if self.mark(EventKind::BeatLeft, unit, event.kind == EventKind::BeatLeft, event.noted) {
            self.put(event);
        }
    }
}
