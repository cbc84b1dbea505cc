//! The `node` program.

use std::process::ExitCode;

use mimalloc::MiMalloc;

// Gives freed memory back to the system: large buffers come and go on many threads, and the system's allocator keeps
// what each thread freed, so that the process holds several times what is in use.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    outpost_node::main()
}
