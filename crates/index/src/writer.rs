use std::sync::Arc;

use geodesy::Tile;
use model::limits::UNITS_MAX;
use model::{Position, Timestamp, UnitHandle};

use crate::bucket::{Bucket, NONE, ROWS, Row};
use crate::digest::Digest;
use crate::directory::{Directory, Entry};
use crate::live::{BUCKETS_MAX, Change, Shared};
use crate::regions::{Cut, Regions};
use crate::slot::{Home, Placed};
use crate::{Fix, UnitTraits};

/// Two leaves beside each other with no more units than this become one when the directory is made anew.
const MERGE_UNITS_MAX: u32 = ROWS as u32 * 3 / 8;
/// Most merges at once: their notes must not fill the ring.
const MERGES_AT_ONCE: usize = 512;
/// From so many buckets on leaves are not cut but get longer: chains need no more than a bucket for 64 units.
const BUCKETS_SPLIT_MAX: usize = BUCKETS_MAX.saturating_sub(UNITS_MAX / ROWS + 1);
/// A chain is tried to be cut when one in so many of its units has stirred: about one of each bucket. Tiles grow seldom, since
/// each that was grown holds the next places too.
const STIRRED_SHARE: u32 = ROWS as u32;
/// Changes whose memory is asked for before the first of them is made.
const AHEAD: usize = 32;

/// The one thread that changes the index.
#[derive(Debug)]
pub(crate) struct Writer {
    regions: Regions,
    leaves: Vec<Leaf>,
    free_leaves: Vec<u32>,
    /// By bucket: its leaf, and the bucket before it in its leaf.
    of_bucket: Vec<(u32, u32)>,
    /// By bucket: its tile once more. Side by side they stay in the cache, where each bucket's own is a line that few reports
    /// share.
    tiles: Vec<Tile>,
    free_buckets: Vec<u32>,
    /// Leaves that became small since the directory was made.
    thinned: usize,
}

/// A region with its units: one bucket, or several when the units cannot be told apart by place. All but the last are full.
#[derive(Debug, Clone)]
struct Leaf {
    node: u32,
    head: u32,
    tail: u32,
    units: u32,
    region: Tile,
    /// Where all its units stood when it could not be cut, and how many they were.
    spot: Option<(Position, u32)>,
    /// How many places went beyond a bucket's tile since it became a chain, or since cutting was tried.
    stirred: u32,
}

impl Leaf {
    /// What the directory says of it.
    fn entry(&self, shared: &Shared) -> Entry {
        let tile = if self.units == 0 { self.region } else { shared.bucket(self.head).tile() };
        Entry::new(self.head, &self.region, &tile)
    }
}

impl Writer {
    /// An empty index: one leaf, the earth.
    pub(crate) fn new(shared: &Shared) -> Self {
        let mut this = Self {
            regions: Regions::new(),
            leaves: Vec::new(),
            free_leaves: Vec::new(),
            of_bucket: Vec::new(),
            tiles: Vec::new(),
            free_buckets: Vec::new(),
            thinned: 0,
        };
        this.add_leaf(shared, 0, Tile::EARTH);
        shared.directory.store(Arc::new(this.directory(shared)));
        this
    }

    /// Applies changes in their order.
    pub(crate) fn apply(&mut self, shared: &Shared, changes: &[Change]) {
        for some in changes.chunks(AHEAD) {
            let mut homes = [None; AHEAD];
            for (home, change) in homes.iter_mut().zip(some) {
                *home = shared.slots.home(change.unit());
            }
            let touch = |home: &Home| {
                shared.bucket(home.bucket).touch(home.row) ^ self.tiles[home.bucket as usize].south as u64
            };
            std::hint::black_box(homes.iter().flatten().fold(0, |all, home| all ^ touch(home)));
            some.iter().for_each(|change| self.change(shared, change));
        }
    }

    fn change(&mut self, shared: &Shared, change: &Change) {
        match *change {
            Change::Touch { unit, contact } => shared.slots.hear(unit, contact),
            Change::Place { unit, fix, contact, interval_ms } => self.place(shared, unit, &fix, contact, interval_ms),
        }
    }

    #[inline]
    fn place(&mut self, shared: &Shared, unit: UnitHandle, fix: &Fix, contact: Timestamp, interval_ms: Option<u32>) {
        let placed = shared.slots.place(unit, *fix, contact, interval_ms);
        match placed.home {
            Some(Home { bucket, row }) if self.tiles[bucket as usize].contains(fix.position) => {
                let bucket = shared.bucket(bucket);
                bucket.set_place(row, fix.position);
                if !placed.is_as_fresh {
                    bucket.set_digest(row, bucket.digest(row).fresh_until(placed.fresh_until));
                }
            }
            _ => self.place_elsewhere(shared, unit, fix.position, &placed),
        }
    }

    /// A place beyond the tile of the unit's bucket, or the first one.
    #[inline(never)]
    fn place_elsewhere(&mut self, shared: &Shared, unit: UnitHandle, position: Position, placed: &Placed) {
        let digest = match placed.home {
            Some(home) => shared.bucket(home.bucket).digest(home.row),
            None => Digest::new(unit, &shared.slots.traits(unit).unwrap_or_default()),
        };
        let row = Row { position, digest: digest.fresh_until(placed.fresh_until) };
        if let Some(home) = placed.home
            && shared.bucket(home.bucket).region().contains(position)
        {
            self.set(shared, home, row);
            let (leaf, before) = self.of_bucket[home.bucket as usize];
            let is_in_chain = before != NONE || shared.bucket(home.bucket).next() != NONE;
            if is_in_chain {
                self.stir(shared, leaf);
            }
            return;
        }
        shared.moves.begin(unit.0);
        match placed.home {
            Some(home) => self.leave(shared, unit, home),
            None => shared.count(unit, 1),
        }
        self.enter(shared, row);
        shared.moves.settle();
    }

    /// A unit of a chain went beyond its bucket's tile. Units that stood on one spot and drive apart in their region are never
    /// entered anew: when many have, their chain is cut, as often as it can be.
    fn stir(&mut self, shared: &Shared, number: u32) {
        let leaf = &mut self.leaves[number as usize];
        leaf.stirred += 1;
        if leaf.stirred < leaf.units / STIRRED_SHARE {
            return;
        }
        leaf.stirred = 0;
        let mut open = vec![number];
        while let Some(number) = open.pop() {
            let leaf = &self.leaves[number as usize];
            if leaf.head != leaf.tail {
                open.extend(self.split(shared, number).into_iter().flat_map(|added| [number, added]));
            }
        }
        shared.moves.settle();
    }

    /// Stores a row of the bucket's region.
    fn set(&mut self, shared: &Shared, home: Home, row: Row) {
        let bucket = shared.bucket(home.bucket);
        bucket.set(home.row, row);
        self.tiles[home.bucket as usize] = bucket.tile();
    }

    /// What filters ask about `unit` from now on.
    pub(crate) fn enrol(&self, shared: &Shared, unit: UnitHandle, traits: UnitTraits) {
        shared.slots.enrol(unit, traits);
        if let Some(home) = shared.slots.home(unit) {
            let bucket = shared.bucket(home.bucket);
            bucket.set_digest(home.row, bucket.digest(home.row).with_traits(&traits));
        }
    }

    /// Takes a unit off the map.
    pub(crate) fn withdraw(&mut self, shared: &Shared, unit: UnitHandle) {
        shared.slots.forget(unit);
        if let Some(home) = shared.slots.home(unit) {
            shared.moves.begin(unit.0);
            self.leave(shared, unit, home);
            shared.slots.set_home(unit, None);
            shared.count(unit, -1);
            shared.moves.settle();
        }
    }

    /// Takes a unit out of its row; the last of the leaf comes there.
    fn leave(&mut self, shared: &Shared, unit: UnitHandle, home: Home) {
        let number = self.of_bucket[home.bucket as usize].0;
        let leaf = &mut self.leaves[number as usize];
        let tail = shared.bucket(leaf.tail);
        let last = tail.row(tail.len() - 1);
        if last.digest.unit() != unit {
            shared.moves.begin(last.digest.unit().0);
            let bucket = shared.bucket(home.bucket);
            bucket.set(home.row, last);
            self.tiles[home.bucket as usize] = bucket.tile();
            shared.slots.set_home(last.digest.unit(), Some(home));
        }
        tail.pop();
        leaf.units -= 1;
        self.thinned += usize::from(leaf.units == MERGE_UNITS_MAX / 2);
        if tail.len() == 0 && leaf.tail != leaf.head {
            let before = self.of_bucket[leaf.tail as usize].1;
            shared.bucket(before).set_next(NONE);
            self.free_buckets.push(std::mem::replace(&mut leaf.tail, before));
        }
    }

    /// Gives a unit a row where its place belongs.
    fn enter(&mut self, shared: &Shared, row: Row) {
        let number = loop {
            let number = self.regions.locate(row.position);
            let leaf = &self.leaves[number as usize];
            // Trying again before anything can have changed would read all units of the spot for each bucket more.
            let is_spot = leaf.spot.is_some_and(|(spot, units)| spot == row.position && leaf.units < 2 * units);
            if is_spot || shared.bucket(leaf.tail).len() < ROWS || self.split(shared, number).is_none() {
                break number;
            }
        };
        self.add(shared, number, row);
    }

    /// Adds a unit to a leaf, with one bucket more when the last is full.
    fn add(&mut self, shared: &Shared, number: u32, row: Row) {
        let Leaf { tail, region, .. } = self.leaves[number as usize];
        let mut bucket = tail;
        if shared.bucket(tail).len() == ROWS {
            bucket = self.take_bucket(shared, number, tail, region);
            shared.bucket(tail).set_next(bucket);
        }
        let row_number = shared.bucket(bucket).push(row);
        self.tiles[bucket as usize] = shared.bucket(bucket).tile();
        shared.slots.set_home(row.digest.unit(), Some(Home { bucket, row: row_number }));
        let leaf = &mut self.leaves[number as usize];
        (leaf.tail, leaf.units) = (bucket, leaf.units + 1);
    }

    /// Cuts a full leaf in two; gives the new one, or `None` when all its units stand on one spot, or when there are too many buckets.
    fn split(&mut self, shared: &Shared, number: u32) -> Option<u32> {
        if self.of_bucket.len() - self.free_buckets.len() >= BUCKETS_SPLIT_MAX {
            return None;
        }
        let rows = self.rows(shared, number);
        let mut positions: Vec<_> = rows.iter().map(|row| row.position).collect();
        let Some(cut) = Cut::halving(&mut positions) else {
            self.leaves[number as usize].spot = rows.first().map(|row| (row.position, rows.len() as u32));
            return None;
        };
        let Leaf { node, region, .. } = self.leaves[number as usize];
        rows.iter().for_each(|row| shared.moves.begin(row.digest.unit().0));
        let (low, high) = cut.parts(region);
        let added = self.add_leaf(shared, 0, high);
        let (low_node, high_node) = self.regions.split(node, cut, number, added);
        self.leaves[added as usize].node = high_node;
        self.empty(shared, number, low_node, low);
        for row in rows {
            self.add(shared, if cut.is_low(row.position) { number } else { added }, row);
        }
        let directory = shared.directory.load().with(self.leaves[added as usize].entry(shared));
        let is_due = directory.is_due();
        shared.directory.store(Arc::new(directory));
        if is_due {
            self.renew(shared);
        }
        Some(added)
    }

    /// Makes the directory anew, and one leaf of two where both have become small.
    fn renew(&mut self, shared: &Shared) {
        let mut merges = 0;
        let mut is_folded = false;
        for number in 0..self.leaves.len() as u32 {
            while merges < MERGES_AT_ONCE && self.merge(shared, number) {
                merges += 1;
            }
            is_folded |= self.fold(number);
        }
        if is_folded {
            self.widen(shared);
        }
        self.thinned = if merges < MERGES_AT_ONCE { 0 } else { self.thinned };
        shared.directory.store(Arc::new(self.directory(shared)));
    }

    /// Gives up a leaf without units whose sibling is cut: what moves through a region for long would leave one behind at
    /// every cut.
    fn fold(&mut self, number: u32) -> bool {
        let leaf = &mut self.leaves[number as usize];
        let is_idle = leaf.head != NONE && leaf.units == 0 && self.regions.fold(leaf.node);
        if is_idle {
            self.free_buckets.push(std::mem::replace(&mut leaf.head, NONE));
            self.free_leaves.push(number);
        }
        is_idle
    }

    /// Gives each leaf the node and the region that the cuts leave it.
    fn widen(&mut self, shared: &Shared) {
        for (number, node, region) in self.regions.leaves() {
            let leaf = &mut self.leaves[number as usize];
            leaf.node = node;
            if std::mem::replace(&mut leaf.region, region) != region {
                let mut at = leaf.head;
                while at != NONE {
                    shared.bucket(at).widen(region);
                    at = shared.bucket(at).next();
                }
            }
        }
    }

    /// Joins a leaf with its sibling, when they have few units together.
    fn merge(&mut self, shared: &Shared, number: u32) -> bool {
        let leaf = &self.leaves[number as usize];
        if leaf.head == NONE || leaf.units > MERGE_UNITS_MAX {
            return false;
        }
        let Some((low, high, parent)) = self.regions.siblings(leaf.node) else { return false };
        let other = if low == number { high } else { low };
        let sibling = &self.leaves[other as usize];
        if leaf.units + sibling.units > MERGE_UNITS_MAX {
            return false;
        }
        let region = leaf.region.joined(sibling.region);
        let rows = [self.rows(shared, number), self.rows(shared, other)].concat();
        rows.iter().for_each(|row| shared.moves.begin(row.digest.unit().0));
        self.regions.merge(parent, number);
        self.empty(shared, number, parent, region);
        self.empty(shared, other, 0, region);
        self.free_buckets.push(std::mem::replace(&mut self.leaves[other as usize].head, NONE));
        self.free_leaves.push(other);
        rows.into_iter().for_each(|row| self.add(shared, number, row));
        true
    }

    /// Makes the directory anew when many leaves have become small; between batches.
    pub(crate) fn tidy(&mut self, shared: &Shared) {
        if self.thinned > 64 + self.leaves.len() / 4 {
            self.renew(shared);
            shared.moves.settle();
        }
    }

    fn directory(&self, shared: &Shared) -> Directory {
        let used = self.leaves.iter().filter(|leaf| leaf.head != NONE);
        Directory::of(used.map(|leaf| leaf.entry(shared)).collect())
    }

    fn rows(&self, shared: &Shared, number: u32) -> Vec<Row> {
        let mut rows = Vec::with_capacity(self.leaves[number as usize].units as usize);
        let mut at = self.leaves[number as usize].head;
        while at != NONE {
            let bucket: &Bucket = shared.bucket(at);
            rows.extend((0..bucket.len()).map(|row| bucket.row(row)));
            at = bucket.next();
        }
        rows
    }

    /// A leaf without units, at `node`.
    fn add_leaf(&mut self, shared: &Shared, node: u32, region: Tile) -> u32 {
        let number = self.free_leaves.pop().unwrap_or(self.leaves.len() as u32);
        let head = self.take_bucket(shared, number, NONE, region);
        let leaf = Leaf { node, head, tail: head, units: 0, region, spot: None, stirred: 0 };
        match self.leaves.get_mut(number as usize) {
            Some(place) => *place = leaf,
            None => self.leaves.push(leaf),
        }
        number
    }

    /// Takes all units out of a leaf, which has another node and region from now on.
    fn empty(&mut self, shared: &Shared, number: u32, node: u32, region: Tile) {
        let leaf = &mut self.leaves[number as usize];
        while leaf.tail != leaf.head {
            let before = self.of_bucket[leaf.tail as usize].1;
            self.free_buckets.push(std::mem::replace(&mut leaf.tail, before));
        }
        let head = leaf.head;
        shared.bucket(head).begin(region, NONE);
        *leaf = Leaf { node, head, tail: head, units: 0, region, spot: None, stirred: 0 };
    }

    fn take_bucket(&mut self, shared: &Shared, leaf: u32, before: u32, region: Tile) -> u32 {
        let number = self.free_buckets.pop().unwrap_or_else(|| {
            self.of_bucket.push((leaf, before));
            self.tiles.push(region);
            self.of_bucket.len() as u32 - 1
        });
        self.of_bucket[number as usize] = (leaf, before);
        shared.buckets.reach(number).begin(region, NONE);
        number
    }

    /// Bytes in use.
    pub(crate) fn bytes(&self) -> usize {
        self.regions.bytes()
            + self.leaves.capacity() * size_of::<Leaf>()
            + self.of_bucket.capacity() * size_of::<(u32, u32)>()
            + self.tiles.capacity() * size_of::<Tile>()
    }

    /// Whether everything agrees: each unit's home is the row that names it, inside its leaf's region.
    #[cfg(all(test, not(loom)))]
    pub(crate) fn check(&self, shared: &Shared) -> (usize, usize) {
        let mut units = 0;
        for (number, leaf) in self.leaves.iter().enumerate().filter(|(_, leaf)| leaf.head != NONE) {
            let rows = self.rows(shared, number as u32);
            assert_eq!(rows.len(), leaf.units as usize, "a leaf counts its units");
            for row in &rows {
                assert_eq!(self.regions.locate(row.position) as usize, number, "a unit is where its place belongs");
                assert!(leaf.region.contains(row.position), "a leaf has the region of its node");
                let home = shared.slots.home(row.digest.unit()).expect("a unit with a row has a home");
                assert_eq!(shared.bucket(home.bucket).row(home.row), *row, "a unit's home is its row");
                assert_eq!(shared.slots.position(row.digest.unit()), Some(row.position), "the slot agrees");
                let outline = shared.bucket(home.bucket).outline().expect("nobody shrinks it now");
                assert!(outline.tile.contains(row.position), "a tile holds its units");
                assert_eq!(self.tiles[home.bucket as usize], outline.tile, "a tile is the same twice");
                assert_eq!(shared.bucket(home.bucket).region(), leaf.region, "a bucket has the region of its leaf");
            }
            units += rows.len();
        }
        for (number, node, region) in self.regions.leaves() {
            let leaf = &self.leaves[number as usize];
            assert_eq!((leaf.node, leaf.region), (node, region), "a leaf has the node and the region of its cuts");
        }
        (units, self.leaves.len() - self.free_leaves.len())
    }
}
