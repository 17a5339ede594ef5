#!/usr/bin/env bash
# Runs the tests of the gate, or the suites that the arguments name; `tests/run.sh --help` lists them.
set -euo pipefail
cd "$(dirname "$0")/.."
target="${CARGO_TARGET_DIR:-target}"
[[ "$target" == /* ]] || target="$PWD/$target"
# shellcheck source=tests/programs.sh
source tests/programs.sh

gate=(rust slim docusaurus browser)
long=(cases release deploy soak fuzz)

usage() {
  cat <<'END'
Usage: tests/run.sh [--check] [SUITE…]

Runs the suites that are named, in the order of this list; without a name, those of the gate.

gate  rust        unit tests and the API tests, over sockets
      slim        compiles Docent without the embedded index
      docusaurus  builds two Docusaurus sites; compares their addresses with Docent's; tests the plugin
      browser     checks form and types of the JavaScript; tests the widget and the demo page in Chromium

long  cases       the unit tests with 20,000 random cases for each property
      release     builds the release binary and measures it (Linux only)
      deploy      the files of examples/deploy, behind the real nginx and Caddy
      soak        ten minutes of chaos (Linux only)
      fuzz        each fuzz target for a minute

gate and all name several suites at once. --check says which programs are missing, and runs no test.
CHROMIUM=/path/to/chrome chooses the browser. With CI set, missing packages of Debian are installed.
END
}

# Builds the binary that other suites start, with the features of `rust`: the plain build would compile the
# dependencies once more.
build_binary() {
  cargo test --locked --no-run --test api
  export DOCENT_BIN="$target/debug/docent"
}

# Installs the packages of the two Docusaurus sites.
install_sites() {
  npm ci --prefix examples/docusaurus --no-audit --no-fund
  npm ci --prefix tests/docusaurus --no-audit --no-fund
}

need_for_rust() { need_rust; }
run_rust() { cargo test --locked --all-targets; }

need_for_slim() { need_rust; }
run_slim() { cargo check --locked --no-default-features; }

need_for_docusaurus() { need_rust; need_node; }
run_docusaurus() {
  build_binary
  install_sites
  npm test --prefix tests/docusaurus
}

need_for_browser() { need_rust; need_node; need_chromium; }
run_browser() {
  build_binary
  # The browser opens the sites that the suite docusaurus has just built, if it was among the arguments.
  if ! is_chosen docusaurus; then
    install_sites
    node tests/docusaurus/sites.mjs
  fi
  npm ci --prefix tests/browser --no-audit --no-fund
  npm test --prefix tests/browser
}

need_for_cases() { need_rust; }
run_cases() { PROPTEST_CASES=20000 cargo test --locked --lib; }

need_for_release() { need_rust; }
run_release() {
  # In one go: apart, the two would build the dependencies twice, for other features.
  cargo build --locked --release --bins --examples
  if [[ "$(uname)" == Linux ]]; then
    "$target/release/examples/bench" "$target/release/docent"
  else
    echo "skipped: the measurements, because they read memory from Linux's /proc"
  fi
}

need_for_deploy() { need_rust; need_deploy; }
run_deploy() {
  build_binary
  tests/deploy.sh
}

need_for_soak() { need_rust; }
run_soak() { tests/soak.sh; }

need_for_fuzz() { need_rust; need c++ g++ "xcode-select --install"; }
run_fuzz() { tests/fuzz.sh; }

chosen=" "
check_only=no
is_chosen() { [[ "$chosen" == *" $1 "* ]]; }

for argument in "$@"; do
  case "$argument" in
    -h | --help)
      usage
      exit
      ;;
    --check) check_only=yes ;;
    gate) chosen+="${gate[*]} " ;;
    all) chosen+="${gate[*]} ${long[*]} " ;;
    *)
      if [[ " ${gate[*]} ${long[*]} " != *" $argument "* ]]; then
        echo "tests/run.sh: there is no suite \"$argument\"" >&2
        usage >&2
        exit 64
      fi
      chosen+="$argument "
      ;;
  esac
done
[[ "$chosen" != " " ]] || chosen+="${gate[*]} "

# Before the first suite, which takes minutes.
for suite in "${gate[@]}" "${long[@]}"; do
  if is_chosen "$suite"; then "need_for_$suite"; fi
done
stop_if_missing
if [[ "$check_only" == yes ]]; then
  echo "no program is missing"
  exit
fi

left_out=()
for suite in "${gate[@]}" "${long[@]}"; do
  if is_chosen "$suite"; then
    echo "== $suite"
    "run_$suite"
  else
    left_out+=("$suite")
  fi
done
if ((${#left_out[@]})); then echo "passed; not run: ${left_out[*]}"; else echo "passed"; fi
