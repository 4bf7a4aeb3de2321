use std::io::{BufWriter, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::bail;
use clap::{Args, Subcommand};
use comfy_table::{CellAlignment, Table, presets};
use engine::State;
use journal::{Entry, FileReport, FolderDisk, Sequence};
use model::{Binding, Clock, Disk, Heard, Press, Step, What};
use serde_json::{Value, json};
use server::SystemClock;

use crate::backup::look_at;

/// Look at a journal, or mend it
#[derive(Args)]
pub(crate) struct Journal {
    #[command(subcommand)]
    task: Task,
}

#[derive(Args)]
struct At {
    /// The server's data folder
    #[arg(long, value_name = "DIR", default_value = "muster-data")]
    data: PathBuf,
}

#[derive(Subcommand)]
enum Task {
    /// Check every byte of every segment and snapshot; exit 1 when something is damaged. A server may run
    Verify {
        #[command(flatten)]
        at: At,
    },
    /// Print every entry as a JSON object a line, in order. A server may run
    Dump {
        #[command(flatten)]
        at: At,
        /// The first sequence to print
        #[arg(long, value_name = "SEQUENCE", default_value_t = 1)]
        from: u64,
    },
    /// Set damaged snapshots aside and rewrite damaged segments without what is damaged; originals are kept as NAME.damaged.
    /// The server must not run
    Repair {
        #[command(flatten)]
        at: At,
    },
}

impl Journal {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self.task {
            Task::Verify { at } => verify(&at),
            Task::Dump { at, from } => dump(&at, Sequence(from)),
            Task::Repair { at } => repair(&at),
        }
    }
}

fn verify(at: &At) -> anyhow::Result<()> {
    let reports = journal::verify(&look_at(&at.data)?)?;
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    table.set_header(["file", "bytes", "first", "entries", ""]);
    for column in 1..=3 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for FileReport { file, bytes, first, entries, damage } in &reports {
        let verdict =
            damage.as_ref().map_or("whole".to_owned(), |damage| format!("byte {}: {}", damage.offset, damage.problem));
        table.add_row([file.clone(), bytes.to_string(), first.to_string(), entries.to_string(), verdict]);
    }
    println!("{table}");
    let damaged = reports.iter().filter(|report| report.damage.is_some()).count();
    if damaged > 0 {
        bail!(
            "{damaged} of {} files are damaged; `muster restore` takes a backup, `muster journal repair` keeps what is whole",
            reports.len()
        );
    }
    println!("{} files, all whole", reports.len());
    Ok(())
}

fn dump(at: &At, from: Sequence) -> anyhow::Result<()> {
    let disk: Arc<dyn Disk> = Arc::new(look_at(&at.data)?);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let mut names = engine::oldest_snapshot(&disk, &clock)?;
    let mut out = BufWriter::new(std::io::stdout().lock());
    let mut written = Ok(());
    journal::dump(disk, clock, Sequence(1), &mut |sequence, entry| {
        if matches!(entry, Entry::Enrol(_)) {
            names.apply(&entry);
        }
        if sequence >= from && written.is_ok() {
            written = writeln!(out, "{}", line(sequence, &entry, &names));
        }
    })?;
    match written.and_then(|()| out.flush()) {
        // Whoever read has enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        done => Ok(done?),
    }
}

fn repair(at: &At) -> anyhow::Result<()> {
    let repairs = journal::repair(&FolderDisk::take(&at.data)?)?;
    for repair in &repairs {
        println!("{}: {} entries lost; the original is kept as {0}.damaged", repair.file, repair.lost);
    }
    let lost: u64 = repairs.iter().map(|repair| repair.lost).sum();
    println!("{} files repaired, {lost} entries lost", repairs.len());
    Ok(())
}

fn line(sequence: Sequence, entry: &Entry, names: &State) -> Value {
    let mut line = match entry {
        Entry::Heard(heard) => heard_line(heard, names),
        Entry::Enrol(enrolment) => json!({
            "kind": "enrol",
            "unit": enrolment.unit.name.as_str(),
            "unit_kind": enrolment.unit.kind.as_str(),
            "status": enrolment.unit.status.as_str(),
            "org": enrolment.unit.organisation.as_ref().map(|name| name.as_str()),
            "devices": enrolment.devices.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>(),
        }),
        Entry::Retire(unit) => json!({"kind": "retire", "unit": names.unit(*unit).map(|unit| unit.name.as_str())}),
        Entry::Press { number, press } => press_line(*number, press),
        Entry::Handle(handling) => json!({
            "kind": match &handling.step { Step::Seen => "seen", Step::Cleared { .. } => "cleared" },
            "emergency": handling.number,
            "by": handling.by.as_str(),
            "time": handling.at.to_string(),
            "reason": match &handling.step { Step::Seen => None, Step::Cleared { reason } => Some(reason) },
        }),
        Entry::Forget { unit, upto } => json!({
            "kind": "forget",
            "unit": names.unit(*unit).map(|unit| unit.name.as_str()),
            "upto": upto.to_string(),
        }),
        Entry::Lost => json!({"kind": "lost"}),
    };
    line["sequence"] = sequence.0.into();
    line
}

fn heard_line(heard: &Heard, names: &State) -> Value {
    let Heard { binding: Binding { device, unit }, received, what } = heard;
    let mut line = json!({
        "device": names.device(*device).map(|name| name.as_str()),
        "unit": names.unit(*unit).map(|unit| unit.name.as_str()),
        "received": received.to_string(),
    });
    match what {
        What::Contact => line["kind"] = "contact".into(),
        What::LogOut => line["kind"] = "log_out".into(),
        What::Report(report) => {
            line["kind"] = "report".into();
            line["time"] = report.time.map(|time| time.to_string()).into();
            line["time_basis"] = report.time_basis.as_str().into();
            line["lat"] = report.position.lat_deg().into();
            line["lon"] = report.position.lon_deg().into();
            line["valid"] = report.valid.into();
            line["speed_mps"] = report.speed_mps.into();
            line["course_deg"] = report.course_deg.into();
            line["altitude_m"] = report.altitude.map(|altitude| altitude.metres).into();
            line["accuracy_m"] = report.accuracy_m.into();
            line["flags"] = report.flags.words().collect::<Vec<_>>().into();
        }
    }
    line
}

fn press_line(number: u64, press: &Press) -> Value {
    json!({
        "kind": "press",
        "emergency": number,
        "device": press.device.as_str(),
        "pressed_at": press.pressed_at.map(|time| time.to_string()),
        "received": press.received_at.to_string(),
        "delayed": press.is_delayed,
        "lat": press.place.map(|(position, _)| position.lat_deg()),
        "lon": press.place.map(|(position, _)| position.lon_deg()),
    })
}
