#!/usr/bin/env bash
# Runs chaos for ten minutes, or for the seconds in the first argument: mixed load, random faults and readers
# who leave; then measures the time that leaving and shedding take. Stays on the loopback, and ends by itself.
set -euo pipefail
cd "$(dirname "$0")/.."
if [[ "$(uname)" != Linux ]]; then
  echo "skipped: soak, because it reads memory and open files from Linux's /proc"
  exit
fi
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}"
[[ "$CARGO_TARGET_DIR" == /* ]] || CARGO_TARGET_DIR="$PWD/$CARGO_TARGET_DIR"

cargo build --locked --release --bins --examples
export DOCENT_BIN="$CARGO_TARGET_DIR/release/docent" SOAK_SECONDS="${1:-600}"
cargo test --locked --test api soak:: -- --include-ignored --nocapture --test-threads 1
