//! Typed asks, whose limits are checked when they are built, answered from the index under a deadline; and who may ask now.

mod admission;
mod ask;
mod count;
mod deadline;
mod degraded;
mod filter;
mod lane;
mod nearest;
mod omitted;
mod rank;
mod scope;
mod strength;
mod within;

pub use admission::{Admission, Offer, Room, Ticket, Turn};
pub use ask::{AskError, Explain, NearestAsk, Rank, UnknownRank, WithinAsk};
pub use count::count_within;
pub use deadline::{Deadline, QueryError};
pub use degraded::{DegradedNearest, nearest_degraded};
pub use filter::{Filter, Include};
pub use lane::{Class, Contract, Lane, UnknownLane};
pub use nearest::{Found, Nearest, nearest, possible_m};
pub use omitted::{EXPLAINED_MAX, LeftOut, Omitted, OmittedReason};
pub use scope::{Realm, Scope};
pub use strength::{Heads, Strength};
pub use within::{FoundInside, Within, everywhere, inside, within};

use model::{UnitHandle, UnitName};

/// Who the numbers are. Ties are broken by name, so that answers repeat.
pub trait Names {
    /// The name of `unit`.
    fn name(&self, unit: UnitHandle) -> UnitName;

    /// Whether the name of `unit` comes after `name`. Asked for every unit in an area: what can tell it without a name of its
    /// own should.
    fn is_after(&self, unit: UnitHandle, name: &UnitName) -> bool {
        self.name(unit) > *name
    }
}
