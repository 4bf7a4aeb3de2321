//! The nouns of Muster. Everything else is written in these words.
//!
//! No I/O and no async here; numbers carry their unit in the name, and a value that can be wrong
//! has a type whose constructor checks it.

mod clock;
mod disk;
mod event;
mod gateway;
mod handle;
mod heard;
mod hours;
pub mod limits;
mod name;
mod organisation;
mod position;
mod principal;
mod privacy;
mod report;
mod shards;
mod standing;
mod time;
mod unit;
mod webhook;
mod words;
mod zone;

pub use clock::Clock;
pub use disk::{Disk, DiskFile};
pub use event::{Event, EventKind};
pub use gateway::GatewayChange;
pub use handle::{DeviceHandle, OrganisationHandle, UnitHandle, ZoneHandle};
pub use heard::{Binding, Handling, Heard, Press, Step, What};
pub use hours::{Hours, HoursError, hold as hours_hold};
pub use name::{DeviceId, NameError, OrganisationName, PrincipalName, SenderName, UnitName, WebhookName, ZoneName};
pub use organisation::{Command, Organisation, Rings, Sight};
pub use position::Position;
pub use principal::{Principal, Role};
pub use privacy::Privacy;
pub use report::{AccuracyBasis, Altitude, AltitudeRef, DeviceSignal, Flags, PositionReport, SignalKind, TimeBasis};
pub use shards::Shards;
pub use standing::{Standing, StandingEnd, StandingError, StandingFilter, StandingQuestion};
pub use time::Timestamp;
pub use unit::{
    Capabilities, CapabilityError, Owner, Said, SaidOf, Span, Status, TerminalStatus, Unit, UnitKind, UnitRecord,
};
pub use webhook::{Webhook, WebhookSecret};
pub use words::UnknownWord;
pub use zone::{Minimum, Settle, Shape, Zone};
