use geodesy::Tile;
use model::Position;

use crate::digest::Digest;
use crate::sync::{AtomicI32, AtomicU32, AtomicU64, Ordering, fence};

/// Rows of a bucket.
pub(crate) const ROWS: usize = if cfg!(loom) { 2 } else { 64 };
/// Stands where no bucket follows.
pub(crate) const NONE: u32 = u32::MAX;
/// A tile that grows gets so much more on each side, in 1e-7 degrees (about 20 m), so that it does not grow at every report.
const SLACK_E7: i32 = 2_000;
/// After so many growths a tile is made anew.
const GROWTHS_MAX: u32 = 24;

/// Up to [`ROWS`] neighbours, side by side. One writer; readers copy the rows and ask [`crate::moves`] what they can have missed.
///
/// A bucket owns a region, and no other bucket of another leaf has a unit there. Its tile is the part of the region
/// that the units stand in; it always holds all of them.
///
/// ```text
/// line 0        number of shrinks, rows, next bucket, growths, tile, region
/// lines 1..9    places: all that a search reads of most rows
/// lines 9..17   digests
/// ```
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Bucket {
    /// Odd while the tile gets smaller. Growing needs no number: sides read at different moments hold at least what the first did.
    shrinks: AtomicU32,
    len: AtomicU32,
    /// More units of the same region, when they cannot be told apart by place; or [`NONE`].
    next: AtomicU32,
    growths: AtomicU32,
    tile: [AtomicI32; 4],
    /// The writer's own.
    region: [AtomicI32; 4],
    places: Aligned,
    digests: [AtomicU64; ROWS],
}

/// The places of a bucket, from the beginning of a line on.
#[derive(Debug)]
#[repr(align(64))]
struct Aligned([AtomicU64; ROWS]);

/// The tile of a bucket, at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outline {
    pub(crate) tile: Tile,
    shrinks: u32,
}

/// One unit in a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) position: Position,
    pub(crate) digest: Digest,
}

/// A reader's copy of the places of a bucket; beyond the last row the first is repeated.
#[derive(Debug)]
pub(crate) struct Places {
    pub(crate) len: usize,
    pub(crate) bits: [u64; ROWS],
}

impl Default for Places {
    fn default() -> Self {
        Self { len: 0, bits: [0; ROWS] }
    }
}

impl Default for Bucket {
    fn default() -> Self {
        let sides = || std::array::from_fn(|_| AtomicI32::new(0));
        Self {
            shrinks: AtomicU32::new(0),
            len: AtomicU32::new(0),
            next: AtomicU32::new(NONE),
            growths: AtomicU32::new(0),
            tile: sides(),
            region: sides(),
            places: Aligned(std::array::from_fn(|_| AtomicU64::new(0))),
            digests: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

impl Bucket {
    /// Where the units stand; `None` while that is being made smaller: then nothing can be left out by it.
    #[inline]
    pub(crate) fn outline(&self) -> Option<Outline> {
        let shrinks = self.shrinks.load(Ordering::Acquire);
        let tile = read(&self.tile);
        fence(Ordering::Acquire);
        let is_whole = shrinks & 1 == 0 && self.shrinks.load(Ordering::Relaxed) == shrinks;
        is_whole.then_some(Outline { tile, shrinks })
    }

    /// Whether all places that were copied since `outline` was read stood within it: it is still the same.
    #[inline]
    pub(crate) fn is_still(&self, outline: &Outline) -> bool {
        fence(Ordering::Acquire);
        self.outline().as_ref() == Some(outline)
    }

    #[inline]
    pub(crate) fn next(&self) -> u32 {
        self.next.load(Ordering::Acquire)
    }

    /// How many rows there are; what is counted is stored.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::Acquire) as usize
    }

    /// Copies all places.
    #[inline]
    pub(crate) fn copy_to(&self, places: &mut Places) {
        places.len = self.len().min(ROWS);
        let (rows, rest) = places.bits.split_at_mut(places.len);
        for (bits, place) in rows.iter_mut().zip(&self.places.0) {
            *bits = place.load(Ordering::Relaxed);
        }
        rest.fill(rows.first().copied().unwrap_or(0));
    }

    /// Who is in row `at`. Asked after the place was read: if it is another unit by then, that is one that moves.
    #[inline]
    pub(crate) fn digest(&self, at: usize) -> Digest {
        Digest::of_bits(self.digests[at].load(Ordering::Relaxed))
    }

    /// Loads what a change of the place in row `at` will need, so that it is on its way.
    #[inline]
    pub(crate) fn touch(&self, at: usize) -> u64 {
        self.places.0[at].load(Ordering::Relaxed)
    }
}

/// The writer's side.
impl Bucket {
    #[inline]
    pub(crate) fn region(&self) -> Tile {
        read(&self.region)
    }

    #[inline]
    pub(crate) fn row(&self, at: usize) -> Row {
        Row { position: position(self.places.0[at].load(Ordering::Relaxed)), digest: self.digest(at) }
    }

    /// Puts a unit that stays in the region to another place. The tile grows first.
    #[inline]
    pub(crate) fn set(&self, at: usize, row: Row) {
        if !self.tile().contains(row.position) {
            self.grow(row.position);
        }
        self.set_place(at, row.position);
        self.set_digest(at, row.digest);
    }

    /// Where the units stand.
    #[inline]
    pub(crate) fn tile(&self) -> Tile {
        read(&self.tile)
    }

    /// Puts a unit to another place in the tile.
    #[inline]
    pub(crate) fn set_place(&self, at: usize, position: Position) {
        self.places.0[at].store(bits(position), Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn set_digest(&self, at: usize, digest: Digest) {
        self.digests[at].store(digest.bits(), Ordering::Relaxed);
    }

    /// Adds a unit of the region; gives its row. There is room.
    pub(crate) fn push(&self, row: Row) -> usize {
        let at = self.len();
        if at == 0 {
            self.shrink_to(Tile::of(row.position));
        }
        self.set(at, row);
        // After the row: a reader that counts it finds it stored.
        self.len.store(at as u32 + 1, Ordering::Release);
        at
    }

    /// Takes the last row out.
    pub(crate) fn pop(&self) -> Row {
        let last = self.len() - 1;
        let row = self.row(last);
        self.len.store(last as u32, Ordering::Relaxed);
        row
    }

    /// Empties it, for the units of `region`; `next` follows.
    pub(crate) fn begin(&self, region: Tile, next: u32) {
        self.len.store(0, Ordering::Relaxed);
        self.next.store(next, Ordering::Relaxed);
        write(&self.region, region);
        self.growths.store(0, Ordering::Relaxed);
    }

    /// The writer gives it another region, which holds the one before.
    pub(crate) fn widen(&self, region: Tile) {
        write(&self.region, region);
    }

    pub(crate) fn set_next(&self, next: u32) {
        self.next.store(next, Ordering::Release);
    }

    fn grow(&self, position: Position) {
        let growths = self.growths.load(Ordering::Relaxed) + 1;
        if growths >= GROWTHS_MAX && self.len() > 0 {
            let rows = (0..self.len()).map(|at| Tile::of(self.row(at).position));
            let tile = rows.fold(Tile::of(position), Tile::joined);
            return self.shrink_to(tile.grown_within(SLACK_E7, self.region()));
        }
        self.growths.store(growths, Ordering::Relaxed);
        let tile = self.tile().joined(Tile::of(position).grown_within(SLACK_E7, self.region()));
        write(&self.tile, tile);
        // Before the row: a reader that copies the new place finds the tile changed (`is_still`).
        fence(Ordering::Release);
    }

    fn shrink_to(&self, tile: Tile) {
        let before = self.shrinks.load(Ordering::Relaxed);
        self.shrinks.store(before.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        write(&self.tile, tile);
        self.growths.store(0, Ordering::Relaxed);
        self.shrinks.store(before.wrapping_add(2), Ordering::Release);
    }
}

#[inline]
pub(crate) fn bits(position: Position) -> u64 {
    u64::from(position.lat_e7() as u32) << 32 | u64::from(position.lon_e7() as u32)
}

#[inline]
pub(crate) const fn lat_lon(bits: u64) -> (i32, i32) {
    ((bits >> 32) as i32, bits as i32)
}

#[inline]
pub(crate) fn position(bits: u64) -> Position {
    let (lat_e7, lon_e7) = lat_lon(bits);
    Position::from_e7(lat_e7, lon_e7).expect("only positions are stored")
}

#[inline]
fn read(sides: &[AtomicI32; 4]) -> Tile {
    let [south, north, west, east] = [0, 1, 2, 3].map(|side| sides[side].load(Ordering::Relaxed));
    Tile { south, north, west, east }
}

fn write(sides: &[AtomicI32; 4], tile: Tile) {
    for (side, value) in sides.iter().zip([tile.south, tile.north, tile.west, tile.east]) {
        side.store(value, Ordering::Relaxed);
    }
}
