//! What a bench says on the terminal.

use comfy_table::{CellAlignment, Table, presets};

use super::baseline::{Change, Comparison, NOISE_RULE};
use super::limits::Verdict;
use super::ramp::Ramp;
use super::report::{ClassFigures, Report, grouped, millis};

pub(super) fn print(report: &Report) {
    println!();
    print_classes(&report.classes);
    print_floors(report);
    print_generator(report);
    if let Some(ramp) = &report.ramp {
        print_ramp(ramp);
    }
    if let Some(comparison) = &report.baseline {
        print_comparison(comparison);
    }
    print_limits(&report.limits);
}

fn table(head: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    table.set_header(head);
    for column in 1..head.len() {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// A latency, or what its absence means.
pub(super) fn latency(us: Option<u64>) -> String {
    us.map_or_else(|| "no answer".to_owned(), millis)
}

fn print_classes(classes: &[ClassFigures]) {
    let mut rates = table(&[
        "class",
        "planned/s",
        "answered/s",
        "refused",
        "out of time",
        "failed",
        "wrong",
        "not sent",
        "unanswered",
    ]);
    let mut times = table(&["from planned time to answer", "p50", "p90", "p99", "p99.9", "max"]);
    for one in classes {
        let weight = one.weight as f64;
        rates.add_row([
            one.class.clone(),
            grouped(one.planned_per_s * weight),
            grouped(one.answered_per_s * weight),
            one.refused.to_string(),
            one.out_of_time.to_string(),
            one.failed.to_string(),
            one.wrong.to_string(),
            one.not_sent.to_string(),
            one.unanswered.to_string(),
        ]);
        let of = &one.latency;
        let name = if one.weight > 1 { format!("{} (batch of {})", one.class, one.weight) } else { one.class.clone() };
        times.add_row([
            name,
            latency(of.p50_us),
            latency(of.p90_us),
            latency(of.p99_us),
            latency(of.p99_9_us),
            millis(of.max_us),
        ]);
    }
    println!("{rates}\n{times}");
    for one in classes {
        if one.refused_reports > 0 {
            let count = one.refused_reports;
            println!(
                "The server refused {count} reports by name (unknown devices? serve needs --admit-unknown or the units enrolled)."
            );
        }
    }
}

fn print_floors(report: &Report) {
    let floors = &report.floors;
    let mut table = table(&["this machine's floors", "p50", "p99"]);
    let trip = |up: usize, down: usize| format!("bare loopback, {up} bytes there, {down} back");
    for one in [&floors.question, &floors.batch] {
        table.add_row([trip(one.up_bytes, one.down_bytes), millis(one.p50_us), millis(one.p99_us)]);
    }
    if let Some(sync) = &floors.sync {
        table.add_row([format!("write {} bytes and fdatasync", sync.bytes), millis(sync.p50_us), millis(sync.p99_us)]);
    }
    println!("{table}");
    println!(
        "Receive and discard {} reports/s; memory copy {:.1} GB/s. Load average before the run: {} on {} cores.",
        grouped(floors.receive_reports_per_s),
        floors.copy_gb_per_s,
        report.machine.load_average,
        report.machine.cpus,
    );
}

fn print_generator(report: &Report) {
    let threads = report.generator.threads.iter().map(|one| {
        let (lag, share) = (millis(one.lag_p99_us), one.cpu_share * 100.0);
        format!(
            "{}: lag p50 {}, p99 {lag}, max {}; {share:.0} % of a core",
            one.name,
            millis(one.lag_p50_us),
            millis(one.lag_max_us)
        )
    });
    println!("Generator  {}", threads.collect::<Vec<_>>().join("\n           "));
    match report.server.cpu_share {
        Some(share) => println!("Server     {:.0} % of a core", share * 100.0),
        None => println!("Server     its processor time is not known: the bench did not start it"),
    }
    for suspicion in &report.generator.suspicions {
        println!("NOTE: {suspicion}");
    }
}

fn print_ramp(ramp: &Ramp) {
    let mut table = table(&["step", "rate/s", "answered/s", "limits"]);
    for (number, step) in (1..).zip(&ramp.steps) {
        // A remark a line: side by side they are wider than any screen.
        let held = if step.holds { "hold".to_owned() } else { step.remarks.join("\n") };
        table.add_row([number.to_string(), grouped(step.rate_per_s), grouped(step.answered_per_s), held]);
    }
    println!("{table}");
    let highest = ramp.highest_per_s.map_or_else(
        || format!("There was no rate of {} at which the limits held.", ramp.of),
        |rate| format!("Highest rate of {} at which the limits held: {}/s (within 10 %)", ramp.of, grouped(rate)),
    );
    println!("{highest}");
    let failed = ramp.steps.iter().filter(|step| !step.holds).min_by(|a, b| a.rate_per_s.total_cmp(&b.rate_per_s));
    if let Some((step, why)) = failed.and_then(|step| Some((step, step.remarks.first()?))) {
        println!("What limits: at {}/s {why}", grouped(step.rate_per_s));
    }
}

fn print_comparison(comparison: &Comparison) {
    let mut table = table(&["against the baseline", "before", "now", "ratio", "noise", ""]);
    for one in &comparison.figures {
        let change = match one.change {
            Change::Better => "better",
            Change::Same => "",
            Change::Worse => "WORSE",
        };
        let (ratio, noise) = (format!("{:.2}", one.ratio), format!("± {:.0} %", one.noise * 100.0));
        table.add_row([one.name.clone(), grouped(one.before), grouped(one.now), ratio, noise, change.to_owned()]);
    }
    println!("{table}\nBaseline: {} of {}; {NOISE_RULE}.", comparison.file, comparison.made_at);
    for difference in &comparison.differences {
        println!("NOTE: not like for like: {difference}");
    }
}

fn print_limits(limits: &[Verdict]) {
    if limits.is_empty() {
        println!("No limit was set.");
        return;
    }
    let mut table = table(&["limit", "allowed", "found", "verdict"]);
    for one in limits {
        let verdict = if one.holds { "held" } else { "MISSED" };
        table.add_row([one.limit.clone(), millis(one.allowed_us), latency(one.found_us), verdict.to_owned()]);
    }
    println!("{table}");
}
