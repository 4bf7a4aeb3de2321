use model::Position;

/// Height of a cell in 1e-7 degrees of latitude: 100 m.
const CELL_E7: i32 = 9_000;
/// Half of the diagonal of a cell, in metres, rounded up: no place in it is farther from its middle.
pub const COARSE_M: f32 = 72.0;

/// The middle of the cell of about 100 m by 100 m that `place` lies in. The same for every place of a cell, so that many fixes of one who
/// stays there tell no more than one.
///
/// Cells are rows of equal height, each cut into cells of nearly equal width, however far north it lies.
#[must_use]
pub fn coarse(place: Position) -> Position {
    const QUARTER_E7: i32 = 900_000_000;
    const HALF_E7: i32 = 1_800_000_000;
    let middle = |value: i32, step: i32, most: i32| {
        let start = value.div_euclid(step).saturating_mul(step);
        start.saturating_add(step / 2).clamp(-most, most)
    };
    let lat_e7 = middle(place.lat_e7(), CELL_E7, QUARTER_E7);
    let narrowing = (f64::from(lat_e7) * 1e-7).to_radians().cos().max(1e-6);
    // Saturates near the poles, where one cell goes all around.
    let width_e7 = (f64::from(CELL_E7) / narrowing).round().min(f64::from(HALF_E7)) as i32;
    let lon_e7 = middle(place.lon_e7(), width_e7, HALF_E7);
    Position::from_e7(lat_e7, lon_e7).unwrap_or(place)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::distance_m;

    fn at(lat_deg: f64, lon_deg: f64) -> Position {
        Position::from_e7((lat_deg * 1e7) as i32, (lon_deg * 1e7) as i32).unwrap()
    }

    #[test]
    fn a_city_block_is_one_place_and_the_next_one_another() {
        let here = coarse(at(22.817_00, 108.366_00));
        assert_eq!(here, coarse(at(22.817_30, 108.366_30)));
        assert_ne!(here, coarse(at(22.818_00, 108.366_00)));
        assert_ne!(here, coarse(at(22.817_00, 108.367_20)));
    }

    proptest! {
        #[test]
        fn no_place_moves_farther_than_is_said_and_moving_again_moves_nothing(
            lat_e7 in -899_000_000i32..=899_000_000, lon_e7 in -1_800_000_000i32..=1_800_000_000
        ) {
            let place = Position::from_e7(lat_e7, lon_e7).unwrap();
            let middle = coarse(place);
            prop_assert!(distance_m(place, middle) <= f64::from(COARSE_M));
            prop_assert_eq!(coarse(middle), middle);
        }

        #[test]
        fn every_place_on_earth_has_a_cell(lat_e7 in -900_000_000i32..=900_000_000, lon_e7 in -1_800_000_000i32..=1_800_000_000) {
            let place = Position::from_e7(lat_e7, lon_e7).unwrap();
            prop_assert_eq!(coarse(place), coarse(place));
        }
    }
}
