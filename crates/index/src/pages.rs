use std::sync::OnceLock;

/// A table that grows by pages of `2^BITS` entries and never moves what readers look at.
#[derive(Debug)]
pub(crate) struct Pages<T, const BITS: u32> {
    pages: Box<[OnceLock<Box<[T]>>]>,
}

impl<T: Default, const BITS: u32> Pages<T, BITS> {
    /// An empty table for up to `entries`.
    pub(crate) fn for_up_to(entries: usize) -> Self {
        Self { pages: (0..entries.div_ceil(1 << BITS)).map(|_| OnceLock::new()).collect() }
    }

    const fn place(at: u32) -> (usize, usize) {
        ((at >> BITS) as usize, at as usize & ((1 << BITS) - 1))
    }

    /// The entry `at`, if its page was reached.
    #[inline]
    pub(crate) fn seen(&self, at: u32) -> Option<&T> {
        let (page, at) = Self::place(at);
        self.pages.get(page)?.get().map(|page| &page[at])
    }

    /// The entry `at`; makes its page.
    ///
    /// # Panics
    /// Beyond the size that the table was made for: the caller has checked its limit.
    #[inline]
    pub(crate) fn reach(&self, at: u32) -> &T {
        let (page, at) = Self::place(at);
        &self.pages[page].get_or_init(|| (0..1 << BITS).map(|_| T::default()).collect())[at]
    }

    /// Bytes of the pages that were reached.
    pub(crate) fn bytes(&self) -> usize {
        self.pages.iter().filter(|page| page.get().is_some()).count() * (size_of::<T>() << BITS)
    }
}
