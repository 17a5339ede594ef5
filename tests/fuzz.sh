#!/usr/bin/env bash
# Fuzzes the readers of foreign bytes, each target for a minute, or for the seconds in the first argument.
# Writes each finding to tests/fuzz/artifacts; make the finding a named case of a test. Needs a C++ compiler,
# for libFuzzer.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds="${1:-60}"
target="${CARGO_TARGET_DIR:-target}/fuzz"
[[ "$target" == /* ]] || target="$PWD/$target"

# The flags of cargo-fuzz without a sanitizer: this code has no unsafe block, and stable Rust takes them.
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
  -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
  -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1"
host="$(rustc -vV | sed -n 's/^host: //p')"
cargo build --locked --release --manifest-path tests/fuzz/Cargo.toml --target-dir "$target" --target "$host"

fuzz() {
  local name="$1"
  shift
  mkdir -p "$target/corpus/$name" tests/fuzz/artifacts
  echo "fuzzing $name"
  "$target/$host/release/$name" "$target/corpus/$name" "$@" -artifact_prefix="tests/fuzz/artifacts/$name-" \
    -max_total_time="$seconds" -max_len=16384 -timeout=10 -print_final_stats=1 2>&1 \
    | grep -E "^(Done|stat::number|stat::peak|==|SUMMARY|thread|assertion|  left|  right)"
}

fuzz gemini tests/fuzz/seeds/gemini
fuzz citations tests/fuzz/seeds/citations
fuzz request tests/fuzz/seeds/request
fuzz markdown examples/docusaurus/docs tests/docusaurus/fixture/docs
