//! Offline updates on machines where the state, and all of /var, is part of the root: each root has its own, and what boots must
//! say the same as where all roots share it.

use crate::boot_offline::{NEW, OLD, killed, look, machine, plan_and_arm, shows, update};
use crate::fx::{Machine, Variant};

/// A machine with /var in the subvolume of the root.
fn inside() -> Machine {
    let machine = machine(Variant::RwSqlite);
    machine.prepare(
        "mkdir /run/root; mount --bind / /run/root; cp -a /var/. /run/root/var/; sed -i '/ \\/var /d' /etc/fstab",
    );
    machine
}

/// The same, with an update prepared and armed.
fn armed(what: &str) -> Machine {
    let machine = inside();
    plan_and_arm(&machine, what, "");
    machine
}

const FAILS: &str = "install fx-lib fx-badpre";
const NEW_SNAPSHOT: &str = "--strategy new-snapshot";

/// What is told beside the status: at login, and what the package manager said.
const TOLD: &str = "cat /var/lib/transactional-update/offline/motd; transactional-update offline log | sed -n '/^-- .*update.log/,$p'";

#[test]
fn an_upgrade_in_place_is_known_to_the_root_and_to_the_way_back() {
    let machine = armed("dup");
    update(&machine);
    let back = "btrfs property get /.snapshots/2/snapshot ro; transactional-update -q rollback 2; echo back $?";
    let ran = look(&machine, &format!("{TOLD}; {back}"));
    shows(&ran, NEW, 1, 1, "applied");
    ran.says("The offline update was applied.\nSee `transactional-update offline status`")
        .says("Installing: fx-new-1.0-1.noarch\n")
        .says("ro=true\nback 0\n");
    let ran = look(&machine, TOLD);
    shows(&ran, OLD, 4, 4, "applied");
    ran.says("The offline update was applied.\nSee `transactional-update offline status`")
        .says("Installing: fx-new-1.0-1.noarch\n");
}

#[test]
fn an_update_in_place_that_is_taken_back_is_told_by_what_was_before() {
    let machine = armed(FAILS);
    update(&machine);
    let ran = look(&machine, TOLD);
    shows(&ran, OLD, 2, 2, "reverted (install)");
    ran.says(
        "fx-badpre-1.0-1.noarch failed: exit status 1.\nSee `transactional-update offline status`",
    )
    .says("\nbadpre: refusing\n")
    .says("Changed and not taken back: /home, /opt, /root, /srv\n")
    .says("status 3");
}

#[test]
fn an_upgrade_in_a_new_snapshot_is_known_to_it_and_to_the_old_one() {
    let machine = armed(&format!("{NEW_SNAPSHOT} dup"));
    update(&machine);
    let back = "transactional-update -q rollback 1; echo back $?";
    let ran = look(&machine, &format!("{TOLD}; {back}"));
    shows(&ran, NEW, 2, 2, "applied");
    ran.says("The offline update was applied.\nSee `transactional-update offline status`")
        .says("Installing: fx-new-1.0-1.noarch\n")
        .says("back 0\n");
    let ran = look(&machine, TOLD);
    shows(&ran, OLD, 4, 4, "applied");
    ran.says("Installing: fx-new-1.0-1.noarch\n");
}

#[test]
fn an_update_in_a_new_snapshot_that_fails_is_told_by_the_old_one() {
    let machine = armed(&format!("{NEW_SNAPSHOT} {FAILS}"));
    update(&machine);
    let ran = look(&machine, &format!("{TOLD}; ls /.snapshots"));
    shows(&ran, OLD, 1, 1, "failed (install)");
    ran.says("\nbadpre: refusing\n")
        .says("status 3")
        .says("\n1\n");
}

const INTERRUPTED: &str = "failed (interrupted)";
const REVERTED: &str = "reverted (interrupted)";

/// From the first phase with a snapshot on, each is noted twice.
#[test]
fn a_root_that_is_changed_in_place_knows_what_became_of_it_wherever_the_plug_is_pulled() {
    killed(
        &armed("dup"),
        &[
            ("in-place-created@1", OLD, INTERRUPTED),
            ("offline-phase-noted@2", OLD, INTERRUPTED),
            ("in-place-noted@1", OLD, INTERRUPTED),
            ("in-place-protected@1", OLD, REVERTED),
            ("offline-phase-noted@4", OLD, REVERTED),
            ("in-place-ran@1", OLD, REVERTED),
            ("offline-phase-noted@6", OLD, REVERTED),
            ("in-place-published@1", NEW, "applied"),
            ("offline-ended@1", NEW, "applied"),
            ("offline-ended@2", NEW, "applied"),
            ("in-place-read-only@1", NEW, "applied"),
        ],
    );
    killed(
        &armed(FAILS),
        &[
            ("offline-outcome@1", OLD, "reverted (install)"),
            ("offline-ended@1", OLD, "reverted (install)"),
        ],
    );
}

#[test]
fn a_new_snapshot_and_the_old_one_know_what_became_of_it_wherever_the_plug_is_pulled() {
    killed(
        &armed(&format!("{NEW_SNAPSHOT} dup")),
        &[
            ("created@1", OLD, INTERRUPTED),
            ("offline-phase-noted@2", OLD, INTERRUPTED),
            ("ran@1", OLD, INTERRUPTED),
            ("offline-phase-noted@4", OLD, INTERRUPTED),
            ("committed@1", NEW, "applied"),
            ("offline-outcome@1", NEW, "applied"),
            ("offline-ended@1", NEW, "applied"),
        ],
    );
}

#[test]
fn the_way_back_is_kept_by_the_next_command_when_that_was_cut_off() {
    let armed = armed("dup");
    for point in ["in-place-published@1", "in-place-kept@1"] {
        let machine = armed.copy();
        machine.plug_pulled_at(point, "");
        machine
            .boot(
                "transactional-update recover; btrfs property get /.snapshots/2/snapshot ro
                 grep -c important /.snapshots/2/info.xml; grep -c tu-in-place /.snapshots/1/info.xml",
            )
            .says("ro=true\n1\n0\n");
    }
}

#[test]
fn a_state_that_another_root_would_not_find_is_refused() {
    let machine = inside();
    machine.tu("offline prepare dup").succeeds();
    let with = |change: &str| {
        let state = "S=/var/lib/transactional-update/offline";
        machine.boot(&format!(
            "{state}; mv $S /root/state; {change}; cp -a /root/state/. $S/; transactional-update offline arm; echo arm $?
             umount $S 2>/dev/null; rm -rf $S; mv /root/state $S"
        ))
    };
    with("btrfs -q subvolume create $S")
        .says("offline is in a subvolume inside of the root, and no other root would have what is in it")
        .says("arm 1\n");
    with("mkdir $S /usr/state; mount --bind /usr/state $S")
        .says("offline is another directory of the root that is mounted there")
        .says("arm 1\n");
    machine
        .boot("mkdir -p /var/log/journal; transactional-update offline arm")
        .says("the journal (/var/log/journal) is part of the root")
        .succeeds();
}

#[test]
fn an_ordinary_transaction_takes_along_what_it_wrote_below_a_var_that_is_part_of_the_root() {
    let machine = inside();
    machine.use_repository("small", &["gpgcheck=0"]);
    machine
        .tu("-n pkg install fx-vardirs")
        .succeeds()
        .does_not_say("packaged-file");
    machine
        .boot("rpm -V fx-vardirs; transactional-update status")
        .succeeds()
        .says("Running: #2\nNext boot: #2\n")
        .says("missing     /srv/fx\n")
        .does_not_say("/var/lib");
}
