//! The handlers, by kind of endpoint.

pub mod admin;
pub mod assets;
pub mod rows;
pub mod steps;
pub mod technical;
pub mod webhook;
