//! Servers are killed under load, at named points of the journal's way and at random, and started again on what they left
//! behind. What was acknowledged is there, and nothing else than what was sent.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use journal::{Entry, FolderDisk, Sequence};
use muster_tests::check::{Found, check};
use muster_tests::load::{Gateway, Ledger, Terminal, post};
use muster_tests::orders::{Orders, Point};
use muster_tests::sources::{Sources, Speech};
use muster_tests::victim::{End, Victim};
use testkit::{AckJournal, Seeded};

const VICTIM: &str = env!("CARGO_BIN_EXE_victim");
/// Kills of one run, unless `MUSTER_KILLS` says otherwise.
const KILLS: usize = 200;
/// Victims side by side.
const VICTIMS: usize = 4;
/// The last of them keeps so little of its log that segments are removed all the time.
const SMALL_RETAIN_BYTES: u64 = 1 << 20;
/// A life that has not come to its point by then is ended, and does not count.
const LIFE_MAX: Duration = Duration::from_secs(10);

/// How a life ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kill {
    /// By itself, at a point that is reached for the n-th time.
    At(Point, u64),
    /// From outside, so long after its start.
    After(Duration),
    /// From outside, so long after a backup of its folder was begun; the backup may die with it.
    InBackup { after: Duration, kills_backup: bool },
}

impl Kill {
    fn name(self) -> &'static str {
        match self {
            Self::At(point, _) => point.as_str(),
            Self::After(_) => "random",
            Self::InBackup { .. } => "backup",
        }
    }
}

/// The kills of one victim. Only one that removes segments can die there.
fn plan(count: usize, removes: bool, random: &mut Seeded) -> Vec<Kill> {
    let points = Point::ALL.into_iter().filter(|point| *point != Point::SegmentDelete).map(Some);
    let mut names: Vec<_> = points.chain([None, None]).collect();
    if removes {
        // Its part of what the others cannot have.
        names.extend([Some(Point::SegmentDelete); 4]);
    }
    let mut below = |limit: u64| random.next() % limit;
    let mut turn = |at: usize| match names[at % names.len()] {
        // Snapshots are made once a second.
        Some(point @ (Point::SnapshotBeforeRename | Point::SnapshotAfterRename)) => Kill::At(point, 1),
        Some(point @ (Point::RollBeforeRename | Point::RollAfterRename | Point::Reserve)) => {
            Kill::At(point, 1 + below(4))
        }
        Some(point @ Point::SegmentDelete) => Kill::At(point, 1 + below(2)),
        Some(point) => Kill::At(point, 1 + below(60)),
        None if at.is_multiple_of(2) => Kill::After(Duration::from_micros(below(300_000))),
        None => Kill::InBackup { after: Duration::from_micros(below(40_000)), kills_backup: below(2) == 0 },
    };
    (0..count).map(&mut turn).collect()
}

/// What all victims together gave.
#[derive(Debug, Default)]
struct Totals {
    kills: BTreeMap<&'static str, usize>,
    unreached: usize,
    acknowledged: u64,
    lost: u64,
    invented: u64,
    duplicates: u64,
    backups: usize,
    snapshots: usize,
    removed: u64,
}

#[test]
fn what_is_acknowledged_outlives_kills_under_load() {
    let began = Instant::now();
    let kills = std::env::var("MUSTER_KILLS").map_or(KILLS, |text| text.parse().expect("MUSTER_KILLS is a number"));
    let totals = Mutex::new(Totals::default());
    std::thread::scope(|scope| {
        for at in 0..VICTIMS {
            let share = (kills + at) / VICTIMS;
            let totals = &totals;
            scope.spawn(move || Range::new(at).run(share, totals));
        }
    });
    let Totals { kills: by_point, unreached, acknowledged, lost, invented, duplicates, backups, snapshots, removed } =
        totals.into_inner().expect("no victim's thread panicked");
    let counted: usize = by_point.values().sum();
    let points: Vec<_> = by_point.iter().map(|(name, count)| format!("{name} {count}")).collect();
    // Past the harness, which keeps what a test that passes prints to itself.
    let _ = writeln!(
        std::io::stderr(),
        "\n{counted} kills in {:.0} s ({}; {unreached} points not reached): {acknowledged} reports acknowledged, {lost} lost, \
         {invented} invented, {duplicates} duplicates in the log; {backups} backups restored, {snapshots} snapshots, \
         {removed} entries removed with old segments",
        began.elapsed().as_secs_f64(),
        points.join(", ")
    );
    assert_eq!((counted, lost, invented), (kills, 0, 0));
    assert!(kills < KILLS || (by_point.len() == Point::ALL.len() + 2 && removed > 0 && backups > 0));
}

/// One victim's folder with all its lives.
struct Range {
    at: usize,
    folder: tempfile::TempDir,
    sources: Sources,
    ledger: Ledger,
    gateways: Vec<Gateway>,
    terminal: Terminal,
    random: Seeded,
}

impl Range {
    fn new(at: usize) -> Self {
        let sources = Sources::of(&[(Speech::Muster, 40), (Speech::Jt808, 1), (Speech::Json, 5)]);
        let muster = sources.speaking(Speech::Muster);
        // One or two gateways.
        let shares = muster.chunks(if at.is_multiple_of(2) { 40 } else { 20 });
        let gateway = |(number, share): (u64, &[_])| Gateway::of(&format!("gateway-{number}"), share.to_vec(), number);
        Self {
            at,
            folder: tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder for the victim"),
            ledger: Ledger::of(sources.all().len()),
            gateways: (0..).zip(shares).map(gateway).collect(),
            terminal: Terminal::of(sources.speaking(Speech::Jt808)[0]),
            sources,
            random: Seeded::new(at as u64),
        }
    }

    fn removes(&self) -> bool {
        self.at + 1 == VICTIMS
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn run(mut self, kills: usize, totals: &Mutex<Totals>) {
        let removes = self.removes();
        let mut last = None;
        for kill in plan(kills, removes, &mut self.random) {
            let mut tries = 0;
            while !self.live(kill, totals, &mut last) {
                tries += 1;
                totals.lock().expect("no victim's thread panicked").unreached += 1;
                assert!(tries < 10, "{} is never reached", kill.name());
            }
            *totals.lock().expect("no victim's thread panicked").kills.entry(kill.name()).or_default() += 1;
        }
        let Some(Found { tally, first, .. }) = last else { return };
        let mut totals = totals.lock().expect("no victim's thread panicked");
        totals.acknowledged += tally.acknowledged;
        totals.duplicates += tally.duplicates;
        totals.removed += first.before().0;
    }

    /// One life and what it left behind. `false` when it did not come to its point.
    fn live(&mut self, kill: Kill, totals: &Mutex<Totals>, last: &mut Option<Found>) -> bool {
        self.ledger.go_back();
        let mut orders = Orders { kill: None, ..Orders::default() };
        if let Kill::At(point, nth) = kill {
            orders.kill = Some((point, nth));
        }
        if self.removes() {
            orders.retain_bytes = SMALL_RETAIN_BYTES;
        }
        let data = self.data();
        let mut victim = Victim::serve(VICTIM, &data, &orders);
        let (is_counted, copy) = match kill {
            Kill::After(time) => (!self.under_load(&mut victim, |_, victim| victim.ends_within(time)), None),
            Kill::At(..) => (self.under_load(&mut victim, |_, victim| victim.ends_within(LIFE_MAX)), None),
            Kill::InBackup { after, kills_backup } => {
                let target = self.folder.path().join("backup");
                let mut copy = None;
                let body = |ledger: &Ledger, victim: &mut Victim| {
                    copy = copied_while(&data, &target, ledger, victim, after, kills_backup);
                };
                self.under_load(&mut victim, body);
                (true, copy)
            }
        };
        let End { point, status, said } = victim.end();
        let expected = if let Kill::At(point, _) = kill { Some(point) } else { None };
        assert!(point.is_none() || point == expected, "{said:?}");
        assert!(point.is_some() || is_killed(status), "the victim ended by itself: {status}, {said:?}");
        let journal = self.ledger.now();
        let mut copied = copy.map(|copy| copy.restored(&self.folder, &self.sources, &journal));
        let found = check(&data, &self.sources, &journal, &mut |sequence, entry| {
            if let Some(copied) = &mut copied {
                copied.compare(sequence, entry);
            }
        });
        let found = found.unwrap_or_else(|problem| panic!("after {kill:?}: {problem}; kept in {:?}", self.keep()));
        let is_lossless = found.tally.lost == 0 && found.tally.invented == 0;
        assert!(is_lossless, "after {kill:?}: {found:?}; kept in {:?}", self.keep());
        let mut totals = totals.lock().expect("no victim's thread panicked");
        totals.backups += usize::from(copied.is_some());
        totals.snapshots += usize::from(last.is_none_or(|before| before.snapshot < found.snapshot));
        *last = Some(found);
        is_counted
    }

    /// Lets all senders loose on a victim that is ready, does `body`, and kills what lives then.
    fn under_load<T>(&mut self, victim: &mut Victim, body: impl FnOnce(&Ledger, &mut Victim) -> T) -> T {
        std::thread::scope(|scope| {
            let ledger = &self.ledger;
            if victim.wait_for("ready") {
                let (muster, jt808) = (victim.address("muster"), victim.address("jt808"));
                let http = victim.address("http");
                for gateway in &mut self.gateways {
                    // A lost connection is what every life ends with, here and below.
                    scope.spawn(move || drop(gateway.run(muster, ledger, u64::MAX, None)));
                }
                let terminal = &mut self.terminal;
                scope.spawn(move || drop(terminal.run(jt808, ledger, u64::MAX)));
                let json = self.sources.speaking(Speech::Json);
                scope.spawn(move || post(http, ledger, &json));
            }
            let done = body(ledger, victim);
            victim.kill();
            done
        })
    }

    /// Leaves the folder for a person to look at.
    fn keep(&mut self) -> &Path {
        self.folder.disable_cleanup(true);
        self.folder.path()
    }
}

fn is_killed(status: std::process::ExitStatus) -> bool {
    const SIGKILL: i32 = 9;
    std::os::unix::process::ExitStatusExt::signal(&status) == Some(SIGKILL)
}

/// A backup that was made while the victim was killed.
struct Copy {
    target: PathBuf,
    /// What was acknowledged when it was begun.
    before: AckJournal,
}

/// Backs `data` up while the victim is killed; `None` when there is no backup for it.
fn copied_while(
    data: &Path,
    target: &Path,
    ledger: &Ledger,
    victim: &mut Victim,
    after: Duration,
    kills_backup: bool,
) -> Option<Copy> {
    let acknowledged = ledger.now().acknowledged_total();
    assert!(ledger.wait_for(acknowledged + 2_000), "the load goes on");
    let _ = std::fs::remove_dir_all(target);
    let before = ledger.now();
    let mut backup = Victim::back_up(VICTIM, data, target);
    let is_done = backup.ends_within(after);
    victim.kill();
    if kills_backup && !is_done {
        backup.kill();
    }
    let End { status, said, .. } = backup.end();
    let is_whole = said.iter().any(|line| line.starts_with("backed up "));
    assert!(is_whole || is_killed(status), "the backup failed: {status}, {said:?}");
    (is_whole || target.join("manifest").exists()).then(|| Copy { target: target.to_owned(), before })
}

/// What is in a backup, by sequence.
struct Copied {
    entries: BTreeMap<Sequence, Entry>,
    compared: usize,
}

impl Copy {
    /// Restores it to another folder and checks that it holds all that it must.
    fn restored(&self, folder: &tempfile::TempDir, sources: &Sources, journal: &AckJournal) -> Copied {
        let restored = folder.path().join("restored");
        let _ = std::fs::remove_dir_all(&restored);
        let from = FolderDisk::look_at(&self.target).expect("the backup is there");
        std::fs::create_dir_all(&restored).expect("a new folder");
        // Without its lock: a process that another thread starts just now would hold it for a moment longer than we do.
        let to = FolderDisk::look_at(&restored).expect("it is there");
        let backup = journal::restore(&from, &to).expect("a backup with a manifest can be restored");
        drop(to);
        let asked = journal.clone().acknowledged_as_in(&self.before);
        let mut entries = BTreeMap::new();
        let found =
            check(&restored, sources, &asked, &mut |sequence, entry| drop(entries.insert(sequence, entry.clone())));
        let found = found.expect("a restored folder can be started from");
        assert_eq!((found.tally.lost, found.tally.invented), (0, 0), "in a backup: {found:?}");
        assert_eq!(found.next.before(), backup.sequence, "a backup ends where it says");
        Copied { entries, compared: 0 }
    }
}

impl Copied {
    /// What both have is the same.
    fn compare(&mut self, sequence: Sequence, entry: &Entry) {
        if let Some(copied) = self.entries.get(&sequence) {
            assert_eq!(copied, entry, "entry {sequence} of the backup");
            self.compared += 1;
        }
    }
}
