//! `muster bench`: what a server does under a planned load, beside what its machine can do at all.

mod baseline;
mod chart;
mod floors;
mod limits;
mod machine;
mod own;
mod page;
mod ramp;
mod report;
mod table;

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use simulate::load::{Class, ClassRecord, Fleet, LoadPlan, LoadResult, Mix, introduce, run_load};

use self::floors::Floors;
use self::limits::{Limit, Verdict};
use self::machine::{Machine, cpu_of};
use self::own::OwnServer;
use self::ramp::{Held, Ramp, Search, Step};
use self::report::{ClassFigures, Generator, PlanSide, Report, SCHEMA, ServerSide, grouped, thousandths};
use crate::simulate::duration;

/// Rates when none is given.
const REPORT_RATE: f64 = 50_000.0;
const QUERY_RATE: f64 = 1_000.0;
/// A step of a search is this short.
const STEP_WARM_UP: Duration = Duration::from_secs(1);
const STEP_MEASURED: Duration = Duration::from_secs(4);
/// At a rate that holds, at least this share of what was planned is answered within the window.
const ANSWERED_SHARE_MIN: f64 = 0.98;
/// So many may always be open when the window ends: of few, one is a large share.
const OPEN_AT_THE_END: u64 = 8;
/// Reports a second of one unit from which many carry the same millisecond and count as duplicates.
const UNIT_RATE_MAX: f64 = 500.0;

/// Measure a server under a planned load, in 40 s: exit 1 when a limit is missed
#[derive(Args)]
#[command(
    after_help = "The load is open-loop: each question and batch has a planned time from a seeded schedule, and its latency counts\n\
    from that time, whatever the server does meanwhile. What gets no right answer counts as slower than any answer.\n\n\
    Without --server the bench starts one of its own (a process of its own, with a journal, on free ports).\n\
    Reports go as columnar batches over `muster` TCP; questions are those of --mix:\n  \
      nearest        10 nearest, gRPC NearestStream (4 streams)     nearest-http   10 nearest, GET /v1/nearest (8 connections)\n  \
      nearest-unary  10 nearest, gRPC Nearest                       within         all within 300 m, gRPC Within\n\n\
    Examples:  muster bench --out bench-today\n           \
               muster bench --report-rate 100000 --query-rate 2000 --limit nearest=p99:5ms --limit reports=p99:50ms\n           \
               muster bench --ramp --query-rate 500\n           \
               muster bench --server http://127.0.0.1:8080 --to muster=tcp://127.0.0.1:6800 --baseline bench-today/bench.json"
)]
pub(crate) struct Bench {
    /// A running server's HTTP [default: the bench starts its own]
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// Its gRPC [default: port 8081 of --server's host]
    #[arg(long, value_name = "URL", requires = "server")]
    grpc: Option<String>,
    /// Its listener for reports, as in muster=tcp://127.0.0.1:6800; it must know the units or admit unknown ones
    #[arg(long, value_name = "muster=tcp://ADDR", requires = "server")]
    to: Option<String>,
    /// Units that move and report
    #[arg(long, default_value_t = simulate::UNITS)]
    units: usize,
    /// Reports a second, all units together; 0 for none [default: 50000]
    #[arg(long, value_name = "N")]
    report_rate: Option<f64>,
    /// Questions a second, all classes together; 0 for none [default: 1000]
    #[arg(long, value_name = "N")]
    query_rate: Option<f64>,
    /// Find the highest rate at which the limits hold: of questions if only --report-rate is given, else of reports
    #[arg(long)]
    ramp: bool,
    /// A limit, repeatable; CLASS is reports or a class of --mix [default: nearest=p99:5ms]
    #[arg(long, value_name = "CLASS=pNN:DURATION")]
    limit: Vec<String>,
    /// Weights of the questions
    #[arg(long, default_value_t = Mix::default().to_string())]
    mix: String,
    /// Reports in a batch
    #[arg(long, value_name = "N", default_value_t = 100)]
    batch: usize,
    /// Sent and not counted, before the window
    #[arg(long, value_parser = duration, default_value = "4s")]
    warm_up: Duration,
    /// The window that counts
    #[arg(long, value_parser = duration, default_value = "20s")]
    duration: Duration,
    /// The same seed plans the same load
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Write bench.json and bench.html there
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Compare with an earlier bench.json
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Folder for the journal of the bench's own server, and for the floor of syncs [default: the temporary folder]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// Where the load goes.
struct Aim {
    own: Option<OwnServer>,
    http: Option<SocketAddr>,
    grpc: Option<SocketAddr>,
    reports_to: Option<SocketAddr>,
}

/// What one load of a plan showed.
struct Found {
    records: Vec<ClassRecord>,
    verdicts: Vec<Verdict>,
    generator: Generator,
    server_cpu_share: Option<f64>,
    plan: LoadPlan,
}

impl Bench {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let limits = self.limits()?;
        // A wrong file is better said now than in half a minute.
        let baseline = self.baseline.as_deref().map(baseline::read).transpose()?;
        let machine = Machine::here();
        let aim = self.aim()?;
        let plan = self.plan(&aim)?;
        for limit in &limits {
            let is_planned = plan.query_rate > 0.0 && plan.mix.classes().any(|class| class == limit.class);
            if !is_planned && (limit.class != Class::Reports || plan.report_rate <= 0.0) {
                bail!("--limit {limit}: nothing of the class {} is planned", limit.class);
            }
        }
        let folder = aim.own.as_ref().map(OwnServer::data).or(self.data.as_deref());
        let floors = Floors::measure(plan.batch, folder)?;
        let fleet = self.fleet(&plan)?;
        let (found, ramp) = if self.ramp {
            self.climb(&plan, &fleet, &limits, &aim)?
        } else {
            (measure(&plan, &fleet, &limits, &aim, machine.cpus)?, None)
        };
        let mut report = assemble(&found, machine, floors, &aim, self.units, ramp);
        report.baseline = match (&baseline, &self.baseline) {
            (Some(before), Some(file)) => Some(baseline::compare(&report, before, file)),
            _ => None,
        };
        table::print(&report);
        if let Some(folder) = &self.out {
            write(&report, folder)?;
        }
        judge(&report)
    }

    fn limits(&self) -> anyhow::Result<Vec<Limit>> {
        let mix: Mix = self.mix.parse().context("--mix")?;
        let has_nearest = mix.classes().any(|class| class == Class::Nearest) && self.query_rate != Some(0.0);
        if self.limit.is_empty() {
            return Ok(if has_nearest { vec![Limit::of_the_design()] } else { Vec::new() });
        }
        Ok(self.limit.iter().map(|text| text.parse::<Limit>()).collect::<Result<_, _>>()?)
    }

    fn aim(&self) -> anyhow::Result<Aim> {
        let Some(server) = &self.server else {
            let own = OwnServer::start(self.data.as_deref())?;
            println!("Started a server of its own; its journal is in {} until the end.", own.data().display());
            return Ok(Aim {
                http: Some(own.http),
                grpc: Some(own.grpc),
                reports_to: Some(own.reports_to),
                own: Some(own),
            });
        };
        let http = address("--server", server)?;
        let grpc = match &self.grpc {
            Some(grpc) => address("--grpc", grpc)?,
            None => SocketAddr::new(http.ip(), 8081),
        };
        let reports_to = match &self.to {
            None => None,
            Some(to) => match to.strip_prefix("muster=tcp://") {
                Some(_) => Some(address("--to", to)?),
                None => bail!("--to {to:?}: the bench sends reports as muster=tcp://HOST:PORT only"),
            },
        };
        Ok(Aim { own: None, http: Some(http), grpc: Some(grpc), reports_to })
    }

    fn plan(&self, aim: &Aim) -> anyhow::Result<LoadPlan> {
        let default_reports = if aim.reports_to.is_some() { REPORT_RATE } else { 0.0 };
        let plan = LoadPlan {
            reports_to: aim.reports_to,
            grpc: aim.grpc,
            http: aim.http,
            report_rate: self.report_rate.unwrap_or(default_reports),
            query_rate: self.query_rate.unwrap_or(QUERY_RATE),
            mix: self.mix.parse().context("--mix")?,
            batch: self.batch,
            seed: self.seed,
            warm_up: self.warm_up,
            measured: self.duration,
        };
        for (flag, rate) in [("--report-rate", plan.report_rate), ("--query-rate", plan.query_rate)] {
            if !(0.0..=100_000_000.0).contains(&rate) {
                bail!("{flag} {rate} is not 0 to 100,000,000");
            }
        }
        if plan.report_rate <= 0.0 && plan.query_rate <= 0.0 {
            bail!("both rates are 0: there is nothing to measure");
        }
        if plan.report_rate > 0.0 && plan.reports_to.is_none() {
            bail!("--report-rate {} needs --to muster=tcp://HOST:PORT of that server", plan.report_rate);
        }
        if !(1..=model::limits::BATCH_REPORTS_MAX).contains(&plan.batch) {
            bail!("--batch {} is not 1 to {}", plan.batch, model::limits::BATCH_REPORTS_MAX);
        }
        if !(1..=model::limits::UNITS_MAX).contains(&self.units) {
            bail!("--units {} is not 1 to {}", self.units, model::limits::UNITS_MAX);
        }
        if self.duration < Duration::from_secs(1) {
            bail!("--duration {:?} is under a second", self.duration);
        }
        Ok(plan)
    }

    /// Builds the units, and puts each on the server's map once.
    fn fleet(&self, plan: &LoadPlan) -> anyhow::Result<Arc<Fleet>> {
        let fleet = Arc::new(Fleet::new(self.seed, self.units));
        let began = std::time::Instant::now();
        match plan.reports_to {
            None => println!("No reports are sent: the questions are about the units that the server has."),
            Some(address) => {
                let refused = introduce(address, &fleet)?;
                let (units, took) = (grouped(self.units as f64), began.elapsed().as_secs_f64());
                println!("{units} units are on the map after {took:.1} s ({refused} refused).");
            }
        }
        let a_unit = plan.report_rate / self.units as f64;
        if a_unit > UNIT_RATE_MAX {
            println!(
                "NOTE: {a_unit:.0} reports a second and unit: many will be duplicates of a millisecond; raise --units."
            );
        }
        Ok(fleet)
    }

    /// Finds the highest rate that keeps the limits.
    fn climb(
        &self,
        plan: &LoadPlan,
        fleet: &Arc<Fleet>,
        limits: &[Limit],
        aim: &Aim,
    ) -> anyhow::Result<(Found, Option<Ramp>)> {
        let raises_questions = self.report_rate.is_some() && self.query_rate.is_none() || plan.report_rate <= 0.0;
        let of = if raises_questions { "questions" } else { "reports" };
        let mut search = Search::from(if raises_questions { plan.query_rate } else { plan.report_rate }.max(1.0));
        let (mut steps, mut best, mut last) = (Vec::new(), None, None);
        while let Some(rate) = search.next() {
            let mut step = LoadPlan { warm_up: STEP_WARM_UP, measured: STEP_MEASURED, ..plan.clone() };
            *(if raises_questions { &mut step.query_rate } else { &mut step.report_rate }) = rate;
            // At a low rate the steps before let units fall out of contact, and answers that miss them would be wrong.
            if let (Some(address), false) = (plan.reports_to, steps.is_empty()) {
                introduce(address, fleet)?;
            }
            let found = measure(&step, fleet, limits, aim, Machine::here().cpus)?;
            let remarks = found.remarks();
            let answered_per_s = found.answered_per_s(raises_questions);
            let said = if remarks.is_empty() { "hold".to_owned() } else { remarks.join("; ") };
            println!("{} {of}/s: {} answered/s: {said}", grouped(rate), grouped(answered_per_s));
            steps.push(Step { rate_per_s: rate, answered_per_s, holds: remarks.is_empty(), remarks: remarks.clone() });
            search.tell(if remarks.is_empty() { Held::Yes } else { Held::No });
            if remarks.is_empty() {
                best = Some(found);
            } else {
                last = Some(found);
            }
        }
        let ramp = Ramp { of: of.to_owned(), steps, highest_per_s: search.highest() };
        let found = best.or(last).context("the search tried no rate")?;
        Ok((found, Some(ramp)))
    }
}

impl Found {
    /// Why this rate does not hold; empty when it does.
    fn remarks(&self) -> Vec<String> {
        let missed = self.verdicts.iter().filter(|verdict| !verdict.holds);
        let mut remarks: Vec<String> =
            missed.map(|verdict| format!("{} missed: {}", verdict.limit, table::latency(verdict.found_us))).collect();
        for record in &self.records {
            // The window's own seconds count, so that a queue that only grows is seen.
            let in_time: u64 = record.seconds.iter().map(|second| second.answered).sum();
            let is_late = in_time + OPEN_AT_THE_END < record.planned;
            if is_late && (in_time as f64) < record.planned as f64 * ANSWERED_SHARE_MIN {
                remarks.push(format!("{}: {in_time} of {} answered within the window", record.class, record.planned));
            }
        }
        if !remarks.is_empty() {
            remarks.extend(self.generator.suspicions.iter().cloned());
        }
        remarks
    }

    fn answered_per_s(&self, of_questions: bool) -> f64 {
        let of_this = self.records.iter().filter(|record| (record.class != Class::Reports) == of_questions);
        let answered: u64 = of_this.map(|record| record.answered).sum();
        let weight = if of_questions { 1 } else { self.plan.batch };
        thousandths(answered as f64 * weight as f64 / self.plan.measured.as_secs_f64())
    }
}

/// Offers one load and looks at what came of it.
fn measure(plan: &LoadPlan, fleet: &Arc<Fleet>, limits: &[Limit], aim: &Aim, cpus: usize) -> anyhow::Result<Found> {
    let whole = plan.warm_up + plan.measured;
    let bar = ProgressBar::new(whole.as_secs());
    bar.set_style(ProgressStyle::with_template("{msg:40} {bar:30} {elapsed}")?);
    let server_cpu = || aim.own.as_ref().and_then(|own| cpu_of(own.process()));
    // Samples at the first sight of the window and at the last.
    let mut samples: Vec<(Duration, Option<Duration>)> = Vec::new();
    let LoadResult { classes, threads } = run_load(plan, fleet, |progress| {
        if progress.elapsed >= plan.warm_up && progress.elapsed <= whole {
            samples.truncate(1);
            samples.push((progress.elapsed, server_cpu()));
        }
        let phase = if progress.elapsed < plan.warm_up { "warm-up" } else { "measured" };
        let (reports, questions) = (grouped(progress.reports as f64), grouped(progress.questions as f64));
        bar.set_position(progress.elapsed.as_secs().min(whole.as_secs()));
        bar.set_message(format!("{phase}: {reports} reports, {questions} answers"));
    })?;
    bar.finish_and_clear();
    let server_cpu_share = match samples[..] {
        [(from, Some(before)), (to, Some(after))] if to > from => {
            Some(thousandths(after.saturating_sub(before).as_secs_f64() / (to - from).as_secs_f64()))
        }
        _ => None,
    };
    Ok(Found {
        verdicts: limits.iter().map(|limit| limit.verdict(&classes)).collect(),
        generator: Generator::of(&threads, cpus, server_cpu_share),
        records: classes,
        server_cpu_share,
        plan: plan.clone(),
    })
}

fn assemble(found: &Found, machine: Machine, floors: Floors, aim: &Aim, units: usize, ramp: Option<Ramp>) -> Report {
    let plan = &found.plan;
    let figures = |record: &ClassRecord| {
        let weight = if record.class == Class::Reports { plan.batch } else { 1 };
        ClassFigures::of(record, plan.measured, weight)
    };
    let shown = |address: Option<SocketAddr>| address.map(|address| address.to_string());
    let mut generator = found.generator.clone();
    if machine.load_average > machine.cpus as f64 {
        let (load, cpus) = (machine.load_average, machine.cpus);
        generator
            .suspicions
            .push(format!("other work was on the machine before the run: load average {load} on {cpus} cores"));
    }
    Report {
        schema: SCHEMA.to_owned(),
        made_at: model::Clock::now(&server::SystemClock::default()).to_string(),
        program: format!("muster {}", env!("CARGO_PKG_VERSION")),
        command: std::env::args().skip(1).collect::<Vec<_>>().join(" "),
        machine,
        server: ServerSide {
            own: aim.own.is_some(),
            http: shown(aim.http),
            grpc: shown(aim.grpc),
            reports_to: shown(aim.reports_to),
            data: aim.own.as_ref().map(|own| own.data().display().to_string()),
            cpu_share: found.server_cpu_share,
        },
        plan: PlanSide {
            units,
            report_rate: plan.report_rate,
            query_rate: plan.query_rate,
            batch: plan.batch,
            mix: plan.mix.to_string(),
            seed: plan.seed,
            warm_up_s: plan.warm_up.as_secs_f64(),
            measured_s: plan.measured.as_secs_f64(),
        },
        classes: found.records.iter().map(figures).collect(),
        limits: found.verdicts.clone(),
        floors,
        generator,
        ramp,
        baseline: None,
    }
}

/// Host and port of a URL, or of what follows its `//`.
fn address(flag: &str, text: &str) -> anyhow::Result<SocketAddr> {
    let authority = text.split_once("://").map_or(text, |(_, rest)| rest);
    let authority = authority.split('/').next().unwrap_or(authority);
    let mut found = authority
        .to_socket_addrs()
        .with_context(|| format!("{flag} {text:?} is no address, as in http://127.0.0.1:8080"))?;
    found.next().with_context(|| format!("{flag} {text:?} has no address"))
}

fn write(report: &Report, folder: &Path) -> anyhow::Result<()> {
    let context = || format!("cannot write to --out {}", folder.display());
    std::fs::create_dir_all(folder).with_context(context)?;
    std::fs::write(folder.join("bench.json"), serde_json::to_string_pretty(report)? + "\n").with_context(context)?;
    std::fs::write(folder.join("bench.html"), page::html(report)).with_context(context)?;
    println!("Written: {0}/bench.json, {0}/bench.html", folder.display());
    Ok(())
}

/// A missed limit is the program's failure: exit code 1.
fn judge(report: &Report) -> anyhow::Result<()> {
    let missed: Vec<&str> =
        report.limits.iter().filter(|verdict| !verdict.holds).map(|verdict| verdict.limit.as_str()).collect();
    if missed.is_empty() { Ok(()) } else { bail!("limit missed: {}", missed.join(", ")) }
}

#[cfg(test)]
mod tests;
