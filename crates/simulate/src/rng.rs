//! Seeded numbers. Own, so that the same seed gives the same city with any version of any dependency.

/// Scrambles 64 bits (the finaliser of splitmix64): neighbours in, strangers out.
pub(crate) const fn scrambled(bits: u64) -> u64 {
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

/// One number for a list of numbers, such as (seed, unit, second).
pub(crate) fn hashed(parts: &[u64]) -> u64 {
    parts.iter().fold(0x243F_6A88_85A3_08D3, |hash, part| scrambled((hash ^ part).wrapping_add(0x9E37_79B9_7F4A_7C15)))
}

/// The upper bits of `hash` as a number from 0 up to but without 1.
pub(crate) fn fraction(hash: u64) -> f64 {
    (hash >> 11) as f64 / (1u64 << 53) as f64
}

/// A stream of seeded numbers (splitmix64).
#[derive(Debug, Clone)]
pub(crate) struct Rng(u64);

impl Rng {
    /// The stream that belongs to `parts`.
    pub(crate) fn of(parts: &[u64]) -> Self {
        Self(hashed(parts))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        scrambled(self.0)
    }

    /// From `low` up to but without `high`.
    pub(crate) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * fraction(self.next())
    }

    /// From 0 up to but without `count`, which is above 0.
    pub(crate) fn below(&mut self, count: usize) -> usize {
        (self.next() % count.max(1) as u64) as usize
    }

    /// True with this probability.
    pub(crate) fn happens(&mut self, probability: f64) -> bool {
        fraction(self.next()) < probability
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_fill_the_unit_interval_evenly() {
        let mut rng = Rng::of(&[1, 2, 3]);
        let mut tenths = [0u32; 10];
        for _ in 0..10_000 {
            tenths[(rng.between(0.0, 10.0)) as usize] += 1;
        }
        assert!(tenths.iter().all(|count| (900..1_100).contains(count)), "{tenths:?}");
    }

    #[test]
    fn order_of_the_parts_matters() {
        assert_ne!(hashed(&[1, 2]), hashed(&[2, 1]));
        assert_ne!(hashed(&[0]), hashed(&[0, 0]));
    }
}
