//! What the commands that work on the store have in common.

use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use clap::{Args, ValueEnum};
use comfy_table::{Table, presets};
use model::limits::IMPORT_BYTES_MAX;
use model::{Clock, Principal, Timestamp};
use server::SystemClock;
use store::{By, Store};

/// The store of a data folder.
#[derive(Args)]
pub(crate) struct At {
    /// The server's data folder; a server may run
    #[arg(long, value_name = "DIR", default_value = "muster-data")]
    pub(crate) data: PathBuf,
}

/// Why a change is made.
#[derive(Args)]
pub(crate) struct Why {
    /// Why, for the audit
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// How a list is printed.
#[derive(Args)]
pub(crate) struct Shown {
    /// A JSON object a line, for programs
    #[arg(long)]
    json: bool,
}

/// The format of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A first line of names, then a unit a line
    Csv,
    /// A list of objects
    Json,
}

impl At {
    /// The store, which must be there.
    pub(crate) fn open(&self) -> anyhow::Result<Store> {
        ensure!(
            Store::is_in(&self.data),
            "there is no store in {}: name the server's data folder with --data DIR",
            self.data.display()
        );
        Ok(Store::open(&self.data)?)
    }

    /// The store, made when there is none.
    pub(crate) fn open_or_make(&self) -> anyhow::Result<Store> {
        Ok(Store::open(&self.data)?)
    }
}

impl Why {
    /// Whoever may write the data folder is the local administrator.
    pub(crate) fn by<'a>(&'a self, principal: &'a Principal) -> By<'a> {
        By { principal, now: now(), reason: self.reason.as_deref() }
    }
}

impl Shown {
    pub(crate) fn as_json(&self) -> bool {
        self.json
    }
}

impl Format {
    /// What is asked for, or what the name of the file says.
    pub(crate) fn of(asked: Option<Self>, file: &Path) -> anyhow::Result<Self> {
        match (asked, file.extension().and_then(|extension| extension.to_str())) {
            (Some(format), _) => Ok(format),
            (None, Some("csv")) => Ok(Self::Csv),
            (None, Some("json")) => Ok(Self::Json),
            _ => bail!("{} ends neither in .csv nor in .json: say --format csv or --format json", file.display()),
        }
    }
}

pub(crate) fn now() -> Timestamp {
    SystemClock::default().now()
}

/// A time as it is given on the command line.
pub(crate) fn time(text: &str) -> Result<Timestamp, String> {
    Timestamp::from_rfc3339(text).ok_or_else(|| "it is no time like 2026-11-23T06:00:00Z".to_owned())
}

/// The content of a file, or of the standard input for `-`.
pub(crate) fn content(file: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = IMPORT_BYTES_MAX as u64 + 1;
    if file == Path::new("-") {
        io::stdin().take(limit).read_to_end(&mut bytes).context("cannot read the standard input")?;
    } else {
        let open = std::fs::File::open(file).with_context(|| format!("cannot open {}", file.display()))?;
        open.take(limit).read_to_end(&mut bytes).with_context(|| format!("cannot read {}", file.display()))?;
    }
    ensure!(bytes.len() <= IMPORT_BYTES_MAX, "{} has more than {IMPORT_BYTES_MAX} bytes", file.display());
    Ok(bytes)
}

/// A new file, or the standard output. A file that is there is not written over.
pub(crate) fn output(file: Option<&Path>) -> anyhow::Result<Box<dyn Write>> {
    match file {
        None => Ok(Box::new(io::BufWriter::new(io::stdout()))),
        Some(file) => {
            let made = std::fs::File::create_new(file).with_context(|| format!("cannot make {}", file.display()))?;
            Ok(Box::new(io::BufWriter::new(made)))
        }
    }
}

pub(crate) fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    table.set_header(header);
    table
}
