//! The edges of zones near a square, and which side of them a place lies on, exactly.

use geodesy::{Area, Ruler};
use model::Position;

use super::square::{Around, OVERHANG_E7};

const TURN_E7: i64 = 3_600_000_000;

/// A corner, (longitude, latitude) in 1e-7 degrees; the longitude may lie somewhat beyond 180 degrees.
pub(super) type Corner = [i32; 2];

/// Some edges of a ring, one after the other: those that matter in a square. The parts of a ring follow each other, and the rings
/// of a polygon, its outline first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    /// The corner where the first edge begins.
    first: u32,
    /// How many edges; the bits above say more.
    word: u32,
}

/// An outline begins, and a polygon with it.
const OUTLINE: u32 = 1 << 31;
/// A hole begins.
const HOLE: u32 = 1 << 30;
/// The ring winds round the corner of the square.
const ROUND: u32 = 1 << 29;
const EDGES: u32 = ROUND - 1;

/// Which side of a ring a place lies on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Outside,
    Edge,
    Inside,
}

/// What is left of a zone in a square.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// No edge is near, and it does not hold the square.
    Nothing,
    /// No edge is near, and it holds all of the square.
    All,
    /// Some edges.
    Parts,
}

impl Part {
    const fn edges(self) -> usize {
        (self.word & EDGES) as usize
    }

    const fn is_outline(self) -> bool {
        self.word & OUTLINE != 0
    }

    const fn begins_ring(self) -> bool {
        self.word & (OUTLINE | HOLE) != 0
    }

    const fn is_round(self) -> bool {
        self.word & ROUND != 0
    }

    /// From one corner to the next.
    fn corners(self, corners: &[Corner]) -> &[Corner] {
        if self.edges() == 0 { &[] } else { &corners[self.first as usize..][..self.edges() + 1] }
    }
}

/// How many edges, and a little for each part.
pub(super) fn weight(parts: &[Part]) -> usize {
    parts.iter().map(|part| part.edges() + 1).sum()
}

/// Lays down all rings of `area`, as they are seen from the first square; `None` when it is a circle, or reaches so far over the
/// antimeridian that it is better asked itself. Then nothing was added.
pub(super) fn laid_down(area: &Area, corners: &mut Vec<Corner>, parts: &mut Vec<Part>) -> Option<()> {
    let (corners_before, parts_before) = (corners.len(), parts.len());
    let laid = area.radius_m().is_none().then_some(()).and_then(|()| {
        for ring in area.outlines() {
            let kind = if ring.is_hole { HOLE } else { OUTLINE };
            lay_ring(ring.corners, kind, corners, parts)?;
        }
        Some(())
    });
    if laid.is_none() {
        corners.truncate(corners_before);
        parts.truncate(parts_before);
    }
    laid
}

fn lay_ring(ring: &[(i64, i64)], kind: u32, corners: &mut Vec<Corner>, parts: &mut Vec<Part>) -> Option<()> {
    let lons = || ring.iter().map(|corner| corner.0);
    let (west, east) = (lons().min()?, lons().max()?);
    // Copies of a wider ring would overlap, and a place could be inside twice.
    if east - west > TURN_E7 {
        return None;
    }
    let mut word = kind;
    for turn in (-2..=2).map(|turns| turns * TURN_E7) {
        let reach = TURN_E7 / 2 + OVERHANG_E7;
        if west + turn > reach || east + turn < -reach {
            continue;
        }
        let first = u32::try_from(corners.len()).ok()?;
        let edges = u32::try_from(ring.len() - 1).ok().filter(|edges| *edges <= EDGES)?;
        for (lon, lat) in ring {
            corners.push([i32::try_from(lon + turn).ok()?, i32::try_from(*lat).ok()?]);
        }
        parts.push(Part { first, word: word | edges });
        word = 0;
    }
    Some(())
}

/// Keeps of `parts`, which belong to one zone and the square whose corner is `parent`, what matters in its part whose corner is
/// `child` and whose neighbourhood is `around`; it is added to `kept`.
pub(super) fn keep(
    parts: &[Part],
    corners: &[Corner],
    (parent, child): ((i32, i32), (i32, i32)),
    around: &Around,
    kept: &mut Vec<Part>,
) -> Left {
    let before = kept.len();
    for polygon in parts.chunk_by(|_, next| !next.is_outline()) {
        let at = kept.len();
        for ring in polygon.chunk_by(|_, next| !next.begins_ring()) {
            keep_ring(ring, corners, (parent, child), around, kept);
        }
        drop_elsewhere(kept, at);
    }
    let left = &kept[before..];
    if left.is_empty() {
        Left::Nothing
    } else if left.iter().all(|part| part.edges() == 0) {
        kept.truncate(before);
        Left::All
    } else {
        Left::Parts
    }
}

/// Of a polygon whose parts begin at `at`, drops what says nothing: all, when no edge is near and it does not hold the square; else the
/// holes that are elsewhere.
fn drop_elsewhere(kept: &mut Vec<Part>, at: usize) {
    let polygon = &kept[at..];
    let is_held = || polygon.iter().all(|part| part.is_outline() == part.is_round());
    if polygon.iter().all(|part| part.edges() == 0) && !is_held() {
        kept.truncate(at);
    }
    let mut place = at;
    for from in at..kept.len() {
        let part = kept[from];
        if part.edges() > 0 || part.is_outline() || part.is_round() {
            kept[place] = part;
            place += 1;
        }
    }
    kept.truncate(place);
}

fn keep_ring(
    ring: &[Part],
    corners: &[Corner],
    (parent, child): ((i32, i32), (i32, i32)),
    around: &Around,
    kept: &mut Vec<Part>,
) {
    let before = kept.len();
    let way = Way::between_corners(child, parent);
    let mut is_round = ring[0].is_round();
    for part in ring {
        let mut run: Option<Part> = None;
        for (at, edge) in (part.first..).zip(part.corners(corners).windows(2)) {
            is_round ^= way.crosses(edge[0], edge[1]);
            if around.meets(wide(edge[0]), wide(edge[1])) {
                run.get_or_insert(Part { first: at, word: 0 }).word += 1;
            } else {
                kept.extend(run.take());
            }
        }
        kept.extend(run);
    }
    let begins = (ring[0].word & (OUTLINE | HOLE)) | if is_round { ROUND } else { 0 };
    match kept.get_mut(before) {
        Some(first) => first.word |= begins,
        None => kept.push(Part { first: 0, word: begins }),
    }
}

/// Whether a zone of which `parts` are near holds `place`, exactly as [`Area::contains`]; `corner` is that of the square.
pub(super) fn hold(parts: &[Part], corners: &[Corner], corner: (i32, i32), place: Position) -> bool {
    let way = Way::from_place(place, corner);
    let (mut is_held, mut is_in_polygon) = (false, false);
    for ring in parts.chunk_by(|_, next| !next.begins_ring()) {
        let side = way.side(ring, corners);
        if ring[0].is_outline() {
            is_held |= is_in_polygon;
            is_in_polygon = side != Side::Outside;
        } else {
            is_in_polygon &= side != Side::Inside;
        }
    }
    is_held || is_in_polygon
}

/// Square of the distance to the nearest edge, m².
pub(super) fn border_m2(parts: &[Part], corners: &[Corner], ruler: &Ruler) -> f64 {
    nearest_m2(parts, corners, ruler, |_, _| true)
}

/// The same of those edges that may come in `around`; infinite when none does.
pub(super) fn border_around_m2(parts: &[Part], corners: &[Corner], ruler: &Ruler, around: &Around) -> f64 {
    nearest_m2(parts, corners, ruler, |from, to| around.meets(wide(from), wide(to)))
}

#[inline]
fn nearest_m2(parts: &[Part], corners: &[Corner], ruler: &Ruler, is_asked: impl Fn(Corner, Corner) -> bool) -> f64 {
    let place = ruler.from();
    let (lon, lat) = (i64::from(place.lon_e7()), i64::from(place.lat_e7()));
    let off = |corner: Corner| (i64::from(corner[0]) - lon, i64::from(corner[1]) - lat);
    let edges = parts.iter().flat_map(|part| part.corners(corners).windows(2));
    let asked = edges.filter(|edge| is_asked(edge[0], edge[1]));
    asked.map(|edge| ruler.edge_m2(off(edge[0]), off(edge[1]))).fold(f64::INFINITY, f64::min)
}

const fn wide(corner: Corner) -> (i64, i64) {
    (corner[0] as i64, corner[1] as i64)
}

/// A way from a point to the corner of a square: along the parallel to the meridian of the corner, then along that. It crosses a
/// ring an odd number of times when the ring winds round one end and not round the other.
///
/// All is counted in halves of 1e-7 degrees from the point. The corner lies half a unit south-west of the square, so that the
/// meridian passes no corner of a ring; and the point is taken a hair farther north than it is, and the corner with it, so that
/// the parallel passes none either.
#[derive(Debug, Clone, Copy)]
struct Way {
    /// The point, in halves.
    point: (i64, i64),
    /// The corner, from there.
    corner: (i64, i64),
}

const fn halves((lon, lat): (i32, i32)) -> (i64, i64) {
    (2 * lon as i64, 2 * lat as i64)
}

impl Way {
    const fn from_place(place: Position, corner: (i32, i32)) -> Self {
        Self::between(halves((place.lon_e7(), place.lat_e7())), corner)
    }

    const fn between_corners(from: (i32, i32), to: (i32, i32)) -> Self {
        let (x, y) = halves(from);
        Self::between((x - 1, y - 1), to)
    }

    const fn between(point: (i64, i64), to: (i32, i32)) -> Self {
        let (x, y) = halves(to);
        Self { point, corner: (x - 1 - point.0, y - 1 - point.1) }
    }

    #[inline]
    fn off(&self, corner: Corner) -> (i64, i64) {
        let (x, y) = halves((corner[0], corner[1]));
        (x - self.point.0, y - self.point.1)
    }

    /// Which side of a ring the point is on.
    fn side(&self, ring: &[Part], corners: &[Corner]) -> Side {
        let mut is_inside = ring[0].is_round();
        for part in ring {
            for edge in part.corners(corners).windows(2) {
                if self.is_on(edge[0], edge[1]) {
                    return Side::Edge;
                }
                is_inside ^= self.crosses(edge[0], edge[1]);
            }
        }
        if is_inside { Side::Inside } else { Side::Outside }
    }

    /// Whether the point lies on an edge.
    #[inline]
    fn is_on(&self, from: Corner, to: Corner) -> bool {
        let (from, to) = (self.off(from), self.off(to));
        from.0.min(to.0) <= 0
            && from.0.max(to.0) >= 0
            && from.1.min(to.1) <= 0
            && from.1.max(to.1) >= 0
            && turn(from, to, (0, 0)) == 0
    }

    /// Whether the way crosses an edge an odd number of times.
    #[inline]
    fn crosses(&self, from: Corner, to: Corner) -> bool {
        let (from, to) = (self.off(from), self.off(to));
        let (west, south) = self.corner;
        let mut is_crossed = false;
        if (from.1 <= 0) != (to.1 <= 0) && from.0.min(to.0) <= 0 && from.0.max(to.0) > west {
            is_crossed ^= is_left(from, to, (0, 0)) != is_left(from, to, (west, 0));
        }
        if (from.0 < west) != (to.0 < west) && from.1.max(to.1) > south && from.1.min(to.1) <= 0 {
            is_crossed ^= is_left(from, to, (west, 0)) != is_left(from, to, (west, south));
        }
        is_crossed
    }
}

/// Whether a point, taken a hair farther north than it is, lies left of the way from `from` to `to`.
fn is_left(from: (i64, i64), to: (i64, i64), point: (i64, i64)) -> bool {
    match turn(from, to, point) {
        0 => to.0 > from.0,
        turn => turn > 0,
    }
}

/// Positive when `point` lies left of the way from `from` to `to`. Exact.
fn turn(from: (i64, i64), to: (i64, i64), point: (i64, i64)) -> i128 {
    let product = |a: i64, b: i64| i128::from(a) * i128::from(b);
    product(to.0 - from.0, point.1 - from.1) - product(to.1 - from.1, point.0 - from.0)
}
