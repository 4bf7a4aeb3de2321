use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::sync::mpsc;
use std::time::Duration;

use model::{Disk, DiskFile};

use super::{Calls, Fault, SimDisk};
use crate::Seeded;

const SECTOR_BYTES: usize = 512;
const EIO: i32 = 5;
const ENOSPC: i32 = 28;

/// A file whose name and bytes are durable.
fn synced(disk: &SimDisk, name: &str, bytes: &[u8]) -> Box<dyn DiskFile> {
    let file = disk.create(name).expect("the name is free");
    file.write_at(bytes, 0).expect("there is room");
    file.sync().expect("no fault is planned");
    disk.sync_folder().expect("no fault is planned");
    file
}

/// What the crashes of this moment leave of a file, over many seeds.
fn crashed(disk: &SimDisk, name: &str, seeds: u64) -> Vec<Option<Vec<u8>>> {
    (0..seeds).map(|seed| disk.crash(seed).file(name)).collect()
}

fn os_error<T>(result: io::Result<T>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

/// Calls of every kind on a few files, as `seed` says; what fails, fails.
fn work(disk: &SimDisk, seed: u64, calls: usize) {
    let mut random = Seeded::new(seed);
    for _ in 0..calls {
        let name = format!("file-{}", random.next() % 3);
        let Ok(file) = disk.open(&name).or_else(|_| disk.create(&name)) else { continue };
        let number = random.next() % 2_000;
        let _ = match random.next() % 16 {
            0 => disk.remove(&name),
            1 => disk.rename(&name, &format!("file-{}", number % 3)),
            2 => disk.sync_folder(),
            3 => file.resize(number),
            4 | 5 => file.sync(),
            _ => file.write_at(&vec![number as u8; number as usize], random.next() % 3_000),
        };
    }
}

/// A file's name, what is read and what is durable.
type Row = (String, Option<Vec<u8>>, Option<Vec<u8>>);

fn everything(disk: &SimDisk) -> Vec<Row> {
    disk.names().into_iter().map(|name| (name.clone(), disk.file(&name), disk.durable_bytes(&name))).collect()
}

#[test]
fn reads_agree_with_a_plain_vector_whatever_is_synced() {
    let (disk, mut random) = (SimDisk::new(1), Seeded::new(2));
    let (file, mut plain) = (disk.create("a").expect("free"), Vec::new());
    for _ in 0..2_000 {
        let (at, count) = ((random.next() % 5_000) as usize, (random.next() % 1_500) as usize);
        match random.next() % 8 {
            0 => {
                file.resize(at as u64).expect("room");
                plain.resize(at, 0);
            }
            1 => file.sync().expect("no fault"),
            _ => {
                let bytes: Vec<u8> = (0..count).map(|_| random.next() as u8).collect();
                file.write_at(&bytes, at as u64).expect("room");
                if count > 0 {
                    plain.resize(plain.len().max(at + count), 0);
                    plain[at..at + count].copy_from_slice(&bytes);
                }
            }
        }
        let mut read = vec![0; count];
        let seen = file.read_at(&mut read, at as u64).expect("no fault");
        assert_eq!(&read[..seen], plain.get(at..plain.len().min(at + count)).unwrap_or(&[]));
        assert_eq!(file.bytes().expect("no fault"), plain.len() as u64);
    }
    assert_eq!(disk.file("a"), Some(plain));
}

#[test]
fn synced_bytes_survive_a_thousand_crashes() {
    for seed in 0..1_000 {
        let (disk, mut random) = (SimDisk::new(seed), Seeded::new(seed));
        let bytes: Vec<u8> = (0..random.next() % 3_000).map(|_| random.next() as u8).collect();
        let file = synced(&disk, "a", &bytes);
        // What follows shares sectors with what is synced.
        for written in 0..4 {
            file.write_at(&[0xEE; 700], bytes.len() as u64 + written * 700).expect("room");
        }
        let platter = disk.crash(seed);
        let survived = platter.file("a").expect("the name was synced");
        assert_eq!(survived.get(..bytes.len()), Some(&bytes[..]), "{platter:?}");
    }
}

#[test]
fn unsynced_bytes_are_lost_in_some_crash_and_kept_in_another() {
    let disk = SimDisk::new(3);
    let file = synced(&disk, "a", b"old ");
    file.write_at(b"new", 4).expect("room");
    let left: BTreeSet<_> = crashed(&disk, "a", 200).into_iter().flatten().collect();
    assert!(left.contains(&b"old "[..]), "never lost");
    assert!(left.contains(&b"old new"[..]), "never kept");
    assert!(left.contains(&b"old \0\0\0"[..]), "never only the length");
}

#[test]
fn unsynced_changes_reach_the_platter_in_any_order() {
    let disk = SimDisk::new(4);
    let file = synced(&disk, "a", b"abcd");
    file.resize(3).expect("to cut needs no room");
    file.resize(2).expect("to cut needs no room");
    let left: BTreeSet<_> = crashed(&disk, "a", 200).into_iter().flatten().collect();
    assert_eq!(left, BTreeSet::from([&b"abcd"[..], b"abc", b"ab", b"ab\0"].map(<[u8]>::to_vec)));
}

#[test]
fn unsynced_write_is_torn_at_sectors_of_the_file_and_nowhere_else() {
    let disk = SimDisk::new(5);
    let file = synced(&disk, "a", &[b'o'; 4 * SECTOR_BYTES]);
    let (start, end) = (100, 3 * SECTOR_BYTES + 100);
    file.write_at(&vec![b'n'; end - start], start as u64).expect("room");
    let (mut torn, mut garbage) = (0, 0);
    for left in crashed(&disk, "a", 500).into_iter().flatten() {
        assert!(left[..start].iter().chain(&left[end..]).all(|byte| *byte == b'o'), "a byte that was not written");
        let (first, rest) = left[start..end].split_at(SECTOR_BYTES - start);
        let pieces: BTreeSet<u8> = std::iter::once(first)
            .chain(rest.chunks(SECTOR_BYTES))
            .map(|piece| if piece.iter().all(|byte| *byte == piece[0]) { piece[0] } else { b'g' })
            .collect();
        assert!(pieces.iter().all(|piece| b"ong".contains(piece)), "{pieces:?}");
        torn += usize::from(pieces.is_superset(&BTreeSet::from(*b"on")));
        garbage += usize::from(pieces.contains(&b'g'));
    }
    assert!(torn > 50, "{torn} torn");
    assert!((1..100).contains(&garbage), "{garbage} with garbage");
}

#[test]
fn unsynced_resize_survives_or_not() {
    let disk = SimDisk::new(6);
    synced(&disk, "a", b"abcd").resize(2).expect("room");
    let left: BTreeSet<_> = crashed(&disk, "a", 100).into_iter().flatten().collect();
    assert_eq!(left, BTreeSet::from([b"ab".to_vec(), b"abcd".to_vec()]));
}

#[test]
fn name_without_a_folder_sync_is_gone_in_some_crash_though_its_bytes_are_synced() {
    let before_folder_sync = || {
        let disk = SimDisk::new(7);
        let file = disk.create("a").expect("free");
        file.write_at(b"bytes", 0).expect("room");
        file.sync().expect("no fault");
        disk
    };
    assert_eq!(before_folder_sync().durable_bytes("a"), None);
    let left: BTreeSet<_> = crashed(&before_folder_sync(), "a", 100).into_iter().collect();
    assert_eq!(left, BTreeSet::from([None, Some(b"bytes".to_vec())]));
    let disk = before_folder_sync();
    disk.sync_folder().expect("no fault");
    assert!(crashed(&disk, "a", 100).iter().all(Option::is_some));
}

#[test]
fn changes_of_names_survive_in_order() {
    let disk = SimDisk::new(8);
    synced(&disk, "a", b"a");
    disk.rename("a", "b").expect("it is there");
    disk.create("c").expect("free");
    disk.remove("b").expect("it is there");
    let left: BTreeSet<_> = (0..200).map(|seed| disk.crash(seed).names().join(" ")).collect();
    assert_eq!(left, BTreeSet::from(["a", "b", "b c", "c"].map(str::to_owned)));
}

#[test]
fn rename_over_an_existing_name_leaves_one_of_the_two_contents() {
    let (old, new) = (vec![b'o'; 3_000], vec![b'n'; 2_000]);
    let before_folder_sync = || {
        let disk = SimDisk::new(9);
        synced(&disk, "snapshot", &old);
        synced(&disk, "snapshot.new", &new);
        disk.rename("snapshot.new", "snapshot").expect("it is there");
        disk
    };
    assert_eq!(before_folder_sync().file("snapshot").as_ref(), Some(&new));
    let left: BTreeSet<_> = crashed(&before_folder_sync(), "snapshot", 200).into_iter().collect();
    assert_eq!(left, BTreeSet::from([Some(old.clone()), Some(new.clone())]));
    let disk = before_folder_sync();
    disk.sync_folder().expect("no fault");
    assert!(crashed(&disk, "snapshot", 200).into_iter().all(|left| left.as_ref() == Some(&new)));
}

/// The reason why a log must not try a failed sync again.
#[test]
fn second_sync_after_a_failed_one_succeeds_and_the_bytes_are_lost_in_a_crash() {
    let (mut lost, mut unseen) = (0, 0);
    for seed in 0..300 {
        let disk = SimDisk::new(seed);
        let file = synced(&disk, "a", b"old ");
        file.write_at(b"new", 4).expect("room");
        disk.fail_call(1, Fault::Io, Calls::Changes);
        assert_eq!(os_error(file.sync()), Some(EIO));
        let in_doubt = disk.durable_bytes("a");
        file.sync().expect("the fault was for one call");
        assert_eq!(disk.durable_bytes("a"), in_doubt, "a sync after a failed one wrote what was in doubt");
        let seen = disk.file("a").expect("it is there");
        assert_eq!(seen.len(), 7);
        assert!(seen.starts_with(b"old "));
        let left = disk.crash(seed).file("a").expect("its name was synced");
        assert_eq!(Some(&left), in_doubt.as_ref());
        lost += usize::from(seen.ends_with(b"new") && !left.ends_with(b"new"));
        unseen += usize::from(!seen.ends_with(b"new"));
    }
    assert!(lost > 50, "seen and then lost: {lost}");
    assert!(unseen > 50, "dropped at once: {unseen}");
}

#[test]
fn writes_after_a_failed_sync_are_durable_after_the_next() {
    for seed in 0..300 {
        let disk = SimDisk::new(seed);
        let file = synced(&disk, "a", b"");
        file.write_at(b"1111", 0).expect("room");
        disk.fail_call(1, Fault::Io, Calls::Changes);
        assert_eq!(os_error(file.sync()), Some(EIO));
        file.write_at(b"22", 2).expect("room");
        file.sync().expect("the fault was for one call");
        let left = disk.crash(seed).file("a").expect("its name was synced");
        assert_eq!(left.get(2..4), Some(&b"22"[..]));
    }
}

#[test]
fn writes_during_a_sync_that_fails_are_seen_and_durable_after_the_next() {
    for seed in 0..100 {
        let disk = SimDisk::new(seed);
        let file = synced(&disk, "a", b"");
        file.write_at(b"1111", 0).expect("room");
        let again = disk.open("a").expect("it is there");
        disk.stall_next_sync(Box::new(move || again.write_at(b"22", 2).expect("room")));
        disk.fail_call(1, Fault::Io, Calls::Changes);
        assert_eq!(os_error(file.sync()), Some(EIO));
        assert_eq!(disk.file("a").expect("it is there").get(2..4), Some(&b"22"[..]));
        file.sync().expect("the fault was for one call");
        assert_eq!(disk.durable_bytes("a").expect("it is there").get(2..4), Some(&b"22"[..]));
    }
}

#[test]
fn full_disk_heals_when_it_gets_room() {
    let disk = SimDisk::new(10).with_capacity(1_000);
    let file = synced(&disk, "a", &[1; 600]);
    let other = disk.create("b").expect("free");
    assert_eq!(os_error(other.write_at(&[2; 401], 0)), Some(ENOSPC));
    assert!(other.bytes().expect("no fault") <= 400);
    other.resize(0).expect("to cut needs no room");
    assert_eq!(other.resize(401).map_err(|error| error.kind()), Err(ErrorKind::StorageFull));
    assert_eq!(os_error(other.write_at(&[2], 400)), Some(ENOSPC), "a gap of zeros takes room");
    file.write_at(&[3; 600], 0).expect("to overwrite needs no room");
    disk.set_capacity(1_001);
    other.write_at(&[2; 401], 0).expect("room");
    assert_eq!(os_error(other.write_at(&[2], 401)), Some(ENOSPC));
    disk.remove("a").expect("it is there");
    other.write_at(&[2], 401).expect("a removed file gives its room back");
}

#[test]
fn failed_write_leaves_any_prefix_of_its_bytes() {
    let mut prefixes = BTreeSet::new();
    for seed in 0..200 {
        let disk = SimDisk::new(seed);
        let file = synced(&disk, "a", b"");
        disk.fail_call(1, Fault::Full, Calls::All);
        assert_eq!(os_error(file.write_at(b"abc", 0)), Some(ENOSPC));
        prefixes.insert(disk.file("a").expect("it is there"));
        assert_eq!(disk.durable_bytes("a").expect("it is there"), b"");
    }
    assert_eq!(prefixes, BTreeSet::from([&b""[..], b"a", b"ab", b"abc"].map(<[u8]>::to_vec)));
}

#[test]
fn kth_call_fails_exactly_once() {
    for k in 1..=12 {
        for among in [Calls::All, Calls::Changes] {
            let disk = SimDisk::new(k);
            let (file, other) = (synced(&disk, "a", b"a"), disk.clone());
            let before = disk.calls(among);
            disk.fail_call(k, Fault::Io, among);
            let mut failed = Vec::new();
            for turn in 0..12 {
                let result = if turn % 2 == 0 { file.write_at(b"b", 0) } else { other.open("a").map(drop) };
                if os_error(result) == Some(EIO) {
                    failed.push(disk.calls(among) - before);
                }
            }
            let expected = if among == Calls::All || k <= 6 { vec![k] } else { vec![] };
            assert_eq!(failed, expected, "{among:?} {k}");
        }
    }
}

#[test]
fn call_with_two_planned_faults_fails_once() {
    let disk = SimDisk::new(19);
    let file = synced(&disk, "a", b"a");
    disk.fail_call(1, Fault::Io, Calls::All);
    disk.fail_call(1, Fault::Full, Calls::Changes);
    assert_eq!(os_error(file.write_at(b"b", 0)), Some(EIO));
    file.bytes().expect("a read is not a change");
    file.write_at(b"b", 0).expect("both faults are over");
}

#[test]
fn failed_folder_sync_keeps_the_oldest_changes_and_the_next_keeps_all() {
    let mut durable = BTreeSet::new();
    for seed in 0..100 {
        let disk = SimDisk::new(seed);
        disk.create("a").expect("free");
        disk.create("b").expect("free");
        disk.fail_call(1, Fault::Io, Calls::Changes);
        assert_eq!(os_error(disk.sync_folder()), Some(EIO));
        durable.insert((disk.durable_bytes("a").is_some(), disk.durable_bytes("b").is_some()));
        disk.sync_folder().expect("the fault was for one call");
        assert_eq!(disk.crash(seed).names(), ["a", "b"]);
    }
    assert_eq!(durable, BTreeSet::from([(false, false), (true, false), (true, true)]));
}

#[test]
fn same_seed_gives_the_same_disk() {
    let run = |seed| {
        let disk = SimDisk::new(seed).with_capacity(6_000);
        for k in 1..20 {
            disk.fail_call(k * 20, Fault::Io, Calls::Changes);
        }
        work(&disk, 11, 300);
        let platter = disk.crash(seed);
        platter.fail_call(3, Fault::Full, Calls::All);
        work(&platter, 12, 50);
        (everything(&disk), everything(&platter), format!("{disk:?}{platter:?}"))
    };
    let runs: Vec<_> = (0..50).map(run).collect();
    assert!((0..50).map(run).eq(runs.iter().cloned()));
    let distinct: BTreeSet<_> = runs.iter().map(|(_, platter, _)| platter).collect();
    assert!(distinct.len() > 25, "{} of 50 seeds differ", distinct.len());
}

#[test]
fn killed_process_loses_nothing_and_its_successor_can_sync_it() {
    for seed in 0..200 {
        let disk = SimDisk::new(seed);
        work(&disk, seed, 100);
        let killed = disk.kill();
        assert_eq!(everything(&killed), everything(&disk));
        // Pending changes stay pending: the page cache does not outlive the machine.
        for name in killed.names() {
            killed.open(&name).expect("it is listed").sync().expect("no fault");
        }
        killed.sync_folder().expect("no fault");
        assert_eq!(everything(&killed.crash(seed)), everything(&killed));
    }
}

#[test]
fn after_a_crash_all_that_is_seen_is_durable() {
    for seed in 0..200 {
        let disk = SimDisk::new(seed);
        disk.fail_call(60, Fault::Io, Calls::Changes);
        work(&disk, seed, 100);
        let platter = disk.crash(seed);
        assert!(everything(&platter).iter().all(|(_, seen, durable)| seen == durable), "{platter:?}");
        assert_eq!(everything(&platter.crash(seed)), everything(&platter));
    }
}

#[test]
fn handles_of_a_dead_disk_give_errors_and_those_of_its_successor_do_not() {
    for message in ["the disk lost power", "the process was killed"] {
        let disk = SimDisk::new(12);
        let (file, other) = (synced(&disk, "a", b"a"), disk.clone());
        let next = if message.contains("power") { disk.crash(1) } else { disk.kill() };
        let errors = [
            file.bytes().map(drop),
            file.read_at(&mut [0], 0).map(drop),
            file.write_at(b"b", 0),
            file.resize(0),
            file.sync(),
            other.list().map(drop),
            other.create("b").map(drop),
            other.open("a").map(drop),
            other.rename("a", "b"),
            other.remove("a"),
            other.sync_folder(),
        ]
        .map(|result| result.expect_err("the disk is dead"));
        assert!(errors.iter().all(|error| error.kind() == ErrorKind::Other && error.to_string() == message));
        assert_eq!(disk.file("a").as_deref(), Some(&b"a"[..]));
        next.open("a").and_then(|file| file.write_at(b"b", 0)).expect("the successor lives");
        assert_eq!(disk.file("a").as_deref(), Some(&b"a"[..]));
    }
}

#[test]
fn names_that_are_missing_taken_or_not_plain_are_refused() {
    let disk = SimDisk::new(13);
    synced(&disk, "a", b"");
    let kind = |result: io::Result<()>| result.map_err(|error| error.kind());
    assert_eq!(kind(disk.create("a").map(drop)), Err(ErrorKind::AlreadyExists));
    assert_eq!(kind(disk.open("b").map(drop)), Err(ErrorKind::NotFound));
    assert_eq!(kind(disk.rename("b", "c")), Err(ErrorKind::NotFound));
    assert_eq!(kind(disk.remove("b")), Err(ErrorKind::NotFound));
    assert_eq!(kind(disk.create("a/b").map(drop)), Err(ErrorKind::InvalidInput));
    assert_eq!(disk.list().expect("no fault"), ["a"]);
}

#[test]
fn stalled_sync_lets_reads_and_writes_go_on_and_does_not_cover_them() {
    /// How long a sync stays stalled when nobody lets it go: a lock held meanwhile is a red test, not a hang.
    const STALL_MAX: Duration = Duration::from_secs(5);
    let disk = SimDisk::new(14);
    let (slow, other) = (synced(&disk, "slow", b""), synced(&disk, "other", b"other"));
    slow.write_at(b"before", 0).expect("room");
    let (stalled, has_stalled) = mpsc::channel();
    let (let_go, is_let_go) = mpsc::channel();
    let (ended, how) = mpsc::channel();
    disk.stall_next_sync(Box::new(move || {
        stalled.send(()).expect("the test waits");
        ended.send(is_let_go.recv_timeout(STALL_MAX)).expect("the test waits");
    }));
    std::thread::scope(|scope| {
        let sync = scope.spawn(|| slow.sync());
        has_stalled.recv().expect("the sync stalls");
        other.write_at(b"O", 0).expect("room");
        other.sync().expect("only the next sync stalls");
        assert_eq!(other.read_at(&mut [0; 8], 0).expect("no fault"), 5);
        slow.write_at(b"during", 6).expect("room");
        assert_eq!(disk.durable_bytes("slow").as_deref(), Some(&b""[..]));
        let_go.send(()).ok();
        sync.join().expect("no panic").expect("no fault");
    });
    assert_eq!(how.recv(), Ok(Ok(())), "the calls waited for the stalled sync");
    assert_eq!(disk.durable_bytes("other").as_deref(), Some(&b"Other"[..]));
    assert_eq!(disk.durable_bytes("slow").as_deref(), Some(&b"before"[..]));
    assert_eq!(disk.file("slow").as_deref(), Some(&b"beforeduring"[..]));
}

#[test]
fn power_lost_during_a_stalled_sync_fails_it_and_may_lose_its_bytes() {
    let disk = SimDisk::new(15);
    let file = synced(&disk, "a", b"");
    file.write_at(b"new", 0).expect("room");
    let (crash, platters) = (disk.clone(), mpsc::channel());
    disk.stall_next_sync(Box::new(move || {
        platters.0.send(crashed(&crash, "a", 100)).expect("the test waits");
    }));
    assert_eq!(file.sync().map_err(|error| error.kind()), Err(ErrorKind::Other));
    let left: BTreeSet<_> = platters.1.recv().expect("the sync stalled").into_iter().flatten().collect();
    assert!(left.contains(&b""[..]) && left.contains(&b"new"[..]), "{left:?}");
    assert_eq!(disk.durable_bytes("a").as_deref(), Some(&b""[..]));
}

#[test]
fn damage_is_seen_at_once_and_after_syncs_and_crashes() {
    let disk = SimDisk::new(16);
    let file = synced(&disk, "a", b"aaaa");
    file.write_at(b"bbbb", 2).expect("room");
    disk.flip_bit("a", 8);
    disk.flip_bit("a", 8 * 3 + 1);
    assert_eq!(disk.file("a").as_deref(), Some(&b"a`b`bb"[..]));
    disk.truncate("a", 5);
    disk.truncate("a", 9);
    assert_eq!(disk.durable_bytes("a").as_deref(), Some(&b"a`ac"[..]));
    file.sync().expect("no fault");
    assert_eq!(disk.crash(1).file("a").as_deref(), Some(&b"a`b`b"[..]));
}

#[test]
fn debug_shows_the_last_calls_and_the_crash() {
    let disk = SimDisk::new(17);
    let file = synced(&disk, "a", b"");
    for at in 0..100 {
        file.write_at(b"b", at).expect("room");
    }
    let shown = format!("{:?}", disk.crash(18));
    assert!(shown.contains("a: write 1 at 99") && shown.contains("crash 18: a: "), "{shown}");
    assert!(!shown.contains("a: write 1 at 20"), "{shown}");
}

#[test]
fn disk_that_is_to_die_at_a_call_does_all_before_it_and_nothing_after() {
    for k in 1..=4 {
        let disk = SimDisk::new(k);
        disk.die_at_call(k);
        let file = disk.create("log");
        let written = file.as_ref().is_ok_and(|file| file.write_at(b"abc", 0).is_ok());
        let synced = file.as_ref().is_ok_and(|file| file.sync().is_ok());
        assert_eq!((file.is_ok(), written, synced, disk.is_dead()), (k > 1, k > 2, k > 3, k < 4));
        assert!(disk.list().is_err(), "one more call finds it dead at the latest");
        let killed = disk.kill();
        assert_eq!(killed.file("log"), (k > 1).then(|| if k > 2 { b"abc".to_vec() } else { Vec::new() }));
        assert!(!killed.is_dead());
    }
}
