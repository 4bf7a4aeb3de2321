use std::collections::BTreeMap;

/// Which content a name stands for.
pub(super) type ContentId = usize;

/// One change of the names of a folder.
#[derive(Debug, Clone)]
pub(super) enum NameChange {
    Create { name: String, id: ContentId },
    Rename { from: String, to: String },
    Remove { name: String },
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<String, ContentId>) {
        match self {
            Self::Create { name, id } => {
                names.insert(name.clone(), *id);
            }
            Self::Rename { from, to } => {
                if let Some(id) = names.remove(from) {
                    names.insert(to.clone(), id);
                }
            }
            Self::Remove { name } => {
                names.remove(name);
            }
        }
    }
}

/// The names of a folder: as listed, and as on the platter.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    seen: BTreeMap<String, ContentId>,
    durable: BTreeMap<String, ContentId>,
    /// Seen but not durable, oldest first.
    pending: Vec<NameChange>,
}

impl Names {
    /// What `name` stands for.
    pub(super) fn find(&self, name: &str) -> Option<ContentId> {
        self.seen.get(name).copied()
    }

    /// What `name` stands for on the platter.
    pub(super) fn find_durable(&self, name: &str) -> Option<ContentId> {
        self.durable.get(name).copied()
    }

    /// All names and what they stand for, sorted by name.
    pub(super) fn seen(&self) -> impl Iterator<Item = (&str, ContentId)> {
        self.seen.iter().map(|(name, id)| (name.as_str(), *id))
    }

    /// How many changes wait for a sync.
    pub(super) const fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Changes what is listed; the platter waits for a sync.
    pub(super) fn change(&mut self, change: NameChange) {
        change.apply(&mut self.seen);
        self.pending.push(change);
    }

    /// Makes the oldest `changes` pending ones durable: the platter never has a later one without an earlier.
    pub(super) fn sync(&mut self, changes: usize) {
        for change in self.pending.drain(..changes) {
            change.apply(&mut self.durable);
        }
    }

    /// Power is lost when the oldest `survivors` pending changes were on the platter: that is all that is listed.
    pub(super) fn lose_power(&mut self, survivors: usize) {
        self.sync(survivors);
        self.pending.clear();
        self.seen.clone_from(&self.durable);
    }
}
