use crate::Best;

/// Units of a block: a cache line for each column.
pub(crate) const LANES: usize = 16;

/// Up to [`LANES`] units as columns. A lane without a unit is infinitely far, so that no loop needs the number of units.
#[derive(Debug, Clone)]
#[repr(align(64))]
pub(crate) struct Block {
    pub(crate) x: [f32; LANES],
    pub(crate) y: [f32; LANES],
    pub(crate) units: [u32; LANES],
}

impl Block {
    pub(crate) const EMPTY: Self =
        Self { x: [f32::INFINITY; LANES], y: [f32::INFINITY; LANES], units: [u32::MAX; LANES] };

    #[inline]
    pub(crate) fn set(&mut self, lane: usize, [x, y]: [f32; 2], unit: u32) {
        (self.x[lane], self.y[lane], self.units[lane]) = (x, y, unit);
    }

    /// Offers every unit that `keep` lets through. The distances of all lanes are calculated at once.
    #[inline]
    pub(crate) fn offer(&self, [x, y]: [f32; 2], best: &mut Best<f32>, keep: &impl Fn(u32) -> bool) {
        let squared_m: [f32; LANES] = std::array::from_fn(|lane| {
            let (x, y) = (self.x[lane] - x, self.y[lane] - y);
            x * x + y * y
        });
        let bound = best.bound();
        let nearer = (0..LANES).fold(0u32, |bits, lane| bits | (u32::from(squared_m[lane] < bound) << lane));
        let mut left = nearer;
        while left != 0 {
            let lane = left.trailing_zeros() as usize % LANES;
            left &= left - 1;
            if keep(self.units[lane]) {
                best.offer(squared_m[lane], self.units[lane]);
            }
        }
    }
}
