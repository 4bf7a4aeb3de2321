//! `bench.html`: one file that needs nothing else, to look at and to pass on.

use std::fmt::Write as _;

use super::baseline::{Change, Comparison, NOISE_RULE};
use super::chart::{Chart, Scale};
use super::ramp::Ramp;
use super::report::{ClassFigures, Report, grouped, millis};
use super::table::latency;

const STYLE: &str = include_str!("page.css");

/// The page of a report.
pub(super) fn html(report: &Report) -> String {
    let missed = report.limits.iter().filter(|verdict| !verdict.holds).count();
    let (mood, verdict) = match (report.limits.len(), missed) {
        (0, _) => ("none", "No limit was set".to_owned()),
        (1, 0) => ("held", "The limit held".to_owned()),
        (1, _) => ("missed", "The limit was missed".to_owned()),
        (_, 0) => ("held", "All limits held".to_owned()),
        (all, missed) => ("missed", format!("{missed} of {all} limits missed")),
    };
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>muster bench</title>\
         <style>{STYLE}</style></head><body><main>\n<header><h1>muster bench</h1><p class=\"verdict {mood}\">{verdict}</p>\
         <p class=\"dim\">{} · {} · {} · {} cores · {} MiB · load average before: {}</p></header>\n",
        escaped(&report.made_at),
        escaped(&report.program),
        escaped(&report.machine.processor),
        report.machine.cpus,
        report.machine.memory_mib,
        report.machine.load_average,
    );
    page.push_str(&tiles(report));
    for suspicion in &report.generator.suspicions {
        let _ = write!(page, "<p class=\"note\">{}</p>", escaped(suspicion));
    }
    page.push_str(&legend(&report.classes));
    page.push_str("<div class=\"charts\">");
    let _ = write!(page, "<figure><figcaption>Latency by percentile</figcaption>{}</figure>", curve(report));
    let _ = write!(
        page,
        "<figure><figcaption>Latency over time: p99 and p50 (thin) of each second</figcaption>{}</figure>",
        over_time(report)
    );
    for (name, chart) in throughput(report) {
        let _ = write!(
            page,
            "<figure><figcaption>{name} a second: planned (dashed) and answered</figcaption>{chart}</figure>"
        );
    }
    page.push_str("</div>\n");
    page.push_str(&tables(report));
    if let Some(ramp) = &report.ramp {
        page.push_str(&ramp_table(ramp));
    }
    if let Some(comparison) = &report.baseline {
        page.push_str(&comparison_table(comparison));
    }
    page.push_str(&foot(report));
    page.push_str("</main></body></html>\n");
    page
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// The figures that a person asks for first.
fn tiles(report: &Report) -> String {
    let mut tiles = Vec::new();
    for one in &report.classes {
        let unit = if one.weight > 1 { "reports/s acknowledged" } else { "answers/s" };
        let rate = grouped(one.answered_per_s * one.weight as f64);
        let p99 = latency(one.latency.p99_us);
        tiles.push((one.class.clone(), p99, format!("p99 · {rate} {unit}")));
    }
    if let Some(share) = report.server.cpu_share {
        tiles.push(("server".to_owned(), format!("{:.0} %", share * 100.0), "of a core".to_owned()));
    }
    let tile = |(name, figure, what): &(String, String, String)| {
        format!("<div><h2>{}</h2><b>{}</b><span>{}</span></div>", escaped(name), escaped(figure), escaped(what))
    };
    format!("<section class=\"tiles\">{}</section>\n", tiles.iter().map(tile).collect::<String>())
}

fn legend(classes: &[ClassFigures]) -> String {
    let entry = |(number, one): (usize, &ClassFigures)| {
        format!("<span><i class=\"c{number}\"></i>{}</span>", escaped(&one.class))
    };
    let entries: String = classes.iter().enumerate().map(entry).collect();
    format!(
        "<p class=\"legend\">{entries}<span><i class=\"of-limit\"></i>limit</span><span><i class=\"of-floor\"></i>machine's floor</span></p>"
    )
}

/// The least and the most that a chart of latencies shows.
fn span_us(report: &Report, values: impl Iterator<Item = u64>) -> (f64, f64) {
    let floors = [Some(report.floors.question.p50_us), report.floors.sync.as_ref().map(|sync| sync.p50_us)];
    let limits = report.limits.iter().map(|verdict| verdict.allowed_us);
    let all: Vec<u64> = values.chain(limits).chain(floors.into_iter().flatten()).filter(|us| *us > 0).collect();
    (all.iter().min().map_or(10.0, |us| *us as f64), all.iter().max().map_or(1e6, |us| *us as f64))
}

/// How far right a share lies: each nine takes the same room.
fn nines(share: f64) -> f64 {
    -(1.0 - share).max(1e-5).log10()
}

fn curve(report: &Report) -> String {
    let span = span_us(report, report.classes.iter().flat_map(|one| one.curve.iter().map(|point| point.1)));
    let mut chart = Chart::new("Latency by percentile", (0.0, 5.0), span, Scale::Decades);
    for (share, name) in [(0.0, "0"), (0.5, "p50"), (0.9, "p90"), (0.99, "p99"), (0.999, "p99.9"), (0.9999, "p99.99")] {
        chart.mark_x(nines(share), name);
    }
    chart.name_x("share answered within, from the planned time");
    draw_floors(&mut chart, report);
    for (number, one) in report.classes.iter().enumerate() {
        // A percentile beyond the last answer would only repeat it.
        let most = (one.answered.max(1) as f64).log10().min(5.0);
        let points = one.curve.iter().map(|(share, us)| (nines(*share), *us as f64)).filter(|(x, _)| *x <= most);
        chart
            .line(&format!("c{number}"), points.chain([(most, one.latency.max_us as f64)]).filter(|(_, us)| *us > 0.0));
    }
    for verdict in &report.limits {
        chart.limit(nines(verdict.share), verdict.allowed_us as f64, &escaped(&verdict.limit));
    }
    chart.svg()
}

fn draw_floors(chart: &mut Chart, report: &Report) {
    chart.level("floor", report.floors.question.p50_us as f64, "bare loopback, p50");
    if let Some(sync) = &report.floors.sync {
        chart.level("floor", sync.p50_us as f64, "fdatasync, p50");
    }
}

fn mark_seconds(chart: &mut Chart, seconds: usize) {
    let step = seconds.div_ceil(10).max(1);
    for second in (0..=seconds).step_by(step) {
        chart.mark_x(second as f64, &second.to_string());
    }
    chart.name_x("second of the window");
}

fn over_time(report: &Report) -> String {
    let count = report.classes.iter().map(|one| one.seconds.len()).max().unwrap_or(0);
    let values =
        report.classes.iter().flat_map(|one| one.seconds.iter().flat_map(|second| [second.p50_us, second.p99_us]));
    let mut chart = Chart::new("Latency over time", (0.0, count as f64), span_us(report, values), Scale::Decades);
    mark_seconds(&mut chart, count);
    draw_floors(&mut chart, report);
    for (number, one) in report.classes.iter().enumerate() {
        let at = |figure: fn(&super::report::SecondFigures) -> u64| {
            let points =
                one.seconds.iter().enumerate().map(move |(second, of)| (second as f64 + 0.5, figure(of) as f64));
            points.filter(|(_, us)| *us > 0.0)
        };
        chart.line(&format!("thin c{number}"), at(|second| second.p50_us));
        chart.line(&format!("c{number}"), at(|second| second.p99_us));
    }
    for verdict in &report.limits {
        chart.level("limit", verdict.allowed_us as f64, &escaped(&verdict.limit));
    }
    chart.svg()
}

/// A chart of reports and one of questions, where there are any.
fn throughput(report: &Report) -> Vec<(&'static str, String)> {
    let mut charts = Vec::new();
    for (name, is_of_reports) in [("Reports", true), ("Questions", false)] {
        let mut sums: Vec<(f64, f64)> = Vec::new();
        for one in report.classes.iter().filter(|one| (one.class == "reports") == is_of_reports) {
            sums.resize(sums.len().max(one.seconds.len()), (0.0, 0.0));
            for (sum, second) in sums.iter_mut().zip(&one.seconds) {
                sum.0 += (second.planned * one.weight as u64) as f64;
                sum.1 += (second.answered * one.weight as u64) as f64;
            }
        }
        if sums.is_empty() {
            continue;
        }
        let most = sums.iter().fold(0.0f64, |most, (planned, answered)| most.max(*planned).max(*answered));
        let mut chart = Chart::new(name, (0.0, sums.len() as f64), (0.0, most), Scale::Linear);
        mark_seconds(&mut chart, sums.len());
        let points =
            |of: fn(&(f64, f64)) -> f64| sums.iter().enumerate().map(move |(at, sum)| (at as f64 + 0.5, of(sum)));
        chart.line("planned", points(|sum| sum.0));
        chart.line(if is_of_reports { "c0" } else { "c1" }, points(|sum| sum.1));
        charts.push((name, chart.svg()));
    }
    charts
}

fn row(cells: impl IntoIterator<Item = String>) -> String {
    let cells: String = cells.into_iter().map(|cell| format!("<td>{}</td>", escaped(&cell))).collect();
    format!("<tr>{cells}</tr>")
}

fn table(title: &str, head: &[&str], rows: &str) -> String {
    let head: String = head.iter().map(|cell| format!("<th>{cell}</th>")).collect();
    format!(
        "<section class=\"wide\"><h2>{title}</h2><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></section>\n"
    )
}

fn tables(report: &Report) -> String {
    let verdicts = report.limits.iter().map(|one| {
        let verdict = if one.holds { "held" } else { "MISSED" };
        row([one.limit.clone(), millis(one.allowed_us), latency(one.found_us), verdict.to_owned()])
    });
    let limits = table("Limits", &["limit", "allowed", "found", "verdict"], &verdicts.collect::<String>());
    let classes = report.classes.iter().map(|one| {
        let (of, weight) = (&one.latency, one.weight as f64);
        let times = [of.p50_us, of.p90_us, of.p99_us, of.p99_9_us].map(latency);
        let rates = [grouped(one.planned_per_s * weight), grouped(one.answered_per_s * weight)];
        let counts =
            [one.refused, one.out_of_time, one.failed, one.wrong, one.not_sent, one.unanswered].map(|n| n.to_string());
        row([one.class.clone()].into_iter().chain(rates).chain(times).chain([millis(of.max_us)]).chain(counts))
    });
    let head = [
        "class",
        "planned/s",
        "answered/s",
        "p50",
        "p90",
        "p99",
        "p99.9",
        "max",
        "refused",
        "out of time",
        "failed",
        "wrong",
        "not sent",
        "unanswered",
    ];
    let classes = table(
        "Latency from the planned time, and what became of all that was planned",
        &head,
        &classes.collect::<String>(),
    );
    let floors = &report.floors;
    let mut rows = String::new();
    for one in [&floors.question, &floors.batch] {
        let what = format!("bare loopback round trip, {} bytes there, {} back", one.up_bytes, one.down_bytes);
        rows += &row([what, millis(one.p50_us), millis(one.p99_us)]);
    }
    if let Some(sync) = &floors.sync {
        rows += &row([format!("write {} bytes and fdatasync", sync.bytes), millis(sync.p50_us), millis(sync.p99_us)]);
    }
    rows += &row(["receive and discard, reports/s".to_owned(), grouped(floors.receive_reports_per_s), String::new()]);
    rows += &row(["memory copy, GB/s".to_owned(), format!("{:.1}", floors.copy_gb_per_s), String::new()]);
    let floors = table("This machine's floors, measured just before", &["what", "p50 or rate", "p99"], &rows);
    let threads = report.generator.threads.iter().map(|one| {
        let share = format!("{:.0} % of a core", one.cpu_share * 100.0);
        row([one.name.clone(), millis(one.lag_p50_us), millis(one.lag_p99_us), millis(one.lag_max_us), share])
    });
    let head = ["thread", "lag p50", "lag p99", "lag max", "processor"];
    format!("{limits}{classes}{floors}{}", table("The generator itself", &head, &threads.collect::<String>()))
}

fn ramp_table(ramp: &Ramp) -> String {
    let rows = ramp.steps.iter().map(|step| {
        let held = if step.holds { "hold".to_owned() } else { step.remarks.join("; ") };
        row([grouped(step.rate_per_s), grouped(step.answered_per_s), held])
    });
    let highest = ramp.highest_per_s.map_or_else(|| "none".to_owned(), |rate| format!("{}/s", grouped(rate)));
    let title = format!("Highest rate of {} at which the limits held: {highest}", escaped(&ramp.of));
    let steps = table(&title, &["rate/s", "answered/s", "limits"], &rows.collect::<String>());
    // The reasons are sentences: they wrap, where figures must not.
    format!("<div class=\"steps\">{steps}</div>")
}

fn comparison_table(comparison: &Comparison) -> String {
    let rows = comparison.figures.iter().map(|one| {
        let change = match one.change {
            Change::Better => "better",
            Change::Same => "",
            Change::Worse => "WORSE",
        };
        let (ratio, noise) = (format!("{:.2}", one.ratio), format!("± {:.0} %", one.noise * 100.0));
        row([one.name.clone(), grouped(one.before), grouped(one.now), ratio, noise, change.to_owned()])
    });
    let title = format!("Against the baseline of {}", escaped(&comparison.made_at));
    let table = table(&title, &["figure", "before", "now", "ratio", "noise", ""], &rows.collect::<String>());
    let notes =
        comparison.differences.iter().map(|one| format!("<p class=\"note\">Not like for like: {}</p>", escaped(one)));
    format!("{table}<p class=\"dim\">{NOISE_RULE}.</p>{}", notes.collect::<String>())
}

fn foot(report: &Report) -> String {
    let plan = &report.plan;
    let own =
        if report.server.own { "a server of the bench's own, in a process of its own" } else { "a running server" };
    format!(
        "<footer class=\"dim\"><p>Open loop: each question and batch has a planned time from a seeded schedule (seed {}), and its \
         latency counts from that time, whatever the server does. What got no right answer counts as slower than any answer.</p>\
         <p>{} units; batches of {} reports over muster TCP; questions {}; warm-up {} s, window {} s; {own}.</p>\
         <p><code>muster {}</code></p></footer>\n",
        plan.seed,
        grouped(plan.units as f64),
        plan.batch,
        escaped(&plan.mix),
        plan.warm_up_s,
        plan.measured_s,
        escaped(&report.command),
    )
}
