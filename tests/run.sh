#!/usr/bin/env bash
# All tests. `tests/run.sh all` adds what takes too long for every change: many more random cases, the release build
# and its measurements.
set -euo pipefail
cd "$(dirname "$0")/.."
target="$(realpath -m "${CARGO_TARGET_DIR:-target}")"

cargo test --locked --all-targets
cargo check --locked --no-default-features

if [[ ! -x /usr/bin/chromium ]]; then
  echo "installing Debian's chromium for the browser tests"
  apt-get update -qq && apt-get install -y -qq chromium >/dev/null
fi
# Builds two sites with Docusaurus, which the browser tests open.
npm ci --prefix examples/docusaurus --no-audit --no-fund
npm ci --prefix tests/docusaurus --no-audit --no-fund
DOCENT_BIN="$target/debug/docent" npm test --prefix tests/docusaurus
npm ci --prefix tests/browser --no-audit --no-fund
DOCENT_BIN="$target/debug/docent" npm test --prefix tests/browser

if [[ "${1:-}" == all ]]; then
  PROPTEST_CASES=20000 cargo test --locked --lib
  # In one go: apart, the two would build the dependencies twice, for other features.
  cargo build --locked --release --bins --examples
  "$target/release/examples/bench" "$target/release/docent"
  DOCENT_BIN="$target/debug/docent" tests/deploy.sh
  tests/soak.sh
  tests/fuzz.sh
fi
