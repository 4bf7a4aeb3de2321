//! Writes the fixture of the city into a folder: `nanning FOLDER`.

use std::path::PathBuf;
use std::process::ExitCode;

use muster_tests::nanning;

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("nanning FOLDER");
        return ExitCode::FAILURE;
    };
    for (name, content) in nanning::files(&nanning::forces()) {
        let path = folder.join(name);
        if let Err(error) = std::fs::write(&path, &content) {
            eprintln!("nanning: cannot write {}: {error}", path.display());
            return ExitCode::FAILURE;
        }
        println!("{} ({} bytes)", path.display(), content.len());
    }
    ExitCode::SUCCESS
}
