//! Offline updates on machines that really boot into system-update.target.

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
    machine.prepare("echo OFFLINE_FAILURE_PAUSE=0 > /etc/transactional-update.conf");
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
    tell("update boot", begun);
}

/// The boot after it.
pub(crate) fn look(machine: &Machine, more: &str) -> Ran {
    let begun = Instant::now();
    let ran = machine
        .power_on_default("", &format!("{LOOK}; {more}"))
        .exits(0);
    tell("the next boot", begun);
    ran
}

#[allow(clippy::print_stdout)] // nobody sees it unless it is asked for
fn tell(what: &str, begun: Instant) {
    println!("offline: {what} {:.2} s", begun.elapsed().as_secs_f32());
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

/// Pulls the plug at each of these points and asserts that the machine comes back by itself, with the old packages or the new
/// ones, and knows which.
pub(crate) fn killed(armed: &Machine, points: &[(&str, &str, &str)]) {
    for (point, packages, status) in points {
        let machine = armed.copy();
        machine.plug_pulled_at(point);
        let mut ran = look_or_reboot(&machine);
        if ran.is_none() {
            ran = look_or_reboot(&machine);
        }
        let ran = ran.unwrap_or_else(|| panic!("{point}: two more update boots"));
        let is = [*packages, &format!("Offline update: {status}\n")]
            .iter()
            .all(|text| ran.stdout.contains(*text));
        assert!(is, "{point}: not {packages} and {status}\n{ran}");
        let recovered = machine.boot("transactional-update recover && transactional-update recover && transactional-update -q run true").succeeds();
        drop(recovered);
    }
}

fn look_or_reboot(machine: &Machine) -> Option<Ran> {
    let ran = machine.power_on_default("", LOOK);
    (ran.code != REBOOT).then(|| ran.exits(0))
}

#[test]
fn a_new_snapshot_is_whole_or_gone_wherever_the_plug_is_pulled() {
    const INTERRUPTED: &str = "failed (interrupted)";
    killed(
        &armed(Variant::NestedSqlite, "dup", ""),
        &[
            ("offline-claim-noted@1", OLD, INTERRUPTED),
            ("offline-claimed@1", OLD, INTERRUPTED),
            ("offline-phase-noted@1", OLD, INTERRUPTED),
            ("created@1", OLD, INTERRUPTED),
            ("ran@1", OLD, INTERRUPTED),
            ("synced@1", OLD, INTERRUPTED),
            ("offline-phase-noted@3", OLD, INTERRUPTED),
            ("committed@1", NEW, "applied"),
            ("offline-outcome@1", NEW, "applied"),
            ("offline-ended@1", NEW, "applied"),
        ],
    );
}

#[test]
fn a_root_that_is_changed_in_place_is_whole_or_what_it_was_wherever_the_plug_is_pulled() {
    const INTERRUPTED: &str = "failed (interrupted)";
    const REVERTED: &str = "reverted (interrupted)";
    killed(
        &armed(Variant::RwSqlite, "dup", ""),
        &[
            ("offline-claimed@1", OLD, INTERRUPTED),
            ("in-place-created@1", OLD, INTERRUPTED),
            ("in-place-noted@1", OLD, INTERRUPTED),
            ("in-place-protected@1", OLD, REVERTED),
            ("in-place-ran@1", OLD, REVERTED),
            ("in-place-synced@1", OLD, REVERTED),
            ("offline-phase-noted@4", OLD, REVERTED),
            ("in-place-published@1", NEW, "applied"),
            ("in-place-kept@1", NEW, "applied"),
            ("offline-outcome@1", NEW, "applied"),
        ],
    );
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
