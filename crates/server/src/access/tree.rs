use std::collections::{BTreeMap, BTreeSet};

use engine::Roster;
use geodesy::{Area, AreaError, Vertex};
use model::{Command, Organisation, OrganisationName, Sight, Timestamp, UnitName};
use query::Realm;
use tracing::error;

/// Who commands whom, and on which ground.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    organisations: BTreeMap<OrganisationName, Node>,
    commands: Vec<Command>,
    sights: Vec<Sight>,
}

#[derive(Debug)]
struct Node {
    below: Vec<OrganisationName>,
    ground: Option<Area>,
}

impl Tree {
    /// The tree of these organisations. A territory that is no area is none; it was checked when it was written.
    pub(crate) fn of(organisations: &[Organisation], commands: Vec<Command>, sights: Vec<Sight>) -> Self {
        let mut tree = Self { organisations: BTreeMap::new(), commands, sights };
        for one in organisations {
            let ground = ground(one).unwrap_or_else(|error| {
                error!(organisation = %one.name, %error, "The territory in the store is no area.");
                None
            });
            tree.organisations.insert(one.name.clone(), Node { below: Vec::new(), ground });
        }
        for one in organisations {
            if let Some(parent) = one.parent.as_ref().and_then(|parent| tree.organisations.get_mut(parent)) {
                parent.below.push(one.name.clone());
            }
        }
        tree
    }

    /// `top`, all below it, and all that is under the command of one of them at `now`, with all below that. Itself too when
    /// nobody has written it down.
    pub(crate) fn under(&self, top: &OrganisationName, now: Timestamp) -> BTreeSet<OrganisationName> {
        let (mut found, mut next) = (BTreeSet::new(), vec![top.clone()]);
        while let Some(one) = next.pop() {
            // Two may command each other for a time: each is looked at once.
            if !found.insert(one.clone()) {
                continue;
            }
            let commanded = self.commands.iter().filter(|command| command.under == one && command.holds(now));
            next.extend(commanded.map(|command| command.organisation.clone()));
            next.extend(self.organisations.get(&one).into_iter().flat_map(|node| node.below.iter().cloned()));
        }
        found
    }

    /// The ground of `top`: its own territory, or those of the organisations below that have one.
    fn ground(&self, top: &OrganisationName) -> Vec<Area> {
        match self.organisations.get(top) {
            Some(Node { ground: Some(area), .. }) => vec![area.clone()],
            Some(node) => node.below.iter().flat_map(|one| self.ground(one)).collect(),
            None => Vec::new(),
        }
    }

    /// What a principal of `top` sees at `now`.
    pub(crate) fn realm(&self, top: &OrganisationName, strip_m: f64, now: Timestamp, roster: &Roster) -> Realm {
        let under = self.under(top, now);
        Realm {
            organisations: under.iter().filter_map(|one| roster.organisation(one.as_str())).collect(),
            ground: self.ground(top),
            strip_m,
            units: self.lent(top, now).filter_map(|unit| roster.find(unit)).collect(),
            ringing: BTreeSet::new(),
        }
    }

    /// The units that are lent to the sight of `top` itself: neither those above it nor those below were named.
    fn lent<'a>(&'a self, top: &'a OrganisationName, now: Timestamp) -> impl Iterator<Item = &'a UnitName> {
        let own = self.sights.iter().filter(move |sight| sight.organisation == *top && sight.holds(now));
        own.map(|sight| &sight.unit)
    }

    /// The next instant at which a command or a sight begins or ends: until then [`Self::realm`] says the same.
    pub(crate) fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        let commands = self.commands.iter().flat_map(|command| [command.from, command.until]);
        let sights = self.sights.iter().flat_map(|sight| [sight.from, sight.until]);
        commands.chain(sights).filter(|edge| *edge > now).min()
    }
}

/// The territory as an area; `None` where there is none.
pub(crate) fn ground(organisation: &Organisation) -> Result<Option<Area>, AreaError> {
    if organisation.territory.is_empty() {
        return Ok(None);
    }
    let ring = |ring: &Vec<model::Position>| ring.iter().map(|corner| Vertex::from(*corner)).collect();
    let polygon = |rings: &model::Rings| rings.iter().map(ring).collect();
    let polygons: Vec<Vec<Vec<Vertex>>> = organisation.territory.iter().map(polygon).collect();
    Area::polygons(&polygons).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> OrganisationName {
        OrganisationName::new(text).unwrap()
    }

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_unix_ms(ms).unwrap()
    }

    fn organisation(text: &str, parent: Option<&str>) -> Organisation {
        let parent = parent.map(name);
        Organisation { name: name(text), label: String::new(), parent, territory: Vec::new() }
    }

    #[test]
    fn an_organisation_sees_what_is_below_it_and_what_it_commands_for_a_time() {
        let all = [
            organisation("bureau", None),
            organisation("east", Some("bureau")),
            organisation("east-1", Some("east")),
            organisation("west", Some("bureau")),
            organisation("west-1", Some("west")),
        ];
        let lent = |organisation, under| Command {
            organisation: name(organisation),
            under: name(under),
            from: at(10),
            until: at(20),
        };
        // Each other, too: it must end.
        let commands = vec![lent("west-1", "east-1"), lent("east-1", "west-1")];
        let tree = Tree::of(&all, commands, Vec::new());
        let under = |top: &str, ms| tree.under(&name(top), at(ms)).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(under("bureau", 0), ["bureau", "east", "east-1", "west", "west-1"]);
        assert_eq!(under("east", 9), ["east", "east-1"]);
        assert_eq!(under("east", 10), ["east", "east-1", "west-1"]);
        assert_eq!(under("east", 20), ["east", "east-1"]);
        assert_eq!(under("nobody", 0), ["nobody"]);
        assert_eq!(
            [tree.next_change(at(0)), tree.next_change(at(10)), tree.next_change(at(20))],
            [Some(at(10)), Some(at(20)), None]
        );
    }
    #[test]
    fn a_unit_is_lent_to_one_organisation_until_it_ends() {
        let unit = UnitName::new("car-1").unwrap();
        let sight = Sight { unit, organisation: name("east"), from: at(10), until: at(20) };
        let tree = Tree::of(&[organisation("bureau", None), organisation("east", Some("bureau"))], vec![], vec![sight]);
        let lent = |top: &str, ms| tree.lent(&name(top), at(ms)).count();
        assert_eq!([lent("east", 9), lent("east", 10), lent("east", 19), lent("east", 20)], [0, 1, 1, 0]);
        assert_eq!(lent("bureau", 10), 0);
        assert_eq!([tree.next_change(at(9)), tree.next_change(at(10))], [Some(at(10)), Some(at(20))]);
    }
}
