use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use server::Server;
use server::config::{Config, Data, ListenSetting, Origin, Settings};
use tokio::signal::unix::{SignalKind, signal};

/// Take in frames and answer questions until stopped (Ctrl-C or SIGTERM)
#[derive(Args)]
#[command(after_help = "Settings: defaults, then --config, then MUSTER_... variables, then flags.\n\
    Keys of the file for queries: nearest_objective_ms (5), nearest_deadline_ms (100), within_objective_ms (10),\n\
    within_deadline_ms (250), query_seats (searches at once; one a core).\n\
    For ingestion: shards (writers, each of its part of the units; 1), connections_max, journal_segment_mib, journal_group_us.\n\
    Keys for log-on: log_on (off, or required), requests_per_s (of one principal; 2000), border_strip_m (2000), jwt_jwks, jwt_issuer, jwt_audience.\n\
    Tables for devices: [[listener]] with protocol, transport, address, networks (as 10.0.0.0/8), devices (as jt808:139*), insecure;\n\
    beyond loopback a device format needs networks, and unknown devices are refused there, or insecure = true.\n\
    device_rate (fixes a second of a device; 20 beyond loopback, else no limit), device_burst (200),\n\
    jt808_auth (checked, or off): whether a terminal must show the code that its registration gave it.\n\
    Keys for TLS: tls_certificate, tls_key, tls_client_ca, tls_client_crl, tls_client_names,\n\
    tls_client_devices (patterns of devices by name).\n\n\
    Example:  muster serve --listen jt808=tcp://127.0.0.1:6808 --admit-unknown")]
pub(crate) struct Serve {
    /// Configuration file (TOML)
    #[arg(long, env = "MUSTER_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// HTTP and the page [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDR")]
    http: Option<String>,
    /// gRPC, or `off` [default: 127.0.0.1:8081]
    #[arg(long, value_name = "ADDR")]
    grpc: Option<String>,
    /// Listen for devices, as in jt808=tcp://127.0.0.1:6808; protocols: muster, jt808, nmea, taip
    #[arg(long, value_name = "PROTOCOL=tcp|udp://ADDR")]
    listen: Vec<String>,
    /// Folder of the journal, or `off`: nothing is stored, a restart starts empty [default: muster-data]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Make a unit of each unknown device (demo and loopback)
    #[arg(long)]
    admit_unknown: bool,
    /// Units to enrol at the start (JSON)
    #[arg(long, value_name = "FILE")]
    units_file: Option<PathBuf>,
    /// Bind beyond loopback without encryption and tokens
    #[arg(long)]
    insecure: bool,
}

impl Serve {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let config = self.config()?;
        // More threads than searches at once: sockets are read while every seat is taken.
        runtime(Some(config.contract.threads()))?.block_on(async {
            // From the beginning: whoever finds the server ready may stop it at once.
            let mut stopped = std::pin::pin!(stop_signal()?);
            let server = tokio::select! {
                started = Server::start(&config) => started?,
                done = &mut stopped => {
                    done?;
                    println!("stopped before it was ready: nothing was taken");
                    // What is being read is only read; nobody needs to wait for its end.
                    std::process::exit(0);
                }
            };
            let addresses = server.addresses();
            let scheme = if config.tls.is_on() { "https" } else { "http" };
            println!("map and HTTP   {scheme}://{}", addresses.http);
            if let Some(grpc) = addresses.grpc {
                println!("gRPC           {scheme}://{grpc}");
            }
            addresses.listen.iter().for_each(|listen| println!("devices        {listen}"));
            if addresses.listen.is_empty() {
                println!("devices        none: add --listen jt808=tcp://127.0.0.1:6808");
            }
            match &config.data {
                Data::Folder(folder) => println!("journal        {}", folder.display()),
                Data::Off => println!("journal        off: acknowledged means applied, a restart starts empty"),
            }
            if let Some(token) = server.one_time_token() {
                println!(
                    "log-on         required; this one-time token makes the first administrator, within 24 hours:"
                );
                println!("               {token}");
                println!("               POST /v1/tokens {{\"principal\": \"NAME\", \"role\": \"administrator\"}}");
            }
            println!("ready");
            stopped.await?;
            println!("stopping: what is in the queue is applied and answered");
            server.stop().await;
            anyhow::Ok(())
        })
    }

    fn config(self) -> anyhow::Result<Config> {
        let mut config = Config::default();
        if let Some(path) = &self.config {
            config = config.lay(Settings::of_file(path)?, &Origin::File(path.clone()))?;
        }
        config = config.lay(Settings::of_environment(std::env::vars())?, &Origin::Environment)?;
        let flags = Settings {
            http: self.http,
            grpc: self.grpc,
            listen: self.listen.into_iter().map(ListenSetting::Address).collect(),
            admit_unknown: self.admit_unknown.then_some(true),
            insecure: self.insecure.then_some(true),
            units_file: self.units_file,
            data: self.data,
            ..Settings::default()
        };
        Ok(config.lay(flags, &Origin::Flag)?)
    }
}

/// With so many threads, or one a core.
pub(crate) fn runtime(threads: Option<usize>) -> anyhow::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = threads {
        builder.worker_threads(threads);
    }
    builder.enable_all().build().context("the runtime does not start")
}

/// What is returned ends with Ctrl-C or SIGTERM, heard from the call on.
pub(crate) fn stop_signal() -> anyhow::Result<impl Future<Output = anyhow::Result<()>>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => Ok(()),
            _ = terminate.recv() => Ok(()),
        }
    })
}
