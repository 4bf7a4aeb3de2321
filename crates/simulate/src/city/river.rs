use crate::plane::Point;

/// Bends of the Yong through the city from west to east, in metres on the plane. Our own drawing:
/// north of Tingjiang Road, south of the old centre and of Nanhu, north of Dashatian and Wuxiang.
const BENDS: [(f32, f32); 20] = [
    (-20_500.0, -5_200.0),
    (-17_000.0, -3_000.0),
    (-14_000.0, -4_200.0),
    (-11_000.0, -3_600.0),
    (-9_300.0, -1_600.0),
    (-7_600.0, -900.0),
    (-5_800.0, -1_500.0),
    (-4_300.0, -2_600.0),
    (-3_300.0, -4_200.0),
    (-1_500.0, -4_700.0),
    (300.0, -3_900.0),
    (2_200.0, -2_900.0),
    (4_200.0, -3_300.0),
    (5_600.0, -4_900.0),
    (7_600.0, -5_200.0),
    (9_200.0, -4_000.0),
    (11_500.0, -4_300.0),
    (14_000.0, -5_600.0),
    (17_000.0, -5_000.0),
    (20_500.0, -6_200.0),
];
const PIECES_PER_BEND: usize = 20;

/// The river Yong: a line from west to east that always runs eastwards, so that a look-up by
/// longitude finds its piece.
#[derive(Debug, Clone, PartialEq)]
pub struct River {
    line: Vec<Point>,
}

impl River {
    /// The line of the river, smoothed between its bends (Catmull-Rom). The same for every seed.
    pub(crate) fn yong() -> Self {
        let bend = |index: usize| BENDS[index.min(BENDS.len() - 1)];
        let mut line = Vec::with_capacity(BENDS.len() * PIECES_PER_BEND);
        for index in 0..BENDS.len() - 1 {
            let four = [bend(index.saturating_sub(1)), bend(index), bend(index + 1), bend(index + 2)];
            for piece in 0..PIECES_PER_BEND {
                let share = piece as f32 / PIECES_PER_BEND as f32;
                let east_m = smooth(four.map(|(east_m, _)| east_m), share);
                let north_m = smooth(four.map(|(_, north_m)| north_m), share);
                line.push(Point::new(east_m, north_m));
            }
        }
        let (east_m, north_m) = BENDS[BENDS.len() - 1];
        line.push(Point::new(east_m, north_m));
        Self { line }
    }

    /// The points of its middle line from west to east, at most 300 m apart.
    #[must_use]
    pub fn line(&self) -> &[Point] {
        &self.line
    }

    /// How often the straight way from `a` to `b` crosses the middle line.
    #[must_use]
    pub fn crossings(&self, a: Point, b: Point) -> usize {
        let pieces = self.pieces(a.east_m.min(b.east_m), a.east_m.max(b.east_m));
        pieces.iter().zip(pieces.iter().skip(1)).filter(|(from, to)| do_cross(**from, **to, a, b)).count()
    }

    /// Whether `point` lies closer than `distance_m` metres to the middle line.
    #[must_use]
    pub fn is_near(&self, point: Point, distance_m: f32) -> bool {
        let pieces = self.pieces(point.east_m - distance_m, point.east_m + distance_m);
        let limit_m = f64::from(distance_m);
        pieces.iter().zip(pieces.iter().skip(1)).any(|(from, to)| distance_to_piece_m(*from, *to, point) < limit_m)
    }

    /// The part of the line over the stretch from `west_m` to `east_m`, both ends' pieces included.
    fn pieces(&self, west_m: f32, east_m: f32) -> &[Point] {
        let from = self.line.partition_point(|point| point.east_m < west_m).saturating_sub(1);
        let to = self.line.partition_point(|point| point.east_m <= east_m).saturating_add(1);
        &self.line[from..to.min(self.line.len())]
    }
}

fn smooth([before, from, to, after]: [f32; 4], share: f32) -> f32 {
    let (square, cube) = (share * share, share * share * share);
    let bend = 2.0 * before - 5.0 * from + 4.0 * to - after;
    let turn = 3.0 * from - before - 3.0 * to + after;
    0.5 * (2.0 * from + (to - before) * share + bend * square + turn * cube)
}

fn do_cross(from: Point, to: Point, a: Point, b: Point) -> bool {
    let side = |origin: Point, end: Point, point: Point| {
        let ((east_m, north_m), (to_east_m, to_north_m)) = (origin.way_to(end), origin.way_to(point));
        east_m * to_north_m - north_m * to_east_m > 0.0
    };
    side(from, to, a) != side(from, to, b) && side(a, b, from) != side(a, b, to)
}

fn distance_to_piece_m(from: Point, to: Point, point: Point) -> f64 {
    let ((east_m, north_m), (to_east_m, to_north_m)) = (from.way_to(to), from.way_to(point));
    let square = (east_m * east_m + north_m * north_m).max(f64::MIN_POSITIVE);
    let share = ((east_m * to_east_m + north_m * to_north_m) / square).clamp(0.0, 1.0);
    from.towards(to, share).distance_m(point)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn river_always_runs_eastwards() {
        let river = River::yong();
        assert!(river.line().windows(2).all(|two| two[0].east_m < two[1].east_m));
        assert!(river.line().windows(2).all(|two| two[0].distance_m(two[1]) <= 300.0));
    }

    #[test]
    fn the_old_centre_and_dashatian_lie_on_different_banks() {
        let river = River::yong();
        let chaoyang = Point::from_degrees(22.817, 108.316);
        let dashatian = Point::from_degrees(22.756, 108.322);
        assert_eq!(river.crossings(chaoyang, dashatian), 1);
        assert_eq!(river.crossings(chaoyang, Point::from_degrees(22.806, 108.357)), 0, "Nanhu");
        assert_eq!(river.crossings(chaoyang, Point::from_degrees(22.795, 108.290)), 1, "Tingjiang Road");
    }

    #[test]
    fn nearness_is_measured_to_the_line_and_not_to_its_points() {
        let river = River::yong();
        let two = [river.line()[20], river.line()[21]];
        let middle = two[0].towards(two[1], 0.5);
        assert!(river.is_near(middle, 1.0));
        assert!(!river.is_near(middle.moved(0.0, 400.0), 100.0));
    }
}
