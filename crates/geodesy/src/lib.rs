//! WGS-84 distance and bearing, boxes, polygons and circles; each datum its own type.

mod area;
mod cells;
mod coarse;
mod datum;
mod ecef;
mod geodesic;
mod short;
mod vantage;
mod zone;

pub use area::{Area, AreaError, Outline, Overlap, RingsError, Vertex};
pub use coarse::{COARSE_M, coarse};
pub use datum::{Bd09, Datum, Gcj02, UnknownDatum};
pub use ecef::{Ecef, EcefBox, geodesic_upper_m};
pub use geodesic::{bearing_deg, destination, distance_and_bearing, distance_m};
pub use short::{Ruler, SHORT_ERROR_M, Way};
pub use vantage::{Around, Flat, Reach, Tile, Vantage};
pub use zone::{ZoneError, area_of};
