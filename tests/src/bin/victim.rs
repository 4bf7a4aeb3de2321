//! A server in a process of its own, on a disk that goes wrong as the command line says: `victim serve FOLDER ORDERS...`.
//! And one that only backs a folder up, to be killed too: `victim backup FROM TO`.
//!
//! It says on its output where it listens, `ready`, and what went wrong; `full` and `room` on its input take and give room,
//! `stall` and `release` hold syncs and let them go on, `fail` lets every change of the disk fail.
//! The end of its input stops it, so that no test leaves one behind.

use std::io::BufRead;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use journal::FolderDisk;
use model::Disk;
use muster_tests::disk::{Faults, VictimDisk, say};
use muster_tests::orders::Orders;
use server::Server;
use tokio::sync::oneshot;

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    // No core files, neither written nor piped to a program: 200 of them take long.
    let _ = rlimit::setrlimit(rlimit::Resource::CORE, 1, 1);
    let done = match (words.next().as_deref(), words.next()) {
        (Some("serve"), Some(folder)) => {
            Orders::of_arguments(words).and_then(|orders| serve(Path::new(&folder), orders))
        }
        (Some("backup"), Some(from)) => back_up(Path::new(&from), Path::new(&words.next().unwrap_or_default())),
        _ => Err("victim serve FOLDER ORDERS... | victim backup FROM TO".to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            say(&format!("problem {problem}"));
            ExitCode::FAILURE
        }
    }
}

fn back_up(from: &Path, to: &Path) -> Result<(), String> {
    let from = FolderDisk::look_at(from).map_err(|error| error.to_string())?;
    let to = FolderDisk::take(to).map_err(|error| error.to_string())?;
    let backup = journal::backup(&from, &to).map_err(|error| error.to_string())?;
    say(&format!("backed up {}", backup.sequence));
    Ok(())
}

#[tokio::main(worker_threads = 2)]
async fn serve(folder: &Path, orders: Orders) -> Result<(), String> {
    // A thread that panics must not be overlooked because the others go on.
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::exit(101);
    }));
    let folder = FolderDisk::take(folder).map_err(|error| error.to_string())?;
    let disk = VictimDisk::new(folder, orders);
    let stopped = obey(Arc::clone(disk.faults()));
    let disk: Arc<dyn Disk> = Arc::new(disk);
    let server = Server::start_on(&orders.config(), Some(disk)).await.map_err(|error| error.to_string())?;
    say(&format!("http {}", server.addresses().http));
    if let Some(grpc) = server.addresses().grpc {
        say(&format!("grpc {grpc}"));
    }
    for listen in &server.addresses().listen {
        say(&format!("{} {}", listen.protocol.name, listen.address));
    }
    say("ready");
    let _ = stopped.await;
    server.stop().await;
    Ok(())
}

/// Does what the input says; the result ends with it.
fn obey(faults: Arc<Faults>) -> oneshot::Receiver<()> {
    let (stop, stopped) = oneshot::channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            match line.as_str() {
                "full" => faults.take_room(),
                "room" => faults.give_room(),
                "fail" => faults.fail(),
                "stall" => faults.stall(),
                "release" => faults.release(),
                _ => continue,
            }
            say("done");
        }
        // A stop waits for the last sync.
        faults.release();
        let _ = stop.send(());
    });
    stopped
}
