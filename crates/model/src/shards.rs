use crate::UnitHandle;
use crate::limits::SHARDS_MAX;

/// Into how many shards live state is cut. A shard has the units whose numbers leave its own as the remainder of a division by
/// the count, so that shards are of one size however units were enrolled, and a unit never changes its shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shards(u32);

impl Default for Shards {
    fn default() -> Self {
        Self::ONE
    }
}

impl Shards {
    /// Everything together.
    pub const ONE: Self = Self(1);

    /// So many; `None` unless they are 1 to [`SHARDS_MAX`].
    #[must_use]
    pub const fn new(count: usize) -> Option<Self> {
        if count >= 1 && count <= SHARDS_MAX { Some(Self(count as u32)) } else { None }
    }

    /// How many.
    #[must_use]
    pub const fn count(self) -> usize {
        self.0 as usize
    }

    /// Which shard has `unit`, from 0 on.
    #[must_use]
    #[inline]
    pub const fn of(self, unit: UnitHandle) -> usize {
        // A division costs more than a branch that is always taken.
        if self.0 == 1 { 0 } else { (unit.0 % self.0) as usize }
    }

    /// The number that `unit` has within its shard; these are dense too.
    #[must_use]
    #[inline]
    pub const fn within(self, unit: UnitHandle) -> UnitHandle {
        if self.0 == 1 { unit } else { UnitHandle(unit.0 / self.0) }
    }

    /// The unit that has the number `within` in `shard`.
    #[must_use]
    #[inline]
    pub const fn unit(self, shard: usize, within: UnitHandle) -> UnitHandle {
        UnitHandle(within.0 * self.0 + shard as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_has_a_shard_and_a_number_of_its_own_there() {
        for shards in [1, 2, 3, SHARDS_MAX].map(|count| Shards::new(count).unwrap()) {
            let mut counts = vec![0; shards.count()];
            for unit in (0..1_000).map(UnitHandle) {
                let (shard, within) = (shards.of(unit), shards.within(unit));
                assert_eq!(shards.unit(shard, within), unit);
                assert_eq!(within.0, counts[shard], "the next number of the shard");
                counts[shard] += 1;
            }
        }
        assert_eq!((Shards::new(0), Shards::new(SHARDS_MAX + 1)), (None, None));
    }
}
