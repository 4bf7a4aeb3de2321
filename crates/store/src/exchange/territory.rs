use std::fmt;

use model::{Position, Rings};
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Polygons as GeoJSON (RFC 7946): null, a Polygon or a MultiPolygon; longitude before latitude.
#[derive(Default)]
pub(super) struct Territory(pub(super) Vec<Rings>);

/// A position of GeoJSON, as it is written.
pub(super) struct Point(pub(super) Position);

impl Serialize for Point {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        [self.0.lon_deg(), self.0.lat_deg()].serialize(serializer)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Geometry {
    r#type: Type,
    coordinates: Nested,
}

#[derive(Deserialize)]
enum Type {
    Polygon,
    MultiPolygon,
}

/// Coordinates of any depth: how deep they must be is told by the type, which may come after them. A position is checked
/// where it is read, so that a fault has its line and column.
pub(super) enum Nested {
    Number(f64),
    Place(Position),
    List(Vec<Nested>),
}

impl<'de> Deserialize<'de> for Nested {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NestedVisitor)
    }
}

struct NestedVisitor;

impl<'de> Visitor<'de> for NestedVisitor {
    type Value = Nested;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list, or a number of degrees")
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Nested, E> {
        Ok(Nested::Number(number))
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Nested, E> {
        Ok(Nested::Number(number as f64))
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Nested, E> {
        Ok(Nested::Number(number as f64))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Nested, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = list.next_element()? {
            entries.push(entry);
        }
        match entries[..] {
            [Nested::Number(lon), Nested::Number(lat)]
            | [Nested::Number(lon), Nested::Number(lat), Nested::Number(_)] => {
                let place = Position::from_degrees(lat, lon);
                let no_place = || A::Error::custom(format_args!("longitude {lon}, latitude {lat} is no place"));
                Ok(Nested::Place(place.ok_or_else(no_place)?))
            }
            _ if entries.iter().any(|entry| matches!(entry, Nested::Number(_))) => {
                Err(A::Error::custom("a position is longitude and latitude"))
            }
            _ => Ok(Nested::List(entries)),
        }
    }
}

impl Nested {
    pub(super) fn list<T>(self, entry: impl Fn(Self) -> Option<T>) -> Option<Vec<T>> {
        match self {
            Self::List(entries) => entries.into_iter().map(entry).collect(),
            _ => None,
        }
    }

    pub(super) fn polygon(self) -> Option<Rings> {
        self.list(|ring| {
            ring.list(|point| match point {
                Self::Place(place) => Some(place),
                _ => None,
            })
        })
    }
}

impl<'de> Deserialize<'de> for Territory {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Some(geometry) = Option::<Geometry>::deserialize(deserializer)? else { return Ok(Self::default()) };
        let polygons = match geometry.r#type {
            Type::Polygon => geometry.coordinates.polygon().map(|polygon| vec![polygon]),
            Type::MultiPolygon => geometry.coordinates.list(Nested::polygon),
        };
        polygons.map(Self).ok_or_else(|| D::Error::custom("the coordinates are not as deep as the type says"))
    }
}

/// A polygon as GeoJSON has it.
pub(super) fn written(rings: &Rings) -> Vec<Vec<Point>> {
    rings.iter().map(|ring| ring.iter().map(|position| Point(*position)).collect()).collect()
}

impl Serialize for Territory {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_empty() {
            return serializer.serialize_none();
        }
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("type", "MultiPolygon")?;
        map.serialize_entry("coordinates", &self.0.iter().map(written).collect::<Vec<_>>())?;
        map.end()
    }
}
