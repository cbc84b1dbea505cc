//! The `node` binary: roles, configuration, HTTP API, client commands.
fn main() {}
