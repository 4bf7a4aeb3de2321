//! The load generator against a server of the test's own on loopback.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use prost::Message as _;
use simulate::load::{Class, Fleet, LoadError, LoadPlan, Mix, Schedule, introduce, run_load};
use wire::proto::{Ack, GatewayDown, GatewayUp, Refused, gateway_down, gateway_up};

/// Takes one connection and acknowledges nothing before `stall` batches have come, then all of them, and each at once from
/// then on; every acknowledgement names one refused report. Gives the number of batches at the end.
fn stalling_server(stall: usize) -> (SocketAddr, JoinHandle<usize>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let serve = move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut inbox, mut bytes, mut waiting, mut heard) = (Vec::new(), [0; 4_096], Vec::new(), 0);
        loop {
            let count = stream.read(&mut bytes).unwrap();
            if count == 0 {
                return heard;
            }
            inbox.extend_from_slice(&bytes[..count]);
            while let Ok(length) = prost::decode_length_delimiter(&inbox[..]) {
                let whole = prost::length_delimiter_len(length) + length;
                if inbox.len() < whole {
                    break;
                }
                let up = GatewayUp::decode(&inbox[whole - length..whole]).unwrap();
                inbox.drain(..whole);
                let Some(gateway_up::Payload::Columns(batch)) = up.payload else { panic!("a batch: {up:?}") };
                waiting.push(batch.batch_sequence);
                heard += 1;
            }
            if heard >= stall {
                for batch_sequence in waiting.drain(..) {
                    let ack = Ack { batch_sequence, refused: vec![Refused::default()] };
                    let down = GatewayDown { payload: Some(gateway_down::Payload::Ack(ack)) };
                    stream.write_all(&down.encode_length_delimited_to_vec()).unwrap();
                }
            }
        }
    };
    (address, std::thread::spawn(serve))
}

fn plan(reports_to: SocketAddr, report_rate: f64) -> LoadPlan {
    LoadPlan {
        reports_to: Some(reports_to),
        grpc: None,
        http: None,
        report_rate,
        query_rate: 0.0,
        mix: Mix::default(),
        batch: 1,
        seed: 7,
        warm_up: Duration::ZERO,
        measured: Duration::from_secs(1),
    }
}

/// The first batch is acknowledged when the thirtieth has come, which is not before it was planned: the latency of the
/// first is at least the time between the two plans. All go out at their time although none is acknowledged.
#[test]
fn a_server_that_stalls_is_charged_from_the_planned_times() {
    const STALL: usize = 30;
    let (address, server) = stalling_server(STALL);
    let plan = plan(address, 100.0);
    let result = run_load(&plan, &Arc::new(Fleet::new(1, 1)), |_| ()).unwrap();
    let planned: Vec<_> = Schedule::new(7, 100.0).map(|due| due.at).take_while(|at| *at < plan.measured).collect();
    let record = &result.classes[0];
    assert_eq!((record.class, record.planned), (Class::Reports, planned.len() as u64));
    assert_eq!((record.answered, record.refused_reports), (record.planned, record.planned));
    assert_eq!((record.unanswered(), record.failed, record.not_sent), (0, 0, 0));
    let stall_us = (planned[STALL - 1] - planned[0]).as_micros() as u64;
    assert!(record.latency_us.max() >= stall_us, "{} of {stall_us}", record.latency_us.max());
    let slow = record.latency_us.iter_recorded().filter(|one| one.value_iterated_to() > stall_us / 4).count();
    assert!(slow > STALL / 2, "not only one batch is charged: {slow}");
    assert_eq!(result.threads[0].lag_us.len(), record.planned);
    drop(result);
    assert_eq!(server.join().unwrap(), planned.len());
}

#[test]
fn what_is_never_acknowledged_is_unanswered() {
    let (address, server) = stalling_server(usize::MAX);
    let result = run_load(&plan(address, 20.0), &Arc::new(Fleet::new(1, 1)), |_| ()).unwrap();
    let record = &result.classes[0];
    assert!(record.planned > 0);
    assert_eq!((record.answered, record.unanswered()), (0, record.planned));
    assert_eq!(record.within_us(0.5), None);
    server.join().unwrap();
}

#[test]
fn introducing_a_fleet_counts_what_is_refused() {
    let (address, server) = stalling_server(1);
    assert_eq!(introduce(address, &Fleet::new(1, 2_500)).unwrap(), 3);
    assert_eq!(server.join().unwrap(), 3, "2,500 units are three batches");
}

#[test]
fn nobody_listening_is_an_error_that_names_the_address() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    // The other thread must not wait for the one that failed.
    let both = LoadPlan {
        query_rate: 10.0,
        http: Some(address),
        mix: "nearest-http=1".parse().unwrap(),
        ..plan(address, 10.0)
    };
    let error = run_load(&both, &Arc::new(Fleet::new(1, 1)), |_| ()).unwrap_err();
    assert!(matches!(error, LoadError::Socket { .. }) && error.to_string().contains(&address.to_string()), "{error}");
    let no_grpc = LoadPlan { report_rate: 0.0, query_rate: 10.0, ..plan(address, 0.0) };
    let error = run_load(&no_grpc, &Arc::new(Fleet::new(1, 1)), |_| ()).unwrap_err();
    assert_eq!(error.to_string(), "nearest needs the server's gRPC");
}
