#!/bin/sh
# Claim + finish per second through one mongod, 8 claimers: bench/mongo_queue.sh [jobs] [claimers].
# Bar: 1,000 jobs per second on 2 cores. The load average is printed beside the figure.
set -eu
cd "$(dirname "$0")/.."
export OUTPOST_MONGOD_CACHE_GB="${OUTPOST_MONGOD_CACHE_GB:-4}"
exec cargo run --release --quiet -p outpost-storage --features contract --example mongo_queue -- "$@"
