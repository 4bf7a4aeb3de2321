//! Typed asks, whose limits are checked when they are built, answered from the index under a deadline.

mod ask;
mod deadline;
mod filter;
mod nearest;
mod omitted;
mod within;

pub use ask::{AskError, Explain, NearestAsk, WithinAsk};
pub use deadline::{Deadline, QueryError};
pub use filter::{Filter, Include};
pub use nearest::{Found, Nearest, nearest};
pub use omitted::{EXPLAINED_MAX, Omitted, OmittedReason};
pub use within::{FoundInside, Within, within};

use model::{UnitHandle, UnitName};

/// Who the numbers are. Ties are broken by name, so that answers repeat.
pub trait Names {
    /// The name of `unit`.
    fn name(&self, unit: UnitHandle) -> UnitName;
}
