use std::collections::BTreeMap;

use model::limits::{GLASS_KEPT_MAX, GLASS_OPEN_TIME};
use model::{OrganisationName, PrincipalName, Timestamp};
use parking_lot::Mutex;

/// That a commander sees all for a time, with a reason. Ends by itself, and with the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Broken {
    pub(crate) principal: PrincipalName,
    pub(crate) organisation: OrganisationName,
    pub(crate) reason: String,
    pub(crate) from: Timestamp,
    pub(crate) until: Timestamp,
}

/// Glass that was broken, the newest of each principal.
#[derive(Debug, Default)]
pub(crate) struct Glass(Mutex<BTreeMap<PrincipalName, Broken>>);

impl Glass {
    /// From now on `principal` sees all.
    pub(crate) fn smash(
        &self,
        principal: PrincipalName,
        organisation: OrganisationName,
        reason: String,
        now: Timestamp,
    ) -> Broken {
        let until = now.after(GLASS_OPEN_TIME);
        let broken = Broken { principal: principal.clone(), organisation, reason, from: now, until };
        let mut all = self.0.lock();
        if all.len() >= GLASS_KEPT_MAX {
            all.retain(|_, one| now < one.until);
        }
        all.insert(principal, broken.clone());
        broken
    }

    /// Whether `principal` sees all now.
    pub(crate) fn is_open(&self, principal: &PrincipalName, now: Timestamp) -> bool {
        self.0.lock().get(principal).is_some_and(|one| one.from <= now && now < one.until)
    }

    /// All that are kept, by principal.
    pub(crate) fn all(&self) -> Vec<Broken> {
        self.0.lock().values().cloned().collect()
    }
}
