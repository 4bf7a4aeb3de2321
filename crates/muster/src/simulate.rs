use std::time::Duration;

use anyhow::bail;
use clap::Args;
use comfy_table::{CellAlignment, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use simulate::{Batches, LeftOut, Plan, Tally, Target};

use crate::serve::{runtime, stop_signal};

/// The simulated city alone, against any server
#[derive(Args)]
#[command(after_help = "The city is Nanning: 35,045 units with 36,845 devices. Ends with --duration or Ctrl-C.\n\n\
    Example:  muster simulate --to jt808=tcp://127.0.0.1:6808 --to muster=tcp://127.0.0.1:6800 --duration 60s")]
pub(crate) struct Simulate {
    /// Who listens, one a protocol: jt808, nmea, taip, muster; a force without a target is left out
    #[arg(long, value_name = "PROTOCOL=tcp|udp://ADDR", required = true)]
    to: Vec<String>,
    /// The city; nanning is the only one
    #[arg(long, default_value = "nanning")]
    scenario: String,
    /// Units in all, forces in proportion [default: the whole city, 35,045]
    #[arg(long)]
    units: Option<usize>,
    /// Reports a second of each device [default: the usual one of its kind]
    #[arg(long, value_name = "HZ")]
    rate: Option<f64>,
    /// How long, as in 60s or 5m [default: until stopped]
    #[arg(long, value_parser = duration)]
    duration: Option<Duration>,
    /// The same seed gives the same city and the same day
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// How gateways write batches over TCP: rows, or columns (a third of the bytes, without altitudes)
    #[arg(long, value_parser = batches, default_value = "rows", value_name = "rows|columns")]
    batches: Batches,
}

impl Simulate {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        if self.scenario != "nanning" {
            bail!("--scenario {:?} is not there; the only one is nanning", self.scenario);
        }
        let targets = self.to.iter().map(|text| text.parse::<Target>()).collect::<Result<_, _>>()?;
        let now = model::Clock::now(&server::SystemClock::default());
        let mut plan = Plan { rate_hz: self.rate, duration: self.duration, seed: self.seed, ..Plan::new(targets, now) };
        plan.units = self.units.unwrap_or(plan.units);
        plan.batches = self.batches;
        plan.check()?;
        say_left_out(&plan.left_out());
        let bar = ProgressBar::new_spinner().with_style(ProgressStyle::with_template("{spinner} {elapsed} {msg}")?);
        bar.enable_steady_tick(Duration::from_millis(200));
        let tally = runtime(None)?.block_on(async {
            let stopped = stop_signal()?;
            let run = simulate::run(&plan, async { drop(stopped.await) }, |so_far| {
                bar.set_message(format!("{} reports sent", so_far.reports()));
            });
            anyhow::Ok(run.await?)
        })?;
        bar.finish_and_clear();
        print_tally(&tally);
        Ok(())
    }
}

fn batches(text: &str) -> Result<Batches, String> {
    match text {
        "rows" => Ok(Batches::Rows),
        "columns" => Ok(Batches::Columns),
        _ => Err(format!("{text:?} is no form of batches; write rows or columns")),
    }
}

/// Reads `20s`, `5m`, `2h` or a number of seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let scale = match unit {
        "us" => 0.000_001,
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        _ => return Err(format!("{unit:?} is no unit of time; write us, ms, s, m or h, as in 20s")),
    };
    let seconds = number.parse::<f64>().map_err(|_| format!("{text:?} is no duration, as in 20s"))? * scale;
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|one| !one.is_zero())
        .ok_or_else(|| format!("{text:?} is not above 0"))
}

pub(crate) fn say_left_out(left_out: &[LeftOut]) {
    for one in left_out {
        println!("{one}");
    }
}

/// What was sent and what came back, a row a protocol.
pub(crate) fn print_tally(tally: &Tally) {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    let head = [
        "protocol",
        "devices",
        "connections",
        "reports sent",
        "frames",
        "answered",
        "refused",
        "unanswered",
        "not sent",
        "errors",
        "lag max",
    ];
    table.set_header(head);
    for column in 1..head.len() {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for (protocol, one) in &tally.protocols {
        let refused: u64 = one.refused.values().sum();
        table.add_row([
            protocol.to_string(),
            one.devices.to_string(),
            format!("{}/{}", one.connected, one.connections),
            one.reports.to_string(),
            one.frames.to_string(),
            one.answered.to_string(),
            refused.to_string(),
            one.unanswered.to_string(),
            one.missed.to_string(),
            (one.connect_errors + one.send_errors + one.lost).to_string(),
            format!("{} ms", one.lag_max.as_millis()),
        ]);
    }
    println!("{table}");
    for (protocol, one) in &tally.protocols {
        for (reason, count) in &one.refused {
            println!("refused on {protocol}: {count} {reason}");
        }
    }
    let seconds = tally.elapsed.as_secs_f64();
    println!("{} reports in {seconds:.1} s: {:.0} a second", tally.reports(), tally.reports() as f64 / seconds);
}
