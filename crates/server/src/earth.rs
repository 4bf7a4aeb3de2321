use geodesy::{Datum, area_of};
use model::{Position, Shape};
use store::exchange::Ground;

/// What the readers of zones are told of geodesy.
#[derive(Debug, Clone, Copy, Default)]
pub struct Earth;

impl Ground for Earth {
    fn place(&self, datum: &str, lat_deg: f64, lon_deg: f64) -> Result<Position, String> {
        let datum: Datum = datum.parse().map_err(|error: geodesy::UnknownDatum| error.to_string())?;
        let outside = || format!("longitude {lon_deg}, latitude {lat_deg} is no place in {}", datum.as_str());
        datum.to_wgs84(lat_deg, lon_deg).ok_or_else(outside)
    }

    fn check(&self, shape: &Shape) -> Result<(), String> {
        area_of(shape).map(drop).map_err(|error| error.to_string())
    }
}
