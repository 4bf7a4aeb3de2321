use std::sync::OnceLock;

/// Entries of one page.
const PAGE: usize = 4_096;
/// Pages at most: sixteen million numbers, more than devices that the roster takes.
const PAGES: usize = 4_096;

/// Something small for each number of a device, made page by page as numbers come, and never moved. Numbers beyond the last
/// page have none. Cost: one read; readers and writers of atomics in it lock nothing.
pub(crate) struct ByNumber<T> {
    pages: Box<[OnceLock<Box<[T]>>]>,
}

impl<T: Default> ByNumber<T> {
    /// The entry of `number`, made with its page if it is the first there.
    pub(crate) fn at(&self, number: u32) -> Option<&T> {
        let number = number as usize;
        let page = self.pages.get(number / PAGE)?;
        page.get_or_init(|| (0..PAGE).map(|_| T::default()).collect()).get(number % PAGE)
    }

    /// The entry of `number`, if its page is there.
    pub(crate) fn known(&self, number: u32) -> Option<&T> {
        let number = number as usize;
        self.pages.get(number / PAGE)?.get()?.get(number % PAGE)
    }

    /// All entries that are there, by number.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.pages.iter().filter_map(OnceLock::get).flat_map(|page| page.iter())
    }
}

impl<T> Default for ByNumber<T> {
    fn default() -> Self {
        Self { pages: (0..PAGES).map(|_| OnceLock::new()).collect() }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn each_number_has_an_entry_of_its_own_and_pages_come_as_they_are_needed() {
        let table = ByNumber::<AtomicU32>::default();
        assert!(table.known(5).is_none());
        for number in [0, 5, 4_095, 4_096, 16_777_215] {
            table.at(number).unwrap().store(number + 1, Ordering::Relaxed);
        }
        assert_eq!(table.known(4_096).unwrap().load(Ordering::Relaxed), 4_097);
        assert!(table.at(16_777_216).is_none());
        let stored: Vec<_> = table.iter().map(|one| one.load(Ordering::Relaxed)).filter(|one| *one > 0).collect();
        assert_eq!(stored, [1, 6, 4_096, 4_097, 16_777_216]);
        assert_eq!(table.iter().count(), 3 * PAGE);
    }
}
