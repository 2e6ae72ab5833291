//! Offline updates: arming, calling off, and what is told of them.

use crate::fx::{Machine, QUIET, REBOOT, Variant};

const STATE: &str = "/var/lib/transactional-update/offline";

/// A machine that runs version 1 of a package of which its repository has version 2, with a plan to update it.
fn prepared(variant: Variant) -> Machine {
    let machine = Machine::of(variant);
    machine.use_repository("v2", &["gpgcheck=0"]);
    machine.tu("-n pkg install fx-etc-1.0").succeeds();
    machine.install();
    machine.tu("offline prepare dup").succeeds();
    machine
}

/// All that arming makes, a line each.
const TRACES: &str = "readlink /system-update /etc/system-update; cd /var/lib/transactional-update/offline; ls -A state.json .transactional-update-armed motd .*.tu-new 2>/dev/null";

#[test]
fn arming_makes_state_marker_and_link_and_calling_it_off_takes_them_away() {
    let machine = prepared(Variant::RwSqlite);
    machine
        .tu("offline status")
        .exits(0)
        .says("no offline update is armed");
    machine
        .tu("offline arm")
        .succeeds()
        .says("no login and no network")
        .says("systemd.unit=multi-user.target");
    let ran = machine.boot(TRACES);
    assert_eq!(
        ran.stdout,
        format!("{STATE}\n.transactional-update-armed\nmotd\nstate.json\n"),
        "{ran}"
    );
    machine
        .boot(&format!("cd {STATE}; stat -c '%a %U %G' . state.json motd .transactional-update-armed | sort -u; grep . motd; cat /usr/lib/motd.d/transactional-update-offline | grep -c armed"))
        .says("644 root root\n755 root root\n")
        .says("it did not run")
        .says("\n1\n");
    machine
        .tu("offline status")
        .exits(2)
        .says("Offline update: armed")
        .says("by /system-update; then reboot");
    machine
        .tu("offline status --ack")
        .exits(1)
        .says("no result yet");
    machine
        .tu("offline status --json")
        .exits(2)
        .says("\"situation\": \"armed\"")
        .says("\"boot_id\"");
    machine.tu("offline arm").exits(0).says("armed already");
    machine.tu("offline cancel").succeeds().says("called off");
    assert_eq!(machine.boot(TRACES).stdout, "");
    machine
        .tu("offline status")
        .exits(0)
        .says("no offline update is armed");
    machine
        .tu("offline cancel")
        .exits(0)
        .says("No offline update is armed");
    machine.tu("offline arm --end poweroff").succeeds();
    machine.tu("offline status").exits(2).says("then poweroff");
}

#[test]
fn where_the_root_is_read_only_the_link_is_in_etc_or_arming_is_refused() {
    let machine = prepared(Variant::NestedSqlite);
    machine
        .tu("offline arm")
        .succeeds()
        .says("no offline update is needed");
    machine.boot(TRACES).says(&format!("{STATE}\n"));
    machine
        .boot("readlink /etc/system-update; ls /system-update")
        .says(&format!("{STATE}\n"));
    machine
        .tu("offline status")
        .exits(2)
        .says("by /etc/system-update");
    machine.tu("offline cancel").succeeds();
    assert_eq!(machine.boot(TRACES).stdout, "");
    let machine = prepared(Variant::RoSqlite);
    machine
        .tu("offline arm")
        .exits(1)
        .says("both directories are read-only");
    assert_eq!(machine.boot(TRACES).stdout, "");
}

/// What stands in the way, what is said then, and what takes it away again.
const RULES: &[(&str, &str, &str)] = &[
    // 1
    (
        "ln -s /other /system-update",
        "/system-update is a link to \"/other\"",
        "rm /system-update",
    ),
    (
        "mkdir /system-update",
        "/system-update is a directory",
        "rmdir /system-update",
    ),
    (
        "touch /etc/system-update",
        "/etc/system-update is a file",
        "rm /etc/system-update",
    ),
    (
        "ln -s /var/lib/transactional-update/offline/ /system-update",
        "is a link to",
        "rm /system-update",
    ),
    // 3
    (
        "transactional-update -q run touch /usr/new",
        "snapshot 3 boots next",
        "transactional-update -q discard",
    ),
    (
        "cp /etc/fstab /run/fstab; sed -i -E 's|( / btrfs )|\\1subvol=@/.snapshots/2/snapshot,|' /etc/fstab",
        "fstab mounts the root with subvol=",
        "cp /run/fstab /etc/fstab",
    ),
    // 4
    (
        "mv $S/plan.json /run",
        "nothing is prepared",
        "mv /run/plan.json $S",
    ),
    (
        "cp $S/plan.json /run; echo x > $S/plan.json",
        "plan.json is not understood",
        "cp /run/plan.json $S",
    ),
    (
        "p=$(find $S/packages -name '*.rpm'); mv $p /run/p",
        "is missing",
        "mv /run/p $p",
    ),
    (
        "p=$(find $S/packages -name '*.rpm'); cp $p /run/p; printf x | dd of=$p bs=1 seek=500 conv=notrunc status=none",
        "has another content",
        "cp /run/p $p",
    ),
    (
        "p=$(find $S/packages -name '*.rpm'); cp $p /run/p; printf x >> $p",
        "has another size",
        "cp /run/p $p",
    ),
    // 5
    (
        "cp /etc/fstab /run/fstab; sed -i -E 's|( /var btrfs )|\\1_netdev,|' /etc/fstab",
        "/var has the option _netdev",
        "cp /run/fstab /etc/fstab",
    ),
    // 7
    (
        "mkdir -p /run/ps/BAT0; echo Battery > /run/ps/BAT0/type; mount --bind /run/ps /sys/class/power_supply",
        "on battery",
        "umount /sys/class/power_supply",
    ),
    // 8
    (
        "cp $S/plan.json /run; sed -i -E 's/\"space\": [0-9]+/\"space\": 99999999999/' $S/plan.json",
        "too little room",
        "cp /run/plan.json $S",
    ),
    // 9
    (
        "mv /usr/lib/systemd/system/transactional-update-offline.service /run",
        "transactional-update-offline.service is missing",
        "mv /run/transactional-update-offline.service /usr/lib/systemd/system",
    ),
    (
        "mv /usr/lib/systemd/system/system-update.target.wants/transactional-update-offline.service /run",
        "system-update.target.wants/transactional-update-offline.service is missing",
        "mv /run/transactional-update-offline.service /usr/lib/systemd/system/system-update.target.wants",
    ),
    (
        "ln -s /dev/null /etc/systemd/system/transactional-update-offline.service",
        "is masked",
        "rm /etc/systemd/system/transactional-update-offline.service",
    ),
    (
        "mkdir -p /etc/systemd/system-generators; ln -s /dev/null /etc/systemd/system-generators/systemd-system-update-generator",
        "is masked, so no boot may be diverted",
        "rm /etc/systemd/system-generators/systemd-system-update-generator",
    ),
    // 5.1
    ("chmod 0777 $S", "mode 0777", "chmod 0755 $S"),
    ("chown 7 $S", "belongs to user 7", "chown 0 $S"),
    (
        "mv $S /var/moved; ln -s /var/moved $S",
        "a link leads there",
        "rm $S; mv /var/moved $S",
    ),
    (
        "echo x > $S/state.json",
        "state.json is not understood",
        "rm $S/state.json",
    ),
    (
        "echo '{\"schema\":7}' > $S/state.json",
        "schema 7",
        "rm $S/state.json",
    ),
];

#[test]
fn each_rule_that_is_broken_refuses_arming_and_nothing_is_changed() {
    let machine = prepared(Variant::RwSqlite);
    let look =
        "ls -A /system-update /etc/system-update $S $S/ 2>&1 | grep -v repeat; cat $S/state.json";
    let cases: Vec<String> = RULES
        .iter()
        .map(|(break_, _, mend)| {
            format!(
                "{break_}; before=$({look}); echo \"= $(transactional-update offline arm 2>&1; echo code $?)\" | tr '\\n' ' '; echo
                 [ \"$before\" = \"$({look})\" ] || echo changed something; {mend}"
            )
        })
        .collect();
    // the last one shows that all was mended
    let script = format!(
        "S={STATE}; look() {{ {look}; }}\n{}\necho \"= $(transactional-update offline arm 2>&1; echo code $?)\" | tr '\\n' ' '",
        cases.join("\n")
    );
    let ran = machine.boot(&script);
    let answers: Vec<&str> = ran.stdout.lines().filter(|l| l.starts_with("= ")).collect();
    assert_eq!(answers.len(), RULES.len() + 1, "{ran}");
    for ((break_, words, _), answer) in RULES.iter().zip(&answers) {
        assert!(
            answer.contains(words) && answer.contains("code 1"),
            "{break_}: {words:?} is not said: {answer}\n{ran}"
        );
    }
    assert!(answers[RULES.len()].contains("code 0"), "{ran}");
    ran.does_not_say("changed something");
}

#[test]
fn what_is_asked_for_is_refused_where_it_cannot_be_done_or_is_not_understood() {
    let machine = prepared(Variant::RwSqlite);
    machine.tu("offline arm --end nonsense").exits(2);
    machine.tu("offline arm --reboot --soft-reboot").exits(2);
    machine.tu("offline nonsense").exits(1);
    // no systemd answers here
    machine
        .tu("offline arm --end soft-reboot")
        .exits(1)
        .says("soft-reboot");
    machine
        .outside("$TU --root $FX_ROOT offline arm; $TU --root $FX_ROOT offline status")
        .exits(1)
        .says("are those of the running system");
    machine
        .boot("TRANSACTIONAL_UPDATE=true transactional-update offline arm")
        .exits(1)
        .says("already runs inside a transaction");
    assert_eq!(machine.boot(TRACES).stdout, "");
    machine
        .boot("mkdir -p /run/ps/BAT0; echo Battery > /run/ps/BAT0/type; mount --bind /run/ps /sys/class/power_supply; transactional-update offline arm --allow-battery")
        .succeeds();
    machine
        .boot(&format!(
            "grep allow_battery {STATE}/state.json; exec 9< /.snapshots; flock 9; transactional-update offline cancel"
        ))
        .exits(1)
        .says("\"allow_battery\": true")
        .says("another transaction is running");
}

#[test]
fn a_trigger_of_another_program_is_named_and_left_alone() {
    let machine = prepared(Variant::RwSqlite);
    machine.prepare("ln -s /other /system-update; mkdir /etc/system-update");
    machine
        .tu("offline status")
        .exits(0)
        .says("/system-update is a link to \"/other\"")
        .says("/etc/system-update is a directory");
    machine
        .tu("offline cancel")
        .exits(1)
        .says("belongs to another program");
    machine.prepare("rmdir /etc/system-update");
    // both programs are armed
    machine.prepare(
        "rm /system-update; transactional-update -q offline arm; mv /system-update /etc; ln -s /other /system-update",
    );
    machine.tu("offline status").exits(2).says("\"/other\"");
    machine.tu("offline cancel").succeeds();
    machine
        .boot(&format!("readlink /system-update; {TRACES}"))
        .says("/other\n")
        .does_not_say("state.json")
        .does_not_say(STATE);
}

/// Arming, killed in turn at each of its points: what status says then.
const CUTS: &[(&str, i32, &str)] = &[
    ("replace-written@1", 0, "no offline update is armed"),
    ("replace-renamed@1", 2, "arming was not completed"),
    ("offline-arm-noted", 2, "arming was not completed"),
    ("offline-arm-told", 2, "arming was not completed"),
    ("offline-arm-marked", 2, "arming was not completed"),
    ("offline-trigger-made", 2, "Offline update: armed"),
    ("offline-armed", 2, "Offline update: armed"),
];

#[test]
fn wherever_arming_is_cut_off_status_tells_the_truth_and_it_can_be_armed_or_called_off() {
    let machine = prepared(Variant::RwSqlite);
    for (point, code, words) in CUTS {
        for way in ["arm", "cancel"] {
            machine
                .boot(&format!(
                    "TU_FAILPOINTS={point}=kill transactional-update offline arm"
                ))
                .exits(137);
            machine.tu("offline status").exits(*code).says(words);
            machine.tu(&format!("offline {way}")).succeeds();
            let traces = machine.boot(TRACES).stdout;
            if way == "arm" {
                machine
                    .tu("offline status")
                    .exits(2)
                    .says("Offline update: armed");
                machine.tu("offline cancel").succeeds();
            }
            let expected = match way {
                "arm" => format!("{STATE}\n.transactional-update-armed\nmotd\nstate.json\n"),
                _ => String::new(),
            };
            // what is no file of the state is removed by whoever writes it next
            let traces: Vec<&str> = traces.lines().filter(|l| !l.ends_with(".tu-new")).collect();
            assert_eq!(traces.join("\n"), expected.trim_end(), "{point} {way}");
        }
    }
}

#[test]
fn an_arming_that_fails_leaves_nothing() {
    let machine = prepared(Variant::RwSqlite);
    for point in [
        "offline-arm-noted",
        "offline-arm-told",
        "offline-arm-marked",
        "offline-trigger-made",
        "offline-armed",
    ] {
        machine
            .boot(&format!(
                "TU_FAILPOINTS={point}=error transactional-update offline arm"
            ))
            .exits(1)
            .says("nothing is left of it");
        assert_eq!(machine.boot(TRACES).stdout, "", "{point}");
    }
}

#[test]
fn wherever_calling_off_is_cut_off_nothing_is_carried_out_and_it_can_be_done_again() {
    let machine = prepared(Variant::RwSqlite);
    for point in [
        "offline-trigger-removed",
        "offline-unmarked",
        "offline-motd-removed",
        "offline-cancelled",
    ] {
        machine.tu("offline arm").succeeds();
        machine
            .boot(&format!(
                "TU_FAILPOINTS={point}=kill transactional-update offline cancel"
            ))
            .exits(137);
        machine.boot("readlink /system-update").exits(1);
        machine.tu("offline cancel").succeeds();
        assert_eq!(machine.boot(TRACES).stdout, "", "{point}");
    }
}

/// Writes into the state: jq without jq.
const EDIT: &str = "edit() { python3 -c \"
import json, sys
path, change = sys.argv[1:]
it = json.load(open(path))
exec(change)
json.dump(it, open(path, 'w'))
\" /var/lib/transactional-update/offline/state.json \"$1\"; }
later=\"it['armed']['userspace']['boot_id']='earlier'\"
";

#[test]
fn an_update_that_an_earlier_boot_should_have_carried_out_is_told_as_what_it_is() {
    let machine = prepared(Variant::RwSqlite);
    machine.tu("offline arm").succeeds();
    machine.boot(&format!("{EDIT} edit \"$later\"")).succeeds();
    machine
        .tu("offline status")
        .exits(2)
        .says("armed, but not run in this boot")
        .says("offline cancel");
    // armed once more, in this boot
    machine.tu("offline arm").succeeds();
    machine
        .tu("offline status")
        .exits(2)
        .says("Offline update: armed\n");
    machine
        .boot(&format!("{EDIT} edit \"$later\"; rm /system-update"))
        .succeeds();
    machine
        .tu("offline status")
        .exits(3)
        .says("failed (not-run)")
        .says("removed by hand")
        .says("journalctl --since");
    machine
        .boot(&format!(
            "cat {STATE}/motd; python3 -c 'import json; print(json.load(open(\"{STATE}/state.json\"))[\"cause\"])'; ls {STATE}/plan.json {STATE}/packages"
        ))
        .succeeds()
        .says("did not run")
        .says("\nnot-run\n");
    // packages and plan are still there
    machine.tu("offline arm").succeeds();
    machine.tu("offline cancel").succeeds();
}

/// How far an attempt came, which subvolume runs, and what is told then.
const TABLE: &[(&str, &str, &str, i32, &str)] = &[
    ("new-snapshot", "begin", "base", 3, "failed (interrupted)"),
    ("new-snapshot", "install", "base", 3, "failed (interrupted)"),
    (
        "new-snapshot",
        "finish",
        "tree",
        0,
        "Offline update: applied\n",
    ),
    (
        "new-snapshot",
        "install",
        "tree",
        3,
        "failed (unknown-root)",
    ),
    ("in-place", "protected", "base", 3, "failed (interrupted)"),
    ("in-place", "install", "base", 3, "updated in part"),
    ("in-place", "finish", "base", 0, "Offline update: applied\n"),
    ("in-place", "install", "tree", 3, "reverted (interrupted)"),
    ("in-place", "install", "none", 3, "failed (unknown-root)"),
];

#[test]
fn an_attempt_of_an_earlier_boot_is_told_by_what_runs_and_is_acknowledged_by_command_only() {
    let machine = prepared(Variant::RwSqlite);
    machine.tu("offline arm").succeeds();
    machine.prepare(&format!(
        "cp {STATE}/state.json /root/armed; rm /system-update"
    ));
    for (strategy, phase, runs, code, words) in TABLE {
        let (base, tree) = match *runs {
            "base" => ("it['base']", "99"),
            "tree" => ("99", "it['base']"),
            _ => ("98", "99"),
        };
        let script = format!(
            "{EDIT}cp /root/armed {STATE}/state.json; rm -f {STATE}/result.json
             edit \"$later; it['state']='started'; it['started']=it['armed']; it['strategy']='{strategy}'; it['phase']='{phase}'
it['tree']={{'number': 9, 'subvolume': {tree}}}; it['base']={base}\"
             for i in 1 2; do transactional-update offline status; echo code $?; done"
        );
        let ran = machine.boot(&script).succeeds();
        let (first, second) = ran
            .stdout
            .split_once(&format!("code {code}\n"))
            .unwrap_or_else(|| panic!("{strategy} {phase} {runs}\n{ran}"));
        assert!(first.contains(words), "{strategy} {phase} {runs}\n{ran}");
        assert_eq!(second, format!("{first}code {code}\n"), "told again\n{ran}");
    }
    machine
        .boot(&format!("ls {STATE}/motd {STATE}/result.json"))
        .succeeds();
    machine
        .tu("offline status --ack")
        .exits(0)
        .says("acknowledged");
    machine.tu("offline status").exits(0).says("acknowledged");
    machine.boot(&format!("ls {STATE}/motd")).exits(2);
}

#[test]
fn an_update_that_is_being_carried_out_is_not_called_off_armed_or_prepared() {
    let machine = prepared(Variant::RwSqlite);
    machine.tu("offline arm").succeeds();
    machine
        .boot(&format!(
            "{EDIT} edit \"it['state']='started'; it['started']=it['armed']; it['phase']='install'\"; rm /system-update {STATE}/.transactional-update-armed"
        ))
        .succeeds();
    machine
        .tu("offline status")
        .exits(2)
        .says("being carried out");
    for (command, words) in [
        ("cancel", "being carried out"),
        ("arm", "being carried out"),
        ("prepare dup", "has not ended"),
    ] {
        machine
            .tu(&format!("offline {command}"))
            .exits(1)
            .says(words);
    }
}

#[test]
fn a_link_that_leads_nowhere_is_told_and_removed_also_when_the_state_is_not_understood() {
    let machine = prepared(Variant::RwSqlite);
    machine.prepare(&format!("ln -s {STATE} /system-update"));
    machine
        .tu("offline status")
        .exits(0)
        .says("/system-update is still there");
    machine.tu("offline cancel").succeeds().says("left behind");
    machine.boot("readlink /system-update").exits(1);
    machine.tu("offline arm").succeeds();
    machine.prepare(&format!("echo x > {STATE}/state.json"));
    machine
        .tu("offline status")
        .exits(1)
        .says("state.json is not understood");
    machine
        .tu("offline cancel")
        .exits(1)
        .says("no update is armed any more")
        .says("state.json is not understood");
    machine
        .boot(&format!("readlink /system-update; ls -A {STATE}"))
        .does_not_say("armed");
}

#[test]
fn the_nightly_update_keeps_still_while_an_update_is_armed_and_a_person_is_warned() {
    let machine = prepared(Variant::RwSqlite);
    machine.tu("offline arm").succeeds();
    for command in ["--non-interactive cleanup auto reboot", ""] {
        machine
            .tu(command)
            .exits(0)
            .says("Nothing is done: an offline update is armed");
    }
    machine.holds(&[1, 2], 2);
    machine
        .tu("run touch /usr/new")
        .succeeds()
        .says("makes it stale");
    machine.tu("discard").succeeds();
    machine.tu("offline cancel").succeeds();
    machine
        .tu("--non-interactive auto")
        .succeeds()
        .does_not_say("offline");
}

#[test]
fn everybody_can_see_how_it_stands() {
    let machine = prepared(Variant::RwSqlite);
    machine.tu("offline arm").succeeds();
    let anybody =
        "setpriv --reuid 65534 --regid 65534 --clear-groups /run/tu/transactional-update offline";
    machine
        .boot(&format!("{anybody} status"))
        .exits(2)
        .says("Offline update: armed");
    machine
        .boot(&format!(
            "{EDIT} edit \"$later\"; rm /system-update; {anybody} status"
        ))
        .exits(3)
        .says("failed (not-run)");
    // only shown
    machine
        .boot(&format!(
            "grep -c '\"armed\",\\|\"state\": \"armed\"' {STATE}/state.json"
        ))
        .says("1\n");
    machine
        .boot(&format!("{anybody} cancel"))
        .exits(1)
        .says("as root");
}

/// Noted by the journal of the machine, as `log` finds it.
const LOG: &str = "journalctl --sync; transactional-update offline log";

#[test]
fn a_boot_that_was_not_diverted_is_told_and_so_is_one_that_ran_nothing_since_the_link_was_gone() {
    let machine = prepared(Variant::RwSqlite);
    // in one run of user space, also after a reload of the first process
    machine
        .power_on(&format!(
            "transactional-update offline arm; systemctl daemon-reload; transactional-update offline status; echo code $?; {LOG}"
        ))
        .exits(0)
        .says("Offline update: armed\n")
        .says("code 2\n")
        .says("An offline update was armed: the next boot carries it out.");
    machine
        .boot(&format!("cat {STATE}/state.json"))
        .says("\"timestamp\": ")
        .says("\"soft_reboots\": 0");
    // the kernel command line of this machine says where to boot
    machine
        .power_on("transactional-update offline status; echo code $?; readlink /system-update")
        .exits(0)
        .says("armed, but not run in this boot, which was not diverted")
        .says("offline cancel")
        .says(&format!("code 2\n{STATE}\n"));
    machine.prepare("rm /system-update");
    machine
        .power_on(&format!(
            "transactional-update offline status; echo code $?; {LOG}; cat /usr/lib/motd.d/transactional-update-offline"
        ))
        .exits(0)
        .says("failed (not-run)")
        .says("code 3\n")
        .says("-- boot ")
        .says("did not run, and nothing was changed");
    machine
        .power_on("transactional-update offline status --ack; transactional-update offline status; echo code $?; cat /usr/lib/motd.d/transactional-update-offline")
        .exits(0)
        .says("acknowledged")
        .says("code 0\n")
        .says("No such file");
}

#[test]
fn arming_can_ask_for_the_reboot_and_a_soft_reboot_at_the_end_where_systemd_knows_that() {
    let machine = prepared(Variant::RwSqlite);
    machine
        .power_on("transactional-update offline arm --end soft-reboot --reboot; sleep 30")
        .exits(REBOOT);
    machine
        .boot(&format!("cat {STATE}/state.json; readlink /system-update"))
        .succeeds()
        .says("\"end\": \"soft-reboot\"");
}

#[test]
fn a_system_that_is_up_is_not_updated_also_when_it_was_armed_in_an_earlier_boot() {
    let machine = prepared(Variant::RwSqlite);
    machine
        .power_on(&format!(
            "{EDIT} transactional-update offline arm; edit \"$later\"; {QUIET}; systemctl --no-block isolate system-update.target; sleep 60"
        ))
        .exits(REBOOT)
        .says("entered from the running system");
    machine
        .boot(&format!(
            "rpm -q fx-etc; readlink /system-update; cat {STATE}/state.json"
        ))
        .says(&format!("fx-etc-1.0-1.noarch\n{STATE}\n"))
        .says("\"live_redirects\": 1")
        .says("\"state\": \"armed\"");
}
