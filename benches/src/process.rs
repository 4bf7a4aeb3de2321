//! A server as a child of the bench: it is stopped when this is dropped, its folder goes with it, and no other server is touched.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long a server may take until it accepts connections.
const START_MAX: Duration = Duration::from_secs(60);
/// The system counts CPU time in ticks of 10 ms on every Linux of today.
const TICK: Duration = Duration::from_millis(10);

/// A running server and its folder.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// Signal that ends it in good order.
    stop_signal: &'static str,
    _folder: TempDir,
}

impl Process {
    /// Keeps a child that was started, and the folder that is its own.
    #[must_use]
    pub const fn of(child: Child, stop_signal: &'static str, folder: TempDir) -> Self {
        Self { child, stop_signal, _folder: folder }
    }

    /// Waits until `address` accepts a connection.
    ///
    /// # Panics
    /// When the server ended, or took longer than a minute.
    pub fn wait_for(&mut self, address: SocketAddr) {
        let began = Instant::now();
        while TcpStream::connect(address).is_err() {
            if let Some(status) = self.child.try_wait().expect("a child can be asked") {
                panic!("the server for {address} ended at its start: {status}");
            }
            assert!(began.elapsed() < START_MAX, "no server at {address} after {START_MAX:?}");
            sleep(Duration::from_millis(20));
        }
    }

    /// Time on a core so far, of the process, its children, and those of them that have ended.
    #[must_use]
    pub fn on_core(&self) -> Duration {
        let ticks = |pid: u32, fields: &[usize]| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
            let field = |at: usize| after_name.split_whitespace().nth(at - 3).and_then(|word| word.parse::<u32>().ok());
            fields.iter().filter_map(|at| field(*at)).sum::<u32>()
        };
        // Fields 14 to 17 of proc(5): user, system, and both of the children that were waited for.
        let own = ticks(self.child.id(), &[14, 15, 16, 17]);
        let children: u32 = self.children().map(|pid| ticks(pid, &[14, 15])).sum();
        TICK * (own + children)
    }

    /// Bytes in memory; pages that processes share count once in all.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        let pss = |pid: u32| {
            let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
            let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
            line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1_024
        };
        pss(self.child.id()) + self.children().map(pss).sum::<u64>()
    }

    fn children(&self) -> impl Iterator<Item = u32> {
        let parent = self.child.id().to_string();
        let all = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(move |pid: &u32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)) == Some(parent.as_str())
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let told = Command::new("kill").args([self.stop_signal, &self.child.id().to_string()]).status();
        if !told.is_ok_and(|status| status.success()) {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

/// A folder on the disk of the build, where the journals of all are kept.
///
/// # Panics
/// When the disk takes none.
#[must_use]
pub fn folder() -> TempDir {
    let folder = programs().with_file_name("tmp");
    fs::create_dir_all(&folder).and_then(|()| tempfile::tempdir_in(folder)).expect("the build's folder takes a folder")
}

/// The folder of the programs of this build: a bench runs two folders below it.
pub(crate) fn programs() -> PathBuf {
    let own = std::env::current_exe().expect("a program knows where it is");
    own.ancestors().nth(2).map(Path::to_owned).expect("the build has folders")
}

/// A loopback port that was free a moment ago.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn free_address() -> SocketAddr {
    let probe = TcpListener::bind(("127.0.0.1", 0)).expect("loopback has a port");
    probe.local_addr().expect("it is bound")
}

/// Where `program` is: on the path, or in one of `folders`.
#[must_use]
pub fn find(program: &str, folders: &[PathBuf]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path: Vec<PathBuf> = std::env::split_paths(&path).collect();
    on_path.iter().chain(folders).map(|folder: &PathBuf| folder.join(program)).find(|file: &PathBuf| is_file(file))
}

fn is_file(file: &Path) -> bool {
    file.metadata().is_ok_and(|metadata| metadata.is_file())
}
