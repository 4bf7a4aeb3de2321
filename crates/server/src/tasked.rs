use std::collections::HashSet;

use model::{UnitHandle, UnitRecord};
use parking_lot::RwLock;

/// The units that are sent to something now. Made anew from the store at each start.
#[derive(Debug, Default)]
pub(crate) struct Tasked(RwLock<HashSet<UnitHandle>>);

impl Tasked {
    /// Takes what `record`, that of `unit`, says now.
    pub(crate) fn follow(&self, unit: UnitHandle, record: &UnitRecord) {
        let is_tasked = record.assignment.as_ref().is_some_and(|(_, said)| said.of.text().is_some());
        if self.has(unit) == is_tasked {
            return;
        }
        let mut tasked = self.0.write();
        if is_tasked {
            tasked.insert(unit);
        } else {
            tasked.remove(&unit);
        }
    }

    /// Whether `unit` is.
    pub(crate) fn has(&self, unit: UnitHandle) -> bool {
        self.0.read().contains(&unit)
    }
}
