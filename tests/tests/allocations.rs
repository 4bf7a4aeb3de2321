//! A report costs no allocation on its way from the socket to its slot: a batch costs a few, whatever it holds.

use std::alloc::System;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use prost::Message as _;
use server::Server;
use server::config::{Config, Data, Listen};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use wire::proto::{ColumnarBatch, GatewayUp, gateway_up};

/// Counts what all threads of this program allocate, the client's too: it allocates nothing while it is counted.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const REPORTS: usize = 1_000;
/// Batches that make everything known and grow every buffer to its size.
const FIRST: u64 = 50;
const COUNTED: u64 = 200;
/// Most allocations of one batch: its settlement, its answer, its place in a queue, and what the runtime needs.
const ALLOCATIONS_MAX: usize = 40;

fn frame(batch_sequence: u64) -> Vec<u8> {
    let is_first = batch_sequence == 1;
    let first = |value: i64| std::iter::once(value).chain(std::iter::repeat_n(0, REPORTS - 1));
    let columns = ColumnarBatch {
        batch_sequence,
        new_devices: (0..if is_first { REPORTS } else { 0 }).map(|device| format!("test:{device}")).collect(),
        device_index: (0..REPORTS as u32).collect(),
        time_ms_delta: first(1_704_067_200_000 + 1_000 * batch_sequence as i64).collect(),
        lat_e7_delta: (0..REPORTS).map(|at| if at == 0 { 228_000_000 } else { 100 }).collect(),
        lon_e7_delta: (0..REPORTS).map(|at| if at == 0 { 1_083_000_000 + batch_sequence as i32 } else { 10 }).collect(),
        speed_cmps: vec![100; REPORTS],
        ..ColumnarBatch::default()
    };
    let payload = Some(gateway_up::Payload::Columns(columns));
    GatewayUp { gateway: "test".into(), payload }.encode_length_delimited_to_vec()
}

/// Sends a batch and reads its acknowledgement, which refuses nothing and so has the length that it must have.
fn exchange(stream: &mut TcpStream, frame: &[u8], batch_sequence: u64) {
    stream.write_all(frame).unwrap();
    let mut answer = [0; 16];
    let ack = &mut answer[..if batch_sequence < 128 { 5 } else { 6 }];
    stream.read_exact(ack).unwrap();
    let low = batch_sequence as u8 & 0x7F;
    let expected: &[u8] = if batch_sequence < 128 {
        &[4, 10, 2, 8, low]
    } else {
        &[5, 10, 3, 8, low | 0x80, (batch_sequence >> 7) as u8]
    };
    assert_eq!(ack, expected, "batch {batch_sequence} is settled and nothing of it refused");
}

fn allocations_per_batch(data: Data) -> usize {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let config = Config {
        http: SocketAddr::from(([127, 0, 0, 1], 0)),
        grpc: None,
        listen: vec![Listen::at("muster=tcp://127.0.0.1:0".parse().unwrap())],
        admit_unknown: true,
        data,
        ..Config::default()
    };
    let server = runtime.block_on(Server::start(&config)).unwrap();
    let mut stream = TcpStream::connect(server.addresses().listen[0].address).unwrap();
    let frames: Vec<_> = (1..=FIRST + COUNTED).map(frame).collect();
    for (sequence, frame) in (1..).zip(&frames[..FIRST as usize]) {
        exchange(&mut stream, frame, sequence);
    }
    let region = Region::new(ALLOCATOR);
    for (sequence, frame) in (FIRST + 1..).zip(&frames[FIRST as usize..]) {
        exchange(&mut stream, frame, sequence);
    }
    let change = region.change();
    runtime.block_on(server.stop());
    (change.allocations + change.reallocations) / COUNTED as usize
}

/// One test, since everything that runs beside it is counted.
#[test]
fn a_batch_costs_a_few_allocations_and_its_reports_none() {
    let without = allocations_per_batch(Data::Off);
    let folder = tempfile::tempdir().unwrap();
    let with = allocations_per_batch(Data::Folder(folder.path().to_owned()));
    println!("allocations of a batch of {REPORTS} reports: {without} without a journal, {with} with one");
    assert!(without <= ALLOCATIONS_MAX, "{without} allocations without a journal");
    assert!(with <= ALLOCATIONS_MAX, "{with} allocations with a journal");
}
