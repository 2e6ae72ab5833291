//! Ansible's module community.general.zypper, which calls us on a system with a read-only root.

use crate::fx::{Machine, Ran, Variant, script};

/// A machine as Ansible finds it: the program is installed, and the module has been sent to it.
fn with_ansible(variant: Variant) -> Machine {
    let mut machine = Machine::of(variant);
    machine.bind(script("template.sh", &["ansible"]), "/run/ansible");
    machine.use_repository("v2", &["gpgcheck=0"]);
    machine.prepare("ln -s /run/tu/transactional-update /usr/sbin/transactional-update");
    machine
}

/// A script that calls the module with these arguments, as Ansible does: JSON on standard input, and in the answer.
fn module(arguments: &str) -> String {
    format!(
        "echo '{{\"ANSIBLE_MODULE_ARGS\": {{{arguments}}}}}' | PATH=/usr/sbin:/usr/bin PYTHONPATH=/run/ansible python3 -B \
         /run/ansible/ansible_collections/community/general/plugins/modules/zypper.py"
    )
}

/// Asserts what the module found out: whether it succeeded, and whether it changed something.
#[track_caller]
fn tells(ran: Ran, changed: bool) -> Ran {
    let ran = ran.succeeds().says(&format!("\"changed\": {changed}"));
    ran.says("\"rc\": 0").does_not_say("\"failed\": true")
}

#[test]
fn ansible_installs_updates_and_removes_a_package_and_a_second_run_changes_nothing() {
    let machine = with_ansible(Variant::RoSqlite);
    let old = machine.manifest("true");
    let install = module("\"name\": [\"fx-etc=1.0\", \"fx-lib\"], \"state\": \"present\"");
    let running = machine.manifest(&format!("{install} | grep '\"changed\": true'"));
    assert_eq!(running, old, "the running system changed");
    machine.holds(&[1, 2], 2);
    machine
        .boot("rpm -q fx-etc fx-lib; tail -n 1 /var/lib/transactional-update/history.jsonl")
        .succeeds()
        .says("fx-etc-1.0-1.noarch\nfx-lib-1.0-1.noarch")
        .says("transactional-update --continue --drop-if-no-change --quiet run /usr/bin/zypper --non-interactive --xmlout");
    let install = module("\"name\": [\"fx-etc\", \"fx-lib\"], \"state\": \"present\"");
    tells(machine.boot(&install), false);
    machine.holds(&[1, 2], 2);

    let update = module("\"name\": \"fx-etc\", \"state\": \"latest\"");
    tells(machine.boot(&update), true).says("fx-etc");
    machine.holds(&[1, 2, 3], 3);
    machine.boot("rpm -q fx-etc").says("fx-etc-2.0-1.noarch");
    tells(machine.boot(&update), false);
    machine.holds(&[1, 2, 3], 3);

    let remove = module("\"name\": \"fx-etc\", \"state\": \"absent\"");
    tells(machine.boot(&remove), true);
    machine.holds(&[1, 2, 3, 4], 4);
    machine
        .boot("rpm -q fx-lib fx-etc")
        .exits(1)
        .says("fx-lib-1.0");
    tells(machine.boot(&remove), false);
    machine.holds(&[1, 2, 3, 4], 4);
}

#[test]
fn ansible_sees_what_waits_for_the_reboot_and_hears_of_a_failure() {
    let machine = with_ansible(Variant::RoNdb);
    let install = module("\"name\": \"fx-lib\", \"state\": \"present\"");
    // --continue: the second task builds upon the first one without a reboot, and sees it
    tells(
        machine.boot(&format!("{install} > /dev/null; {install}")),
        false,
    );
    machine.holds(&[1, 2], 2);
    let both = format!(
        "{} > /dev/null; rpm -q fx-lib",
        module("\"name\": \"fx-caps\", \"state\": \"present\"")
    );
    machine.boot(&both).succeeds();
    machine.holds(&[1, 2, 3], 3);
    machine
        .boot(&module("\"name\": \"fx-broken\", \"state\": \"present\""))
        .exits(1)
        .says("\"failed\": true")
        .says("does-not-exist");
    machine
        .boot(&module(
            "\"name\": \"no-such-package\", \"state\": \"present\"",
        ))
        .exits(1)
        .says("\"failed\": true");
    machine.holds(&[1, 2, 3], 3);
}
