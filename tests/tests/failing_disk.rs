//! Disks that fail, fill up and stall under a server: what it answers on each surface, what it shows, and what is left.

use std::collections::HashSet;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use engine::OnJournalFailure;
use journal::Entry;
use model::{Heard, What};
use muster_tests::check::check;
use muster_tests::grpc;
use muster_tests::http::Asker;
use muster_tests::load::Ledger;
use muster_tests::orders::Orders;
use muster_tests::sources::{Source, Sources, Speech};
use muster_tests::speaker::{Reply, Speaker, Surface};
use muster_tests::victim::Victim;
use wire::proto;

const VICTIM: &str = env!("CARGO_BIN_EXE_victim");
/// The calls from which on a disk fails in one run, unless `MUSTER_ERRORS` says up to which.
const CALLS: [u64; 14] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 20, 21, 50, 101, 150];
/// The device gave an error (EIO).
const ERROR: i32 = 5;
/// The flag of a place that the journal does not hold.
const NOT_STORED: &str = "not_stored";

/// All that speaks to a victim in one life.
struct Party {
    sources: Sources,
    ledger: Ledger,
    speakers: Vec<Speaker>,
    asker: Asker,
    /// What was acknowledged on connections that have ended.
    acknowledged: Vec<(Source, u64)>,
}

impl Party {
    /// One speaker a surface with so many devices each; a terminal has one.
    fn at(victim: &Victim, sources: &Sources) -> Vec<Speaker> {
        let muster = sources.speaking(Speech::Muster);
        let (grpc, tcp) = muster.split_at(muster.len() / 2);
        let own = |surface| match surface {
            Surface::Grpc => grpc.to_vec(),
            Surface::Muster => tcp.to_vec(),
            Surface::Jt808 | Surface::Http => sources.speaking(surface.speech()),
        };
        let speaker = |surface: Surface| Speaker::to(victim, surface, surface.name(), own(surface));
        Surface::ALL.map(|surface| speaker(surface).expect("the victim listens")).into()
    }

    fn of(victim: &Victim, devices: usize) -> Self {
        let sources = Sources::of(&[(Speech::Muster, 2 * devices), (Speech::Jt808, 1), (Speech::Json, devices)]);
        let ledger = Ledger::of(sources.all().len());
        let speakers = Self::at(victim, &sources);
        Self { sources, ledger, speakers, asker: Asker::of(victim.address("http")), acknowledged: Vec::new() }
    }

    /// Every speaker sends until it is refused for this reason; what it was told from then on.
    fn speak_until_refused(&mut self, reason: &str) -> Vec<(Surface, Vec<Said>)> {
        let Self { speakers, ledger, .. } = self;
        let ledger = &*ledger;
        std::thread::scope(|scope| {
            let until_refused = |speaker| scope.spawn(move || until_refused(speaker, ledger, reason));
            let all: Vec<_> = speakers.iter_mut().map(until_refused).collect();
            all.into_iter().map(|one| one.join().expect("it is answered")).collect()
        })
    }

    /// Every speaker sends one frame; what each was told.
    fn speak_once(&mut self, reason: &str) -> Vec<Said> {
        let Self { speakers, ledger, .. } = self;
        let once = |speaker: &mut Speaker| {
            send(speaker, ledger);
            said(speaker, ledger, reason)
        };
        speakers.iter_mut().map(once).collect()
    }

    /// The connections end; who speaks next goes on after what was acknowledged.
    fn reconnect(&mut self, victim: &Victim) {
        self.ledger.go_back();
        self.acknowledged.extend(self.speakers.iter().flat_map(Speaker::acknowledged));
        self.speakers = Self::at(victim, &self.sources);
        self.asker = Asker::of(victim.address("http"));
    }

    /// The words after `alarm: ` in `/readyz`.
    fn alarms(&self) -> Vec<String> {
        let answer = self.asker.ask("/readyz").expect("the victim answers");
        assert_eq!(answer.status, 200, "{answer:?}");
        let words: Vec<_> =
            answer.text.lines().filter_map(|line| line.strip_prefix("alarm: ")).map(str::to_owned).collect();
        assert_eq!(answer.alarms, words, "the header and the body say the same");
        words
    }

    /// Whether the last report that each speaker sent is on the map, and whether as stored.
    fn shown(&self, is_stored: bool) -> bool {
        self.speakers.iter().all(|speaker| {
            let (source, number) = speaker.sent().values().next_back().expect("something was sent")[0];
            let answer = self.asker.ask(&format!("/v1/units/{}", source.device())).expect("the victim answers");
            let (unit, place) = (answer.json(), source.place(number));
            let expected = serde_json::json!([place.lon_deg(), place.lat_deg()]);
            let is_shown = unit["geometry"]["coordinates"] == expected && unit["properties"]["stored"] == is_stored;
            let is_flagged =
                unit["properties"]["flags"].as_array().is_some_and(|flags| flags.contains(&NOT_STORED.into()));
            is_shown && is_flagged != is_stored
        })
    }

    /// Whether gRPC flags the last report that each speaker sent as not stored.
    fn is_flagged_over_grpc(&self, victim: &Victim) -> bool {
        self.speakers.iter().all(|speaker| {
            let (source, number) = speaker.sent().values().next_back().expect("something was sent")[0];
            let place = source.place(number);
            let place = proto::Place { lat_e7: place.lat_e7(), lon_e7: place.lon_e7() };
            let ask = proto::NearestRequest { centre: Some(place), k: 100, ..proto::NearestRequest::default() };
            let answer = grpc::nearest(victim.address("grpc"), ask).expect("the victim answers");
            let unit = answer.units.into_iter().find(|found| found.unit == source.device());
            let unit = unit.expect("the unit is on the map");
            assert_eq!(unit.place, Some(place));
            unit.flags.iter().any(|flag| flag == NOT_STORED)
        })
    }

    /// What a question about a circle with all devices says of the server itself.
    fn alarms_of_an_answer(&self) -> serde_json::Value {
        let place = self.sources.all()[0].place(1);
        let path = format!("/v1/nearest?lat={}&lon={}&k=5", place.lat_deg(), place.lon_deg());
        let answer = self.asker.ask(&path).expect("the victim answers");
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["alarms"].clone()
    }

    fn check(&self, data: &Path) -> u64 {
        let found = check(data, &self.sources, &self.ledger.now(), &mut |_, _| {});
        let found = found.unwrap_or_else(|problem| panic!("what is left cannot be started from: {problem}"));
        assert_eq!((found.tally.lost, found.tally.invented), (0, 0), "{found:?}");
        found.tally.acknowledged
    }

    /// The same where a frame may be stored behind one that was not: the log is asked for each report.
    fn check_each(&self, data: &Path) -> usize {
        let mut stored = HashSet::new();
        let found = check(data, &self.sources, &self.ledger.now(), &mut |_, entry| {
            if let Entry::Heard(Heard { what: What::Report(report), .. }) = entry {
                stored.extend(self.sources.origin_of(report));
            }
        });
        let found = found.unwrap_or_else(|problem| panic!("what is left cannot be started from: {problem}"));
        assert_eq!(found.tally.invented, 0, "{found:?}");
        let now = self.speakers.iter().flat_map(Speaker::acknowledged);
        let acknowledged: HashSet<_> = self.acknowledged.iter().copied().chain(now).collect();
        assert_eq!(acknowledged.difference(&stored).count(), 0, "some are lost: {found:?}");
        acknowledged.len()
    }
}

/// A frame; of a terminal also a heartbeat, whose answer shows that the frame's will not come.
fn send(speaker: &mut Speaker, ledger: &Ledger) {
    speaker.send(ledger).expect("the victim lives");
    if speaker.surface() == Surface::Jt808 {
        speaker.heartbeat().expect("the victim lives");
    }
}

/// What a speaker was told about a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Acknowledged,
    /// Not stored, and on the map all the same.
    Applied,
    /// Not stored, and nothing was taken.
    Untaken,
    /// Not stored; this surface does not say more, or nothing at all.
    Refused,
}

impl Said {
    /// Whether it is this, as far as the surface says it.
    fn agrees_with(self, expected: Self) -> bool {
        self == expected || (self == Self::Refused && expected != Self::Acknowledged)
    }
}

/// Reads all answers to one [`send`].
fn said(speaker: &mut Speaker, ledger: &Ledger, reason: &str) -> Said {
    let reply = speaker.reply(ledger).expect("the victim lives");
    let is_terminal = speaker.surface() == Surface::Jt808;
    match reply {
        Reply::Acknowledged(_) => {
            if is_terminal {
                let heartbeat = speaker.reply(ledger).expect("the victim lives");
                assert!(matches!(heartbeat, Reply::Heartbeat(_)), "{heartbeat:?}");
            }
            Said::Acknowledged
        }
        Reply::Heartbeat(_) => Said::Refused,
        Reply::NotStored { reason: told, is_applied, .. } => {
            assert_eq!(told, reason, "on {:?}", speaker.surface());
            is_applied.map_or(Said::Refused, |is_applied| if is_applied { Said::Applied } else { Said::Untaken })
        }
    }
}

fn until_refused(speaker: &mut Speaker, ledger: &Ledger, reason: &str) -> (Surface, Vec<Said>) {
    let ahead = speaker.ahead_max();
    for _ in 1..ahead {
        send(speaker, ledger);
    }
    let mut told = vec![Said::Acknowledged];
    while told == [Said::Acknowledged] {
        send(speaker, ledger);
        told = vec![said(speaker, ledger, reason)];
    }
    told.extend((1..ahead).map(|_| said(speaker, ledger, reason)));
    (speaker.surface(), told)
}

/// From the failure on nothing is acknowledged. Where nothing more is to be taken, only frames that were in flight are on the map:
/// none behind one that is not.
fn check_failure(told: &[(Surface, Vec<Said>)], on_failure: OnJournalFailure) {
    for (surface, told) in told {
        assert!(!told.contains(&Said::Acknowledged), "an acknowledgement follows a failure on {surface:?}");
        match on_failure {
            OnJournalFailure::LiveUnacked => assert!(!told.contains(&Said::Untaken), "{surface:?}: {told:?}"),
            OnJournalFailure::Stop => {
                let in_flight = told.iter().take_while(|said| **said == Said::Applied).count();
                assert!(!told[in_flight..].contains(&Said::Applied), "{surface:?}: {told:?}");
            }
        }
    }
}

/// Nothing that is refused is taken. A frame behind it is, when its batch is shorter and has room: a stream hands over as one batch what
/// it reads at once. The others hand over each frame by itself, and these frames are alike.
fn check_full(told: &[(Surface, Vec<Said>)]) {
    for (surface, told) in told {
        assert!(!told.contains(&Said::Applied), "{surface:?}: {told:?}");
        let may_be_shorter = matches!(surface, Surface::Muster | Surface::Jt808);
        assert!(may_be_shorter || !told.contains(&Said::Acknowledged), "{surface:?}: {told:?}");
    }
}

#[test]
fn after_an_error_of_the_disk_nothing_is_acknowledged_and_sight_stays() {
    let began = Instant::now();
    let calls: Vec<u64> = std::env::var("MUSTER_ERRORS")
        .map_or(CALLS.into(), |text| (1..=text.parse().expect("MUSTER_ERRORS is a number")).collect());
    let acknowledged: u64 = calls.iter().map(|call| fail_at(*call, OnJournalFailure::LiveUnacked)).sum();
    let _ = writeln!(
        std::io::stderr(),
        "\ndisks failed at {} calls in {:.0} s: {acknowledged} reports acknowledged, 0 lost",
        calls.len(),
        began.elapsed().as_secs_f64()
    );
    assert!(acknowledged > 0);
}

#[test]
fn a_server_that_is_to_stop_after_an_error_takes_nothing_any_more() {
    assert!(fail_at(40, OnJournalFailure::Stop) > 0);
}

/// A life with a disk that fails from this call on, then one with a whole disk. Returns how much was acknowledged.
fn fail_at(call: u64, on_failure: OnJournalFailure) -> u64 {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder for the victim");
    let data = folder.path().join("data");
    let orders = Orders { fail: Some((call, ERROR)), on_failure, ..Orders::default() };
    let mut victim = Victim::serve(VICTIM, &data, &orders);
    if !victim.wait_for("ready") {
        // The start itself makes such calls: then there was nobody to acknowledge anything.
        assert!(call < 3, "the server does not start");
        return 0;
    }
    let mut party = Party::of(&victim, 3);
    check_failure(&party.speak_until_refused("journal_failed"), on_failure);
    assert!(victim.has_said("failed") || victim.wait_for("failed"), "it was the disk that failed");
    let before = party.ledger.now().acknowledged_total();
    speak_after_failure(&mut party, on_failure);
    assert_eq!(party.alarms(), ["journal_failed"]);
    assert_eq!(party.alarms_of_an_answer(), serde_json::json!(["journal_failed"]));
    assert_eq!(party.ledger.now().acknowledged_total(), before);
    start_again(&mut party, victim, &data)
}

/// Every speaker sends a frame that was not in flight when the journal failed.
fn speak_after_failure(party: &mut Party, on_failure: OnJournalFailure) {
    let is_applied = on_failure == OnJournalFailure::LiveUnacked;
    let expected = if is_applied { Said::Applied } else { Said::Untaken };
    let told = party.speak_once("journal_failed");
    assert!(told.iter().all(|said| said.agrees_with(expected)), "nothing heals a failed journal: {told:?}");
    assert_eq!(party.shown(false), is_applied, "what was not stored is shown as such, or not taken");
}

/// Ends a victim whose disk has failed; the next has a whole one. Returns how much was acknowledged.
fn start_again(party: &mut Party, mut victim: Victim, data: &Path) -> u64 {
    victim.stop();
    let end = victim.end();
    assert!(end.status.success(), "{end:?}");
    party.check(data);
    let mut victim = Victim::serve(VICTIM, data, &Orders::default());
    assert!(victim.wait_for("ready"), "a whole disk is started from");
    party.reconnect(&victim);
    assert_eq!(party.speak_once(""), [Said::Acknowledged; 4], "after a clean start");
    assert!(party.shown(true));
    victim.stop();
    victim.end();
    party.check(data)
}

#[test]
fn what_is_in_flight_when_a_sync_fails_is_shown_unstored_on_every_surface() {
    in_flight(OnJournalFailure::LiveUnacked);
}

#[test]
fn what_is_in_flight_is_shown_unstored_also_by_a_server_that_is_to_stop() {
    in_flight(OnJournalFailure::Stop);
}

fn in_flight(on_failure: OnJournalFailure) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder for the victim");
    let data = folder.path().join("data");
    let mut victim = Victim::serve(VICTIM, &data, &Orders { on_failure, ..Orders::default() });
    assert!(victim.wait_for("ready"));
    let mut party = Party::of(&victim, 3);
    assert_eq!(party.speak_once(""), [Said::Acknowledged; 4]);
    victim.order("stall");
    for speaker in &mut party.speakers {
        send(speaker, &party.ledger);
    }
    assert!(victim.wait_for("stalled"));
    while !party.shown(true) {}
    assert!(!party.is_flagged_over_grpc(&victim));
    victim.order("fail");
    victim.order("release");
    for at in 0..party.speakers.len() {
        let told = said(&mut party.speakers[at], &party.ledger, "journal_failed");
        assert!(told.agrees_with(Said::Applied), "{told:?} on {:?}", party.speakers[at].surface());
        // Whoever is told finds it on the map.
        assert!(party.shown(false), "after {:?} was told", party.speakers[at].surface());
    }
    assert!(party.is_flagged_over_grpc(&victim));
    speak_after_failure(&mut party, on_failure);
    assert!(start_again(&mut party, victim, &data) > 0);
}

#[test]
fn questions_are_answered_while_a_sync_stalls_and_nothing_is_acknowledged() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder for the victim");
    let data = folder.path().join("data");
    let mut victim = Victim::serve(VICTIM, &data, &Orders::default());
    assert!(victim.wait_for("ready"));
    let mut party = Party::of(&victim, 3);
    assert_eq!(party.speak_once(""), [Said::Acknowledged; 4]);
    victim.order("stall");
    for speaker in &mut party.speakers {
        speaker.send(&party.ledger).expect("the victim lives");
    }
    assert!(victim.wait_for("stalled"));
    // Each question is an event after which an acknowledgement without a sync could have come.
    while !party.shown(true) {}
    for _ in 0..100 {
        assert_eq!(party.alarms_of_an_answer(), serde_json::json!([]));
        for speaker in &mut party.speakers {
            assert!(speaker.is_silent(), "{:?} is answered while the sync stalls", speaker.surface());
        }
    }
    victim.order("release");
    for speaker in &mut party.speakers {
        let reply = speaker.reply(&party.ledger).expect("the victim lives");
        let last = *speaker.sent().keys().next_back().expect("something was sent");
        assert_eq!(reply, Reply::Acknowledged(last), "on {:?}", speaker.surface());
    }
    victim.stop();
    victim.end();
    party.check(&data);
}

/// Bytes of the disk that is filled.
const DISK_BYTES: u64 = 256 << 20;
/// Of them taken before, unless `MUSTER_BALLAST_MIB` says otherwise: so the rest is full soon.
const BALLAST_MIB: u64 = 224;
/// What the promise says.
const HEALS_WITHIN: Duration = Duration::from_secs(10);

/// A small disk in a mount namespace of its own, seen through the process that holds it.
struct SmallDisk {
    holder: Child,
    folder: tempfile::TempDir,
}

impl SmallDisk {
    /// `None` where nothing may be mounted.
    fn mounted() -> Option<Self> {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder for the victim");
        let script = format!("mount -t tmpfs -o size={DISK_BYTES} tmpfs \"$0\" && echo mounted && exec cat");
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", &script]).arg(folder.path());
        let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut disk = Self { holder: pipes.spawn().ok()?, folder };
        let mut said = String::new();
        let output = disk.holder.stdout.take().expect("its output is a pipe");
        std::io::BufRead::read_line(&mut std::io::BufReader::new(output), &mut said).ok()?;
        (said.trim() == "mounted").then_some(disk)
    }

    fn path(&self) -> std::path::PathBuf {
        let folder = self.folder.path().strip_prefix("/").expect("a temporary folder has a whole path");
        Path::new("/proc").join(self.holder.id().to_string()).join("root").join(folder)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

#[test]
fn a_full_disk_is_refused_in_words_and_heals_by_itself() {
    let mib = std::env::var("MUSTER_BALLAST_MIB").map_or(BALLAST_MIB, |text| text.parse().expect("a number"));
    let disk = SmallDisk::mounted();
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder for the victim");
    let place = disk.as_ref().map_or(folder.path().to_owned(), SmallDisk::path);
    let (data, ballast) = (place.join("data"), place.join("ballast"));
    let mut orders = Orders { segment_bytes: 4 << 20, snapshot_every_bytes: 16 << 20, ..Orders::default() };
    let kind = if disk.is_some() {
        std::fs::write(&ballast, vec![1; (mib << 20) as usize]).expect("there is room for it");
        "a tmpfs of 256 MiB"
    } else {
        orders.quota = Some(DISK_BYTES - (mib << 20));
        "a disk with a quota (nothing may be mounted here)"
    };
    let mut victim = Victim::serve(VICTIM, &data, &orders);
    assert!(victim.wait_for("ready"));
    let mut party = Party::of(&victim, 200);
    let alarms = fill(&mut party);
    let (low, full) = (alarms.find("journal_low"), alarms.find("journal_full"));
    assert!(low.is_some() && low < full, "low comes before full: {alarms}");
    assert_eq!(party.alarms_of_an_answer(), serde_json::json!(["journal_full"]), "questions go on");
    // A try to reserve a segment takes what is there and gives it back.
    let gives_back = Instant::now();
    while disk.is_some() && available(&place) == 0 {
        assert!(gives_back.elapsed() < HEALS_WITHIN, "no room is left for others");
    }
    let gave_room = Instant::now();
    if disk.is_some() {
        std::fs::remove_file(&ballast).expect("it is there");
    }
    victim.order("room");
    while !party.alarms().is_empty() {
        assert!(gave_room.elapsed() < HEALS_WITHIN, "it does not heal: {:?}", party.alarms());
    }
    let healed = gave_room.elapsed();
    party.reconnect(&victim);
    // A smaller batch may have found room behind a refused one: those sent again are then late, and these are not.
    for _ in 0..8 {
        assert_eq!(party.speak_once(""), [Said::Acknowledged; 4], "it takes again");
    }
    assert!(party.shown(true));
    victim.stop();
    victim.end();
    party.check_each(&data);
    orders.quota = None;
    let mut victim = Victim::serve(VICTIM, &data, &orders);
    assert!(victim.wait_for("ready"), "it starts from what a full disk left");
    party.reconnect(&victim);
    assert_eq!(party.speak_once(""), [Said::Acknowledged; 4]);
    victim.stop();
    victim.end();
    let acknowledged = party.check_each(&data);
    let _ = writeln!(
        std::io::stderr(),
        "\n{kind}: {acknowledged} reports acknowledged, 0 lost, healed after {:.1} s",
        healed.as_secs_f64()
    );
}

/// Fills the disk; returns the alarms that were shown meanwhile, in their order.
fn fill(party: &mut Party) -> String {
    let asker = Party {
        sources: party.sources.clone(),
        ledger: Ledger::of(0),
        speakers: Vec::new(),
        asker: party.asker.clone(),
        acknowledged: Vec::new(),
    };
    std::thread::scope(|scope| {
        let watch = scope.spawn(move || {
            let mut shown: Vec<String> = Vec::new();
            while shown.last().is_none_or(|last| last != "journal_full") {
                let news = asker.alarms().into_iter().filter(|alarm| shown.last() != Some(alarm)).collect::<Vec<_>>();
                shown.extend(news);
            }
            shown.join(" ")
        });
        check_full(&party.speak_until_refused("journal_full"));
        watch.join().expect("the victim answers")
    })
}

/// Bytes that are free where `place` is.
fn available(place: &Path) -> u64 {
    let output = Command::new("df").args(["-B1", "--output=avail"]).arg(place).output().expect("df runs");
    let said = String::from_utf8_lossy(&output.stdout);
    said.split_whitespace().last().and_then(|bytes| bytes.parse().ok()).expect("df says how much")
}
