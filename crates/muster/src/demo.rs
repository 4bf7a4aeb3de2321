use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use server::Server;
use server::config::{Config, Data, Listen};
use simulate::{Forces, Plan, Target};

use crate::query::{ask, print_nearest};
use crate::serve::{runtime, stop_signal};
use crate::simulate::{duration, print_tally};

/// The old centre: Chaoyang Square.
const FIRST_QUESTION: (f64, f64) = (22.817, 108.316);
/// How often the demo says how it goes.
const SAY_EVERY: Duration = Duration::from_secs(2);
/// The first answer is asked for when most devices have reported.
const FIRST_ANSWER_AFTER: Duration = Duration::from_secs(8);

/// Server and simulated city in one process; prints the map's address
#[derive(Args)]
#[command(after_help = "Everything stays on this machine. Ends with --duration or Ctrl-C.")]
pub(crate) struct Demo {
    /// Units in all, forces in proportion [default: the whole city, 35,045]
    #[arg(long)]
    units: Option<usize>,
    /// HTTP and the map
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    http: SocketAddr,
    /// The same seed gives the same city and the same day
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// How long, as in 20s [default: until stopped]
    #[arg(long, value_parser = duration)]
    duration: Option<Duration>,
}

impl Demo {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        runtime(Some(server::config::ContractConfig::default().threads()))?.block_on(self.play())
    }

    async fn play(self) -> anyhow::Result<()> {
        println!("Building the city (seed {}) ...", self.seed);
        let units = self.units.unwrap_or(simulate::UNITS);
        let forces = Arc::new(Forces::new(self.seed, units));
        let any = |protocol: &str| format!("{protocol}=tcp://127.0.0.1:0").parse();
        let listen = ["jt808", "nmea", "taip", "muster"]
            .into_iter()
            .map(|protocol| any(protocol).map(|address| Listen { address, insecure: false }));
        let folder = tempfile::Builder::new().prefix("muster-demo-").tempdir()?;
        let config = Config {
            http: self.http,
            grpc: None,
            listen: listen.collect::<Result<_, _>>()?,
            data: Data::Folder(folder.path().to_owned()),
            ..Config::default()
        };
        let server = Server::start(&config).await?;
        for (unit, devices) in forces.roster() {
            server.enrol(unit, &devices)?;
        }
        let map = format!("http://{}", server.addresses().http);
        println!("{} units with {} devices are on the roster.\n", forces.units(), forces.devices());
        println!("    The map:  {map}\n");
        println!(
            "Reports are stored before they are acknowledged, in {} until the demo ends.\n",
            folder.path().display()
        );
        let targets = server.addresses().listen.iter().map(|one| one.to_string().parse::<Target>());
        let now = model::Clock::now(&server::SystemClock::default());
        let targets = targets.collect::<Result<Vec<_>, _>>()?;
        let plan = Plan { units, seed: self.seed, duration: self.duration, ..Plan::new(targets, now) };
        let city = simulate::run_with(&plan, Arc::clone(&forces), async { drop(stop_signal().await) }, |_| {});
        let watched = watch(&server, &map);
        let tally = tokio::select! {
            tally = city => tally?,
            error = watched => return error,
        };
        println!("\nThe city has stopped. What its devices sent:");
        print_tally(&tally);
        let outcomes = server.outcomes().into_iter().filter(|(_, reports)| *reports > 0);
        let outcomes: Vec<_> =
            outcomes.map(|(outcome, reports)| format!("{reports} {}", outcome.replace('_', " "))).collect();
        println!("What the server made of them: {}.", outcomes.join(", "));
        println!("(An NMEA modem says each place twice, in RMC and GGA: the second is the duplicate.)");
        server.stop().await;
        Ok(())
    }
}

/// Says how it goes, and asks once; ends only with an error.
async fn watch(server: &Server, map: &str) -> anyhow::Result<()> {
    let started = tokio::time::Instant::now();
    let mut has_asked = false;
    let mut tick = tokio::time::interval(SAY_EVERY);
    tick.tick().await;
    loop {
        tick.tick().await;
        let figures = server.figures();
        let age = |seconds: Option<f64>| seconds.map_or("-".into(), |seconds| format!("{seconds:.1} s"));
        println!(
            "{:>4} s  {:>8.0} reports/s  {:>6} of {} units located  age of fixes p50 {} p99 {}  {} emergencies",
            started.elapsed().as_secs(),
            figures.reports_per_s,
            figures.located,
            figures.units,
            age(figures.fix_age_p50_s),
            age(figures.fix_age_p99_s),
            figures.emergencies,
        );
        if !has_asked && started.elapsed() >= FIRST_ANSWER_AFTER {
            has_asked = true;
            let (lat, lon) = FIRST_QUESTION;
            println!(
                "\nWho is nearest to Chaoyang Square ({lat}, {lon})?   GET {map}/v1/nearest?lat={lat}&lon={lon}&k=5"
            );
            let url = format!("{map}/v1/nearest?lat={lat}&lon={lon}&k=5");
            print_nearest(&tokio::task::spawn_blocking(move || ask(&url)).await??);
            println!();
        }
    }
}
