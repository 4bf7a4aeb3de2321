//! What this machine can do at all, measured beside each run: nothing over sockets and disk is faster than these.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use simulate::load::latencies;

use super::report::{thousandths, us};

/// How long each floor is measured.
const EACH: Duration = Duration::from_millis(400);
/// A nearest question and its answer of ten units, as bytes on the wire.
const QUESTION_BYTES: usize = 40;
const ANSWER_BYTES: usize = 1_600;
/// Bytes of a report in a columnar batch, and of an acknowledgement.
const REPORT_BYTES: usize = 17;
const ACK_BYTES: usize = 8;
const COPY_BYTES: usize = 64 << 20;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Floors {
    /// A question and an answer between two threads that do nothing else.
    pub(crate) question: RoundTrip,
    /// A batch and an acknowledgement.
    pub(crate) batch: RoundTrip,
    /// Batches written by one thread and thrown away by another, as reports a second.
    pub(crate) receive_reports_per_s: f64,
    /// Memory copied by one thread, in 1e9 bytes a second.
    pub(crate) copy_gb_per_s: f64,
    /// One batch written and synced to the journal's disk.
    pub(crate) sync: Option<Sync>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct RoundTrip {
    pub(crate) up_bytes: usize,
    pub(crate) down_bytes: usize,
    pub(crate) p50_us: u64,
    pub(crate) p99_us: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sync {
    pub(crate) folder: String,
    pub(crate) bytes: usize,
    pub(crate) p50_us: u64,
    pub(crate) p99_us: u64,
}

impl Floors {
    /// Measures all of them, in about two seconds. The sync in `folder`, where the journal is.
    ///
    /// # Errors
    /// A socket or the folder does not work.
    pub(crate) fn measure(batch: usize, folder: Option<&Path>) -> anyhow::Result<Self> {
        let batch_bytes = batch * REPORT_BYTES;
        Ok(Self {
            question: round_trip(QUESTION_BYTES, ANSWER_BYTES)?,
            batch: round_trip(batch_bytes, ACK_BYTES)?,
            receive_reports_per_s: (receive_bytes_per_s(batch_bytes)? / REPORT_BYTES as f64).round(),
            copy_gb_per_s: thousandths(copy_bytes_per_s() / 1e9),
            sync: folder.map(|folder| sync(folder, batch_bytes)).transpose()?,
        })
    }
}

fn pair() -> anyhow::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no loopback socket for the floors")?;
    let near = TcpStream::connect(listener.local_addr()?)?;
    let (far, _) = listener.accept()?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    Ok((near, far))
}

fn round_trip(up_bytes: usize, down_bytes: usize) -> anyhow::Result<RoundTrip> {
    let (mut near, mut far) = pair()?;
    // It ends when the near side is closed.
    let echo = std::thread::spawn(move || {
        let (mut up, down) = (vec![0; up_bytes], vec![0; down_bytes]);
        while far.read_exact(&mut up).is_ok() && far.write_all(&down).is_ok() {}
    });
    let (up, mut down, mut times) = (vec![0; up_bytes], vec![0; down_bytes], latencies());
    let began = Instant::now();
    while began.elapsed() < EACH {
        let sent = Instant::now();
        near.write_all(&up)?;
        near.read_exact(&mut down)?;
        times.saturating_record(us(sent.elapsed()));
    }
    drop(near);
    let _ = echo.join();
    let (p50_us, p99_us) = middle_and_tail(&times);
    Ok(RoundTrip { up_bytes, down_bytes, p50_us, p99_us })
}

fn middle_and_tail(times: &Histogram<u64>) -> (u64, u64) {
    (times.value_at_quantile(0.5), times.value_at_quantile(0.99))
}

fn receive_bytes_per_s(write_bytes: usize) -> anyhow::Result<f64> {
    let (mut near, mut far) = pair()?;
    let writer = std::thread::spawn(move || {
        let bytes = vec![0; write_bytes];
        while near.write_all(&bytes).is_ok() {}
    });
    let (mut bytes, mut received) = (vec![0; 256 << 10], 0);
    let began = Instant::now();
    while began.elapsed() < EACH {
        received += far.read(&mut bytes)?;
    }
    let rate = received as f64 / began.elapsed().as_secs_f64();
    drop(far);
    let _ = writer.join();
    Ok(rate)
}

fn copy_bytes_per_s() -> f64 {
    let (from, mut to) = (vec![1u8; COPY_BYTES], vec![0u8; COPY_BYTES]);
    let (began, mut copied) = (Instant::now(), 0);
    while began.elapsed() < EACH {
        to.copy_from_slice(std::hint::black_box(&from));
        copied += std::hint::black_box(&to).len();
    }
    copied as f64 / began.elapsed().as_secs_f64()
}

fn sync(folder: &Path, bytes: usize) -> anyhow::Result<Sync> {
    let context = || format!("the floor of syncs cannot be measured in {}", folder.display());
    let mut file = tempfile::tempfile_in(folder).with_context(context)?;
    let (content, mut times, began) = (vec![0; bytes], latencies(), Instant::now());
    while began.elapsed() < EACH || times.is_empty() {
        let sent = Instant::now();
        file.write_all(&content).and_then(|()| file.sync_data()).with_context(context)?;
        times.saturating_record(us(sent.elapsed()));
    }
    let (p50_us, p99_us) = middle_and_tail(&times);
    Ok(Sync { folder: folder.display().to_string(), bytes, p50_us, p99_us })
}
