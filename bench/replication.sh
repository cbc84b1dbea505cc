#!/usr/bin/env bash
# Replication between stores over real sockets: bench/replication.sh [ENTRIES [MANY]]
# Prints a table of Markdown: catching up, change to readable, reads beside a sync, a switched upstream, many followers.
set -euo pipefail
cd "$(dirname "$0")/.."
exec cargo run --release --quiet -p outpost-node --example replication -- "$@"
