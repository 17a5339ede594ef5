#!/usr/bin/env bash
# All tests. `tests/run.sh all` adds what takes too long for every change: many more random cases, the release build
# and its measurements.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo test --locked --all-targets
cargo check --locked --no-default-features

if [[ "${1:-}" == all ]]; then
  PROPTEST_CASES=20000 cargo test --locked --lib
  cargo build --locked --release
  target="${CARGO_TARGET_DIR:-target}"
  cargo run --locked --release --example bench -- "$target/release/docent"
fi
