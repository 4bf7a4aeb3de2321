//! Zones in KML 2.3: each Placemark with polygons, or with a point and a radius, is one.

use model::{Position, Rings};
use quick_xml::Reader;
use quick_xml::XmlVersion;
use quick_xml::events::{BytesRef, BytesStart, Event};
use serde_json::{Map, Value};

use super::ExchangeError;
use super::json::small_enough;
use super::zones::{Drawn, Edge, Ground, Properties, Rows, ZoneRow};

/// Elements in each other; what is deeper is no map.
const DEPTH_MAX: usize = 64;
/// Properties that are numbers or lists in JSON, where KML knows texts only.
const IN_JSON: [&str; 8] = ["layer", "hours", "minimum", "settle", "dwell_s", "stay_s_max", "radius_m", "h3_cells"];

/// Reads zones from KML. The properties of a zone are `Data` or `SimpleData` of its Placemark, numbers and lists written as in
/// JSON; its name is that of the Placemark where no `zone` is said, as is its label. Coordinates are in `datum`, which KML
/// cannot say: who sends the file must.
///
/// # Errors
/// [`ExchangeError`] names the first fault; what is wrong with a zone as a whole is noticed at the end of its Placemark.
pub fn parse_zones_kml(bytes: &[u8], datum: &str, ground: &dyn Ground) -> Result<Vec<ZoneRow>, ExchangeError> {
    small_enough(bytes)?;
    let text =
        std::str::from_utf8(bytes).map_err(|error| at(bytes, error.valid_up_to(), "it is no UTF-8".to_owned()))?;
    let mut reader = Reader::from_str(text);
    let mut file = File {
        edge: Edge { datum, ground, name: None },
        open: Vec::new(),
        text: String::new(),
        mark: None,
        rows: Rows::default(),
    };
    let mut is_kml = false;
    loop {
        let event = reader.read_event();
        let place = reader.buffer_position() as usize;
        let fault = |problem: String| at(bytes, place, problem);
        match event.map_err(|error| at(bytes, reader.error_position() as usize, error.to_string()))? {
            Event::Eof if !file.open.is_empty() => {
                return Err(fault(format!("`{}` is not closed", file.open.join("/"))));
            }
            Event::Eof if is_kml => return Ok(file.rows.rows),
            Event::Eof => return Err(fault("it is no KML".to_owned())),
            Event::Start(start) => {
                is_kml |= start.local_name().as_ref() == "kml";
                file.begin(&start).map_err(fault)?;
            }
            Event::Empty(start) => {
                file.begin(&start).map_err(fault)?;
                file.end().map_err(fault)?;
            }
            Event::End(_) => file.end().map_err(fault)?,
            Event::Text(text) => file.text.push_str(&text.xml10_content()),
            Event::CData(text) => file.text.push_str(&text.xml10_content()),
            Event::GeneralRef(named) => file.text.push(character(&named).map_err(fault)?),
            Event::DocType(_) => return Err(fault("a document type is not taken".to_owned())),
            Event::Decl(_) | Event::PI(_) | Event::Comment(_) => {}
        }
    }
}

/// The character that `&name;` or `&#number;` stands for; there is no document type that could name others.
fn character(named: &BytesRef<'_>) -> Result<char, String> {
    if let Some(character) = named.resolve_char_ref().map_err(|error| error.to_string())? {
        return Ok(character);
    }
    match &*named.xml10_content() {
        "amp" => Ok('&'),
        "lt" => Ok('<'),
        "gt" => Ok('>'),
        "quot" => Ok('"'),
        "apos" => Ok('\''),
        other => Err(format!("&{other}; is not known")),
    }
}

/// Line and column of a byte.
fn at(bytes: &[u8], byte: usize, problem: String) -> ExchangeError {
    let before = bytes.get(..byte).unwrap_or(bytes);
    let line = before.iter().filter(|byte| **byte == b'\n').count() as u64 + 1;
    let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let column = String::from_utf8_lossy(&before[start..]).chars().count() + 1;
    ExchangeError::new(line, column, problem)
}

/// The file as far as it was read.
struct File<'a> {
    edge: Edge<'a>,
    /// Names of the elements that are open.
    open: Vec<String>,
    /// Text since the last tag.
    text: String,
    mark: Option<Placemark>,
    rows: Rows,
}

#[derive(Default)]
struct Placemark {
    name: String,
    properties: Map<String, Value>,
    /// The name of the `Data` that is open.
    data: Option<String>,
    polygons: Vec<Rings>,
    /// How many of them have an outline.
    outlines: usize,
    point: Option<Position>,
}

impl File<'_> {
    fn begin(&mut self, start: &BytesStart<'_>) -> Result<(), String> {
        if self.open.len() >= DEPTH_MAX {
            return Err(format!("more than {DEPTH_MAX} elements are in each other"));
        }
        let name = start.local_name().as_ref().to_owned();
        self.text.clear();
        match (name.as_str(), &mut self.mark) {
            ("Placemark", Some(_)) => return Err("a Placemark is in another".to_owned()),
            ("Placemark", None) => self.mark = Some(Placemark::default()),
            ("Data" | "SimpleData", Some(mark)) => mark.data = Some(name_of(start)?),
            ("Polygon", Some(mark)) => mark.polygons.push(Vec::new()),
            ("LineString" | "Model" | "Track" | "MultiTrack", Some(_)) => {
                return Err(format!("a {name} is no ground: a zone has polygons, or a Point with `radius_m`"));
            }
            _ => {}
        }
        self.open.push(name);
        Ok(())
    }

    fn end(&mut self) -> Result<(), String> {
        let name = self.open.pop().unwrap_or_default();
        let text = std::mem::take(&mut self.text);
        let Some(mark) = &mut self.mark else { return Ok(()) };
        let parent = self.open.last().map(String::as_str).unwrap_or_default();
        match (name.as_str(), parent) {
            ("name", "Placemark") => text.trim().clone_into(&mut mark.name),
            ("value", "Data") | ("SimpleData", _) => {
                let name = mark.data.take().ok_or("a value has no name")?;
                let value = value_of(&name, text.trim())?;
                if mark.properties.insert(name.clone(), value).is_some() {
                    return Err(format!("`{name}` is there twice"));
                }
            }
            ("coordinates", "Point") if mark.point.is_some() => return Err("there are two points".to_owned()),
            ("coordinates", "Point") => match coordinates(&text)?[..] {
                [point] => mark.point = Some(point),
                _ => return Err("a Point has one place".to_owned()),
            },
            ("coordinates", "LinearRing") => {
                let ring = coordinates(&text)?;
                let is_outline = self.open.iter().rev().nth(1).is_some_and(|boundary| boundary == "outerBoundaryIs");
                let polygon = mark.polygons.last_mut().ok_or("a LinearRing is in no Polygon")?;
                // The outline may come after its holes.
                if is_outline {
                    polygon.insert(0, ring);
                    mark.outlines += 1;
                } else {
                    polygon.push(ring);
                }
            }
            ("Polygon", _) if mark.outlines != mark.polygons.len() => {
                return Err("a Polygon has one outerBoundaryIs with one LinearRing".to_owned());
            }
            ("Placemark", _) => {
                let mark = self.mark.take().unwrap_or_default();
                let row = mark.row(self.edge)?;
                self.rows.add(row)?;
            }
            _ => {}
        }
        Ok(())
    }
}

impl Placemark {
    fn row(mut self, edge: Edge<'_>) -> Result<ZoneRow, String> {
        let named = |properties: &mut Map<String, Value>, property: &str, name: &str| {
            properties.entry(property).or_insert_with(|| name.into());
        };
        named(&mut self.properties, "zone", &self.name);
        named(&mut self.properties, "label", &self.name);
        let of_mark = |error: serde_json::Error| format!("Placemark {:?}: {error}", self.name);
        let properties: Properties = serde_json::from_value(self.properties.into()).map_err(of_mark)?;
        let drawn = match (self.point, self.polygons.is_empty()) {
            (Some(point), true) => Drawn::Point(point),
            (None, false) => Drawn::Polygons(self.polygons),
            (None, true) => Drawn::Nothing,
            (Some(_), false) => return Err(format!("Placemark {:?} has a point and polygons", self.name)),
        };
        properties.row(drawn, edge)
    }
}

fn name_of(start: &BytesStart<'_>) -> Result<String, String> {
    let attribute = start.try_get_attribute("name").map_err(|error| error.to_string())?;
    let attribute = attribute.ok_or("data without a name")?;
    attribute
        .normalized_value(XmlVersion::Explicit1_0)
        .map(|name| name.trim().to_owned())
        .map_err(|error| error.to_string())
}

fn value_of(name: &str, text: &str) -> Result<Value, String> {
    if IN_JSON.contains(&name) {
        return serde_json::from_str(text).map_err(|error| format!("`{name}` is {text:?}: {error}"));
    }
    Ok(if text.is_empty() { Value::Null } else { text.into() })
}

/// Places parted by blanks, each longitude, latitude and perhaps altitude parted by commas.
fn coordinates(text: &str) -> Result<Vec<Position>, String> {
    let place = |text: &str| {
        let mut parts = text.split(',').map(str::parse::<f64>);
        let (Some(Ok(lon)), Some(Ok(lat))) = (parts.next(), parts.next()) else {
            return Err(format!("{text:?} is no longitude,latitude"));
        };
        Position::from_degrees(lat, lon).ok_or_else(|| format!("longitude {lon}, latitude {lat} is no place"))
    };
    text.split_whitespace().map(place).collect()
}
