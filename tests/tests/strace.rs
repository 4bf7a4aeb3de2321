//! A server is watched by `strace` while all its surfaces are loaded: no acknowledgement begins to leave before a sync has
//! ended that covers the entries of what it acknowledges. A server whose disk leaves syncs out is found out.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use journal::{Entry, FolderDisk, Segments};
use model::{Heard, What};
use muster_tests::cover::Trace;
use muster_tests::load::Ledger;
use muster_tests::orders::{Orders, Syncs};
use muster_tests::sources::{Source, Sources, Speech};
use muster_tests::speaker::{Reply, Speaker, Surface};
use muster_tests::trace::{CALLS, Reader};
use muster_tests::victim::Victim;
use server::SystemClock;

const VICTIM: &str = env!("CARGO_BIN_EXE_victim");
/// Acknowledgements of one run, unless `MUSTER_ACKS` says otherwise.
const ACKS: u64 = 2_000;
/// Enough to find out a disk that does not sync.
const ACKS_OF_A_LIAR: u64 = 100;
/// The connections, each with a sender.
const SPEAKERS: [Surface; 7] =
    [Surface::Grpc, Surface::Muster, Surface::Muster, Surface::Jt808, Surface::Jt808, Surface::Http, Surface::Http];

#[test]
fn no_acknowledgement_leaves_before_a_sync_covers_it() {
    let began = Instant::now();
    let acks = std::env::var("MUSTER_ACKS").map_or(ACKS, |text| text.parse().expect("MUSTER_ACKS is a number"));
    let seen = watched(Syncs::Done, acks);
    // Past the harness, which keeps what a test that passes prints to itself.
    let _ = writeln!(std::io::stderr(), "\n{seen:?} in {:.0} s", began.elapsed().as_secs_f64());
    assert!(seen.acks >= acks);
    assert_eq!(seen.uncovered, 0, "{seen:?}");
}

#[test]
fn a_server_whose_disk_leaves_syncs_out_is_found_out() {
    let seen = watched(Syncs::LeftOut, ACKS_OF_A_LIAR);
    assert_eq!(seen.uncovered, seen.acks, "{seen:?}");
}

/// What a trace showed.
#[derive(Debug)]
struct Seen {
    acks: u64,
    uncovered: u64,
    /// The reports in what was acknowledged.
    reports: u64,
    /// The first that was uncovered.
    first: Option<String>,
}

/// Loads a server under `strace` until so many frames are acknowledged, and judges the trace.
fn watched(syncs: Syncs, acks: u64) -> Seen {
    check_strace();
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder for the victim");
    let (data, trace) = (folder.path().join("data"), folder.path().join("trace"));
    let sources = Sources::of(&[(Speech::Muster, 9), (Speech::Jt808, 2), (Speech::Json, 4)]);
    let ledger = Ledger::of(sources.all().len());
    let orders = Orders { syncs, ..Orders::default() };
    let mut command = Command::new("strace");
    command.args(["-f", "--seccomp-bpf", "-yy", "-s", "1048576", "-e", CALLS, "-e", "signal=none", "-o"]).arg(&trace);
    command.arg(VICTIM).arg("serve").arg(&data).args(orders.to_arguments());
    let mut victim = Victim::of(&mut command);
    assert!(victim.wait_for("ready"), "the server does not start under strace");
    let speakers = load(&victim, &sources, &ledger, acks.div_ceil(SPEAKERS.len() as u64));
    let addresses = Surface::ALL.map(|surface| (surface, victim.address(surface.name())));
    victim.stop();
    let end = victim.end();
    assert!(end.status.success(), "{end:?}");
    judge(&trace, &data, &sources, &speakers, &addresses)
}

/// Says what is missing: a test that is skipped proves nothing.
fn check_strace() {
    let run = Command::new("strace").args(["-f", "-e", "trace=none", "true"]).stdin(Stdio::null()).output();
    let output = run.unwrap_or_else(|error| panic!("cannot run strace: {error}. Install it: apt-get install strace"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "strace may not watch a process ({}). Allow ptrace, in a container with --cap-add=SYS_PTRACE",
        said.trim()
    );
}

/// Lets every speaker send so many frames; returns when all are acknowledged.
fn load(victim: &Victim, sources: &Sources, ledger: &Ledger, frames: u64) -> Vec<Speaker> {
    let mut free =
        HashMap::from([Speech::Muster, Speech::Jt808, Speech::Json].map(|speech| (speech, sources.speaking(speech))));
    let mut speakers: Vec<_> = SPEAKERS
        .iter()
        .enumerate()
        .map(|(at, surface)| {
            let count = match surface.speech() {
                Speech::Muster => 3,
                Speech::Jt808 => 1,
                Speech::Json => 2,
            };
            let own = free.get_mut(&surface.speech()).expect("all are there").drain(..count).collect();
            Speaker::to(victim, *surface, &format!("gateway-{at}"), own).expect("the victim listens")
        })
        .collect();
    std::thread::scope(|scope| {
        for speaker in &mut speakers {
            scope.spawn(move || speak(speaker, ledger, frames));
        }
    });
    speakers
}

fn speak(speaker: &mut Speaker, ledger: &Ledger, frames: u64) {
    let (mut sent, mut acknowledged) = (0, 0);
    while acknowledged < frames {
        while sent < frames && sent - acknowledged < speaker.ahead_max() {
            sent = speaker.send(ledger).expect("the victim lives");
        }
        let reply = speaker.reply(ledger).expect("the victim lives");
        assert_eq!(reply, Reply::Acknowledged(acknowledged + 1), "on {:?}", speaker.surface());
        acknowledged += 1;
    }
}

/// Compares the trace with what was sent and with what is in the log.
fn judge(
    trace: &Path,
    data: &Path,
    sources: &Sources,
    speakers: &[Speaker],
    addresses: &[(Surface, SocketAddr)],
) -> Seen {
    let mut read = Trace::of(data);
    let mut reader = Reader::default();
    for line in BufReader::new(File::open(trace).expect("strace wrote a trace")).lines() {
        let line = line.expect("a trace is text");
        let call = reader.take(&line).unwrap_or_else(|line| panic!("this line of the trace is not understood: {line}"));
        call.map_or(Ok(()), |call| read.take(call)).expect("the trace shows records");
    }
    let covered = read.covered().expect("the trace shows a log");
    let sequences = sequences(data, sources);
    let mut seen = Seen { acks: 0, uncovered: 0, reports: 0, first: None };
    for (surface, server) in addresses {
        for (to, acks) in read.acks(*server, *surface) {
            let is_its_own = |speaker: &&Speaker| {
                speaker.surface() == *surface && speaker.address().is_none_or(|address| address == to)
            };
            let Some(speaker) = speakers.iter().find(is_its_own) else { panic!("{to} is nobody's") };
            assert_eq!(acks.len(), speaker.sent().len(), "strace saw every acknowledgement of {surface:?}");
            for ack in acks {
                let reports = &speaker.sent()[&ack.frame];
                let since = |report| sequences.get(report).and_then(|sequence| covered.since(*sequence));
                let is_covered = reports.iter().all(|report| since(report).is_some_and(|since| since < ack.line));
                seen.acks += 1;
                seen.reports += reports.len() as u64;
                if !is_covered {
                    seen.uncovered += 1;
                    seen.first.get_or_insert(format!("{ack:?} of {surface:?} to {to}: {reports:?}"));
                }
            }
        }
    }
    seen
}

/// The sequence of every report in the log.
fn sequences(data: &Path, sources: &Sources) -> HashMap<(Source, u64), u64> {
    let disk = FolderDisk::look_at(data).expect("the folder is there");
    let log = Segments::look_at(std::sync::Arc::new(disk), std::sync::Arc::new(SystemClock::default()));
    let log = log.expect("the log is whole");
    let mut sequences = HashMap::new();
    let read = log.read(log.first(), &mut |sequence, entry| {
        if let Entry::Heard(Heard { what: What::Report(report), .. }) = entry {
            sequences.insert(sources.origin_of(&report).expect("all reports are ours"), sequence.0);
        }
    });
    read.expect("the log can be read");
    sequences
}

/// The line on which a trace in words shows an acknowledgement, beside that from which on its entry is covered.
fn of_words(lines: &[&str]) -> (usize, Option<usize>) {
    let mut trace = Trace::of(Path::new("/data"));
    let mut reader = Reader::default();
    for line in lines {
        if let Some(call) = reader.take(line).expect("it can be read") {
            trace.take(call).expect("it is of a log");
        }
    }
    let server = "127.0.0.1:1".parse().expect("an address");
    let acks = trace.acks(server, Surface::Http);
    (acks[0].1[0].line, trace.covered().expect("there is no hole").since(1))
}

const NAMED: [&str; 2] = [r#"7 rename("/data/spare", "/data/1.segment") = 0"#, "7 fsync(4</data>) = 0"];
/// Entry 1 with a body of eight bytes.
const RECORD: &str =
    r#"7 pwrite64(9</data/1.segment>, "\30\0\0\0aaaa\1\0\0\0\0\0\0\0\100\0\0\0\1\0\0\0bbbbbbbb", 32, 64) = 32"#;
const SYNC: &str = "7 fdatasync(9</data/1.segment>) = 0";
const ACK: &str =
    r#"8 sendto(3<TCP:[127.0.0.1:1->127.0.0.1:2]>, "HTTP/1.1 200 OK\r\n", 17, MSG_NOSIGNAL, NULL, 0) = 17"#;

#[test]
fn an_acknowledgement_is_covered_by_a_sync_that_ended_before_it() {
    let (ack, since) = of_words(&[NAMED[0], NAMED[1], RECORD, SYNC, ACK]);
    assert_eq!((ack, since), (5, Some(4)));
    let resumed = ["7 fdatasync(9</data/1.segment> <unfinished ...>", ACK, "7 <... fdatasync resumed>) = 0"];
    let (ack, since) = of_words(&[NAMED[0], NAMED[1], RECORD, resumed[0], resumed[1], resumed[2]]);
    assert_eq!((ack, since), (5, Some(6)), "a sync covers from its end on");
}

#[test]
fn a_sync_that_failed_or_began_too_early_covers_nothing() {
    let failed = "7 fdatasync(9</data/1.segment>) = -1 EIO (Input/output error)";
    assert_eq!(of_words(&[NAMED[0], NAMED[1], RECORD, failed, ACK]).1, None);
    assert_eq!(of_words(&[NAMED[0], NAMED[1], SYNC, RECORD, ACK]).1, None);
    let of_another = "7 fdatasync(9</data/2.segment>) = 0";
    assert_eq!(of_words(&[NAMED[0], NAMED[1], RECORD, of_another, ACK]).1, None);
    let (early, late) = ("7 fdatasync(9</data/1.segment> <unfinished ...>", "7 <... fdatasync resumed>) = 0");
    let other_thread = RECORD.replacen('7', "8", 1);
    assert_eq!(of_words(&[NAMED[0], NAMED[1], early, &other_thread, late, ACK]).1, None);
}

#[test]
fn a_record_counts_when_the_name_of_its_segment_is_synced() {
    assert_eq!(of_words(&[NAMED[0], RECORD, SYNC, ACK]).1, None);
    assert_eq!(of_words(&[NAMED[0], RECORD, SYNC, ACK, NAMED[1]]).1, Some(5));
}
