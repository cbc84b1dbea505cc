#!/bin/sh
# The full bar of workers over MongoDB: 8 worker processes, 2,000 datasets, a worker killed every second for a minute,
# the primary twice. Each size can be set in the environment; the test prints what it saw.
set -eu
cd "$(dirname "$0")/.."
export OUTPOST_WORKERS="${OUTPOST_WORKERS:-8}" OUTPOST_DATASETS="${OUTPOST_DATASETS:-2000}"
export OUTPOST_KILLS="${OUTPOST_KILLS:-60}" OUTPOST_KILL_EVERY_MS="${OUTPOST_KILL_EVERY_MS:-1000}"
exec cargo test --quiet "$@" -p outpost-node --test e2e -- kill_workers --nocapture
