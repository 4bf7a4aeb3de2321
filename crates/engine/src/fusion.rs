//! Which of a unit's devices says where the unit is, and when they say that it is in two places.

use index::{Became, Fix, Source};
use journal::Malformed;
use journal::codec::{Decoder, Encoder};
use model::limits::{SOURCES_PER_UNIT_MAX, SPLIT_M, SPLIT_TIME};
use model::{DeviceHandle, Timestamp, UnitKind};

use crate::rules::is_before_the_clock_was_set;

/// The other source takes over when the circle in which the unit can be by the current one is larger
/// by this factor ...
const CLEARLY_LARGER: f64 = 3.0;
/// ... and by this many metres.
const CLEARLY_LARGER_M: f64 = 500.0;

/// What a new place of a device means for its unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is of the current source, which goes on.
    GoesOn,
    /// Its device becomes the source.
    TakesOver(Became),
    /// The current source stays.
    Stays,
}

/// Whether `fix` replaces `current` as the unit's place.
///
/// The same source always does. Another one does only when the current fix is stale, or when the
/// circle in which the unit can be by now (accuracy + speed x age) is clearly the larger one.
pub(crate) fn judge(current: &Fix, is_stale: bool, fix: &Fix, now: Timestamp, kind: UnitKind) -> Verdict {
    if current.source == fix.source {
        return Verdict::GoesOn;
    }
    if is_before_the_clock_was_set(current.time, now) {
        return Verdict::TakesOver(Became::ClockWasSet);
    }
    if fix.time <= current.time {
        return Verdict::Stays;
    }
    if is_stale {
        return Verdict::TakesOver(Became::WasStale);
    }
    let (old, new) = (current.possible_radius_m(kind, now), fix.possible_radius_m(kind, now));
    let is_clearly_larger = old > CLEARLY_LARGER * new && old > new + CLEARLY_LARGER_M;
    if is_clearly_larger { Verdict::TakesOver(Became::SmallerCircle) } else { Verdict::Stays }
}

/// The newest place of each device of a unit that several devices gave places of, and whether they agree. A unit with one device
/// has none of this, and pays nothing for it.
///
/// A device that another unit took up is not told of here, since shards know their own units only: its place is stale soon.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sources {
    /// In the order in which they came; at most [`SOURCES_PER_UNIT_MAX`].
    seen: Vec<(DeviceHandle, Source)>,
    is_split: bool,
    /// The time of the first place that said the contrary of `is_split`, if all have since.
    turning: Option<Timestamp>,
}

impl Sources {
    /// Of a unit whose first source gave `fix`.
    pub(crate) fn of(fix: &Fix, interval_ms: Option<u32>) -> Self {
        Self { seen: vec![(fix.source, source_of(fix, interval_ms))], is_split: false, turning: None }
    }

    /// The newest place of a device, while `current` is the source.
    pub(crate) fn take(&mut self, fix: &Fix, interval_ms: Option<u32>, current: DeviceHandle) {
        let mut source = source_of(fix, interval_ms);
        match self.seen.iter_mut().find(|(device, _)| *device == fix.source) {
            Some((_, known)) => {
                source.speed_mps = source.speed_mps.or_else(|| speed_mps(known, &source));
                source.became = known.became;
                *known = source;
            }
            None => {
                if self.seen.len() >= SOURCES_PER_UNIT_MAX {
                    self.forget_the_oldest(current);
                }
                self.seen.push((fix.source, source));
            }
        }
    }

    fn forget_the_oldest(&mut self, current: DeviceHandle) {
        let others = self.seen.iter().enumerate().filter(|(_, (device, _))| *device != current);
        if let Some((at, _)) = others.min_by_key(|(_, (_, source))| source.time) {
            self.seen.remove(at);
        }
    }

    /// Something was heard of a device, be it a place that counts for nothing.
    pub(crate) fn hear(&mut self, device: DeviceHandle, heard: Timestamp, holds_jump: Option<bool>) {
        if let Some((_, source)) = self.seen.iter_mut().find(|(one, _)| *one == device) {
            source.heard = source.heard.max(heard);
            source.holds_jump = holds_jump.unwrap_or(source.holds_jump);
        }
    }

    /// A device became the source.
    pub(crate) fn took_over(&mut self, device: DeviceHandle, became: Became) {
        if let Some((_, source)) = self.seen.iter_mut().find(|(one, _)| *one == device) {
            source.became = became;
        }
    }

    /// Whether the unit is split, after a new place of one of its devices.
    pub(crate) fn settle(&mut self, current: DeviceHandle, now: Timestamp, kind: UnitKind) -> bool {
        match self.look(current, now, kind) {
            // The only one with a fresh place has nobody to disagree with.
            None => (self.is_split, self.turning) = (false, None),
            Some((are_apart, _)) if are_apart == self.is_split => self.turning = None,
            Some((are_apart, at)) => {
                // The least of both: the clock may have been set back since.
                let since = self.turning.map_or(at, |since| since.min(at));
                let has_lasted = at.ms_since(since) >= SPLIT_TIME.as_millis() as i64;
                (self.is_split, self.turning) =
                    if has_lasted { (are_apart, None) } else { (self.is_split, Some(since)) };
            }
        }
        self.is_split
    }

    /// Whether some device with a fresh place is apart from the source, and the newest time of their places; `None` where no two
    /// are fresh.
    fn look(&self, current: DeviceHandle, now: Timestamp, kind: UnitKind) -> Option<(bool, Timestamp)> {
        let is_fresh = |(_, source): &&(DeviceHandle, Source)| !source.is_stale(now);
        let (_, source) = self.seen.iter().filter(is_fresh).find(|(device, _)| *device == current)?;
        let others = self.seen.iter().filter(is_fresh).filter(|(device, _)| *device != current);
        others.fold(None, |seen, (_, other)| {
            let (are_apart, at) = seen.unwrap_or((false, source.time));
            Some((are_apart || is_apart(source, other, kind), at.max(other.time)))
        })
    }

    /// Each device with its place.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (DeviceHandle, &Source)> {
        self.seen.iter().map(|(device, source)| (*device, source))
    }

    /// Whether devices may have been left out, as there were too many.
    pub(crate) fn is_full(&self) -> bool {
        self.seen.len() >= SOURCES_PER_UNIT_MAX
    }

    /// Gives devices other numbers.
    pub(crate) fn renumber(&mut self, mut number: impl FnMut(DeviceHandle) -> DeviceHandle) {
        self.seen.iter_mut().for_each(|(device, _)| *device = number(*device));
    }

    /// Lays all of it, for a snapshot.
    pub(crate) fn lay(&self, to: &mut Encoder) {
        to.byte(u8::from(self.is_split));
        to.option(self.turning, Encoder::time);
        to.varint(self.seen.len() as u64);
        for (device, source) in &self.seen {
            to.varint(u64::from(device.0));
            to.position(source.position);
            to.time(source.time);
            to.time(source.heard);
            to.option(source.accuracy_m, Encoder::f32);
            to.option(source.speed_mps, Encoder::f32);
            to.option(source.interval_ms, |to, interval| to.varint(u64::from(interval)));
            to.byte(u8::from(source.holds_jump));
            to.byte(source.became as u8);
        }
    }

    /// Reads what [`Self::lay`] laid.
    pub(crate) fn read(from: &mut Decoder<'_>) -> Result<Self, Malformed> {
        let (is_split, turning) = (from.truth("is_split")?, from.option("turning", |from| from.time("turning"))?);
        let mut seen = Vec::new();
        for _ in 0..from.number("sources")? {
            let device = DeviceHandle(from.number("device")?);
            let source = Source {
                position: from.position()?,
                time: from.time("source time")?,
                heard: from.time("heard")?,
                accuracy_m: from.option("accuracy_m", |from| from.f32("accuracy_m"))?,
                speed_mps: from.option("speed_mps", |from| from.f32("speed_mps"))?,
                interval_ms: from.option("interval", |from| from.number("interval"))?,
                holds_jump: from.truth("holds_jump")?,
                became: *Became::ALL.get(usize::from(from.byte("became")?)).ok_or(Malformed { field: "became" })?,
            };
            seen.push((device, source));
        }
        Ok(Self { seen, is_split, turning })
    }
}

fn source_of(fix: &Fix, interval_ms: Option<u32>) -> Source {
    Source {
        position: fix.position,
        time: fix.time,
        heard: fix.received,
        accuracy_m: fix.accuracy_m,
        speed_mps: fix.speed_mps,
        interval_ms,
        holds_jump: false,
        became: Became::default(),
    }
}

/// From two places of a device, or the one before where they have the same time.
fn speed_mps(before: &Source, now: &Source) -> Option<f32> {
    let ms = now.time.ms_since(before.time);
    if ms <= 0 {
        return before.speed_mps;
    }
    Some((geodesy::distance_m(before.position, now.position) / (ms as f64 / 1_000.0)) as f32)
}

/// Whether two places cannot be of one unit: farther from each other than both may be wrong, [`SPLIT_M`] besides, and what it went between
/// their two times. Without that a car that drives would be split from its radio, which reports less often.
fn is_apart(a: &Source, b: &Source, kind: UnitKind) -> bool {
    let radius_m = |of: &Source| of.accuracy_m.map_or(index::ACCURACY_M_DEFAULT, f64::from);
    let speed_mps = |of: &Source| f64::from(of.speed_mps.unwrap_or(0.0)).min(kind.speed_mps_max());
    let between_s = a.time.ms_since(b.time).abs() as f64 / 1_000.0;
    let went_m = speed_mps(a).max(speed_mps(b)) * between_s;
    geodesy::distance_m(a.position, b.position) > SPLIT_M + radius_m(a) + radius_m(b) + went_m
}
