//! Tests of the workspace as a whole live in `tests/`. Here is what they share: a server in a process of its own whose disk
//! goes wrong where it is told to, the load that is put on it, and the check of what it left behind.

pub mod check;
pub mod cover;
pub mod disk;
pub mod grpc;
pub mod http;
pub mod load;
pub mod nanning;
pub mod orders;
pub mod sources;
pub mod speaker;
pub mod trace;
pub mod victim;
