//! How nodes keep copies of each other (docs/PROTOCOL.md).
//!
//! Owns the protocol: frames, the feed that a node serves, the follower that pulls it, what a follower may accept, how
//! old its state is, and the relay of webhooks. Meets stores and networks through traits that are defined here; only
//! [`adapter`] knows a store and only [`http`] a socket. Whatever a peer sends, the cost of refusing it is bounded.

pub mod adapter;
pub mod call;
pub mod follower;
pub mod frame;
pub mod freshness;
pub mod history;
pub mod http;
#[doc(hidden)]
pub mod mutation;
pub mod node_id;
pub mod promise;
pub mod ranges;

pub mod record;
pub mod relay;
pub mod server;
pub mod source;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod wire;

pub use call::{Answer, Call, CallError, Refusal, RefusalCode, Upstream};
pub use follower::{Follower, Phase, StatusBoard};
pub use freshness::{Freshness, WallClock};
pub use node_id::NodeId;
pub use server::{Server, Standing};
