//! Files of units and organisations read back as they were written, and a fault names its place.

use model::{Organisation, Position, Span, UnitKind};
use proptest::prelude::*;
use store::exchange::{
    ExchangeError, UnitRow, parse_organisations_json, parse_units_csv, parse_units_json, write_organisations_json,
    write_units_csv, write_units_json,
};

use crate::{at, device, organisation, unit};

fn any_row() -> impl Strategy<Value = UnitRow> {
    let text = || "[ -~äö桂|\\\\\",;:]{0,12}";
    let word = "[a-z桂|]{1,8}";
    let spans = (proptest::option::of(-9_i64..9), proptest::option::of(10_i64..20))
        .prop_map(|(from, until)| Span { from: from.map_or(model::Timestamp::MIN, at), until: until.map(at) });
    let devices = proptest::collection::vec(("[a-z]{1,4}:[0-9|]{1,6}".prop_map(|name| device(&name)), spans), 0..4);
    let external = proptest::collection::vec(("[a-z|\\\\]{1,4}", "[ -~桂]{1,12}"), 0..4);
    let capabilities = proptest::collection::vec(word, 0..4);
    let kinds = proptest::sample::select(UnitKind::ALL);
    let organisations = proptest::option::of("[a-z桂|]{1,8}".prop_map(|name| organisation(&name)));
    (kinds, organisations, capabilities, any::<bool>(), devices, external, text()).prop_map(
        |(kind, organisation, capabilities, covert, devices, external, call_sign)| UnitRow {
            name: unit("to-be-named"),
            call_sign,
            kind,
            organisation,
            capabilities,
            covert,
            devices,
            external,
        },
    )
}

fn any_rows() -> impl Strategy<Value = Vec<UnitRow>> {
    proptest::collection::btree_map("[a-z桂|]{1,8}", any_row(), 0..12)
        .prop_map(|rows| rows.into_iter().map(|(name, row)| UnitRow { name: unit(&name), ..row }).collect())
}

fn any_organisations() -> impl Strategy<Value = Vec<Organisation>> {
    let place = (-900_000_000_i32..=900_000_000, -1_800_000_000_i32..1_800_000_000);
    let ring = proptest::collection::vec(place.prop_map(|(lat, lon)| Position::from_e7(lat, lon).unwrap()), 1..6);
    let territory = proptest::collection::vec(proptest::collection::vec(ring, 1..3), 0..3);
    let rest = ("[ -~桂]{0,12}", proptest::option::of("[a-z]{1,8}"), territory);
    proptest::collection::btree_map("[a-z桂]{1,8}", rest, 0..8).prop_map(|nodes| {
        let node = |(name, (label, parent, territory)): (String, (String, Option<String>, _))| Organisation {
            name: organisation(&name),
            label,
            parent: parent.map(|parent| organisation(&parent)),
            territory,
        };
        nodes.into_iter().map(node).collect()
    })
}

proptest! {
    #[test]
    fn units_read_back_as_they_were_written(rows in any_rows()) {
        let (mut csv, mut json) = (Vec::new(), Vec::new());
        write_units_csv(&rows, &mut csv).unwrap();
        write_units_json(&rows, &mut json).unwrap();
        prop_assert_eq!(parse_units_csv(&csv), Ok(rows.clone()), "{}", String::from_utf8_lossy(&csv));
        prop_assert_eq!(parse_units_json(&json), Ok(rows), "{}", String::from_utf8_lossy(&json));
    }

    #[test]
    fn organisations_read_back_as_they_were_written(nodes in any_organisations()) {
        let mut json = Vec::new();
        write_organisations_json(&nodes, &mut json).unwrap();
        prop_assert_eq!(parse_organisations_json(&json), Ok(nodes), "{}", String::from_utf8_lossy(&json));
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = (parse_units_csv(&bytes), parse_units_json(&bytes), parse_organisations_json(&bytes));
    }
}

const HEADER: &str = "unit,call_sign,kind,org,capabilities,covert,devices,external";

#[test]
fn a_file_of_a_table_program_is_read() {
    let file = "\u{feff}kind,unit,call_sign,org,covert,devices,external,capabilities\r\n\
                car,car-1,\"Dragon, one\",west,false,jt808:1|tetra:2/2026-11-23T14:00:00+08:00/,cad:7,dog\r\n";
    let rows = parse_units_csv(file.as_bytes()).unwrap();
    assert_eq!((rows[0].call_sign.as_str(), rows[0].kind), ("Dragon, one", UnitKind::Car));
    assert_eq!(rows[0].devices[1], (device("tetra:2"), Span { from: at(0), until: None }));
    assert_eq!(rows[0].external, [("cad".to_owned(), "7".to_owned())]);
}

#[test]
fn a_fault_of_csv_names_line_and_column() {
    let good = "car-1,,car,,,false,,";
    let cases = [
        (format!("{HEADER}\n{good}\ncar-2,,tank,,,false,,"), (3, "`kind`", "\"tank\" is no kind of unit")),
        (format!("{HEADER}\n\"car\n1\",,car,,,false,,"), (2, "`unit`", "contains '\\n'")),
        (format!("{HEADER}\n{good}\n\n{good}"), (4, "`unit`", "`car-1` is in line 2 already")),
        (format!("{HEADER}\ncar-2,,car,,,yes,,"), (2, "`covert`", "\"yes\" is neither true nor false")),
        (format!("{HEADER}\r\n{good}\r\n\r\ncar-2,,tank,,,false,,\r\n"), (4, "`kind`", "\"tank\"")),
        (format!("{HEADER}\ncar-2,,car,a b,,false,,"), (2, "`org`", "contains ' '")),
        (format!("{HEADER}\ncar-2,,car,,a||b,false,,"), (2, "`capabilities`", "an entry is empty")),
        (format!("{HEADER}\ncar-2,,car,,,false,jt808:1/today/,"), (2, "`devices`", "\"today\" is no time")),
        (format!("{HEADER}\ncar-2,,car,,,false,,seven"), (2, "`external`", "\"seven\" is no `system:name`")),
        (format!("{HEADER}\ncar-2,,car"), (2, "`org`", "there are 3 columns")),
        (format!("{HEADER},colour\n"), (1, "\"colour\"", "known are unit,")),
        ("unit,kind\n".to_owned(), (1, "`call_sign`", "it is missing")),
        (String::new(), (1, "`unit`", "the first line must be unit,")),
    ];
    for (file, (line, column, problem)) in cases {
        let error = parse_units_csv(file.as_bytes()).unwrap_err();
        assert_eq!((error.line, error.column.as_str()), (line, column), "{error}");
        assert!(error.problem.contains(problem), "{error}");
    }
    let bytes = [HEADER.as_bytes(), b"\ncar-2,\xff,car,,,false,,"].concat();
    let error = parse_units_csv(&bytes).unwrap_err().to_string();
    assert!(error.starts_with("line 2, column `call_sign`: it is no UTF-8"), "{error}");
}

#[test]
fn a_fault_of_json_names_line_and_column() {
    let units = |text: &str| parse_units_json(text.as_bytes()).unwrap_err();
    let organisations = |text: &str| parse_organisations_json(text.as_bytes()).unwrap_err();
    let start = "{\"datum\":\"wgs84\",\n\"organisations\":[";
    let cases: [(ExchangeError, (u64, &str)); 8] = [
        (units("[\n{\"unit\":\"car-1\",\n\"kind\":\"tank\"\n}]"), (3, "\"tank\" is no kind of unit")),
        (units("[\n{\"unit\":\"a b\",\n\"kind\":\"car\"}]"), (2, "contains ' '")),
        (
            units("[{\"unit\":\"a\",\"kind\":\"car\"},\n{\"unit\":\"a\",\"kind\":\"car\"}]"),
            (2, "`a` is in the list twice"),
        ),
        (units("[\n\n{\"unit\":\"a\",\"kind\":\"car\",\"colour\":1}]"), (3, "unknown field `colour`")),
        (organisations("{\"datum\":\"gcj02\",\n\"organisations\":[]}"), (1, "only wgs84")),
        (organisations("{\n\"organisations\":[]}"), (2, "missing field `datum`")),
        (
            organisations(&format!(
                "{start}{{\"org\":\"a\",\"territory\":{{\"type\":\"Polygon\",\"coordinates\":[[[0,0],\n[0,91],[1,1],[0,0]]]}}}}]}}"
            )),
            (3, "longitude 0, latitude 91 is no place"),
        ),
        (
            organisations(&format!(
                "{start}{{\"org\":\"a\",\"territory\":{{\"type\":\"MultiPolygon\",\"coordinates\":[[[0,0]]]}}}}]}}"
            )),
            (2, "not as deep as the type says"),
        ),
    ];
    for (error, (line, problem)) in cases {
        assert_eq!(error.line, line, "{error}");
        assert!(error.problem.contains(problem) && !error.problem.contains("at line"), "{error}");
        assert!(error.column.parse::<u64>().is_ok_and(|column| column > 0), "{error}");
    }
}
