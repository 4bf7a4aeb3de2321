use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context as _, bail};
use tempfile::TempDir;

/// A server of this bench's own: this program in a process of its own, so that its processor time counts apart.
/// It takes free ports, writes its journal as always, and is killed and forgotten at the end.
pub(super) struct OwnServer {
    child: Child,
    folder: TempDir,
    /// Kept open: a program whose output nobody reads would end.
    _output: BufReader<ChildStdout>,
    pub(super) http: SocketAddr,
    pub(super) grpc: SocketAddr,
    pub(super) reports_to: SocketAddr,
}

impl OwnServer {
    /// Starts it and waits until it is ready. The journal goes into a new folder in `data`, or in the system's temporary one.
    pub(super) fn start(data: Option<&Path>) -> anyhow::Result<Self> {
        let parent: PathBuf = data.map_or_else(std::env::temp_dir, Path::to_owned);
        let folder = tempfile::Builder::new().prefix("muster-bench-").tempdir_in(&parent);
        let folder = folder.with_context(|| format!("no folder for the journal in {}", parent.display()))?;
        let mut command = Command::new(std::env::current_exe().context("this program cannot find itself")?);
        command.args([
            "serve",
            "--http",
            "127.0.0.1:0",
            "--grpc",
            "127.0.0.1:0",
            "--listen",
            "muster=tcp://127.0.0.1:0",
        ]);
        command.arg("--admit-unknown").arg("--data").arg(folder.path()).stdout(Stdio::piped());
        // What is set for the operator's server is not meant for this one.
        for (key, _) in std::env::vars_os().filter(|(key, _)| key.to_string_lossy().starts_with("MUSTER_")) {
            command.env_remove(key);
        }
        let mut child = command.env("MUSTER_LOG", "error").spawn().context("the server does not start")?;
        let Some(output) = child.stdout.take() else { bail!("the server has no output") };
        let mut output = BufReader::new(output);
        let (mut http, mut grpc, mut reports_to) = (None, None, None);
        loop {
            let mut line = String::new();
            if output.read_line(&mut line)? == 0 {
                let _ = child.wait();
                bail!("the server ended before it was ready");
            }
            let address = line.rsplit_once("//").and_then(|(_, address)| address.trim().parse().ok());
            match line.split_whitespace().next() {
                Some("map") => http = address,
                Some("gRPC") => grpc = address,
                Some("devices") => reports_to = address,
                Some("ready") => break,
                _ => {}
            }
        }
        let (Some(http), Some(grpc), Some(reports_to)) = (http, grpc, reports_to) else {
            let _ = child.kill().and_then(|()| child.wait());
            bail!("the server did not say where it listens");
        };
        Ok(Self { child, folder, _output: output, http, grpc, reports_to })
    }

    /// The number of its process.
    pub(super) fn process(&self) -> u32 {
        self.child.id()
    }

    /// Where its journal is.
    pub(super) fn data(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
