//! The units of a look in one blob: their count, then each name in order, without what it shares with the one before.

use model::UnitName;

/// The units, sorted, each once.
pub(crate) fn lay(units: &[UnitName]) -> Vec<u8> {
    let mut names: Vec<&str> = units.iter().map(UnitName::as_str).collect();
    names.sort_unstable();
    names.dedup();
    let mut blob = Vec::with_capacity(2 + names.len() * 8);
    lay_number(&mut blob, names.len());
    let mut before = "";
    for name in names {
        let shared = before.bytes().zip(name.bytes()).take_while(|(a, b)| a == b).count();
        lay_number(&mut blob, shared);
        lay_number(&mut blob, name.len() - shared);
        blob.extend_from_slice(&name.as_bytes()[shared..]);
        before = name;
    }
    blob
}

fn lay_number(blob: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        blob.push(number as u8 | 0x80);
        number >>= 7;
    }
    blob.push(number as u8);
}

/// The names in a blob, in order; `None` at the first place that cannot be read.
pub(crate) struct Names<'a> {
    rest: &'a [u8],
    left: usize,
    name: Vec<u8>,
}

impl<'a> Names<'a> {
    pub(crate) fn of(blob: &'a [u8]) -> Option<Self> {
        let mut names = Self { rest: blob, left: 0, name: Vec::new() };
        names.left = names.number()?;
        Some(names)
    }

    fn number(&mut self) -> Option<usize> {
        let mut number = 0;
        for shift in [0, 7, 14, 21] {
            let (byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            number |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn step(&mut self) -> Option<()> {
        let (shared, more) = (self.number()?, self.number()?);
        if shared > self.name.len() {
            return None;
        }
        self.name.truncate(shared);
        let (suffix, rest) = self.rest.split_at_checked(more)?;
        self.name.extend_from_slice(suffix);
        self.rest = rest;
        Some(())
    }

    /// Whether `unit` is among them. Reads as far as it has to.
    pub(crate) fn has(mut self, unit: &[u8]) -> bool {
        while self.left > 0 && self.step().is_some() {
            self.left -= 1;
            if self.name.as_slice() >= unit {
                return self.name == unit;
            }
        }
        false
    }

    /// All of them; `None` when the blob is not what was laid.
    pub(crate) fn all(mut self) -> Option<Vec<String>> {
        let mut names = Vec::new();
        while self.left > 0 {
            self.step()?;
            self.left -= 1;
            names.push(String::from_utf8(self.name.clone()).ok()?);
        }
        self.rest.is_empty().then_some(names)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whoever was seen is found, in order and once, and nobody else.
        #[test]
        fn names_come_back_as_they_were_laid(names in proptest::collection::vec("[a-c桂]{1,6}", 0..40), other in "[a-c桂]{1,6}") {
            let units: Vec<_> = names.iter().map(|name| UnitName::new(name).unwrap()).collect();
            let blob = lay(&units);
            let expected: std::collections::BTreeSet<_> = names.into_iter().collect();
            prop_assert_eq!(Names::of(&blob).unwrap().has(other.as_bytes()), expected.contains(&other));
            prop_assert_eq!(Names::of(&blob).unwrap().all(), Some(expected.into_iter().collect::<Vec<_>>()));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Some(names) = Names::of(&bytes) {
                let _ = names.all();
            }
        }
    }

    #[test]
    fn ten_cars_of_a_row_take_little_room() {
        let units: Vec<_> = (0..10).map(|at| UnitName::new(&format!("car-0012{at}")).unwrap()).collect();
        assert_eq!(lay(&units).len(), 1 + (2 + 9) + 9 * 3);
    }
}
