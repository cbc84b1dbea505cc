//! The `node` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    outpost_node::main()
}
