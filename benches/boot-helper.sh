#!/bin/bash
# boot-helper.sh PROGRAM LISTER: how long create-dirs-from-rpmdb (PROGRAM) takes for a database of 2,200 packages, in both formats, beside
# rpm with the same questions and beside reading the file once, in turns; and a list of all packages (LISTER, examples/rpmdb.rs). Whole
# processes, all directories are there. Prints medians and ratios, for people and as a table for README.md. 1 minute, the first time 2.
# Needs root. The exit code is 0 also when a goal is not met: figures of a busy machine are no failure.
#   ROUNDS=11   how often each is run, the fast ones ten times as often
. "$(dirname "$0")/../tests/fixture/env.sh"
FIXTURE=$(cd "$(dirname "${BASH_SOURCE[0]}")/../tests/fixture" && pwd -P)
[ "$(id -u)" = 0 ] || die "needs root: it makes directories of other owners in a scratch directory, and calls chroot"
PROGRAM=$(realpath "${1:?usage: boot-helper.sh PROGRAM LISTER}") LISTER=$(realpath "${2:?usage: boot-helper.sh PROGRAM LISTER}")
ROUNDS=${ROUNDS:-11}
BIG=$("$FIXTURE/rpmdb.sh" big) BASE=$("$FIXTURE/template.sh" base)
DIR=$(mktemp -d "$CACHE/bench.XXXXXX")
trap 'rm -rf "$DIR"' EXIT

# rpm of the fixture, and for each format a system whose database rpm sees below /FORMAT
mkdir "$DIR/rpm"; tar -C "$DIR/rpm" --numeric-owner -xf "$BASE"
for b in sqlite ndb; do
  R=$DIR/rpm/$b; mkdir -p "$R/etc" "$R/var/lib" "$R/srv" "$R/opt" "$R/usr/lib/sysimage"
  cp "$DIR/rpm/etc/passwd" "$DIR/rpm/etc/group" "$R/etc"; echo "nosuchuser:x:4711:4711::/:/bin/false" >> "$R/etc/passwd"; echo "nosuchuser:x:4711:" >> "$R/etc/group"
  cp -r "$BIG/$b" "$R/usr/lib/sysimage/rpm"
  "$PROGRAM" -q --root "$R"
done
sync -f "$DIR"

python3 - "$PROGRAM" "$LISTER" "$DIR/rpm" "$ROUNDS" <<'P'
import os, platform, statistics, sys, time
program, lister, rpm, rounds = *sys.argv[1:4], int(sys.argv[4])
devnull = os.open("/dev/null", os.O_RDWR)

def run(argv):
    """Milliseconds from the start of a program to its end."""
    begun = time.perf_counter_ns()
    pid = os.posix_spawnp(argv[0], argv, {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}, file_actions=[
        (os.POSIX_SPAWN_DUP2, devnull, fd) for fd in (0, 1)])
    _, status = os.waitpid(pid, 0)
    took = (time.perf_counter_ns() - begun) / 1e6
    if os.waitstatus_to_exitcode(status) != 0:
        sys.exit(f"{' '.join(argv)} failed")
    return took

def drop(file):
    """Takes a file out of the page cache, and nothing else."""
    with open(file, "rb") as f:
        os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

def turns(rounds, *commands, cold=None):
    """The median of each of these commands, run alternately; `cold`: a file that is taken out of the page cache before each."""
    times = [[] for _ in commands]
    for r in range(rounds + (cold is None)):
        for k in range(len(commands)):
            k = (r + k) % len(commands)
            if cold:
                drop(cold)
            took = run(commands[k])
            if cold or r:                  # the first one warms up
                times[k].append(took)
    return map(statistics.median, times)

rows = []
def tell(what, ours, beside, other, ratio, goal, met):
    if goal:
        goal += ": met" if met else ": not met"
    print(f"{what:<34} {ours:8.2f} ms   {beside:<34} {other:8.2f} ms   {ratio:>10}   {goal}")
    rows.append(f"| {what} | {ours:.2f} ms | {beside} | {other:.2f} ms | {ratio} | {goal} |")

print(f"Medians of {rounds} rounds in turns, 2,200 packages; Linux {platform.release()}, {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.2f}\n")
fields = r"[%{FILEMODES} %{FILEFLAGS} %{FILESTATES} %{FILEUSERNAME} %{FILEGROUPNAME} %{FILENAMES}\n]"
for backend, name in ("ndb", "Packages.db"), ("sqlite", "rpmdb.sqlite"):
    root = f"{rpm}/{backend}"
    file = f"{root}/usr/lib/sysimage/rpm/{name}"
    query = ["chroot", rpm, "rpm", "--dbpath", f"/{backend}/usr/lib/sysimage/rpm", "--define", f"_db_backend {backend}", "-qa", "--qf"]
    scan = [program, "-q", "--root", root, "--dry-run", "--force"]
    read = ["dd", f"if={file}", "of=/dev/null", "bs=1M", "status=none"]
    ours, other = turns(rounds, scan, query + [fields])
    tell(f"scan, {backend}, warm", ours, "rpm -qa --qf with the same fields", other, f"{other / ours:.0f}x less", "at least 40x", other / ours >= 40)
    ours, other = turns(rounds, scan, read, cold=file)
    tell(f"scan, {backend}, file not in memory", ours, "reading that file once", other, f"{ours / other:.2f}x", "at most 1.5x", ours / other <= 1.5)
    ours, other = turns(10 * rounds, [program, "-q", "--root", root], ["/bin/true"])
    tell(f"nothing to do, {backend}", ours, "a program that does nothing", other, f"+{ours - other:.2f} ms", "at most 2 ms", ours <= 2)
    ours, other = turns(rounds, [lister, root, "packages"], query + [r"%{NEVRA} %{SHA256HEADER} %{INSTALLTIME}\n"])
    tell(f"list of packages, {backend}", ours, "rpm -qa --qf with the same fields", other, f"{other / ours:.0f}x less", "", True)
print("\n| what | ours | beside | time | ratio | goal |\n|---|---|---|---|---|---|")
print("\n".join(rows))
P
