//! The `node` program as a library: command line, roles, HTTP API.
//!
//! Owns how the parts are put together; `main.rs` only calls [`run`]. The other crates of the workspace do the work.

pub mod clock;
pub mod http;
pub mod intake;
pub mod metrics;
pub mod misses;
pub mod support;
pub mod cli;
pub mod config;
pub mod logging;
