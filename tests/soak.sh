#!/usr/bin/env bash
# Chaos for ten minutes, or for as many seconds as the first argument says: mixed load, random faults and readers who
# leave; then what leaving and shedding take. Everything stays on the loopback and ends by itself.
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target}"

cargo build --locked --release --bins --examples
export DOCENT_BIN="$CARGO_TARGET_DIR/release/docent" SOAK_SECONDS="${1:-600}"
cargo test --locked --test api soak:: -- --include-ignored --nocapture --test-threads 1
