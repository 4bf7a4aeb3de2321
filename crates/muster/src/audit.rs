use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use model::{Timestamp, UnitName};
use store::audit::{Cursor, Filter, Head, Row, Verdict};

use crate::stored::{At, Shown, output, table, time};
use crate::units::exported;

/// Who did and saw what
#[derive(Args)]
pub(crate) struct Audit {
    #[command(subcommand)]
    task: Task,
}

#[derive(Args)]
struct Which {
    /// From this time on, as in 2026-11-23T06:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    from: Option<Timestamp>,
    /// Before this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<Timestamp>,
    /// By whom
    #[arg(long, value_name = "NAME")]
    principal: Option<String>,
    /// What was done; `look.*` is any that begins so
    #[arg(long, value_name = "ACTION")]
    action: Option<String>,
    /// To what
    #[arg(long, value_name = "NAME")]
    resource: Option<String>,
    /// Only looks that saw this unit
    #[arg(long, value_name = "UNIT")]
    unit: Option<String>,
}

#[derive(Subcommand)]
enum Task {
    /// Check every row; exit 1 and name the first that was changed, removed, swapped or put in, or an end that was cut
    #[command(
        after_help = "It prints the head: number and hash of the last row. Note it where nobody who may write the data folder may write; given with\n\
    --head later it proves that all rows up to it are those of that day. docs/formats/audit.md says what is found, and what not."
    )]
    Verify {
        /// A head that was noted; may be given again
        #[arg(long = "head", value_name = "SEQUENCE:HASH", value_parser = head)]
        heads: Vec<Head>,
        #[command(flatten)]
        at: At,
    },
    /// Show rows, the newest first
    #[command(
        after_help = "Examples:\n  muster audit query --unit car-7 --from 2026-11-23T00:00:00Z      who looked at car-7\n  \
    muster audit query --principal desk-3 --action 'look.*'          whom desk-3 looked at"
    )]
    Query {
        #[command(flatten)]
        which: Which,
        /// How many at most
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: usize,
        /// Go on where the last page ended
        #[arg(long, value_name = "CURSOR", value_parser = cursor)]
        after: Option<Cursor>,
        #[command(flatten)]
        shown: Shown,
        #[command(flatten)]
        at: At,
    },
    /// Write rows as a JSON object a line, the oldest first. The audit says so
    Export {
        #[command(flatten)]
        which: Which,
        /// A new file; the standard output without it
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
        #[command(flatten)]
        at: At,
    },
}

fn head(text: &str) -> Result<Head, String> {
    Head::parse(text).ok_or_else(|| "it is no SEQUENCE:HASH as `muster audit verify` prints it".to_owned())
}

fn cursor(text: &str) -> Result<Cursor, String> {
    Cursor::parse(text).ok_or_else(|| "it is no end of a page".to_owned())
}

impl Which {
    fn filter(self) -> anyhow::Result<Filter> {
        let Self { from, until, principal, action, resource, unit } = self;
        let named = unit.as_deref().map(UnitName::new).transpose();
        let unit = named.with_context(|| format!("--unit {:?}", unit.unwrap_or_default()))?;
        Ok(Filter { from, until, principal, action, resource, unit })
    }
}

impl Audit {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self.task {
            Task::Verify { heads, at } => verify(&at.open()?.verify_audit(&heads)?),
            Task::Query { which, limit, after, shown, at } => {
                let filter = which.filter()?;
                let page = at.open()?.query_audit(&filter, after, limit)?;
                if shown.as_json() {
                    page.rows.iter().for_each(|row| println!("{}", row.to_json()));
                } else {
                    print(&page.rows);
                }
                if let Some(next) = page.next {
                    eprintln!("There may be more: --after {next}");
                }
                Ok(())
            }
            Task::Export { which, to, at } => {
                let (store, filter) = (at.open()?, which.filter()?);
                exported(&store, "audit.export", 0)?;
                let mut out = output(to.as_deref())?;
                let count = store.export_audit(&filter, &mut out)?;
                eprintln!("{count} rows");
                Ok(())
            }
        }
    }
}

fn verify(verdict: &Verdict) -> anyhow::Result<()> {
    for row in &verdict.without_head {
        println!("row {row}: when the store was opened then, there was no head beside the audit");
    }
    if let Some(fault) = &verdict.fault {
        bail!("the audit is not whole: {fault}");
    }
    if verdict.expired > 0 {
        println!("rows up to {} were removed because of their age", verdict.expired);
    }
    println!("{} rows, all whole\nhead {}", verdict.rows, verdict.head);
    Ok(())
}

fn print(rows: &[Row]) {
    let mut table = table(["row", "time", "principal", "role", "action", "resource", "", "units or detail"]);
    for row in rows {
        let more = match &row.units {
            Some(units) => units.join(" "),
            None => row.detail.clone(),
        };
        table.add_row([
            row.sequence.to_string(),
            row.time.to_string(),
            row.principal.clone(),
            row.role.clone(),
            row.action.clone(),
            row.resource.clone(),
            if row.outcome == "ok" { String::new() } else { row.outcome.clone() },
            more,
        ]);
    }
    println!("{table}");
}
