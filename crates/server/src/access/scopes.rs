use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use engine::Live;
use model::limits::EMERGENCY_SIGHT_M;
use model::{OrganisationName, Timestamp};
use parking_lot::Mutex;
use query::{Realm, Scope};

use super::tree::Tree;

/// The scopes of organisations, made when they are first asked for.
pub(crate) struct Scopes {
    strip_m: f64,
    made: Mutex<Made>,
}

struct Made {
    tree: Arc<Tree>,
    /// Organisations with a number in the roster, when these were made.
    numbered: usize,
    /// A command or a sight begins or ends then.
    until: Option<Timestamp>,
    realms: HashMap<OrganisationName, (Realm, Scope)>,
}

impl Scopes {
    pub(crate) fn new(strip_m: f64) -> Self {
        let made = Made { tree: Arc::default(), numbered: 0, until: None, realms: HashMap::new() };
        Self { strip_m, made: Mutex::new(made) }
    }

    /// From now on `tree` says who commands whom.
    pub(crate) fn plant(&self, tree: Tree) {
        let mut made = self.made.lock();
        (made.tree, made.until) = (Arc::new(tree), None);
        made.realms.clear();
    }

    /// Units have come or gone since the tree was planted: whom it names is looked up anew.
    pub(crate) fn renew(&self) {
        self.made.lock().realms.clear();
    }

    /// Whether `organisation` is `top`, below it, or under its command now.
    pub(crate) fn holds(&self, top: &OrganisationName, organisation: &OrganisationName, now: Timestamp) -> bool {
        let tree = Arc::clone(&self.made.lock().tree);
        tree.under(top, now).contains(organisation)
    }

    /// `top`, all below it and all under its command now.
    pub(crate) fn under(&self, top: &OrganisationName, now: Timestamp) -> BTreeSet<OrganisationName> {
        let tree = Arc::clone(&self.made.lock().tree);
        tree.under(top, now)
    }

    /// What a principal of `organisation` sees now. An emergency within [`EMERGENCY_SIGHT_M`] of its ground shows its unit.
    pub(crate) fn of(&self, organisation: &OrganisationName, live: &Live) -> Scope {
        let (now, numbered) = (live.now(), live.roster().organisations());
        let mut made = self.made.lock();
        if made.numbered != numbered || made.until.is_some_and(|until| now >= until) {
            made.realms.clear();
        }
        if made.realms.is_empty() {
            (made.numbered, made.until) = (numbered, made.tree.next_change(now));
        }
        let (tree, strip_m) = (Arc::clone(&made.tree), self.strip_m);
        let (realm, scope) = made.realms.entry(organisation.clone()).or_insert_with(|| {
            let realm = tree.realm(organisation, strip_m, now, live.roster());
            (realm.clone(), Scope::of(realm))
        });
        let ringing = live.ringing_near(|place| realm.ground.iter().any(|area| area.reaches(place, EMERGENCY_SIGHT_M)));
        if ringing.is_empty() {
            return scope.clone();
        }
        let mut realm = realm.clone();
        realm.ringing.extend(ringing);
        Scope::of(realm)
    }
}
