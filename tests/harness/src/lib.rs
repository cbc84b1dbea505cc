//! What the test suites share: a stub of the Hub, nodes to start and stop, conditions to wait for.
//!
//! Owns no assertion about the product; suites do that. Waiting is always for a condition with a bound, never a sleep.

pub mod client;
pub mod hub_stub;
pub mod moto;
pub mod node_process;
pub mod proxy;
pub mod small_disk;
pub mod wait;

pub use client::client;
pub use node_process::NodeProcess;
pub use proxy::{Fault, FaultyProxy};
pub use small_disk::SmallDisk;
pub use wait::wait_until;
