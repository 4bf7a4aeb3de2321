use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use comfy_table::{CellAlignment, Table, presets};
use serde_json::Value;

/// Ask a running server
#[derive(Args)]
pub(crate) struct Query {
    #[command(subcommand)]
    question: Question,
}

#[derive(Args)]
struct At {
    /// The server
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    server: String,
    /// The server's JSON as it is
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand)]
enum Question {
    /// The units nearest to a place
    Nearest {
        /// Latitude and longitude in degrees, as in 22.817,108.366
        #[arg(long, value_name = "LAT,LON", allow_hyphen_values = true)]
        at: String,
        /// How many
        #[arg(short, default_value_t = 10)]
        k: u32,
        /// By how far they are, or by how far they can be at most by now
        #[arg(long, value_parser = ["distance", "possible"], default_value = "distance")]
        rank: String,
        /// Name those left out, at most 100
        #[arg(long)]
        explain: bool,
        #[command(flatten)]
        server: At,
    },
    /// Who is in a zone, and whether it is enough
    Zone {
        /// Its name
        name: String,
        #[command(flatten)]
        server: At,
    },
    /// One unit and where it is
    Unit {
        /// Its name
        name: String,
        #[command(flatten)]
        server: At,
    },
}

impl Query {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self.question {
            Question::Nearest { at, k, rank, explain, server } => {
                let Some((lat, lon)) = at.split_once(',') else {
                    bail!("--at {at:?} is not LAT,LON, as in 22.817,108.366")
                };
                let (lat, lon) = (lat.trim(), lon.trim());
                let question = format!("lat={lat}&lon={lon}&k={k}&rank={rank}&explain={explain}");
                let answer = ask(&format!("{}/v1/nearest?{question}", server.server))?;
                if server.json {
                    println!("{answer}");
                } else {
                    print_nearest(&answer);
                }
            }
            Question::Zone { name, server } => {
                let strength = ask(&format!("{}/v1/zones/{name}/strength", server.server))?;
                let units = ask(&format!("{}/v1/zones/{name}/units", server.server))?;
                if server.json {
                    println!("{}", serde_json::json!({"strength": strength, "units": units}));
                } else {
                    print_zone(&strength, &units);
                }
            }
            Question::Unit { name, server } => {
                let answer = ask(&format!("{}/v1/units/{name}", server.server))?;
                if server.json {
                    println!("{answer}");
                } else {
                    print_unit(&answer);
                }
            }
        }
        Ok(())
    }
}

/// Asks, and turns a problem into an error that says what the server said.
pub(crate) fn ask(url: &str) -> anyhow::Result<Value> {
    let config = ureq::Agent::config_builder().http_status_as_error(false).build();
    let agent = ureq::Agent::new_with_config(config);
    let mut answer =
        agent.get(url).call().with_context(|| format!("no answer from {url}; is `muster serve` running?"))?;
    let body: Value = answer.body_mut().read_json().context("the answer is no JSON; is this a Muster server?")?;
    if !answer.status().is_success() {
        let of = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
        bail!("{}: {}", of("title"), of("detail"));
    }
    Ok(body)
}

/// A table of the nearest units, and why others are not in it.
pub(crate) fn print_nearest(answer: &Value) {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    table.set_header(["unit", "kind", "distance", "possible", "bearing", "fix age", "contact", "accuracy", "source"]);
    for column in 2..=7 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for feature in answer["features"].as_array().into_iter().flatten() {
        let of = &feature["properties"];
        let stale = if of["stale"] == true { " (stale)" } else { "" };
        let unstored = if of["stored"] == false { " (not stored)" } else { "" };
        table.add_row([
            text(&of["unit"]),
            text(&of["kind"]),
            distance(&of["distance_m"]),
            format!("{} to {}", distance(&of["possible_m"][0]), distance(&of["possible_m"][1])),
            format!("{:.0}°", of["bearing_deg"].as_f64().unwrap_or_default()),
            format!("{}{stale}{unstored}", seconds(&of["fix_age_s"])),
            seconds(&of["contact_age_s"]),
            of["accuracy_m"].as_f64().map_or("unknown".into(), |metres| format!("{metres:.0} m")),
            text(&of["source"]),
        ]);
    }
    println!("{table}");
    for alarm in answer["alarms"].as_array().into_iter().flatten() {
        println!("ALARM: {}; GET /v1/stats says more", text(alarm).replace('_', " "));
    }
    let left_out = answer["omitted"].as_object().into_iter().flatten();
    let left_out: Vec<_> = left_out.map(|(reason, units)| format!("{units} {}", reason.replace('_', " "))).collect();
    if !left_out.is_empty() {
        println!("left out: {}", left_out.join(", "));
    }
    for one in answer["explained"].as_array().into_iter().flatten() {
        let reason = text(&one["reason"]).replace('_', " ");
        let (away, age) = (distance(&one["distance_m"]), seconds(&one["fix_age_s"]));
        println!("  {}: {reason}, {away} away, {age} ago", text(&one["unit"]));
    }
    if let Some(rest) = answer["explained_rest"].as_u64().filter(|rest| *rest > 0) {
        println!("  and {rest} more");
    }
    let candidates = match answer["candidates"].as_str() {
        Some("all") => "all: nobody said yet when units are on duty".to_owned(),
        Some(word) => word.replace('_', " "),
        None => "unknown".to_owned(),
    };
    println!("as of {}; candidates: {candidates}", text(&answer["as_of"]));
}

/// The strength of a zone against what it needs, and the first page of who is in it.
fn print_zone(strength: &Value, units: &Value) {
    let watched = if strength["watched"] == true { "" } else { ", outside its hours" };
    println!("zone {} of {}, layer {}{watched}", text(&strength["zone"]), text(&strength["org"]), strength["layer"]);
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    table.set_header(["kind", "status", "fresh", "stale", "out of contact"]);
    for (kind, statuses) in strength["units"].as_object().into_iter().flatten() {
        for (status, heads) in statuses.as_object().into_iter().flatten() {
            let of = |word: &str| heads[word].to_string();
            table.add_row([kind.clone(), status.clone(), of("fresh"), of("stale"), of("out_of_contact")]);
        }
    }
    println!("{table}");
    for need in strength["minimum"].as_array().into_iter().flatten() {
        let kinds: Vec<_> = need["kinds"].as_array().into_iter().flatten().map(text).collect();
        let kinds = if kinds.is_empty() { "of the police".to_owned() } else { kinds.join(" or ") };
        let is_kept = need["have"].as_u64() >= need["at_least"].as_u64();
        let word = if is_kept { "enough" } else { "TOO FEW" };
        println!("{word}: {} {kinds}, at least {} now", need["have"], need["at_least"]);
    }
    print_units(units);
}

/// A table of units with their ages.
fn print_units(answer: &Value) {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    table.set_header(["unit", "kind", "status", "fix age", "contact", "source"]);
    for feature in answer["features"].as_array().into_iter().flatten() {
        let of = &feature["properties"];
        let stale = if of["stale"] == true { " (stale)" } else { "" };
        table.add_row([
            text(&of["unit"]),
            text(&of["kind"]),
            text(&of["status"]),
            format!("{}{stale}", seconds(&of["fix_age_s"])),
            seconds(&of["contact_age_s"]),
            text(&of["source"]),
        ]);
    }
    println!("{table}");
    if answer["next"].is_string() {
        println!("and more: these are the first {}", answer["features"].as_array().map_or(0, Vec::len));
    }
    println!("as of {}", text(&answer["as_of"]));
}

fn print_unit(feature: &Value) {
    let mut table = Table::new();
    table.load_style(presets::UTF8_BORDERS_ONLY);
    let place = &feature["geometry"]["coordinates"];
    if let (Some(lon), Some(lat)) = (place[0].as_f64(), place[1].as_f64()) {
        table.add_row(["place (lat, lon)".to_owned(), format!("{lat:.7}, {lon:.7}")]);
    }
    for (key, value) in feature["properties"].as_object().into_iter().flatten() {
        table.add_row([key.clone(), text(value)]);
    }
    println!("{table}");
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "unknown".into(),
        other => other.to_string(),
    }
}

fn distance(metres: &Value) -> String {
    match metres.as_f64() {
        Some(metres) if metres >= 1_000.0 => format!("{:.2} km", metres / 1_000.0),
        Some(metres) => format!("{metres:.0} m"),
        None => "unknown".into(),
    }
}

fn seconds(value: &Value) -> String {
    value.as_f64().map_or("unknown".into(), |seconds| format!("{seconds:.1} s"))
}
