//! How nodes keep up with an authority.
//!
//! Owns following a feed of changes. Meets stores and networks through traits that are defined here; only the
//! adapter knows a store. A follower that cannot know what changed says so, and never guesses.

pub mod adapter;
pub mod feed;
pub mod follower;

pub use feed::{ChangeFeed, Changes, FeedError};
pub use follower::{Follower, Sink};
