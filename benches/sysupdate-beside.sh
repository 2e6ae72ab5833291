# shellcheck shell=bash
# sysupdate-beside.sh: sourced by the scripts that run sysupdate beside systemd-sysupdate. Sets DIR, which goes with the script, and has what
# measures one run of each: in turns, on the same files of the same file system, nothing of this system is changed.
. "$(dirname "${BASH_SOURCE[0]}")/../tests/fixture/env.sh"
FIXTURE=$HERE
[ "$(id -u)" = 0 ] || die "needs root: it calls chroot"
need python3 python3
PROGRAM=$(realpath "${1:?usage: $(basename "$0") PROGRAM}")
DIR=$(mktemp -d "$CACHE/bench.XXXXXX")
mkdir "$DIR/lib" "$DIR/figures" "$DIR/www"
SERVER=
ended() { [ -z "$SERVER" ] || kill "$SERVER" 2>/dev/null || :; rm -rf "$DIR"; }
trap ended EXIT

# milliseconds of wall clock and of processors, and KiB of memory, of one run of a program. A process cannot have less than what starts it.
MEASURE='import os, sys, time
out = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
begun = time.perf_counter()
pid = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, out, 1)])
_, status, used = os.wait4(pid, 0)
took = time.perf_counter() - begun
print(f"{took * 1000:.1f} {(used.ru_utime + used.ru_stime) * 1000:.1f} {used.ru_maxrss}")
sys.exit(os.waitstatus_to_exitcode(status))'
PYTHON=$(python3 -c 'import os, sys; print(os.path.realpath(sys.executable))')

# ours ARG...: runs PROGRAM, with a state directory of its own; prints its figures. What it says is in $DIR/ours.
ours() {
  unshare -m --propagation private bash -euc 'mount --bind "$1/lib" /var/lib; mount -t tmpfs tmpfs /run; shift; exec "$@"' ours \
    "$DIR" "$PYTHON" -c "$MEASURE" "$DIR/ours" "$PROGRAM" "$@" 2> "$DIR/said" || { cat "$DIR/said" >&2; die "sysupdate failed"; }
}
# theirs VERSION ARG...: the same with systemd-sysupdate. What it says is in $DIR/VERSION. Its memory is not known.
theirs() {
  local version=$1; shift
  PEER_BIND=$DIR:$DIR PEER_LIMIT=600 PEER_PROGRAM=/usr/bin/bash "$FIXTURE/peer-sysupdate.sh" "$version" -ec '
    out=$1; shift
    for p in /usr/lib/systemd/systemd-sysupdate /usr/bin/systemd-sysupdate; do [ ! -x $p ] || program=$p; done
    begun=${EPOCHREALTIME/./}
    "$program" "$@" > "$out"
    us=$((${EPOCHREALTIME/./} - begun))
    read -ra fields < /proc/$$/stat    # 16 and 17: ticks of all that ended
    echo "$((us / 1000)).$((us % 1000 / 100)) $(((fields[15] + fields[16]) * 1000 / $(getconf CLK_TCK))) 0"' theirs "$DIR/$version" "$@" 2> "$DIR/said" ||
    { cat "$DIR/said" >&2; die "systemd-sysupdate $version failed"; }
}

# serve: answers on a free port of 127.0.0.1 with the files in $DIR/www; ADDRESS is where. Bytes go by sendfile(2), so that whoever fetches is
# what is measured.
serve() {
  python3 - "$DIR/www" > "$DIR/port" <<'P' &
import http.server, os, re, sys
class Files(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def __init__(self, *args):
        super().__init__(*args, directory=sys.argv[1])
    def do_GET(self):
        try:
            file = open(self.translate_path(self.path), "rb")
        except OSError:
            return self.send_error(404)
        with file:
            stat = os.fstat(file.fileno())
            first, end = 0, stat.st_size
            part = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            if part:
                first = int(part[1])
                end = min(end, int(part[2] or end) + 1)
            if first > end or part and first == end:
                return self.send_error(416)
            self.send_response(206 if part else 200)
            self.send_header("Content-Length", end - first)
            self.send_header("Last-Modified", self.date_time_string(stat.st_mtime))
            if part:
                self.send_header("Content-Range", f"bytes {first}-{end - 1}/{stat.st_size}")
            self.end_headers()
            self.wfile.flush()
            if first < end:
                self.connection.sendfile(file, first, end - first)
    def log_message(self, *args):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files)
print(server.server_address[1], flush=True)
server.serve_forever()
P
  SERVER=$!
  until [ -s "$DIR/port" ]; do kill -0 "$SERVER" || die "the server does not run"; sleep 0.05; done
  ADDRESS=http://127.0.0.1:$(cat "$DIR/port")
}

# median FILE COLUMN
median() { cut -d' ' -f"$2" "$1" | sort -n | awk '{ v[NR] = $1 } END { printf "%.1f", NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }
most() { cut -d' ' -f"$2" "$1" | sort -n | tail -n 1; }

# turns CASE ROUNDS FUNCTION...: calls each function so often, and each as first as the others. The figures are in $DIR/figures/CASE-FUNCTION.
turns() {
  local case=$1 rounds=$2 r k; shift 2
  local all=("$@")
  for ((r = 0; r < rounds; r++)); do
    for ((k = 0; k < $#; k++)); do "${all[(r + k) % $#]}" >> "$DIR/figures/$case-${all[(r + k) % $#]}"; done
  done
}
machine() { echo "Linux $(uname -r), $(nproc) CPUs, $(stat -f -c %T "$DIR"), load $(cut -d' ' -f1 /proc/loadavg)"; }
