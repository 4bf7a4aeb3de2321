//! While stored state is being rebuilt, nothing answers from half of it.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::mpsc::channel;

use journal::{Enrolment, Entry, Segments};
use model::{Clock, Disk, Timestamp, Unit, UnitHandle, UnitName};
use server::Server;
use server::config::{Config, Data};
use testkit::{ManualClock, SimDisk};

/// A disk on which a server that was killed has enrolled `car-7`, without a mark that its last record was synced.
fn left_by_a_killed_server() -> SimDisk {
    let disk = SimDisk::new(1);
    let now = Timestamp::from_rfc3339("2026-11-23T06:00:00Z").unwrap();
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(now));
    let mut log = Segments::open(Arc::new(disk.clone()), clock).unwrap();
    log.reserve(1 << 20).unwrap();
    let unit = Unit::named(UnitName::new("car-7").unwrap());
    log.append(&[Entry::Enrol(Enrolment { handle: UnitHandle(0), unit, devices: Vec::new() })]).unwrap();
    log.sync().unwrap();
    disk.kill()
}

fn ask(address: SocketAddr, path: &str) -> u16 {
    let agent = ureq::Agent::new_with_config(ureq::Agent::config_builder().http_status_as_error(false).build());
    agent.get(format!("http://{address}{path}")).call().unwrap().status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_answered_from_half_a_state() {
    let disk = left_by_a_killed_server();
    let (stalled, is_stalled) = channel();
    let (go_on, gone_on) = channel::<()>();
    disk.stall_next_sync(Box::new(move || {
        stalled.send(()).unwrap();
        let _ = gone_on.recv();
    }));
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = Config { http: free, grpc: None, data: Data::Off, ..Config::default() };
    let disk: Arc<dyn Disk> = Arc::new(disk);
    let starting = tokio::spawn(async move { Server::start_on(&config, Some(disk)).await });
    let asked = tokio::task::spawn_blocking(move || {
        is_stalled.recv().unwrap();
        ["/healthz", "/readyz", "/v1/units/car-7", "/v1/nearest?lat=1&lon=1", "/metrics"].map(|path| ask(free, path))
    });
    assert_eq!(asked.await.unwrap(), [200, 503, 503, 503, 503]);
    go_on.send(()).unwrap();
    let server = starting.await.unwrap().unwrap();
    let asked = tokio::task::spawn_blocking(move || ["/readyz", "/v1/units/car-7"].map(|path| ask(free, path)));
    assert_eq!(asked.await.unwrap(), [200, 200]);
    server.stop().await;
}
