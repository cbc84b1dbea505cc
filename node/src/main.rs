//! The `node` program.

use std::process::ExitCode;

// A build of the whole workspace has what the simulation plants its bugs with; a release of the node never does.
const _: () = assert!(
    cfg!(debug_assertions) || !outpost_sync::mutation::CAN_BE_PLANTED,
    "the feature `mutations` of outpost-sync is for the simulation: build the node with `cargo build --release`, \
     without --workspace"
);

fn main() -> ExitCode {
    outpost_node::main()
}
