use std::collections::HashSet;
use std::fmt;
use std::io::{self, Write};

use model::{Hours, Minimum, OrganisationName, Position, Rings, Settle, Shape, Span, Timestamp, Zone, ZoneName};
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};

use super::ExchangeError;
use super::checked::{Checked, FromText};
use super::json::{of_json, small_enough};
use super::territory::{Nested, Point, written};
use crate::zones::written::{Offset, WrittenMinimum, WrittenSettle, rest_value};

/// What a file tells of a zone: a GeoJSON Feature with the properties `zone`, `label`, `layer`, `org`, `hours`, `utc_offset`
/// (`+08:00`), `minimum` (`[{"kinds","hours","at_least"}]`), `settle` (`{"margin_m","time_s"}`), `dwell_s`, `stay_s_max`,
/// `valid_from` and `valid_until`. Its geometry is a Polygon, a MultiPolygon, a Point with the property `radius_m`, or null with
/// `h3_cells`, a list of cells in hexadecimal.
#[derive(Debug, Clone, PartialEq)]
pub struct ZoneRow {
    /// The zone.
    pub zone: Zone,
    /// From when it is in force; `None`: from now.
    pub from: Option<Timestamp>,
    /// Until when.
    pub until: Option<Timestamp>,
}

/// What a reader of zones must be told by those who know geodesy.
pub trait Ground {
    /// A place that is given in `datum`, in WGS-84.
    ///
    /// # Errors
    /// What is wrong with the word or the place.
    fn place(&self, datum: &str, lat_deg: f64, lon_deg: f64) -> Result<Position, String>;

    /// Whether the borders of a zone are well.
    ///
    /// # Errors
    /// The first fault and its place.
    fn check(&self, shape: &Shape) -> Result<(), String>;
}

/// What places are measured in, and who knows more of them.
#[derive(Clone, Copy)]
pub(super) struct Edge<'a> {
    pub(super) datum: &'a str,
    pub(super) ground: &'a dyn Ground,
    /// The name of a zone that does not say its own.
    pub(super) name: Option<&'a ZoneName>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Properties {
    #[serde(default)]
    zone: Option<Checked<ZoneName>>,
    #[serde(default)]
    label: String,
    layer: u8,
    #[serde(default)]
    org: Option<Checked<OrganisationName>>,
    #[serde(default)]
    hours: Vec<Checked<Hours>>,
    #[serde(default)]
    utc_offset: Option<Checked<Offset>>,
    #[serde(default)]
    minimum: Vec<WrittenMinimum>,
    #[serde(default)]
    settle: Option<WrittenSettle>,
    #[serde(default)]
    dwell_s: Option<u32>,
    #[serde(default)]
    stay_s_max: Option<u32>,
    #[serde(default)]
    valid_from: Option<Checked<Timestamp>>,
    #[serde(default)]
    valid_until: Option<Checked<Timestamp>>,
    #[serde(default)]
    radius_m: Option<f64>,
    #[serde(default)]
    h3_cells: Option<Vec<Checked<Cell>>>,
}

/// A cell of H3 in hexadecimal.
struct Cell(u64);

impl FromText for Cell {
    fn from_text(text: &str) -> Result<Self, String> {
        let number = u64::from_str_radix(text, 16);
        number.map(Self).map_err(|_| format!("{text:?} is no H3 cell in hexadecimal, like 8841160001fffff"))
    }
}

/// Ground as it is drawn.
pub(super) enum Drawn {
    Nothing,
    Point(Position),
    Polygons(Vec<Rings>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Feature {
    #[serde(rename = "type")]
    _type: FeatureType,
    #[serde(default, rename = "id")]
    _id: IgnoredAny,
    #[serde(default, rename = "bbox")]
    _bbox: IgnoredAny,
    properties: Properties,
    geometry: Option<Geometry>,
    /// Of an answer that is sent back as it came.
    #[serde(default, rename = "datum")]
    _datum: IgnoredAny,
}

#[derive(Deserialize)]
enum FeatureType {
    Feature,
}

#[derive(Deserialize)]
struct Geometry {
    r#type: GeometryType,
    coordinates: Nested,
}

#[derive(Deserialize)]
enum GeometryType {
    Point,
    Polygon,
    MultiPolygon,
}

impl Geometry {
    fn drawn(self) -> Option<Drawn> {
        match (self.r#type, self.coordinates) {
            (GeometryType::Point, Nested::Place(place)) => Some(Drawn::Point(place)),
            (GeometryType::Point, _) => None,
            (GeometryType::Polygon, nested) => Some(Drawn::Polygons(vec![nested.polygon()?])),
            (GeometryType::MultiPolygon, nested) => nested.list(Nested::polygon).map(Drawn::Polygons),
        }
    }
}

impl Feature {
    fn row(self, edge: Edge<'_>) -> Result<ZoneRow, String> {
        let drawn = match self.geometry {
            None => Drawn::Nothing,
            Some(geometry) => geometry.drawn().ok_or("the coordinates are not as deep as the type says")?,
        };
        self.properties.row(drawn, edge)
    }
}

impl Properties {
    /// The zone on the ground that is drawn.
    pub(super) fn row(self, drawn: Drawn, edge: Edge<'_>) -> Result<ZoneRow, String> {
        let said = self.zone.map(|name| name.0).or_else(|| edge.name.cloned());
        let name = said.ok_or("property `zone` is missing: its name")?;
        let of_zone = |problem: String| format!("zone `{name}`: {problem}");
        let shape = shape(drawn, self.radius_m, self.h3_cells, edge).map_err(of_zone)?;
        edge.ground.check(&shape).map_err(of_zone)?;
        let zone = Zone {
            label: self.label,
            layer: self.layer,
            organisation: self.org.map(|name| name.0),
            shape,
            utc_offset_min: self.utc_offset.map_or(0, |offset| offset.0.0),
            hours: self.hours.into_iter().map(|hours| hours.0).collect(),
            minimum: self.minimum.into_iter().map(Minimum::from).collect(),
            settle: self.settle.map_or_else(Settle::default, Settle::from),
            dwell_s: self.dwell_s,
            stay_s_max: self.stay_s_max,
            name,
        };
        Ok(ZoneRow { zone, from: self.valid_from.map(|time| time.0), until: self.valid_until.map(|time| time.0) })
    }
}

fn shape(
    drawn: Drawn,
    radius_m: Option<f64>,
    cells: Option<Vec<Checked<Cell>>>,
    edge: Edge<'_>,
) -> Result<Shape, String> {
    let moved = |place: &Position| edge.ground.place(edge.datum, place.lat_deg(), place.lon_deg());
    match (drawn, radius_m, cells) {
        (Drawn::Nothing, None, Some(cells)) => Ok(Shape::Cells(cells.into_iter().map(|cell| cell.0.0).collect())),
        (Drawn::Point(centre), Some(radius_m), None) => {
            // To the millimetre, so that what was written reads back as the same number.
            Ok(Shape::Circle { centre: moved(&centre)?, radius_m: (radius_m * 1_000.0).round() / 1_000.0 })
        }
        (Drawn::Polygons(polygons), None, None) => {
            let ring = |ring: &Vec<Position>| ring.iter().map(moved).collect();
            let polygon = |rings: &Rings| rings.iter().map(ring).collect();
            Ok(Shape::Polygons(polygons.iter().map(polygon).collect::<Result<_, String>>()?))
        }
        _ => Err("it is one of a Polygon or MultiPolygon, a Point with `radius_m`, or null with `h3_cells`".to_owned()),
    }
}

/// The datum that the file or its sender declares; zones without one are refused, as public maps are hundreds of metres off.
fn datum(declared: Option<String>, told: Option<&str>) -> Result<String, String> {
    match (declared, told) {
        (Some(declared), Some(told)) if declared != told => {
            Err(format!("the file declares the datum {declared:?}, and {told:?} was told"))
        }
        (Some(datum), _) => Ok(datum),
        (None, Some(told)) => Ok(told.to_owned()),
        (None, None) => {
            Err("no datum is declared: say wgs84, gcj02 or bd09, in the member `datum` or beside the file".to_owned())
        }
    }
}

#[derive(Deserialize)]
struct Head {
    datum: Option<String>,
}

fn head(bytes: &[u8], told: Option<&str>) -> Result<String, ExchangeError> {
    small_enough(bytes)?;
    let head: Head = serde_json::from_slice(bytes).map_err(|error| of_json(&error))?;
    datum(head.datum, told).map_err(|problem| ExchangeError::new(1, 1, problem))
}

/// Reads zones from a GeoJSON FeatureCollection. `datum` is what the sender says of it, beside what the file says.
///
/// # Errors
/// [`ExchangeError`] names the first fault; what is wrong with a zone as a whole is noticed at the end of its feature.
pub fn parse_zones_json(bytes: &[u8], datum: Option<&str>, ground: &dyn Ground) -> Result<Vec<ZoneRow>, ExchangeError> {
    let datum = head(bytes, datum)?;
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let collection = CollectionSeed(Edge { datum: &datum, ground, name: None });
    let read = collection.deserialize(&mut reader).and_then(|rows| reader.end().map(|()| rows));
    read.map_err(|error| of_json(&error))
}

/// Reads one zone from a GeoJSON Feature; one without the property `zone` is called `name`.
///
/// # Errors
/// As [`parse_zones_json`].
pub fn parse_zone_json(
    bytes: &[u8],
    datum: Option<&str>,
    ground: &dyn Ground,
    name: &ZoneName,
) -> Result<ZoneRow, ExchangeError> {
    let datum = head(bytes, datum)?;
    let feature: Feature = serde_json::from_slice(bytes).map_err(|error| of_json(&error))?;
    feature.row(Edge { datum: &datum, ground, name: Some(name) }).map_err(|problem| ExchangeError::new(1, 1, problem))
}

struct CollectionSeed<'a>(Edge<'a>);

impl<'de> DeserializeSeed<'de> for CollectionSeed<'_> {
    type Value = Vec<ZoneRow>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<ZoneRow>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for CollectionSeed<'_> {
    type Value = Vec<ZoneRow>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a FeatureCollection")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Vec<ZoneRow>, A::Error> {
        let (mut kind, mut rows) = (None, None);
        while let Some(member) = members.next_key::<String>()? {
            match member.as_str() {
                "type" => kind = Some(members.next_value::<String>()?),
                "features" if rows.is_some() => return Err(A::Error::custom("`features` is there twice")),
                "features" => rows = Some(members.next_value_seed(FeaturesSeed(self.0))?),
                _ => drop(members.next_value::<IgnoredAny>()?),
            }
        }
        match (kind.as_deref(), rows) {
            (Some("FeatureCollection"), Some(rows)) => Ok(rows),
            (Some("FeatureCollection"), None) => Err(A::Error::missing_field("features")),
            _ => Err(A::Error::custom("it is no FeatureCollection")),
        }
    }
}

struct FeaturesSeed<'a>(Edge<'a>);

impl<'de> DeserializeSeed<'de> for FeaturesSeed<'_> {
    type Value = Vec<ZoneRow>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<ZoneRow>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for FeaturesSeed<'_> {
    type Value = Vec<ZoneRow>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of features")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<ZoneRow>, A::Error> {
        let mut rows = Rows::default();
        while let Some(feature) = list.next_element::<Feature>()? {
            feature.row(self.0).and_then(|row| rows.add(row)).map_err(A::Error::custom)?;
        }
        Ok(rows.rows)
    }
}

/// Zones of which none is there twice.
#[derive(Default)]
pub(super) struct Rows {
    pub(super) rows: Vec<ZoneRow>,
    names: HashSet<ZoneName>,
}

impl Rows {
    pub(super) fn add(&mut self, row: ZoneRow) -> Result<(), String> {
        if !self.names.insert(row.zone.name.clone()) {
            return Err(format!("zone `{}` is in the file twice", row.zone.name));
        }
        self.rows.push(row);
        Ok(())
    }
}

/// A zone as a GeoJSON Feature.
#[must_use]
pub fn write_zone_json(zone: &Zone, effective: Span) -> Map<String, Value> {
    let mut properties = Map::new();
    let mut put = |name: &str, value: Value| properties.insert(name.to_owned(), value);
    put("zone", zone.name.as_str().into());
    put("label", zone.label.as_str().into());
    put("layer", zone.layer.into());
    put("org", zone.organisation.as_ref().map(|name| name.as_str()).into());
    if let Value::Object(rest) = rest_value(zone) {
        rest.into_iter().for_each(|(name, value)| drop(put(&name, value)));
    }
    put("valid_from", effective.from.to_string().into());
    put("valid_until", effective.until.map(|until| until.to_string()).into());
    let geometry = match &zone.shape {
        Shape::Polygons(polygons) => {
            let polygons: Vec<_> = polygons.iter().map(written).collect();
            match &polygons[..] {
                [one] => json!({"type": "Polygon", "coordinates": one}),
                _ => json!({"type": "MultiPolygon", "coordinates": polygons}),
            }
        }
        Shape::Circle { centre, radius_m } => {
            put("radius_m", (*radius_m).into());
            json!({"type": "Point", "coordinates": Point(*centre)})
        }
        Shape::Cells(cells) => {
            put("h3_cells", cells.iter().map(|cell| format!("{cell:x}")).collect());
            Value::Null
        }
    };
    let mut feature = Map::new();
    feature.insert("type".to_owned(), "Feature".into());
    feature.insert("id".to_owned(), zone.name.as_str().into());
    feature.insert("properties".to_owned(), properties.into());
    feature.insert("geometry".to_owned(), geometry);
    feature
}

/// Writes zones as a GeoJSON FeatureCollection in WGS-84, one a line.
///
/// # Errors
/// What `out` says.
pub fn write_zones_json<'a>(zones: impl Iterator<Item = (&'a Zone, Span)>, out: &mut dyn Write) -> io::Result<()> {
    out.write_all(b"{\"type\":\"FeatureCollection\",\"datum\":\"wgs84\",\"features\":[")?;
    for (at, (zone, effective)) in zones.enumerate() {
        out.write_all(if at == 0 { b"\n" } else { b",\n" })?;
        serde_json::to_writer(&mut *out, &write_zone_json(zone, effective))?;
    }
    out.write_all(b"\n]}\n")
}
