use std::path::{Path, PathBuf};

use anyhow::anyhow;
use clap::{Args, Subcommand};
use model::{Principal, UnitName};
use serde_json::json;
use store::Store;
use store::audit::{Outcome, Record};
use store::exchange::{
    ExchangeError, UnitRow, parse_organisations_json, parse_units_csv, parse_units_json, write_organisations_json,
    write_units_csv, write_units_json,
};

use crate::stored::{At, Format, Why, content, now, output};

/// Bring records of units into the store, or take them out
#[derive(Args)]
pub(crate) struct Units {
    #[command(subcommand)]
    task: UnitsTask,
}

#[derive(Subcommand)]
enum UnitsTask {
    /// Make and change the units of a file, all of them or, with one fault, none. The fault is named by line and column
    #[command(
        after_help = "CSV has the columns unit,call_sign,kind,org,capabilities,covert,devices,external, in any order. Lists are parted by `|`\n\
    (written `\\|` inside an entry). A device is its name, for always, or name/from/until with times as in\n\
    2026-11-23T06:00:00Z; until may be empty. A name elsewhere is system:name. JSON is a list of objects of the same.\n\
    Units that are not in the file stay as they are, as do status, crew and duty of those that are. A running server follows\n    within a second.\n\n\
    Example:  muster units import fleet.csv --reason 'winter fleet'"
    )]
    Import {
        /// The file, or - for the standard input
        file: PathBuf,
        /// csv or json; the name of the file says it otherwise
        #[arg(long)]
        format: Option<Format>,
        #[command(flatten)]
        why: Why,
        #[command(flatten)]
        at: At,
    },
    /// Write all units that are not retired; what is written can be imported again. The audit says so
    Export {
        /// csv or json
        #[arg(long, default_value = "csv")]
        format: Format,
        /// A new file; the standard output without it
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
        #[command(flatten)]
        at: At,
    },
}

/// Bring organisations into the store, or take them out
#[derive(Args)]
pub(crate) struct Organisations {
    #[command(subcommand)]
    task: OrganisationsTask,
}

#[derive(Subcommand)]
enum OrganisationsTask {
    /// Make and change the organisations of a JSON file, all of them or, with one fault, none
    #[command(
        after_help = "The file:  {\"datum\":\"wgs84\",\"organisations\":[{\"org\":\"west\",\"label\":\"West\",\"parent\":\"bureau\",\"territory\":null}]}\n\
    The territory is a GeoJSON Polygon or MultiPolygon, longitude before latitude. Parents may come after children."
    )]
    Import {
        /// The file, or - for the standard input
        file: PathBuf,
        #[command(flatten)]
        why: Why,
        #[command(flatten)]
        at: At,
    },
    /// Write all organisations as JSON; what is written can be imported again. The audit says so
    Export {
        /// A new file; the standard output without it
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
        #[command(flatten)]
        at: At,
    },
}

impl Units {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self.task {
            UnitsTask::Import { file, format, why, at } => {
                let parse = match Format::of(format, &file)? {
                    Format::Csv => parse_units_csv,
                    Format::Json => parse_units_json,
                };
                let rows = parse(&content(&file)?).map_err(|error| of(&file, &error))?;
                let imported = at.open_or_make()?.import_units(&why.by(&Principal::local()), &rows)?;
                println!("{} units changed, {} unchanged", imported.changed, imported.unchanged);
                Ok(())
            }
            UnitsTask::Export { format, to, at } => {
                let store = at.open()?;
                let rows = all_units(&store)?;
                exported(&store, "units.export", rows.len())?;
                let mut out = output(to.as_deref())?;
                match format {
                    Format::Csv => write_units_csv(&rows, &mut out)?,
                    Format::Json => write_units_json(&rows, &mut out)?,
                }
                Ok(out.flush()?)
            }
        }
    }
}

impl Organisations {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self.task {
            OrganisationsTask::Import { file, why, at } => {
                let organisations = parse_organisations_json(&content(&file)?).map_err(|error| of(&file, &error))?;
                let imported = at.open_or_make()?.import_organisations(&why.by(&Principal::local()), &organisations)?;
                println!("{} organisations changed, {} unchanged", imported.changed, imported.unchanged);
                Ok(())
            }
            OrganisationsTask::Export { to, at } => {
                let store = at.open()?;
                let organisations: Vec<_> = store.organisations()?.into_iter().map(|found| found.value).collect();
                exported(&store, "organisations.export", organisations.len())?;
                let mut out = output(to.as_deref())?;
                write_organisations_json(&organisations, &mut out)?;
                Ok(out.flush()?)
            }
        }
    }
}

pub(crate) fn of(file: &Path, error: &ExchangeError) -> anyhow::Error {
    anyhow!("{}: {error}; nothing is changed", file.display())
}

fn all_units(store: &Store) -> anyhow::Result<Vec<UnitRow>> {
    let mut rows: Vec<UnitRow> = Vec::new();
    loop {
        let after: Option<UnitName> = rows.last().map(|row| row.name.clone());
        let page = store.units(after.as_ref(), usize::MAX)?;
        if page.is_empty() {
            return Ok(rows);
        }
        rows.extend(page.iter().map(|found| UnitRow::of(&found.value)));
    }
}

/// Who takes much out is remembered before it is out.
pub(crate) fn exported(store: &Store, action: &'static str, count: usize) -> anyhow::Result<()> {
    let record = Record {
        time: now(),
        principal: Some(Principal::local()),
        action,
        resource: String::new(),
        outcome: Outcome::Ok,
        detail: json!({"count": count}),
    };
    Ok(store.audit(&[record])?)
}
