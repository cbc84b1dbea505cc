//! What tests of this and other crates need to run against a real MongoDB.
//!
//! Owns finding, starting and ending a server; refuses to be part of a release build (feature `contract`).
#![allow(clippy::print_stderr, reason = "who runs the tests must read why a server cannot be had")]

/// The driver, for tests that look at what the product stored.
pub use mongodb;

pub mod mongod;
pub(crate) mod mongod_binary;
