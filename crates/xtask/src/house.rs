//! `cargo xtask house`: rules of `STYLE.md` that no lint knows.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail, ensure};

/// Longest source file, in lines.
const SOURCE_LINES_MAX: usize = 600;

/// Endings of the files held to [`SOURCE_LINES_MAX`].
const SOURCE_ENDINGS: [&str; 5] = [".rs", ".ts", ".js", ".css", ".html"];

/// Places that exist on one machine only. Split, so that this file keeps its own rule.
const MACHINE_PATHS: [&str; 3] = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/tmp/", "target")];

/// Checks every file of the checkout that git tracks, or would once added.
///
/// # Errors
/// The list of offences; or git could not be asked.
pub(crate) fn run(root: &Path) -> anyhow::Result<()> {
    let mut offences = Vec::new();
    for path in files(root)? {
        match fs::read(root.join(&path)) {
            Ok(content) => offences.extend(offences_of(&path, &content)),
            // Deleted, but the deletion is not committed yet.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("cannot read {path}")),
        }
    }
    if !offences.is_empty() {
        bail!("house rules broken:\n  {}", offences.join("\n  "));
    }
    Ok(())
}

fn files(root: &Path) -> anyhow::Result<Vec<String>> {
    // A CI checkout often belongs to another user, which git refuses unless told.
    let output = Command::new("git")
        .arg("-c")
        .arg(format!("safe.directory={}", root.display()))
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .context("cannot start git")?;
    ensure!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr).trim());
    let list = String::from_utf8(output.stdout).context("a file name is not UTF-8")?;
    let files: Vec<String> = list.split_terminator('\0').map(str::to_owned).collect();
    ensure!(!files.is_empty(), "git lists no files");
    Ok(files)
}

/// What is wrong with one file, a line each.
fn offences_of(path: &str, content: &[u8]) -> Vec<String> {
    let mut offences = Vec::new();
    let is_source = SOURCE_ENDINGS.iter().any(|ending| path.ends_with(ending));
    let is_built = path.split('/').any(|part| part == "dist");
    if is_source && !is_built {
        let lines = content.split_inclusive(|&byte| byte == b'\n').count();
        if lines > SOURCE_LINES_MAX {
            offences.push(format!("{path}: {lines} lines, at most {SOURCE_LINES_MAX}"));
        }
    }
    for (number, line) in content.split(|&byte| byte == b'\n').enumerate() {
        for place in MACHINE_PATHS {
            if line.windows(place.len()).any(|window| window == place.as_bytes()) {
                offences.push(format!("{path}:{}: names `{place}`, a path of one machine", number + 1));
            }
        }
    }
    offences
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_source_file_is_an_offence() {
        let (longest, too_long) = ("x\n".repeat(600), "x\n".repeat(600) + "x");
        assert!(offences_of("crates/a/src/lib.rs", longest.as_bytes()).is_empty());
        assert_eq!(offences_of("crates/a/src/lib.rs", too_long.as_bytes()).len(), 1);
        assert_eq!(offences_of("map/src/main.ts", too_long.as_bytes()).len(), 1);
    }

    #[test]
    fn built_files_and_data_may_be_long() {
        let long = "x\n".repeat(601);
        assert!(offences_of("map/dist/map.js", long.as_bytes()).is_empty());
        assert!(offences_of("Cargo.lock", long.as_bytes()).is_empty());
    }

    #[test]
    fn path_of_one_machine_is_an_offence_in_any_file() {
        for place in MACHINE_PATHS {
            let content = format!("first\nsee {place}x\n");
            let offences = offences_of("map/dist/map.js", content.as_bytes());
            assert_eq!(offences.len(), 1, "{offences:?}");
            assert!(offences[0].starts_with("map/dist/map.js:2:"), "{offences:?}");
        }
        assert!(offences_of("README.md", b"work/ root and rework\n").is_empty());
    }
}
