mod fixture;
mod log_on;

use std::cell::Cell;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use model::{Principal, UnitKind};
use server::Server;
use server::config::{Config, Data, Listen, LogOnRule};
use simulate::{Forces, Plan, Target};
use store::{By, Store};
use tokio::sync::Notify;

use self::fixture::Loaded;
use self::log_on::{Guest, Login};
use crate::query::{ask, print_nearest};
use crate::serve::{runtime, stop_signal};
use crate::simulate::{duration, print_tally};

/// The old centre: Chaoyang Square.
const FIRST_QUESTION: (f64, f64) = (22.817, 108.316);
/// How often the demo says how it goes.
const SAY_EVERY: Duration = Duration::from_secs(2);
/// The first answer is asked for when most devices have reported.
const FIRST_ANSWER_AFTER: Duration = Duration::from_secs(8);
/// How long the demo's token holds.
const TOKEN_LIFE: Duration = Duration::from_secs(24 * 3_600);

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
    /// Let everybody log on, and ask as somebody who does not see everything
    #[arg(long, value_name = "WHO")]
    login: Option<Login>,
}

impl Demo {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        runtime(Some(server::config::ContractConfig::default().threads()))?.block_on(self.play())
    }

    async fn play(self) -> anyhow::Result<()> {
        println!("Building the city (seed {}) ...", self.seed);
        let units = self.units.unwrap_or(simulate::UNITS);
        let forces = Arc::new(Forces::new(self.seed, units));
        let folder = tempfile::Builder::new().prefix("muster-demo-").tempdir()?;
        let (loaded, token) = self.load(folder.path(), &forces)?;
        let server = Server::start(&self.config(folder.path())?).await?;
        // There are too many of them to write each down: they are on the map only.
        for (unit, devices) in forces.roster().filter(|(unit, _)| unit.kind == UnitKind::Community) {
            server.enrol(unit, &devices)?;
        }
        let map = format!("http://{}", server.addresses().http);
        println!("{}.", loaded.said());
        println!("{} units with {} devices are on the roster and move.\n", forces.units(), forces.devices());
        println!("    The map:  {map}\n");
        let questions = Questions {
            has_asked: Cell::new(false),
            guest: token.map(|(principal, token)| {
                println!("    Log on as {} of {}:  {map}/#token={token}\n", principal.role, office(&principal));
                Guest::new(principal, token, map.clone(), &loaded)
            }),
            map,
        };
        println!(
            "Reports are stored before they are acknowledged, in {} until the demo ends.\n",
            folder.path().display()
        );
        let targets = server.addresses().listen.iter().map(|one| one.to_string().parse::<Target>());
        let now = model::Clock::now(&server::SystemClock::default());
        let targets = targets.collect::<Result<Vec<_>, _>>()?;
        let plan = Plan { units, seed: self.seed, duration: self.duration, ..Plan::new(targets, now) };
        let stopped = stop_signal()?;
        let city = simulate::run_with(&plan, Arc::clone(&forces), async { drop(stopped.await) }, |_| {});
        let ended = Notify::new();
        let until_it_ends = async {
            let tally = city.await?;
            ended.notify_one();
            Ok(tally)
        };
        let (tally, ()) = tokio::try_join!(until_it_ends, questions.watch(&server, &ended))?;
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

    fn config(&self, folder: &Path) -> anyhow::Result<Config> {
        let any = |protocol: &str| format!("{protocol}=tcp://127.0.0.1:0").parse();
        let listen = ["jt808", "nmea", "taip", "muster"].into_iter().map(|protocol| any(protocol).map(Listen::at));
        Ok(Config {
            http: self.http,
            grpc: None,
            listen: listen.collect::<Result<_, _>>()?,
            data: Data::Folder(folder.to_owned()),
            log_on: if self.login.is_some() { LogOnRule::Required } else { LogOnRule::Off },
            ..Config::default()
        })
    }

    /// Fills the store before the server starts on it, and makes the token of who is to log on.
    fn load(&self, folder: &Path, forces: &Forces) -> anyhow::Result<(Loaded, Option<(Principal, String)>)> {
        let store = Store::open(folder)?;
        let now = model::Clock::now(&server::SystemClock::default());
        let by = By { principal: &Principal::local(), now, reason: Some("demo") };
        let loaded = fixture::load(&store, &by, forces)?;
        let token = self.login.map(Login::principal).map(|principal| {
            let token = store.create_token(&by, &principal, now.after(TOKEN_LIFE))?;
            anyhow::Ok((principal, token))
        });
        Ok((loaded, token.transpose()?))
    }
}

fn office(principal: &Principal) -> &str {
    principal.organisation.as_ref().map_or("all", |name| name.as_str())
}

/// What the demo asks its server, once.
struct Questions {
    has_asked: Cell<bool>,
    guest: Option<Guest>,
    map: String,
}

impl Questions {
    /// Says how it goes until the city has ended, and asks once.
    async fn watch(&self, server: &Server, ended: &Notify) -> anyhow::Result<()> {
        let started = tokio::time::Instant::now();
        let mut tick = tokio::time::interval(SAY_EVERY);
        tick.tick().await;
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                // A short run, or a busy machine, may not have come to it.
                () = ended.notified() => return self.ask_once().await,
            }
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
            if started.elapsed() >= FIRST_ANSWER_AFTER {
                self.ask_once().await?;
            }
        }
    }

    async fn ask_once(&self) -> anyhow::Result<()> {
        if self.has_asked.replace(true) {
            return Ok(());
        }
        if let Some(guest) = self.guest.clone() {
            return tokio::task::spawn_blocking(move || guest.ask()).await?;
        }
        let ((lat, lon), map) = (FIRST_QUESTION, &self.map);
        let url = format!("{map}/v1/nearest?lat={lat}&lon={lon}&k=5");
        println!("\nWho is nearest to Chaoyang Square ({lat}, {lon})?   GET {url}");
        print_nearest(&tokio::task::spawn_blocking(move || ask(&url)).await??);
        println!();
        Ok(())
    }
}
