//! One live map of a city's forces: which units are nearest, which are in this zone.

mod audit;
mod backup;
mod bench;
mod decode;
mod demo;
mod journal;
mod query;
mod serve;
mod simulate;
mod stored;
mod token;
mod units;
mod zones;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

/// One live map of every patrol vehicle, radio, hand-held terminal and aircraft of a city: takes in
/// position frames as they are sent, and answers which units are nearest and which are in an area.
#[derive(Parser)]
#[command(
    name = "muster",
    version,
    after_help = "Start here:  muster demo\n\nLogs go to standard error; MUSTER_LOG sets how much (error, warn, info, debug)."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// Open files asked of the system; it gives what it allows.
const OPEN_FILES_WANTED: u64 = 65_536;

#[derive(Subcommand)]
enum Command {
    /// Server and simulated city in one process; prints the map's address
    Demo(demo::Demo),
    /// The server
    Serve(serve::Serve),
    /// The simulated city alone, against any server
    Simulate(simulate::Simulate),
    /// Measure a server under a planned load; exit 1 when a limit is missed
    Bench(bench::Bench),
    /// Decode frames given in hex, one a line, to one JSON object a line
    Decode(decode::Decode),
    /// Ask a running server
    Query(query::Query),
    /// Look at a journal, or mend it
    Journal(journal::Journal),
    /// Let people and programs in, and out again
    Token(token::Token),
    /// Bring records of units into the store, or take them out
    Units(units::Units),
    /// Bring organisations into the store, or take them out
    Organisations(units::Organisations),
    /// Bring zones into the store, or take them out
    Zones(zones::Zones),
    /// Who did and saw what: check it, ask it, take it out
    Audit(audit::Audit),
    /// Copy journal and store to an empty folder, also while a server writes them
    Backup(backup::Backup),
    /// Put a backup into an empty data folder
    Restore(backup::Restore),
}

fn main() -> ExitCode {
    let filter = EnvFilter::try_from_env("MUSTER_LOG")
        .unwrap_or_else(|_| EnvFilter::new("warn,muster=info,server=info,engine=info"));
    let colour = std::io::stderr().is_terminal();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(colour)
        .with_target(false)
        .with_writer(std::io::stderr)
        .init();
    let command = Cli::parse().command;
    // A city has thousands of connections; the usual soft limit of 1,024 files would end them.
    if let Err(error) = rlimit::increase_nofile_limit(OPEN_FILES_WANTED) {
        tracing::warn!(%error, "The limit of open files stays as it is.");
    }
    let done = match command {
        Command::Demo(command) => command.run(),
        Command::Serve(command) => command.run(),
        Command::Simulate(command) => command.run(),
        Command::Bench(command) => command.run(),
        Command::Decode(command) => command.run(),
        Command::Query(command) => command.run(),
        Command::Journal(command) => command.run(),
        Command::Token(command) => command.run(),
        Command::Units(command) => command.run(),
        Command::Organisations(command) => command.run(),
        Command::Zones(command) => command.run(),
        Command::Audit(command) => command.run(),
        Command::Backup(command) => command.run(),
        Command::Restore(command) => command.run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("muster: {error:#}");
            ExitCode::FAILURE
        }
    }
}
