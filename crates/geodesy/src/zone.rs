use model::{Position, Rings, Shape, limits};

use crate::{Area, AreaError, RingsError, Vertex, cells};

/// Why a shape is no ground of a zone. The fault of who drew it, and where.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ZoneError {
    /// A ring by itself, or a radius.
    #[error(transparent)]
    Area(#[from] AreaError),
    /// Rings beside each other.
    #[error(transparent)]
    Rings(#[from] RingsError),
    /// A number that no cell has.
    #[error("{cell:x} is no H3 cell")]
    Cell {
        /// The number.
        cell: u64,
    },
    /// A list of cells without any.
    #[error("there is no H3 cell")]
    NoCells,
    /// Over the limit.
    #[error(
        "brought to the finest resolution among them there are {cells} H3 cells, the limit is {}",
        limits::ZONE_FINE_CELLS_MAX
    )]
    TooManyCells {
        /// How many.
        cells: u64,
    },
}

/// The ground of a zone as an area, with every ring looked at. Some microseconds for a polygon of a few points, 60 ms for 10,000.
///
/// # Errors
/// [`ZoneError`] names the first fault and its place.
pub fn area_of(shape: &Shape) -> Result<Area, ZoneError> {
    let area = match shape {
        Shape::Circle { centre, radius_m } => return Ok(Area::circle(*centre, *radius_m)?),
        Shape::Polygons(polygons) => {
            let ring = |ring: &Vec<Position>| ring.iter().map(|corner| Vertex::from(*corner)).collect();
            let polygon = |rings: &Rings| rings.iter().map(ring).collect();
            Area::polygons(&polygons.iter().map(polygon).collect::<Vec<Vec<Vec<Vertex>>>>())?
        }
        // What the cells themselves make lies well.
        Shape::Cells(cells) => return Ok(Area::polygons(&cells::polygons(cells)?)?),
    };
    area.check_rings()?;
    Ok(area)
}

#[cfg(test)]
mod tests {
    use h3o::{CellIndex, LatLng, Resolution};
    use proptest::prelude::*;

    use super::*;

    fn cell(lat: f64, lon: f64, resolution: Resolution) -> CellIndex {
        LatLng::new(lat, lon).unwrap().to_cell(resolution)
    }

    fn numbers(cells: &[CellIndex]) -> Vec<u64> {
        cells.iter().map(|cell| u64::from(*cell)).collect()
    }

    #[test]
    fn a_ring_of_cells_is_a_polygon_with_a_hole_and_no_inner_border() {
        let centre = cell(22.8, 108.3, Resolution::Nine);
        let disk: Vec<CellIndex> = centre.grid_disk_safe(1).filter(|one| *one != centre).collect();
        let polygons = cells::polygons(&numbers(&disk)).unwrap();
        assert_eq!(polygons.iter().map(Vec::len).collect::<Vec<_>>(), [2]);
        // Eighteen sides outside, six inside, and each ring ends where it begins.
        assert_eq!((polygons[0][0].len(), polygons[0][1].len()), (19, 7));
        let area = area_of(&Shape::Cells(numbers(&disk))).unwrap();
        area.check_rings().unwrap();
        let at = LatLng::from(centre);
        assert!(!area.contains(Position::from_degrees(at.lat(), at.lng()).unwrap()));
    }

    #[test]
    fn what_are_no_cells_or_too_many_is_refused() {
        assert_eq!(area_of(&Shape::Cells(vec![7])).unwrap_err().to_string(), "7 is no H3 cell");
        assert_eq!(area_of(&Shape::Cells(Vec::new())).unwrap_err(), ZoneError::NoCells);
        let both = [cell(22.8, 108.3, Resolution::Two), cell(10.0, 108.3, Resolution::Nine)];
        let many = area_of(&Shape::Cells(numbers(&both))).unwrap_err();
        assert!(matches!(many, ZoneError::TooManyCells { .. }), "{many}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        /// A place lies in the area of a set when the cell it falls into is in the set: over seams of the icosahedron, the
        /// antimeridian and pentagons too.
        #[test]
        fn cells_hold_what_falls_into_them(
            lat in -70.0..70.0f64, lon in prop_oneof![-180.0..180.0f64, 179.9..180.0f64], resolution in 3..9u8,
            kept in proptest::collection::vec(any::<bool>(), 37), by in proptest::collection::vec((-1.0..1.0f64, -1.0..1.0f64), 20),
        ) {
            let resolution = Resolution::try_from(resolution).unwrap();
            let centre = cell(lat, lon, resolution);
            let disk = centre.grid_disk_safe(3).zip(kept.iter().chain(std::iter::repeat(&false)));
            let set: Vec<CellIndex> = disk.filter(|(_, kept)| **kept).map(|(one, _)| one).collect();
            prop_assume!(!set.is_empty());
            let area = area_of(&Shape::Cells(numbers(&set)));
            let area = match area {
                Ok(area) => area,
                Err(ZoneError::Area(AreaError::RoundPole { .. })) => return Ok(()),
                Err(error) => return Err(TestCaseError::fail(error.to_string())),
            };
            prop_assert_eq!(area.check_rings(), Ok(()));
            let size = LatLng::from(centre).distance_m(cell_corner(centre)) / 111_000.0 * 6.0;
            for (north, east) in by {
                let place = Position::from_degrees(lat + north * size, wrapped(lon + east * size));
                let Some(place) = place else { continue };
                let falls = cell(place.lat_deg(), place.lon_deg(), resolution);
                // Sides are arcs on the sphere, and straight in longitude and latitude here: near them either may be.
                let inner = LatLng::from(falls).distance_m(LatLng::new(place.lat_deg(), place.lon_deg()).unwrap());
                if inner < 0.7 * LatLng::from(falls).distance_m(cell_corner(falls)) {
                    prop_assert_eq!(area.contains(place), set.contains(&falls), "{}", place);
                }
            }
        }
    }

    fn cell_corner(cell: CellIndex) -> LatLng {
        cell.boundary()[0]
    }

    fn wrapped(lon: f64) -> f64 {
        (lon + 180.0).rem_euclid(360.0) - 180.0
    }
}
