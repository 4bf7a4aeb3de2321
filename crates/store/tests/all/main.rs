//! The store from outside: what it keeps, what it refuses, and what it says of a file that somebody changed.

mod audit;
mod file;
mod tokens;
