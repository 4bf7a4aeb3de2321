//! The zones in force, for questions and for the watcher: they follow the store as the roster does.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use engine::WatchedZone;
use geodesy::area_of;
use index::{ZoneEntry, ZoneIndex};
use model::{OrganisationName, Position, Span, Timestamp, Zone, ZoneHandle, ZoneName};
use parking_lot::RwLock;
use store::{Store, StoreError, ZoneVersion};
use tracing::{error, warn};

use crate::access::Asker;
use crate::http::Problem;
use crate::run::Service;

/// The zones in force now.
#[derive(Debug, Default)]
pub(crate) struct InForce {
    /// By name.
    all: Vec<WatchedZone>,
    by_name: HashMap<ZoneName, ZoneHandle>,
    pub(crate) index: ZoneIndex,
    /// When each is in force.
    effective: Vec<Span>,
}

/// How far they have followed the store.
#[derive(Debug, Default)]
pub(crate) struct Zones {
    now: RwLock<Arc<InForce>>,
    /// Held while changes are taken, so that an older one never overtakes a newer one.
    reached: tokio::sync::Mutex<Reached>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Reached {
    is_begun: bool,
    version: u64,
    /// A version begins or ends by itself then.
    turn: Option<Timestamp>,
}

impl InForce {
    fn of(all: Vec<WatchedZone>) -> Self {
        let by_name = (0..).zip(&all).map(|(at, one)| (one.zone.name.clone(), ZoneHandle(at))).collect();
        let entry = |(at, one): (u32, &WatchedZone)| {
            let (area, margin_m) = (Arc::clone(&one.area), f64::from(one.zone.settle.margin_m));
            ZoneEntry { zone: ZoneHandle(at), area, margin_m, far_m: margin_m }
        };
        let index = ZoneIndex::of((0..).zip(&all).map(entry).collect());
        Self { all, by_name, index, effective: Vec::new() }
    }

    /// Of these versions, which are in the order of their names, with the grounds that `known` has of them.
    pub(crate) fn made(versions: Vec<ZoneVersion>, known: &Self) -> Self {
        let (mut all, mut effective, mut seen) = (Vec::new(), Vec::new(), HashSet::new());
        for found in versions {
            let same = known.find(&found.zone.name).filter(|same| same.version == found.version);
            let area = match same {
                Some(same) => Ok(Arc::clone(&same.area)),
                None => area_of(&found.zone.shape).map(Arc::new),
            };
            match area {
                Ok(area) if seen.insert(found.zone.name.clone()) => {
                    all.push(WatchedZone { zone: Arc::new(found.zone), area, version: found.version });
                    effective.push(found.effective);
                }
                Ok(_) => warn!(zone = %found.zone.name, "Two versions of a zone are in force; one is left out."),
                // It was looked at when it was written, by this version or by another.
                Err(error) => error!(zone = %found.zone.name, %error, "The zone in the store has no ground."),
            }
        }
        Self { effective, ..Self::of(all) }
    }

    /// All of them, by name; the handle of each is its place in the list.
    pub(crate) fn all(&self) -> &[WatchedZone] {
        &self.all
    }

    /// The zone of a name.
    pub(crate) fn find(&self, name: &ZoneName) -> Option<&WatchedZone> {
        self.by_name.get(name).map(|at| &self.all[at.0 as usize])
    }

    /// The zone of a handle.
    pub(crate) fn zone(&self, handle: ZoneHandle) -> Option<&WatchedZone> {
        self.all.get(handle.0 as usize)
    }

    /// Zones after `after` by name, each with when it is in force.
    pub(crate) fn after(&self, after: Option<&ZoneName>) -> impl Iterator<Item = (&WatchedZone, Span)> {
        let from = after.map_or(0, |after| self.all.partition_point(|one| one.zone.name <= *after));
        self.all.iter().zip(self.effective.iter().copied()).skip(from)
    }

    /// The versions of those that `is_wanted` picks, by name.
    pub(crate) fn versions(&self, is_wanted: impl Fn(usize, &Zone) -> bool) -> Vec<ZoneVersion> {
        let wanted = self.after(None).enumerate().filter(|(at, (one, _))| is_wanted(*at, &one.zone));
        let version = |(_, (one, effective)): (usize, (&WatchedZone, Span))| ZoneVersion {
            version: one.version,
            zone: (*one.zone).clone(),
            effective,
        };
        wanted.map(version).collect()
    }

    /// The zones that hold a place, by name.
    pub(crate) fn holding(&self, place: Position) -> impl Iterator<Item = &WatchedZone> {
        let mut found = Vec::new();
        self.index.holding(place, &mut found);
        found.into_iter().map(|at| &self.all[at.0 as usize])
    }
}

/// Whose zones somebody sees: those of nobody, and of these organisations.
#[derive(Debug)]
pub(crate) struct Sight(Option<BTreeSet<OrganisationName>>);

impl Sight {
    pub(crate) fn sees(&self, zone: &Zone) -> bool {
        let Some(organisations) = &self.0 else { return true };
        zone.organisation.as_ref().is_none_or(|one| organisations.contains(one))
    }
}

impl Zones {
    /// The zones in force now. Cheap; they stay as they are while they are held.
    pub(crate) fn now(&self) -> Arc<InForce> {
        Arc::clone(&self.now.read())
    }
}

impl Service {
    pub(crate) fn sight(&self, asker: &Asker) -> Sight {
        let top = asker.principal.organisation.as_ref();
        Sight(top.map(|top| self.scopes.under(top, self.engine.live().now())))
    }

    /// Whether `asker` may change a zone of `organisation`.
    pub(crate) fn may_draw(&self, asker: &Asker, organisation: Option<&OrganisationName>) -> bool {
        organisation.map_or(asker.is_of_the_whole(), |organisation| self.commands(asker, organisation))
    }

    /// Takes what changed about zones in the store, and what began or ended since; the watcher has looked at it when this returns.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) async fn level_zones(&self) -> Result<(), Problem> {
        let mut reached = self.zones.reached.lock().await;
        let (now, before, known) = (self.engine.live().now(), *reached, self.zones.now());
        let found = self.stored(move |store| in_force(store, now, before, &known)).await?;
        let Some((next, zones)) = found else { return Ok(()) };
        *self.zones.now.write() = Arc::new(zones);
        if let Some(watch) = self.engine.watch() {
            let all = self.zones.now().all.clone();
            // It ends with the engine only.
            let _ = watch.set_zones(all).await;
        }
        *reached = next;
        self.tell_scopes();
        Ok(())
    }

    /// Tells the watcher what each organisation that has zones sees now: a zone's minimum counts no others.
    pub(crate) fn tell_scopes(&self) {
        let Some(watch) = self.engine.watch() else { return };
        let zones = self.zones.now();
        let owners: HashSet<_> = zones.all.iter().filter_map(|one| one.zone.organisation.clone()).collect();
        let scope = |owner: OrganisationName| {
            let scope = self.scopes.of(&owner, self.engine.live());
            (owner, scope)
        };
        watch.set_scopes(owners.into_iter().map(scope).collect());
    }
}

/// The zones in force at `now`, when they are others than `before`. What is there in the same version is not made anew.
fn in_force(
    store: &Store,
    now: Timestamp,
    before: Reached,
    known: &InForce,
) -> Result<Option<(Reached, InForce)>, StoreError> {
    let version = store.zones_version()?;
    if before.is_begun && before.version == version && before.turn.is_none_or(|turn| now < turn) {
        return Ok(None);
    }
    let turn = store.zones_turn_after(now)?;
    Ok(Some((Reached { is_begun: true, version, turn }, InForce::made(store.zones(now)?, known))))
}
