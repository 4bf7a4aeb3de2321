//! Who the forces are, and who may see them: tokens, organisations, units and the audit, in one SQLite file.
//!
//! The journal is the truth of *where*, and of the dense numbers; this is the truth of *who*. Every change writes its row
//! of the audit in the same transaction. Calls block: a server makes them on threads that may.
//!
//! ```
//! use model::{Principal, PrincipalName, Role, Timestamp};
//! use store::{By, Store};
//!
//! let store = Store::in_memory()?;
//! let now = Timestamp::from_rfc3339("2026-11-23T06:00:00Z").unwrap();
//! let by = By { principal: &Principal::local(), now, reason: Some("first shift") };
//! let desk = Principal { name: PrincipalName::new("desk-1").unwrap(), role: Role::Dispatcher, organisation: None };
//! let secret = store.create_token(&by, &desk, now.shifted_ms(86_400_000))?;
//! assert_eq!(store.by_secret(&secret, now)?.unwrap().principal, desk);
//! # Ok::<(), store::StoreError>(())
//! ```

pub mod audit;
mod backup;
mod by;
mod change;
mod checks;
mod commands;
mod error;
pub mod events;
pub mod exchange;
mod organisations;
mod refusal;
mod said;
mod schema;
mod secrets;
mod sights;
mod spans;
#[path = "store.rs"]
mod sqlite;
mod standing;
mod tokens;
mod units;
mod webhooks;
mod zones;

pub use by::{By, IfMatch, Versioned};
pub use error::StoreError;
pub use refusal::{Found, Refusal};
pub use said::Heard;
pub use secrets::SECRET_BYTES;
pub use sqlite::Store;
pub use standing::StandingRecord;
pub use tokens::{BOOTSTRAP, Bearer, RESERVED, TokenRecord, WEBHOOK_PREFIX};
pub use units::{Imported, UnitChange};
pub use webhooks::StoredWebhook;
pub use zones::ZoneVersion;
