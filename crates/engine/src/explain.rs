//! Why a unit is shown where it is: what each of its devices says, and why that counts or does not.

use index::{Became, Slot, Source};
use model::{DeviceHandle, DeviceId, Timestamp, UnitName};
use query::Scope;

use crate::{Live, UnitView};

/// A unit with the newest place of each device that it carries.
#[derive(Debug, Clone)]
pub struct Explained {
    /// The unit, as it is shown.
    pub view: UnitView,
    /// Its devices: the source of its place first, then by the time of their places, the newest first, then by name.
    pub sources: Vec<SourceView>,
}

/// One device of a unit.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceView {
    /// Its name.
    pub device: DeviceId,
    /// Its number.
    pub number: DeviceHandle,
    /// Its newest place; `None` while it gave none.
    pub source: Option<Source>,
    /// The unit's place is this one.
    pub is_source: bool,
    /// Why it is, or is not.
    pub why: Why,
}

/// Why a device is the source of its unit's place, or is not. Where several hold, the first counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It is the source, and no other device of the unit gave a place.
    Only,
    /// It is the source, and became it for this reason.
    Became(Became),
    /// No place was heard from it.
    NoPlace,
    /// Nothing was heard of it for ten of its intervals, at least 50 s.
    Silent,
    /// Its newest place is a jump that waits for a second one to confirm it.
    HeldJump,
    /// Its place is older than three of its intervals, at least 15 s.
    Stale,
    /// Its place is older than that of the source.
    Older,
    /// The source's place is stale by now: the next place of this device takes over.
    Next,
    /// The source is not stale, and the circle in which the unit can be by it not clearly the larger one.
    NotClearlyBetter,
}

impl Why {
    /// The word used in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Only => "only",
            Self::Became(became) => became.as_str(),
            Self::NoPlace => "no_place",
            Self::Silent => "silent",
            Self::HeldJump => "held_jump",
            Self::Stale => "stale",
            Self::Older => "older",
            Self::Next => "next",
            Self::NotClearlyBetter => "not_clearly_better",
        }
    }
}

impl Live {
    /// One unit and what each of its devices says; `None` as well when `scope` hides it. Cost: a look-up of a name for each device that
    /// the unit ever carried; no report waits for it.
    #[must_use]
    pub fn explain(&self, name: &UnitName, scope: &Scope) -> Option<Explained> {
        let unit = self.roster.find(name)?;
        let view = self.view(unit, scope)?;
        let now = self.now();
        let known = self.roster.devices_of(unit).into_iter().map(|(number, device)| {
            let source = self.index.source(number).or_else(|| of_slot(&view.slot, number));
            (number, device, source)
        });
        let known: Vec<_> = known.collect();
        let is_only = known.iter().filter(|(_, _, source)| source.is_some()).count() == 1;
        let mut sources: Vec<_> = known
            .into_iter()
            .map(|(number, device, source)| {
                let is_source = view.slot.fix.is_some_and(|fix| fix.source == number);
                let why = match &source {
                    None => Why::NoPlace,
                    Some(_) if is_source && is_only => Why::Only,
                    Some(source) if is_source => Why::Became(source.became),
                    Some(source) => why_not(&view.slot, source, now),
                };
                SourceView { device, number, source, is_source, why }
            })
            .collect();
        let time = |one: &SourceView| one.source.map(|source| source.time);
        sources.sort_by(|a, b| {
            let by_time = time(b).cmp(&time(a));
            b.is_source.cmp(&a.is_source).then(by_time).then_with(|| a.device.cmp(&b.device))
        });
        Some(Explained { view, sources })
    }
}

/// What the slot says of its source: all there is of a unit that only one device gave places of.
fn of_slot(slot: &Slot, device: DeviceHandle) -> Option<Source> {
    let fix = slot.fix.filter(|fix| fix.source == device)?;
    Some(Source {
        position: fix.position,
        time: fix.time,
        heard: slot.contact_time.unwrap_or(fix.received),
        accuracy_m: fix.accuracy_m,
        speed_mps: fix.speed_mps,
        interval_ms: slot.expected_interval_ms,
        holds_jump: false,
        became: Became::default(),
    })
}

/// Why a device that gave a place is not the source.
fn why_not(slot: &Slot, source: &Source, now: Timestamp) -> Why {
    if source.is_silent(now) {
        Why::Silent
    } else if source.holds_jump {
        Why::HeldJump
    } else if source.is_stale(now) {
        Why::Stale
    } else if slot.is_stale(now) {
        Why::Next
    } else if slot.fix.is_some_and(|fix| source.time <= fix.time) {
        Why::Older
    } else {
        Why::NotClearlyBetter
    }
}
