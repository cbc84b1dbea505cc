#!/usr/bin/env bash
# Rehearses what docs/OPERATIONS.md tells operators to do, on real nodes of this machine, with the sample datasets.
#   deploy/rehearse.sh              everything
#   deploy/rehearse.sh SCENARIO…    some of it; --list names them
# NODE=path/to/node takes a binary that is built already. Needs python3, nothing else; the full disk also needs to mount
# a small tmpfs, as root or under `unshare --user --map-root-user --mount`.
# BOUND_S is how long a condition is waited for.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -z "${NODE:-}" ]; then
    cargo build --release --locked --bin node
    NODE="${CARGO_TARGET_DIR:-target}/release/node"
fi
export NODE
exec python3 deploy/rehearsal "$@"
