use geodesy::{Overlap, Tile, Vantage};
use model::{DeviceHandle, Position, Shards, UnitHandle};

use crate::live::{Change, Shard};
use crate::sources::Sources;
use crate::{Digest, Sight, Slot, Source, UnitTraits};

/// Where every unit is now, in as many shards as there are writers. Any number of readers: each sees every unit that has a place
/// exactly once, and each slot whole.
///
/// With one shard nothing is added to what [`Shard`] costs. A search asks one shard after the other: its bound goes from one to
/// the next, so that each further shard costs a walk through its directory and few units.
#[derive(Debug)]
pub struct LiveIndex {
    shards: Shards,
    parts: Box<[Shard]>,
    /// By number in the whole: a device is never in two shards.
    sources: Sources,
}

impl Default for LiveIndex {
    fn default() -> Self {
        Self::in_shards(Shards::ONE)
    }
}

impl LiveIndex {
    /// An index without units, in one shard.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An index without units, in so many shards.
    #[must_use]
    pub fn in_shards(shards: Shards) -> Self {
        let parts = (0..shards.count()).map(|_| Shard::default()).collect();
        Self { shards, parts, sources: Sources::new() }
    }

    /// The shard of this number, for its writer.
    ///
    /// # Panics
    /// When there are not so many.
    #[must_use]
    pub fn shard(&self, number: usize) -> &Shard {
        &self.parts[number]
    }

    fn home(&self, unit: UnitHandle) -> (&Shard, UnitHandle) {
        (&self.parts[self.shards.of(unit)], self.shards.within(unit))
    }

    /// Makes room for `unit`, or changes what filters ask about it.
    pub fn enrol(&self, unit: UnitHandle, traits: UnitTraits) {
        let (shard, unit) = self.home(unit);
        shard.enrol(unit, traits);
    }

    /// Applies changes in their order; those of several shards are parted first.
    pub fn apply(&self, changes: &[Change]) {
        if let [only] = &*self.parts {
            return only.apply(changes);
        }
        for (number, shard) in self.parts.iter().enumerate() {
            let own = changes.iter().filter(|change| self.shards.of(change.unit()) == number);
            let own: Vec<_> = own.map(|change| change.of(self.shards.within(change.unit()))).collect();
            shard.apply(&own);
        }
    }

    /// Takes a unit off the map; what filters ask about it stays.
    pub fn withdraw(&self, unit: UnitHandle) {
        let (shard, unit) = self.home(unit);
        shard.withdraw(unit);
    }

    /// What is known of `unit`; `None` when it was never heard of.
    #[must_use]
    pub fn slot(&self, unit: UnitHandle) -> Option<Slot> {
        let (shard, unit) = self.home(unit);
        shard.slot(unit)
    }

    /// What filters ask about `unit`; `None` when it was never enrolled. Cost: one read.
    #[must_use]
    pub fn traits(&self, unit: UnitHandle) -> Option<UnitTraits> {
        let (shard, unit) = self.home(unit);
        shard.traits(unit)
    }

    /// The newest place of a device of a unit that several devices give places of; `None` for others.
    #[must_use]
    pub fn source(&self, device: DeviceHandle) -> Option<Source> {
        self.sources.get(device)
    }

    /// Shows what is known of a device now. Only the writer that has its unit may.
    pub fn show_source(&self, device: DeviceHandle, source: &Source) {
        self.sources.put(device, source);
    }

    /// Shows nothing of a device any more. Only the writer that has its unit may.
    pub fn hide_source(&self, device: DeviceHandle) {
        self.sources.forget(device);
    }

    /// Asks memory for the slots of `units`, which will be read soon.
    pub fn ask_for(&self, units: impl Iterator<Item = UnitHandle>) {
        let touched = units.fold(0, |all, unit| {
            let (shard, unit) = self.home(unit);
            all ^ shard.touch(unit)
        });
        std::hint::black_box(touched);
    }

    /// How many units have a place.
    #[must_use]
    pub fn located(&self) -> usize {
        self.parts.iter().map(Shard::located).sum()
    }

    /// Bytes in use, pages and tables that are not full included.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.parts.iter().map(Shard::bytes).sum::<usize>() + self.sources.bytes()
    }

    /// Shows `visit` units near a place, the nearest buckets of a shard first: every unit that is not surely farther than the bound
    /// when its turn comes, each once. The bound starts as `bound_m` and falls to what `visit` gives. `asks_slot` tells for
    /// which units `visit` will ask the slot: memory is asked for those ahead.
    ///
    /// # Errors
    /// The first error of `visit`.
    pub fn near<E>(
        &self,
        vantage: &Vantage,
        mut bound_m: f64,
        asks_slot: impl Fn(Digest) -> bool,
        mut visit: impl FnMut(&Sight) -> Result<f64, E>,
    ) -> Result<(), E> {
        if let [only] = &*self.parts {
            return only.near(vantage, bound_m, asks_slot, visit);
        }
        for (number, shard) in self.parts.iter().enumerate() {
            shard.near(vantage, bound_m, &asks_slot, |sight| {
                let given_m = visit(&Sight { unit: self.shards.unit(number, sight.unit), ..*sight })?;
                bound_m = bound_m.min(given_m);
                Ok(given_m)
            })?;
        }
        Ok(())
    }

    /// Shows `visit` every unit that may lie in an area within `tiles`, each once: `overlap` tells how much of a tile is in the
    /// area. With [`Overlap::All`] the place that is shown is. Without a place the unit moves: its slot must be asked.
    ///
    /// # Errors
    /// The first error of `overlap` or of `visit`.
    pub fn inside<E>(
        &self,
        tiles: &[Tile],
        mut overlap: impl FnMut(&Tile) -> Result<Overlap, E>,
        mut visit: impl FnMut(UnitHandle, Option<Position>, Overlap) -> Result<(), E>,
    ) -> Result<(), E> {
        if let [only] = &*self.parts {
            return only.inside(tiles, overlap, visit);
        }
        for (number, shard) in self.parts.iter().enumerate() {
            shard.inside(tiles, &mut overlap, |unit, position, overlap| {
                visit(self.shards.unit(number, unit), position, overlap)
            })?;
        }
        Ok(())
    }

    /// Units and leaves, when all parts agree.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn check(&self) -> (usize, usize) {
        self.parts.iter().map(Shard::check).fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1))
    }
}
