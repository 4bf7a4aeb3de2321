//! What Muster's figures are held against: three structures that answer the same questions about bare points, floors of the
//! machine, and a moving fleet. And how honest its map is. See `benches/README.md`.

mod area;
mod block;
mod fleet;
pub mod floors;
mod grid;
pub mod honesty;
mod packed;
pub mod pipe;
mod plane;
mod point_tree;
pub mod process;
mod rounds;
pub mod served;
#[cfg(test)]
mod tests;
pub mod trace;
mod zones;

pub use area::{Disc, Outline, Region};
pub use fleet::{Fleet, Spread};
pub use grid::Grid;
pub use packed::Packed;
pub use plane::{Best, K, Number, Plane, Scan};
pub use point_tree::{Narrow, PointTree, Wide};
pub use rounds::{Rounds, on_core, quantile, timed};
pub use zones::{Ground, Options};
