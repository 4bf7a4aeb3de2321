//! Zones as files: what is written reads back as the same, and a fault has its line and column.

use model::{Hours, Minimum, Position, Settle, Shape, Span, UnitKind, Zone, ZoneName};
use proptest::prelude::*;
use store::exchange::{
    Ground, ZoneRow, parse_zone_json, parse_zones_json, parse_zones_kml, write_zone_json, write_zones_json,
};

use crate::{at, organisation, span};

/// Geodesy as far as these tests need it: one datum is off by a thousandth of a degree, and one radius is bad.
struct Plain;

impl Ground for Plain {
    fn place(&self, datum: &str, lat_deg: f64, lon_deg: f64) -> Result<Position, String> {
        let shift = match datum {
            "wgs84" => 0.0,
            "gcj02" => 0.001,
            other => return Err(format!("{other:?} is no datum")),
        };
        Position::from_degrees(lat_deg - shift, lon_deg).ok_or_else(|| "no place".to_owned())
    }

    fn check(&self, shape: &Shape) -> Result<(), String> {
        match shape {
            Shape::Circle { radius_m: 13.0, .. } => Err("a bad radius".to_owned()),
            _ => Ok(()),
        }
    }
}

fn place(lat: f64, lon: f64) -> Position {
    Position::from_degrees(lat, lon).unwrap()
}

fn any_place() -> impl Strategy<Value = Position> {
    (-900_000_000..=900_000_000i32, -1_800_000_000..1_800_000_000i32)
        .prop_map(|(lat, lon)| Position::from_e7(lat, lon).unwrap())
}

fn any_shape() -> impl Strategy<Value = Shape> {
    let ring = proptest::collection::vec(any_place(), 4..7);
    let polygon = proptest::collection::vec(ring, 1..3);
    prop_oneof![
        proptest::collection::vec(polygon, 1..4).prop_map(Shape::Polygons),
        (any_place(), 1..1_000_000_000u32)
            .prop_map(|(centre, radius_mm)| Shape::Circle { centre, radius_m: f64::from(radius_mm) / 1_000.0 }),
        proptest::collection::vec(any::<u64>(), 1..5).prop_map(Shape::Cells),
    ]
}

fn any_hours() -> impl Strategy<Value = Vec<Hours>> {
    let words = proptest::sample::select(vec!["mon-fri 07:00-19:00", "sat,sun 22:00-06:00", "mon-sun 00:00-24:00"]);
    proptest::collection::vec(words.prop_map(|text| text.parse().unwrap()), 0..3)
}

fn any_row() -> impl Strategy<Value = ZoneRow> {
    let minimum = (proptest::collection::vec(proptest::sample::select(UnitKind::ALL), 0..3), any_hours(), any::<u32>())
        .prop_map(|(kinds, hours, at_least)| Minimum { kinds, hours, at_least });
    let texts = ("[a-z桂]{1,8}", "[ -~桂]{0,12}", proptest::option::of("[a-z]{1,5}"));
    let numbers = (1..=99u8, -1_080..=1_080i16, 0.1..1e4f32, any::<u32>());
    let times =
        (proptest::option::of(any::<u32>()), proptest::option::of(0..1_000_000i64), proptest::option::of(1..1_000i64));
    (texts, numbers, times, any_shape(), any_hours(), proptest::collection::vec(minimum, 0..3)).prop_map(
        |(
            (name, label, org),
            (layer, utc_offset_min, margin_m, time_s),
            (dwell_s, from, length),
            shape,
            hours,
            minimum,
        )| ZoneRow {
            zone: Zone {
                name: ZoneName::new(&name).unwrap(),
                label,
                layer,
                organisation: org.map(|org| organisation(&org)),
                shape,
                utc_offset_min,
                hours,
                minimum,
                settle: Settle { margin_m, time_s },
                dwell_s,
                stay_s_max: dwell_s.map(|dwell_s| dwell_s / 2),
            },
            from: from.map(at),
            until: length.map(|length| at(from.unwrap_or(0) + length)),
        },
    )
}

proptest! {
    #[test]
    fn zones_read_back_as_they_were_written(rows in proptest::collection::vec(any_row(), 0..6)) {
        let mut rows = rows;
        rows.sort_by(|one, other| one.zone.name.cmp(&other.zone.name));
        rows.dedup_by(|one, other| one.zone.name == other.zone.name);
        let effective = |row: &ZoneRow| Span { from: row.from.unwrap_or(at(0)), until: row.until };
        let mut file = Vec::new();
        write_zones_json(rows.iter().map(|row| (&row.zone, effective(row))), &mut file).unwrap();
        let expected: Vec<_> =
            rows.iter().map(|row| ZoneRow { from: Some(effective(row).from), ..row.clone() }).collect();
        prop_assert_eq!(parse_zones_json(&file, None, &Plain), Ok(expected.clone()), "{}", String::from_utf8_lossy(&file));
        for row in expected {
            let one = serde_json::to_vec(&write_zone_json(&row.zone, effective(&row))).unwrap();
            let other = ZoneName::new("other").unwrap();
            prop_assert_eq!(parse_zone_json(&one, Some("wgs84"), &Plain, &other), Ok(row.clone()));
            // Without its own name it has the one that it is asked for by.
            let mut nameless = write_zone_json(&row.zone, effective(&row));
            nameless["properties"].as_object_mut().unwrap().remove("zone");
            let nameless = serde_json::to_vec(&nameless).unwrap();
            let called = parse_zone_json(&nameless, Some("wgs84"), &Plain, &other).map(|row| row.zone.name);
            prop_assert_eq!(called, Ok(other));
        }
    }

    #[test]
    fn no_text_is_a_panic(text in "[<>/a-zA-Z\"=& {}\\[\\],:0-9\n]{0,200}") {
        let _ = parse_zones_kml(text.as_bytes(), "wgs84", &Plain);
        let _ = parse_zones_json(text.as_bytes(), Some("wgs84"), &Plain);
    }
}

fn collection(datum: &str, feature: &str) -> String {
    format!("{{\"type\":\"FeatureCollection\",{datum}\"name\":\"gis\",\"features\":[\n{feature}]}}")
}

const SQUARE: &str = r#"{"type":"Feature","properties":{"zone":"a","layer":1},
"geometry":{"type":"Polygon","coordinates":[[[108,22],[109,22],[109,23],[108,22]]]}}"#;

#[test]
fn a_datum_is_declared_or_the_file_is_refused() {
    let read = |file: &str, told| parse_zones_json(file.as_bytes(), told, &Plain);
    let bare = collection("", SQUARE);
    assert!(read(&bare, None).unwrap_err().problem.starts_with("no datum is declared"));
    let first = |rows: Vec<ZoneRow>| match &rows[0].zone.shape {
        Shape::Polygons(polygons) => polygons[0][0][0],
        _ => panic!("no polygon"),
    };
    assert_eq!(first(read(&bare, Some("gcj02")).unwrap()), place(21.999, 108.0));
    let declared = collection("\"datum\":\"gcj02\",", SQUARE);
    assert_eq!(first(read(&declared, None).unwrap()), place(21.999, 108.0));
    assert!(read(&declared, Some("wgs84")).unwrap_err().problem.contains("and \"wgs84\" was told"));
    // Also where it comes last.
    let last = bare.strip_suffix('}').unwrap().to_owned() + ",\"datum\":\"gcj02\"}";
    assert_eq!(first(read(&last, None).unwrap()), place(21.999, 108.0));
    assert!(
        read(&collection("\"datum\":\"mars\",", SQUARE), None).unwrap_err().problem.contains("\"mars\" is no datum")
    );
}

#[test]
fn faults_of_a_file_have_line_and_column() {
    let cases = [
        (SQUARE.replace("[109,23]", "[109,93]"), "line 3, column ", "latitude 93 is no place"),
        (SQUARE.replace("\"layer\":1", "\"layer\":1,\"lable\":2"), "line 2, column ", "unknown field `lable`"),
        (
            SQUARE.replace("\"layer\":1", "\"layer\":1,\"hours\":[\"noon\"]"),
            "line 2, column ",
            "\"noon\" is no hours of the week",
        ),
        (SQUARE.replace("\"layer\":1", "\"layer\":1,\"utc_offset\":\"8\""), "line 2, column ", "\"8\" is no offset"),
        (SQUARE.replace("Polygon", "LineString"), "line 3, column ", "unknown variant `LineString`"),
        (SQUARE.replace("Polygon", "MultiPolygon"), "line 3, column ", "zone `a`: ".trim_start_matches("zone `a`: ")),
        (format!("{SQUARE},\n{SQUARE}"), "line 5, column ", "zone `a` is in the file twice"),
    ];
    for (feature, place, problem) in cases {
        let error = parse_zones_json(collection("\"datum\":\"wgs84\",", &feature).as_bytes(), None, &Plain)
            .unwrap_err()
            .to_string();
        assert!(error.starts_with(place) && error.contains(problem), "{error}");
    }
    let bad = r#"{"type":"Feature","properties":{"zone":"a","layer":1,"radius_m":13},"geometry":{"type":"Point","coordinates":[108,22]}}"#;
    let error = parse_zones_json(collection("\"datum\":\"wgs84\",", bad).as_bytes(), None, &Plain).unwrap_err();
    assert_eq!((error.line, error.problem.as_str()), (2, "zone `a`: a bad radius"));
}

const KML: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<kml xmlns="http://www.opengis.net/kml/2.2"><Document><name>city</name><Folder>
<Placemark><name>East &amp; West</name><description><![CDATA[<b>x</b>]]></description>
 <ExtendedData><Data name="zone"><value>beat-1</value></Data><Data name="layer"><value>3</value></Data>
 <Data name="minimum"><value>[{"kinds":["car"],"at_least":2}]</value></Data></ExtendedData>
 <MultiGeometry><Polygon><outerBoundaryIs><LinearRing><coordinates>
  108,22,0 109,22,0 109,23,0 108,22,0</coordinates></LinearRing></outerBoundaryIs>
  <innerBoundaryIs><LinearRing><coordinates>108.5,22.1 108.6,22.1 108.6,22.2 108.5,22.1</coordinates></LinearRing></innerBoundaryIs>
 </Polygon></MultiGeometry></Placemark>
<Placemark><name>booth-1</name><ExtendedData><SchemaData schemaUrl="a"><SimpleData name="layer">4</SimpleData>
 <SimpleData name="radius_m">200</SimpleData></SchemaData></ExtendedData><Point><coordinates>108.3,22.8</coordinates></Point></Placemark>
</Folder></Document></kml>"#;

#[test]
fn kml_has_polygons_holes_circles_and_properties() {
    let rows = parse_zones_kml(KML.as_bytes(), "gcj02", &Plain).unwrap();
    let [beat, booth] = &rows[..] else { panic!("two zones") };
    assert_eq!((beat.zone.name.as_str(), beat.zone.label.as_str(), beat.zone.layer), ("beat-1", "East & West", 3));
    assert_eq!(beat.zone.minimum[0].at_least, 2);
    let Shape::Polygons(polygons) = &beat.zone.shape else { panic!("no polygon") };
    assert_eq!(polygons.iter().map(Vec::len).collect::<Vec<_>>(), [2]);
    assert_eq!(polygons[0][0][0], place(21.999, 108.0));
    assert_eq!(booth.zone.name.as_str(), "booth-1");
    assert_eq!(booth.zone.shape, Shape::Circle { centre: place(22.799, 108.3), radius_m: 200.0 });
}

#[test]
fn faults_of_kml_have_line_and_column() {
    let cases = [
        ("108.3,22.8", "108.3;22.8", "line 11, column ", "is no longitude,latitude"),
        ("<value>3</value>", "<value>three</value>", "line 4, column ", "`layer` is \"three\""),
        (
            "<Point><coordinates>108.3,22.8</coordinates></Point>",
            "<LineString/>",
            "line 11, column ",
            "a LineString is no ground",
        ),
        ("name=\"zone\"", "name=\"zoen\"", "line 9, column ", "unknown field `zoen`"),
        ("<Folder>", "<Folder><!DOCTYPE a>", "line 2, column ", "a document type is not taken"),
        ("&amp;", "&bomb;", "line 3, column ", "&bomb; is not known"),
        ("</Folder>", "", "line 12, column ", ""),
        ("innerBoundaryIs", "outerBoundaryIs", "line 9, column ", "one outerBoundaryIs"),
        ("200", "13", "line 11, column ", "zone `booth-1`: a bad radius"),
        ("booth-1", "booth 1", "line 11, column ", "contains ' '"),
        ("booth-1", "beat-1", "line 11, column ", "twice"),
    ];
    for (good, bad, place, problem) in cases {
        let error = parse_zones_kml(KML.replace(good, bad).as_bytes(), "wgs84", &Plain).unwrap_err().to_string();
        assert!(error.starts_with(place) && error.contains(problem), "{bad}: {error}");
    }
    assert_eq!(parse_zones_kml(b"{}", "wgs84", &Plain).unwrap_err().problem, "it is no KML");
}

#[test]
fn a_span_that_is_written_is_that_of_the_version() {
    let file = parse_zones_json(collection("\"datum\":\"wgs84\",", SQUARE).as_bytes(), None, &Plain).unwrap();
    let feature = write_zone_json(&file[0].zone, span(0, Some(1_000)));
    assert_eq!(feature["properties"]["valid_until"], "2026-11-23T06:00:01.000Z");
    assert_eq!(feature["geometry"]["type"], "Polygon");
}
