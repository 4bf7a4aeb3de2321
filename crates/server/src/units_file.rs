use std::path::{Path, PathBuf};

use engine::Engine;
use model::UnitName;
use serde::Deserialize;

use crate::http::UnitBody;

/// Why a file of units was refused as a whole. The operator's fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnitsFileError {
    /// Not there or not readable.
    #[error("cannot read {}: {error}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// No JSON of the right shape; the message names line and column.
    #[error("{}: {error}", path.display())]
    Shape {
        /// Which file.
        path: PathBuf,
        /// Where and why.
        error: serde_json::Error,
    },
    /// A unit that cannot be taken.
    #[error("{}: unit number {number} `{unit}`: {problem}", path.display())]
    Unit {
        /// Which file.
        path: PathBuf,
        /// Its place in the list, from 1.
        number: usize,
        /// Its name as written.
        unit: String,
        /// What is wrong.
        problem: String,
    },
}

#[derive(Deserialize)]
struct Entry {
    unit: String,
    #[serde(flatten)]
    body: UnitBody,
}

/// Enrols all units of a JSON list.
pub(crate) fn enrol(path: &Path, engine: &Engine) -> Result<usize, UnitsFileError> {
    let text =
        std::fs::read_to_string(path).map_err(|error| UnitsFileError::Unreadable { path: path.into(), error })?;
    let entries: Vec<Entry> =
        serde_json::from_str(&text).map_err(|error| UnitsFileError::Shape { path: path.into(), error })?;
    let count = entries.len();
    for (at, Entry { unit, body }) in entries.into_iter().enumerate() {
        let wrong =
            |problem: String| UnitsFileError::Unit { path: path.into(), number: at + 1, unit: unit.clone(), problem };
        let name = UnitName::new(&unit).map_err(|error| wrong(error.to_string()))?;
        let (checked, devices) = body.checked(name).map_err(|problem| wrong(problem.detail().to_owned()))?;
        engine.enrol(checked, &devices).map_err(|error| wrong(error.to_string()))?;
    }
    Ok(count)
}
