//! Offline updates on machines that really boot into system-update.target.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use crate::fx::{Machine, QUIET, REBOOT, Ran, Variant};

/// What an upgrade from one repository to the other changes.
pub(crate) const OLD: &str = "fx-base-1-1.noarch fx-down-2.0-1.noarch fx-etc-1.0-1.noarch fx-old-1.0-1.noarch fx-plug-1.0-1.noarch \n";
pub(crate) const NEW: &str = "fx-base-1-1.noarch fx-down-1.0-1.noarch fx-etc-2.0-1.noarch fx-more-1.0-1.noarch fx-new-1.0-1.noarch \n";

/// Prints what is installed, what runs, what boots next, and what is left of an update boot.
const LOOK: &str = "rpm -qa 'fx-*' | sort | tr '\\n' ' '; echo; rpm -V fx-etc fx-base
    echo runs $(findmnt -n -o FSROOT / | grep -o '[0-9]*/snapshot$'), next $(btrfs subvolume get-default / | grep -o '[0-9]*/snapshot$')
    ls -d /system-update /etc/system-update /var/lib/transactional-update/offline/.transactional-update-armed 2>/dev/null
    ls -d /.snapshots/*/snapshot/system-update 2>/dev/null
    transactional-update offline status; echo status $?";

/// Prints what the history has of snapshot 3, and that recovery has nothing to add.
const HISTORY: &str = r#"h=/var/lib/transactional-update/history.jsonl; n=$(wc -l < $h)
    grep '"snapshot":3,' $h | sed -E 's/.*"command":"\S* ?([a-z ]*)","result":"([a-z]*)","snapshot":([0-9]*),"base":([a-z0-9]*).*/history: \1 \2 \3 of \4/'
    [ -z "$(transactional-update recover 2>&1)" ] && [ $(wc -l < $h) = $n ] && ! grep -l tu-untold /.snapshots/*/info.xml && echo nothing to recover"#;

/// A machine with programs and units, packages of the old repository, and the new one.
pub(crate) fn machine(variant: Variant) -> Machine {
    let machine = Machine::of(variant).with_own_identity();
    machine.install();
    // what else of ours runs in a boot goes on where an update is stopped
    machine.prepare(
        "echo OFFLINE_FAILURE_PAUSE=0 > /etc/transactional-update.conf; cd /etc/systemd/system
         for u in create-dirs-from-rpmdb transactional-update-recover transactional-update-boot; do
           mkdir $u.service.d; printf '[Service]\\nUnsetEnvironment=TU_FAILPOINTS\\n' > $u.service.d/points.conf
         done",
    );
    machine.use_repository("before", &["gpgcheck=0"]);
    let packages = "fx-etc fx-old fx-plug fx-down";
    if variant.is_read_write() {
        machine
            .boot(&format!("zypper -n install {packages}"))
            .succeeds();
    } else {
        machine.tu(&format!("-n pkg install {packages}")).succeeds();
    }
    machine.use_repository("after", &["gpgcheck=0"]);
    machine
}

/// The same, with an update prepared and armed.
fn armed(variant: Variant, what: &str, how: &str) -> Machine {
    let machine = machine(variant);
    plan_and_arm(&machine, what, how);
    machine
}

/// Prepares an update with what comes after the words `offline prepare` in `what`, and arms it as `how` says.
pub(crate) fn plan_and_arm(machine: &Machine, what: &str, how: &str) {
    if !what.contains("dup") {
        machine.use_repository("small", &["gpgcheck=0"]);
    }
    arm(machine, what, how).exits(REBOOT);
}

fn arm(machine: &Machine, what: &str, how: &str) -> Ran {
    let script = format!(
        "transactional-update offline prepare {what} && transactional-update offline arm --reboot {how}; echo arm $?; sleep 30"
    );
    machine.power_on_default("", &script)
}

/// The boot that is diverted: the system asks for a reboot by itself.
pub(crate) fn update(machine: &Machine) {
    let begun = Instant::now();
    let ran = machine.power_on_default("", "echo came here");
    ran.exits(REBOOT).does_not_say("came here");
    tell(&scenario(), "update boot", begun);
}

/// The boot after it.
pub(crate) fn look(machine: &Machine, more: &str) -> Ran {
    let begun = Instant::now();
    let ran = machine
        .power_on_default("", &format!("{LOOK}; {more}"))
        .exits(0);
    tell(&scenario(), "next boot", begun);
    ran
}

/// The test that runs in this thread.
fn scenario() -> String {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or_default();
    name.rsplit("::").next().unwrap_or_default().to_owned()
}

/// Adds the seconds since `begun` to what tests/run.sh shows at its end.
fn tell(scenario: &str, what: &str, begun: Instant) {
    let Some(cycles) = std::env::var_os("TU_CYCLES") else {
        return;
    };
    let line = format!("{scenario}\t{what}\t{:.2}\n", begun.elapsed().as_secs_f32());
    let mut file = File::options().append(true).open(cycles).unwrap();
    file.write_all(line.as_bytes()).unwrap();
}

/// Asserts what [`LOOK`] prints up to the status, word by word.
#[track_caller]
pub(crate) fn shows(ran: &Ran, packages: &str, runs: u32, next: u32, status: &str) {
    let wanted =
        format!("{packages}runs {runs}/snapshot, next {next}/snapshot\nOffline update: {status}\n");
    assert!(ran.stdout.starts_with(&wanted), "{wanted}\n{ran}");
}

#[test]
fn an_upgrade_in_a_new_snapshot_arrives_exactly_as_planned() {
    let machine = armed(Variant::NestedSqlite, "dup", "");
    update(&machine);
    let ran = look(
        &machine,
        &format!(
            "journalctl -q --no-pager -b -1 -o cat MESSAGE_ID=f7fbde89e05b4edfa031e9e045ce1172; cat /var/lib/transactional-update/offline/motd; {HISTORY}"
        ),
    );
    shows(&ran, NEW, 3, 3, "applied");
    let ran = ran.says("with --ack this is no longer shown.\nhistory: offline run published 3 of 2\nnothing to recover\n");
    ran.says("status 0").says("The offline update was applied.\nThe offline update was applied.\nSee `transactional-update offline status`");
}

#[test]
fn an_upgrade_in_place_arrives_exactly_as_planned_and_leaves_a_way_back() {
    let machine = armed(Variant::RwSqlite, "dup", "");
    update(&machine);
    let ran = look(
        &machine,
        "grep -o 'tu-[a-z-]*' /.snapshots/1/info.xml; btrfs property get /.snapshots/2/snapshot ro; transactional-update -q rollback 2; echo back $?",
    );
    shows(&ran, NEW, 1, 1, "applied");
    ran.says("status 0")
        .does_not_say("tu-in-place")
        .says("ro=true\nback 0\n");
    // of a system that is read-write a copy boots
    let ran = look(&machine, "");
    shows(&ran, OLD, 4, 4, "applied");
}

#[test]
fn an_update_in_place_that_fails_is_reverted_and_the_half_changed_root_is_not_booted_again() {
    let machine = armed(Variant::RwSqlite, "install fx-lib fx-badpre", "");
    update(&machine);
    let more = "transactional-update offline arm; echo arm $?; transactional-update rollback 1; echo back $?; transactional-update -q run true; echo run $?; transactional-update list";
    let ran = look(&machine, more);
    shows(&ran, OLD, 2, 2, "reverted (install)");
    let ran = ran
        .says("Next: `offline log` shows what happened; `offline prepare` makes a new plan, since the old one is not")
        .says("the plan is stale, make it anew with `offline prepare`: subvolume")
        .says("arm 1");
    let ran = ran.says("status 3").says("back 1").says("run 0");
    ran.says("snapshot 1 was being updated in place and may be half changed");
}

#[test]
fn an_update_in_a_new_snapshot_that_fails_leaves_the_system_as_it_was() {
    let machine = armed(
        Variant::NestedSqlite,
        "install fx-lib fx-badpre",
        "--end poweroff",
    );
    // what was asked for comes after a failure, too
    machine
        .power_on_default("", "echo came here")
        .exits(0)
        .does_not_say("came here");
    let ran = look(&machine, "ls /.snapshots");
    shows(&ran, OLD, 2, 2, "failed (install)");
    ran.says("status 3").says("1\n2\n");
}

/// Each failpoint that was passed, in their order, as `name@2` for the second time. Of what is passed often, as each replacing of a
/// file is, the first time and the last one.
fn points(log: &str) -> Vec<String> {
    const OFTEN: usize = 4;
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let of = |name| log.lines().filter(|line| *line == name).count();
    let mut points = Vec::new();
    for name in log.lines() {
        let (times, all) = (seen.entry(name).or_default(), of(name));
        *times += 1;
        if all <= OFTEN || [1, all].contains(times) {
            points.push(format!("{name}@{times}"));
        }
    }
    points
}

/// Pulls the plug at each of these points while `script` runs, if it comes to that, and asserts for each that the machine comes back by
/// itself, after one more update boot at most, and what `LOOK` prints then.
fn killed_while(machine: &Machine, script: &str, points: &[(String, Vec<String>)]) {
    const MORE: &str = "transactional-update recover && transactional-update recover && transactional-update -q run true; echo recovered $?
        grep -c '\"snapshot\":3,' /var/lib/transactional-update/history.jsonl | sed 's/^/lines: /'";
    let (next, scenario) = (AtomicUsize::new(0), scenario());
    let one = || {
        while let Some((point, wanted)) = points.get(next.fetch_add(1, Ordering::Relaxed)) {
            let machine = machine.copy();
            machine.plug_pulled_at(point, script);
            let look = format!("{LOOK}; {MORE}");
            let boot = || {
                let begun = Instant::now();
                let ran = machine.power_on_default("", &look);
                let what = if ran.code == REBOOT {
                    "update boot"
                } else {
                    "next boot"
                };
                tell(&scenario, what, begun);
                ran
            };
            let mut boots = (0..2).map(|_| boot());
            let ran = boots.find(|ran| ran.code != REBOOT);
            let ran = ran.unwrap_or_else(|| panic!("{point}: two more update boots"));
            let ran = ran.exits(0);
            // who begins nothing any more may leave it
            let stdout = ran.stdout.replace(
                "/var/lib/transactional-update/offline/.transactional-update-armed\n",
                "",
            );
            let is = wanted.iter().all(|text| stdout.contains(text));
            assert!(is, "{point}: not {wanted:?}\n{ran}");
            assert!(ran.stdout.contains("recovered 0\n"), "{point}\n{ran}");
            // told by the update, by recovery, or by both when it was cut off between what is told and that it was
            let is_new = stdout.contains("\nruns 3/");
            let is_twice = is_new && point.starts_with("line-written");
            let lines = format!("lines: {}\n", if is_twice { 2 } else { 1 });
            assert!(
                !is_new || ran.stdout.contains(&lines),
                "{point}: {lines}\n{ran}"
            );
        }
    };
    std::thread::scope(|scope| {
        for worker in [scope.spawn(one), scope.spawn(one), scope.spawn(one)] {
            worker.join().unwrap_or_else(|e| resume_unwind(e));
        }
    });
    assert!(next.into_inner() > points.len());
}

/// Pulls the plug at each of these points and asserts that the machine comes back by itself, with the old packages or the new ones, and
/// knows which.
pub(crate) fn killed(armed: &Machine, points: &[(&str, &str, &str)]) {
    let of = |(point, packages, status): &(&str, &str, &str)| {
        let status = format!("Offline update: {status}\n");
        ((*point).to_owned(), vec![(*packages).to_owned(), status])
    };
    let points: Vec<_> = points.iter().map(of).collect();
    killed_while(armed, "", &points);
}

/// What the update boot of this machine passes, with what is to be seen after the plug was pulled there: `ends`, the second from when
/// the update has begun, and each other from the next time on that the default subvolume was set.
fn of_update(machine: &Machine, ends: &[&str]) -> Vec<(String, Vec<String>)> {
    /// The state says so from here on.
    const BEGUN: &str = "replace-renamed@1";
    let words = "systemd.setenv=TU_FAILPOINTS=*=log:/run/tu-test/out";
    let ran = machine.copy().power_on_default(words, "").exits(REBOOT);
    let mut ends = ends.iter();
    let mut end = ends.next().unwrap();
    let of = |point: String| {
        if point == BEGUN || point.starts_with("after-set-default@") {
            end = ends.next().unwrap();
        }
        (point, vec![(*end).to_owned()])
    };
    let points = points(&ran.stdout).into_iter().map(of).collect();
    assert_eq!(ends.next(), None, "{ran}");
    points
}

/// What [`LOOK`] prints, up to the status.
fn seen(packages: &str, runs: u32, status: &str) -> String {
    format!("{packages}runs {runs}/snapshot, next {runs}/snapshot\nOffline update: {status}\n")
}

#[test]
fn a_new_snapshot_is_whole_or_gone_wherever_the_plug_is_pulled() {
    let machine = armed(Variant::NestedSqlite, "dup", "");
    let (old, new) = (
        seen(OLD, 2, "failed (interrupted)"),
        seen(NEW, 3, "applied"),
    );
    let points = of_update(&machine, &[&new, &old, &new]);
    killed_while(&machine, "", &points);
}

#[test]
fn a_root_that_is_changed_in_place_is_whole_or_what_it_was_wherever_the_plug_is_pulled() {
    let machine = armed(Variant::RwSqlite, "dup", "");
    let old = seen(OLD, 1, "failed (interrupted)");
    let reverted = seen(OLD, 2, "reverted (interrupted)");
    let new = seen(NEW, 1, "applied");
    let points = of_update(&machine, &[&new, &old, &reverted, &new]);
    killed_while(&machine, "", &points);
}

#[test]
fn arming_that_is_cut_off_anywhere_leaves_an_update_that_runs_or_one_that_says_it_did_not() {
    let machine = machine(Variant::RwSqlite);
    let arm = "transactional-update offline arm; sleep 60";
    machine
        .power_on_default("", "transactional-update offline prepare dup")
        .exits(0);
    let ran = machine.copy().power_on_default("", "TU_FAILPOINTS=*=log:/run/tu-test/points transactional-update offline arm > /dev/null 2>&1; cat /run/tu-test/points");
    let points = points(&ran.stdout).into_iter();
    let (mut is_noted, mut is_made) = (false, false);
    let points: Vec<_> = points
        .map(|point| {
            is_noted |= point.starts_with("replace-renamed");
            is_made |= point.starts_with("offline-trigger-made");
            let wanted = match (is_noted, is_made) {
                (false, _) => seen(OLD, 1, "no offline update is armed"),
                (true, false) => "Offline update: failed (not-run)\n".to_owned(),
                (true, true) => seen(NEW, 1, "applied"),
            };
            (point, vec![wanted])
        })
        .collect();
    assert!(is_noted && is_made, "{points:?}");
    killed_while(&machine, arm, &points);
}

#[test]
fn a_target_that_is_entered_from_the_running_system_changes_nothing_and_the_next_boot_is_the_update()
 {
    let machine = machine(Variant::RwSqlite);
    let live = format!(
        "transactional-update offline prepare dup && transactional-update offline arm; {QUIET}; systemctl --no-block default; sleep 60"
    );
    machine.power_on_default("", &live).exits(REBOOT);
    machine.boot("rpm -q fx-plug; ls /system-update").succeeds();
    let again = machine.copy();
    update(&machine);
    shows(&look(&machine, ""), NEW, 1, 1, "applied");
    // a boot that says where to go leaves it armed; entered from there once more, it is given up
    let live = format!(
        "transactional-update offline status; echo status $?; {QUIET}; systemctl --no-block default; sleep 60"
    );
    let ran = again.power_on_default("systemd.unit=multi-user.target", &live);
    ran.exits(REBOOT)
        .says("Offline update: armed, but not run in this boot, which was not diverted\n")
        .says("`offline cancel` calls it off\nstatus 2\n");
    shows(&look(&again, ""), OLD, 1, 1, "failed (not-run)");
}

#[test]
fn an_update_after_which_no_reboot_can_be_asked_for_ends_in_one() {
    let machine = armed(Variant::RwSqlite, "dup", "");
    machine.prepare(
        "mv /usr/bin/systemctl /usr/bin/systemctl.real
         printf '#!/bin/sh\\n[ \"$*\" != \"--no-block reboot\" ] || exit 1\\nexec systemctl.real \"$@\"\\n' > /usr/bin/systemctl; chmod 755 /usr/bin/systemctl",
    );
    update(&machine);
    shows(&look(&machine, ""), NEW, 1, 1, "applied");
}

#[test]
fn while_the_trigger_cannot_be_removed_nothing_is_changed_and_the_usual_system_comes_up() {
    let machine = armed(Variant::RwSqlite, "dup", "");
    machine.outside("chattr +i $FX_ROOT").succeeds();
    let ran = look(&machine, "");
    let wanted = format!("{OLD}runs 1/snapshot, next 1/snapshot\n/system-update\n");
    assert!(ran.stdout.starts_with(&wanted), "{ran}");
    ran.says("Offline update: failed (cannot-remove-trigger)")
        .says("status 3");
}

#[test]
fn a_package_manager_that_gives_no_sign_of_life_is_ended() {
    let machine = machine(Variant::RwSqlite);
    machine.prepare("echo OFFLINE_STALL_TIMEOUT=3 >> /etc/transactional-update.conf");
    machine.use_repository("small", &["gpgcheck=0"]);
    arm(&machine, "install fx-slow", "").exits(REBOOT);
    update(&machine);
    let ran = look(&machine, "");
    shows(&ran, OLD, 2, 2, "reverted (stalled)");
}

#[test]
fn an_update_boot_that_comes_to_nothing_for_a_mount_is_seen_afterwards_and_can_be_armed_again() {
    let machine = armed(Variant::RwSqlite, "dup", "");
    machine.prepare("echo 'nothing /broken nosuchfs defaults 0 0' >> /etc/fstab");
    let ran = machine
        .power_on_default("", "echo came here")
        .exits(REBOOT)
        .does_not_say("came here");
    ran.does_not_say("The offline update begins");
    machine.prepare("sed -i /broken/d /etc/fstab");
    // the login tells without anybody having asked before
    let more = "transactional-update offline arm; echo arm $?";
    let ran = machine.power_on_default(
        "",
        &format!("cat /usr/lib/motd.d/transactional-update-offline; {LOOK}; {more}"),
    );
    let ran = ran
        .exits(0)
        .says("If the system was restarted since, it did not run:\nsee `transactional-update offline status`.\nfx-base-")
        .says(OLD)
        .says("runs 1/snapshot, next 1/snapshot\n/var/lib/transactional-update/offline/.transactional-update-armed\nOffline update: failed (not-run)")
        .says("Usual reasons: a mount or another unit that is needed early failed in the update boot")
        .says("status 3")
        .says("arm 0");
    drop(ran);
    update(&machine);
    shows(&look(&machine, ""), NEW, 1, 1, "applied");
}

/// The unit of another tool, which removes its trigger first and then works for some seconds.
const OTHER: &str = "[Unit]
DefaultDependencies=no
Requires=sysinit.target
After=sysinit.target system-update-pre.target
Before=system-update.target
ConditionPathIsSymbolicLink=/system-update
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'rm /system-update; sleep 3; rpm -e fx-plug; echo the other one is done >> /run/tu-test/out; systemctl --no-block reboot'
";

#[test]
fn another_tool_that_is_armed_as_well_is_not_disturbed_and_makes_the_plan_stale() {
    let machine = machine(Variant::RwSqlite);
    let arm = "transactional-update offline prepare dup && transactional-update offline arm";
    machine.power_on_default("", arm).exits(0).says("is armed");
    machine.prepare(&format!(
        "mv /system-update /etc/system-update; ln -s /var/lib/other /system-update
        cat > /etc/systemd/system/other.service <<'EOF'\n{OTHER}EOF
        d=/etc/systemd/system/system-update.target.wants; mkdir -p $d; ln -s ../other.service $d"
    ));
    // where nothing keeps our unit out, it is started beside it; as long as the other trigger is there, it leaves that boot alone
    let careless = machine.copy();
    careless.prepare(
        "rm /usr/lib/systemd/system-generators/transactional-update-generator; cd /usr/lib/systemd/system
         sed -i \"s|^ExecStart=\\(.*\\)|ExecStart=/bin/sh -c '\\1 >> /run/tu-test/out 2>\\&1'|\" transactional-update-offline.service
         sed -i 's|rm /system-update; \\(.*\\); systemctl|\\1; rm /system-update; systemctl|' /etc/systemd/system/other.service",
    );
    let version = machine.boot("systemctl --version | sed -n '1s/systemd \\([0-9]*\\).*/\\1/p'");
    let version: u32 = version.stdout.trim().parse().unwrap();
    for (machine, yields) in [
        (machine, ""),
        (
            careless,
            "/system-update is another program's: this update boot is left to it.\n",
        ),
    ] {
        let ran = machine.power_on_default("", "echo came here");
        let said = ran.exits(REBOOT).stdout;
        assert_eq!(said, format!("{yields}the other one is done\n"));
        if !yields.is_empty() && version < 254 {
            // from /etc only our generator leads into an update there
            let ran = machine.power_on_default("", "echo came here").exits(0);
            assert_eq!(ran.stdout, "came here\n");
            continue;
        }
        update(&machine);
        let left = OLD.replace("fx-plug-1.0-1.noarch ", "");
        let ran = look(&machine, "");
        shows(&ran, &left, 1, 1, "failed (stale)");
        ran.says("packages were installed or removed meanwhile")
            .says("`offline prepare` makes a new plan, since the old one is not for the system");
    }
}

#[test]
fn a_system_of_the_time_when_it_was_armed_costs_one_boot_when_it_is_gone_back_to() {
    let machine = machine(Variant::RwSqlite);
    let script = "transactional-update offline prepare dup && transactional-update offline arm && transactional-update -q run true
        transactional-update offline cancel; ls -d /system-update /.snapshots/2/snapshot/system-update";
    let ran = machine.power_on_default("", script).exits(0);
    ran.says("ls: cannot access '/system-update'")
        .says("\n/.snapshots/2/snapshot/system-update\n");
    update(&machine);
    let ran = look(&machine, "");
    let wanted = format!(
        "{OLD}runs 2/snapshot, next 2/snapshot\nOffline update: no offline update is armed\n"
    );
    assert!(ran.stdout.starts_with(&wanted), "{wanted}\n{ran}");
}

/// Stands for plymouth, which needs a screen: it knows what it may be asked and ends with 99 at all else. Each call is noted with its
/// time in ms; `$HANGS` begins the one that never ends.
const PLYMOUTH: &str = r#"#!/bin/bash
echo "plymouth $(($(date +%s%N) / 1000000)) $*" >> /run/tu-test/out
case "$*" in
  "$HANGS"*) sleep 60;;
  --ping | change-mode\ --updates | change-mode\ --system-upgrade | change-mode\ --reboot | change-mode\ --shutdown) ;;
  system-update\ --progress=[0-9] | system-update\ --progress=[0-9][0-9] | system-update\ --progress=100) ;;
  display-message\ --text=?* | hide-message\ --text=?*) ;;
  *) echo "plymouth: not one of ours: $*" >> /run/tu-test/out; exit 99;;
esac
"#;

/// The calls of plymouth in an update boot where the one that begins with `hangs` never ends: their times in ms, and the words.
fn calls_of_plymouth(machine: &Machine, hangs: &str) -> Vec<(u64, String)> {
    let machine = machine.copy();
    let program = PLYMOUTH.replace("$HANGS", hangs);
    machine.prepare(&format!(
        "cat > /usr/bin/plymouth <<'EOF'\n{program}EOF\nchmod 755 /usr/bin/plymouth"
    ));
    let ran = machine.power_on_default("", "echo came here").exits(REBOOT);
    let calls = ran.stdout.lines().map(|line| {
        let call = line
            .strip_prefix("plymouth ")
            .and_then(|call| call.split_once(' '));
        let (at, words) = call.unwrap_or_else(|| panic!("{line}\n{ran}"));
        (at.parse().unwrap(), words.to_owned())
    });
    let calls = calls.collect();
    shows(&look(&machine, ""), NEW, 1, 1, "applied");
    calls
}

#[test]
fn plymouth_shows_an_update_and_is_not_asked_again_once_it_fails() {
    const BEGUN: &str =
        "An update is carried out: do not power off. The system restarts afterwards.";
    const APPLIED: &str = "The offline update was applied.";
    let machine = armed(Variant::RwSqlite, "dup", "");
    let calls = calls_of_plymouth(&machine, "nothing");
    let (mut progress, mut others) = (Vec::new(), Vec::new());
    for (at, words) in &calls {
        match words.strip_prefix("system-update --progress=") {
            Some(percent) => progress.push((*at, percent.parse::<u8>().unwrap())),
            None => others.push(words.as_str()),
        }
    }
    let wanted = [
        "--ping",
        &format!("display-message --text={BEGUN}"),
        "change-mode --system-upgrade",
        &format!("hide-message --text={BEGUN}"),
        &format!("display-message --text={APPLIED}"),
        "change-mode --reboot",
    ];
    assert_eq!(others, wanted, "{calls:?}");
    // the mode hides messages: it comes when the packages are about to change, and the first percentage right behind it
    assert!(calls[3].1 == "system-update --progress=0", "{calls:?}");
    assert!(
        progress.is_sorted_by(|a, b| a.1 < b.1 && b.0 - a.0 >= 1000),
        "{progress:?}"
    );
    for (hangs, last) in [("--ping", 0), ("system-update", 3)] {
        let calls = calls_of_plymouth(&machine, hangs);
        assert_eq!(calls.len(), last + 1, "{calls:?}");
        assert!(calls[last].1.starts_with(hangs), "{calls:?}");
    }
}

/// Boots once: the script arms the update, enters its boot by a soft-reboot, and runs `then` in the normal one that comes after it
/// without another boot.
fn without_reboot(machine: &Machine, what: &str, then: &str) -> Ran {
    let script = format!(
        "if [ -e /var/lib/transactional-update/offline/result.json ]; then {then}; exit; fi
        transactional-update offline prepare {what} && transactional-update offline arm --soft-reboot --end soft-reboot; echo arm $?
        sleep 60"
    );
    machine.power_on_softly(&script)
}

/// Whether the machine's systemd knows soft-reboots, which came with 254. One that does not know them refuses to be armed for one.
#[allow(clippy::print_stdout)]
fn knows_soft_reboots(machine: &Machine) -> bool {
    let ran = machine.boot("systemctl --version | sed -n '1s/systemd \\([0-9]*\\).*/\\1/p'");
    let version = ran.succeeds().stdout.trim().parse::<u32>().unwrap();
    if version >= 254 {
        return true;
    }
    let arm = "transactional-update offline prepare dup && transactional-update offline arm --end soft-reboot; echo arm $?";
    machine
        .power_on_default("", arm)
        .exits(0)
        .says(&format!("systemd {version} knows no soft-reboot"))
        .says("arm 1");
    println!("soft-reboot: does not apply to systemd {version}");
    false
}

/// Prints how often user space was restarted since the boot.
const COUNT: &str = "echo soft-reboots: $(systemctl show -P SoftRebootsCount)";

#[test]
fn an_update_in_place_needs_no_reboot_of_the_kernel_unless_what_starts_first_is_changed() {
    let machine = machine(Variant::RwSqlite);
    if !knows_soft_reboots(&machine) {
        return;
    }
    let kernel = machine.copy();
    let ran = without_reboot(&machine, "dup", &format!("echo then; {LOOK}; {COUNT}"));
    let ran = ran.exits(0).says("status 0\nsoft-reboots: 2\n");
    let wanted = format!("then\n{}", seen(NEW, 1, "applied"));
    assert!(ran.stdout.contains(&wanted), "{wanted}\n{ran}");

    kernel.use_repository("kernels", &["gpgcheck=0"]);
    let ran = without_reboot(&kernel, "install kernel-fx", "echo came here");
    ran.exits(REBOOT)
        .says("The kernel or what it starts first was changed: the system reboots.")
        .does_not_say("came here");
    look(&kernel, COUNT)
        .says("Offline update: applied")
        .says("soft-reboots: 0\n");
}

#[test]
fn a_new_snapshot_is_entered_by_a_soft_reboot_too() {
    let machine = machine(Variant::NestedSqlite);
    if !knows_soft_reboots(&machine) {
        return;
    }
    // in a container nothing of the first system is left then but /run and what an initrd mounts
    machine.prepare(&format!(
        "cat > /etc/systemd/system/look.service <<'EOF'
[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecCondition=/bin/sh -c '[ $$(systemctl show -P SoftRebootsCount) = 2 ]'
ExecStart=/bin/bash /var/look
ExecStart=/bin/systemctl --no-block poweroff
EOF
        d=/etc/systemd/system/multi-user.target.wants; mkdir -p $d; ln -s ../look.service $d; ln -sf /usr/lib/systemd/system/multi-user.target /etc/systemd/system/default.target
        cat > /var/look <<'EOF'
rpm -qa 'fx-*' | sort | tr '\\n' ' ' > /var/seen; echo >> /var/seen
echo runs $(findmnt -n -o FSROOT / | grep -o '[0-9]*/snapshot$') >> /var/seen; findmnt -n -o FSROOT /etc | tail -n 1 >> /var/seen; {COUNT} >> /var/seen
EOF"
    ));
    without_reboot(&machine, "dup", "echo came here")
        .exits(0)
        .says("The update is armed")
        .does_not_say("came here");
    let ran = look(&machine, "cat /var/seen");
    shows(&ran, NEW, 3, 3, "applied");
    ran.says(&format!(
        "status 0\n{NEW}runs 3/snapshot\n/@/.snapshots/3/snapshot/etc\nsoft-reboots: 2\n"
    ));
}
