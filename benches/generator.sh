#!/bin/bash
# generator.sh PROGRAM: how long transactional-update-generator (PROGRAM) takes beside systemd's own generator for updates, in turns, in the
# tree of the tests' machines (systemd 257). Whole processes; the boot waits for both. Prints medians and ratios, for people and as a table
# for README.md. 10 s. Needs root. The exit code is 0 also when a goal is not met: figures of a busy machine are no failure.
#   ROUNDS=300   how often each is run
. "$(dirname "$0")/../tests/fixture/env.sh"
FIXTURE=$(cd "$(dirname "${BASH_SOURCE[0]}")/../tests/fixture" && pwd -P)
[ "$(id -u)" = 0 ] || die "needs root: it calls chroot"
PROGRAM=$(realpath "${1:?usage: generator.sh PROGRAM}")
ROUNDS=${ROUNDS:-300}
BASE=$("$FIXTURE/template.sh" base)
DIR=$(mktemp -d "$CACHE/bench.XXXXXX")
trap 'rm -rf "$DIR"' EXIT

mkdir "$DIR/tree"; tar -C "$DIR/tree" --numeric-owner -xf "$BASE"
GENERATORS=/usr/lib/systemd/system-generators
install -m 755 "$PROGRAM" "$DIR/tree$GENERATORS/"
touch "$DIR/tree/usr/lib/systemd/system/transactional-update-offline.service"
# a copy, for when there is none where systemd looks
cp "$DIR/tree$GENERATORS/systemd-system-update-generator" "$DIR/tree/theirs"

# the mount is this namespace's, and goes with it; without /dev/kmsg nothing gets into the log of the kernel
unshare -m --propagation private bash -euc 'mount -t proc proc "$1/proc"; [ ! -e "$1/dev/kmsg" ]; shift; exec "$@"' bench "$DIR/tree" \
  python3 - "$DIR/tree" "$GENERATORS" "$ROUNDS" <<'P'
import os, platform, statistics, sys, time
tree, generators, rounds = *sys.argv[1:3], int(sys.argv[3])
devnull = os.open("/dev/null", os.O_RDWR)
kernel, cpus, load = platform.release(), os.cpu_count(), os.getloadavg()[0]
os.chroot(tree); os.chdir("/")
directories = ["/run/bench/normal", "/run/bench/early", "/run/bench/late"]
for directory in directories:
    os.makedirs(directory)
ours, theirs = f"{generators}/transactional-update-generator", f"{generators}/systemd-system-update-generator"
environment = {"PATH": "/usr/sbin:/usr/bin", "SYSTEMD_SCOPE": "system", "SYSTEMD_IN_INITRD": "0", "SYSTEMD_PROC_CMDLINE": "quiet"}

def run(program, made):
    """Milliseconds from the start of a program to its end, when it made what it has to."""
    begun = time.perf_counter_ns()
    pid = os.posix_spawn(program, [program] + directories, environment, file_actions=[
        (os.POSIX_SPAWN_DUP2, devnull, fd) for fd in (0, 1, 2)])
    _, status = os.waitpid(pid, 0)
    took = (time.perf_counter_ns() - begun) / 1e6
    found = os.listdir(directories[1])
    if os.waitstatus_to_exitcode(status) != 0 or found != made:
        sys.exit(f"{program} failed, or made {found} and not {made}")
    for name in found:
        os.unlink(f"{directories[1]}/{name}")
    return took

def turns(*commands):
    """The median of each of these, run alternately."""
    times = [[] for _ in commands]
    for r in range(rounds + 10):
        for k in range(len(commands)):
            k = (r + k) % len(commands)
            took = run(*commands[k])
            if r >= 10:                    # the first ones warm up
                times[k].append(took)
    return map(statistics.median, times)

rows = []
def tell(what, ours, theirs):
    ratio, goal = f"{ours / theirs:.2f}x", "1.00x: met" if ours <= theirs else "1.00x: not met"
    print(f"{what:<44} {ours:6.2f} ms   systemd's own {theirs:6.2f} ms   {ratio:>6}   {goal}")
    rows.append(f"| {what} | {ours:.2f} ms | systemd's own generator | {theirs:.2f} ms | {ratio} | {goal} |")

print(f"Medians of {rounds} rounds in turns; Linux {kernel}, {cpus} CPUs, load {load:.2f}\n")
tell("nothing armed, as at most boots", *turns((ours, []), (theirs, [])))
link = ["default.target"]
os.symlink("/var/lib/transactional-update/offline", "/system-update")
tell("armed, systemd's generator diverts the boot", *turns((ours, []), (theirs, link)))
os.unlink(theirs)
tell("armed, ours diverts the boot", *turns((ours, link), ("/theirs", link)))
print("\n| what | ours | beside | time | ratio | goal |\n|---|---|---|---|---|---|")
print("\n".join(rows))
P
