//! Imports between our crates point one way, as in the crates table of the design.

use std::env;
use std::process::Command;

use serde_json::Value;

/// Which crate may import which of ours. A crate that is not here may not be in the tree.
const TABLE: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("geodesy", &["model"]),
    ("wire", &["model", "geodesy"]),
    ("ingest", &["model", "geodesy", "wire"]),
    ("journal", &["model", "geodesy"]),
    ("index", &["model", "geodesy"]),
    ("store", &["model"]),
    ("query", &["index", "geodesy", "model"]),
    ("engine", &["query", "index", "journal", "store", "geodesy", "model"]),
    ("server", &["model", "geodesy", "wire", "ingest", "journal", "index", "store", "query", "engine"]),
    ("simulate", &["wire", "geodesy", "model"]),
    (
        "muster",
        &["model", "geodesy", "wire", "ingest", "journal", "index", "store", "query", "engine", "server", "simulate"],
    ),
    ("testkit", &["model", "geodesy"]),
    ("xtask", &[]),
];

/// Members that may import any crate of the table.
const MAY_IMPORT_ALL: &[&str] = &["muster-tests", "muster-benches"];

/// Any crate may have it as a development dependency.
const TEST_HELPER: &str = "testkit";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// In the `[dependencies]` or `[build-dependencies]`, of any target.
    Normal,
    /// In the `[dev-dependencies]`.
    Dev,
}

/// A workspace member and the local crates it imports.
#[derive(Debug)]
struct Member {
    name: String,
    imports: Vec<(String, Kind)>,
}

/// What breaks the table, a line each.
fn offences(members: &[Member]) -> Vec<String> {
    let is_known = |name: &str| TABLE.iter().any(|(known, _)| *known == name);
    let mut offences = Vec::new();
    for Member { name, imports } in members {
        let allowed = match TABLE.iter().find(|(known, _)| known == name) {
            Some((_, allowed)) => Some(*allowed),
            None if MAY_IMPORT_ALL.contains(&name.as_str()) => None,
            None => {
                offences.push(format!("crate `{name}` is not in the table"));
                continue;
            }
        };
        for (import, kind) in imports {
            let is_allowed = match allowed {
                None => is_known(import),
                Some(allowed) => {
                    allowed.contains(&import.as_str()) || (*kind == Kind::Dev && import.as_str() == TEST_HELPER)
                }
            };
            if !is_allowed {
                offences.push(format!("`{name}` may not import `{import}` ({kind:?})"));
            }
        }
    }
    offences
}

/// The members and their local imports, as cargo reads the manifests.
fn members() -> Vec<Member> {
    let output = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    let packages = metadata["packages"].as_array().expect("a list of packages");
    packages.iter().map(member).collect()
}

fn member(package: &Value) -> Member {
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    let dependencies = package["dependencies"].as_array().expect("a list of dependencies");
    // A crate of a registry has a source; one of ours is a path.
    let local = dependencies.iter().filter(|dependency| dependency["source"].is_null());
    let imports = local.map(|dependency| {
        let kind = if dependency["kind"] == "dev" { Kind::Dev } else { Kind::Normal };
        (text(&dependency["name"]), kind)
    });
    Member { name: text(&package["name"]), imports: imports.collect() }
}

fn offences_of(name: &str, imports: &[(&str, Kind)]) -> Vec<String> {
    let imports = imports.iter().map(|(import, kind)| ((*import).to_owned(), *kind)).collect();
    offences(&[Member { name: name.to_owned(), imports }])
}

#[test]
fn manifests_have_only_the_arrows_of_the_table() {
    let members = members();
    let arrow = ("server".to_owned(), Kind::Normal);
    assert!(members.iter().any(|m| m.name == "muster" && m.imports.contains(&arrow)), "arrows are found at all");
    assert_eq!(offences(&members), Vec::<String>::new());
}

#[test]
fn table_points_one_way() {
    for (name, allowed) in TABLE {
        for import in *allowed {
            let (_, back) = TABLE.iter().find(|(known, _)| known == import).expect("an import is a row too");
            assert!(!back.contains(name), "{name} and {import} import each other");
        }
    }
}

#[test]
fn arrow_of_the_table_is_accepted() {
    assert!(offences_of("engine", &[("query", Kind::Normal), ("model", Kind::Dev)]).is_empty());
}

#[test]
fn arrow_against_the_table_is_rejected() {
    assert_eq!(offences_of("model", &[("geodesy", Kind::Normal)]), ["`model` may not import `geodesy` (Normal)"]);
    assert_eq!(offences_of("wire", &[("model", Kind::Normal), ("ingest", Kind::Dev)]).len(), 1);
    assert_eq!(offences_of("xtask", &[("model", Kind::Normal)]).len(), 1);
    assert_eq!(offences_of("simulate", &[("muster-tests", Kind::Normal)]).len(), 1);
}

#[test]
fn testkit_is_accepted_in_tests_only() {
    assert!(offences_of("index", &[("testkit", Kind::Dev)]).is_empty());
    assert_eq!(offences_of("index", &[("testkit", Kind::Normal)]).len(), 1);
    assert_eq!(offences_of("muster", &[("testkit", Kind::Normal)]).len(), 1);
}

#[test]
fn tests_and_benches_may_import_every_crate_of_the_table() {
    for name in MAY_IMPORT_ALL {
        assert!(offences_of(name, &[("muster", Kind::Normal), ("testkit", Kind::Normal)]).is_empty());
        assert_eq!(offences_of(name, &[("stranger", Kind::Normal)]).len(), 1);
    }
}

#[test]
fn crate_outside_the_table_is_rejected() {
    assert_eq!(offences_of("stranger", &[]), ["crate `stranger` is not in the table"]);
}
