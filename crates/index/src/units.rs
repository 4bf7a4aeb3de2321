use std::collections::HashSet;

/// So many are looked through one by one.
const LINEAR: usize = 64;

/// Units that a search came upon: added to fast, asked seldom.
#[derive(Debug, Default)]
pub(crate) struct Units {
    list: Vec<u32>,
    /// The first of `list`, once it is long and asked.
    set: HashSet<u32>,
    in_set: usize,
}

impl Units {
    /// Empty, with room for what a search for the nearest comes upon.
    pub(crate) fn with_room() -> Self {
        Self { list: Vec::with_capacity(128), ..Self::default() }
    }

    pub(crate) fn add(&mut self, unit: u32) {
        self.list.push(unit);
    }

    pub(crate) fn has(&mut self, unit: u32) -> bool {
        if self.list.len() <= LINEAR {
            return self.list.contains(&unit);
        }
        self.set.extend(&self.list[self.in_set..]);
        self.in_set = self.list.len();
        self.set.contains(&unit)
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(crate) fn into_list(self) -> Vec<u32> {
        self.list
    }
}

impl Extend<u32> for Units {
    fn extend<T: IntoIterator<Item = u32>>(&mut self, units: T) {
        self.list.extend(units);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_and_short_lists_have_what_was_added() {
        let mut units = Units::default();
        for unit in 0..1_000 {
            assert!(!units.has(unit * 3) && !units.has(unit * 3 + 1));
            units.add(unit * 3);
            assert!(units.has(unit * 3) && units.has(0));
        }
    }
}
