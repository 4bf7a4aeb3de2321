//! WGS-84 distance and bearing, boxes, polygons and circles; each datum its own type.

mod area;
mod datum;
mod ecef;
mod geodesic;
mod short;
mod vantage;

pub use area::{Area, AreaError, Outline, Overlap, Vertex};
pub use datum::{Bd09, Datum, Gcj02, UnknownDatum};
pub use ecef::{Ecef, EcefBox, geodesic_upper_m};
pub use geodesic::{bearing_deg, destination, distance_and_bearing, distance_m};
pub use short::{Ruler, SHORT_ERROR_M, Way};
pub use vantage::{Around, Flat, Reach, Tile, Vantage};
