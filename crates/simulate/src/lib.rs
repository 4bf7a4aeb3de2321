//! A seeded city whose forces move and speak real wire formats to any server. It is also the load generator.
//!
//! [`City`] is a synthetic Nanning: roads, the river with its bridges, stations, posts. [`Forces`] are the units in
//! it: who they are, what they carry, and where each of them is at any time, as a pure function of the seed. [`run`]
//! lets their devices report over real sockets to the [`Target`]s of a [`Plan`] and gives a [`Tally`].
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use simulate::{Plan, run};
//! use std::time::Duration;
//!
//! let start = model::Timestamp::from_rfc3339("2026-11-23T06:00:00Z").ok_or("no time")?;
//! let plan = Plan { units: 1_000, duration: Some(Duration::from_secs(20)), ..Plan::new(vec!["jt808=tcp://127.0.0.1:6808".parse()?], start) };
//! let tally = run(&plan, std::future::pending(), |so_far| println!("{} reports", so_far.reports())).await?;
//! println!("{tally:?}");
//! # Ok(())
//! # }
//! ```

mod city;
mod driver;
mod forces;
pub mod load;
mod plan;
mod plane;
mod rng;
mod tally;
mod target;
mod terminals;

pub use city::{BRIDGES, Bridge, City, DISTRICTS, Place, Post, PostKind, River, Road, RoadClass, STATIONS, Station};
pub use driver::{CONNECTIONS_PER_SECOND, GRACE, run, run_with};
pub use forces::{DEVICES, Device, Fix, Force, Forces, Protocol, Truth, UNITS, UnknownProtocol};
pub use plan::{Batches, Plan, SimulateError};
pub use plane::Point;
pub use tally::{LeftOut, ProtocolTally, Tally};
pub use target::{Target, TargetError, Transport};
