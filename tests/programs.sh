# shellcheck shell=bash
# Checks that the programs of a suite are on this machine; sourced by the scripts of this folder, whose working
# folder is the repository. Prints the missing programs and how to get them, and ends the script. Only where CI
# is set and Debian's apt-get exists, the missing packages are installed instead: nobody asked for a change of
# their own machine.

missing=()
packages=()
installable=yes
noted=" "

# record_missing NAME PACKAGE COMMAND [ADVICE]: records a missing program, its Debian package, and the command
# for macOS; "-" for none.
record_missing() {
  # Several suites need the same program.
  [[ "$noted" != *" $1 "* ]] || return 0
  noted+="$1 "
  local text="  $1"
  [[ "$2" == - ]] || text+=$'\n'"    Debian: apt-get install $2"
  [[ "$3" == - ]] || text+=$'\n'"    macOS:  $3"
  [[ -z "${4:-}" ]] || text+=$'\n'"    $4"
  missing+=("$text")
  if [[ "$2" == - ]]; then installable=no; else packages+=("$2"); fi
}

# need PROGRAM PACKAGE COMMAND [ADVICE]: records PROGRAM as missing unless it is on the PATH.
need() {
  command -v "$1" >/dev/null || record_missing "$@"
}

# Names the programs that compile Docent.
need_rust() {
  need cargo - - "Get Rust 1.95 or newer from https://rustup.rs."
  need cc gcc "xcode-select --install"
}

# Names Node.js and npm. Docusaurus asks for Node.js 20, which Debian has since version 13.
need_node() {
  local newer="Or get Node.js 20 or newer from https://nodejs.org."
  if ! command -v node >/dev/null; then
    record_missing "node (20 or newer)" nodejs "brew install node" "$newer"
  elif ! node -e 'process.exit(Number(process.versions.node.split(".")[0]) < 20 ? 1 : 0)'; then
    record_missing "node (20 or newer; this one is $(node --version))" - "brew install node" "$newer"
  fi
  need npm npm "brew install node"
}

# Names the browser, which tests/browser/find_chromium.mjs looks for. A wrong CHROMIUM is reported, never
# replaced.
need_chromium() {
  local why
  # Without Node.js, need_node has recorded that; the next run looks for the browser.
  command -v node >/dev/null || return 0
  why="$(node tests/browser/find_chromium.mjs 2>&1 >/dev/null)" && return 0
  if [[ -n "${CHROMIUM:-}" ]]; then
    record_missing "chromium ($why)" - - "Unset CHROMIUM, or let it name the program itself."
  else
    record_missing "chromium ($why)" chromium "brew install --cask chromium" \
      "Or name one that you have: CHROMIUM=/path/to/chrome tests/run.sh"
  fi
}

# Names the programs of tests/deploy.sh.
need_deploy() {
  need nginx nginx-light "brew install nginx"
  need caddy caddy "brew install caddy"
  need curl curl "brew install curl"
  need openssl openssl "brew install openssl"
  need perl perl "brew install perl"
  need python3 python3-venv "brew install python"
  if [[ "$(uname)" == Linux ]]; then need systemd-analyze systemd -; fi
}

as_root() {
  if ((EUID == 0)); then "$@"; else sudo "$@"; fi
}

# Installs the recorded packages with apt-get. Debian starts a server when it installs one, unless policy-rc.d
# says no.
install_packages() (
  policy=/usr/sbin/policy-rc.d
  echo "installing Debian's ${packages[*]}"
  if [[ ! -e "$policy" ]]; then
    trap 'as_root rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod +x "$policy"
  fi
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${packages[@]}" >/dev/null
)

# Ends the script if a program is missing and may not be installed.
stop_if_missing() {
  ((${#missing[@]})) || return 0
  if [[ -n "${CI:-}" && "$installable" == yes ]] && command -v apt-get >/dev/null; then
    install_packages
  else
    {
      echo "$0: these programs are missing:"
      printf '%s\n' "${missing[@]}"
    } >&2
    exit 1
  fi
  missing=()
  packages=()
}
