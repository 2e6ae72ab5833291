//! Snapper's plugins: they hear from us what they hear from snapper itself.

use crate::fx::{Machine, Ran, Variant};

const DIR: &str = "/usr/lib/snapper/plugins";

/// A machine whose plugins write down how they were called; none of ours is there.
fn recording(variant: Variant) -> Machine {
    let machine = Machine::of(variant);
    machine.prepare(&format!(
        r#"mkdir -p {DIR}; rm -f {DIR}/*
         for name in 10-first 5-last 50-x.rpmnew grub rollback other; do
           printf '#!/bin/sh\necho "${{0##*/}} $*" >> /run/record\n' > {DIR}/$name; chmod 755 {DIR}/$name; done"#
    ));
    machine
}

/// What was recorded after each of these scripts, which run one after the other.
fn record(machine: &Machine, scripts: &[&str]) -> Vec<String> {
    let scripts: String = scripts
        .iter()
        .map(|s| format!("{{ {s}; }} >&2 || exit 90; touch /run/record; cat /run/record; rm /run/record; echo --\n"))
        .collect();
    let ran = machine
        .boot(&format!(
            "s() {{ snapper --no-dbus -c root \"$@\"; }}\n{scripts}"
        ))
        .succeeds();
    let mut all: Vec<String> = ran.stdout.split("--\n").map(str::to_owned).collect();
    all.pop();
    all
}

/// Without the stages that only a later snapper than that of the fixture has.
fn without_read_only(text: &str) -> String {
    let lines = text.split_inclusive('\n').collect::<Vec<_>>();
    let mut kept = String::new();
    for (i, line) in lines.iter().enumerate() {
        let is_new = |l: &&str| l.contains("set-read-only");
        let belongs = *line == "grub --refresh\n" && lines.get(i + 1).is_some_and(is_new);
        if !is_new(line) && !belongs {
            kept.push_str(line);
        }
    }
    kept
}

#[test]
fn plugins_hear_of_an_update_what_they_hear_from_snapper() {
    let ours = record(
        &recording(Variant::RoSqlite),
        &[
            "transactional-update boot-complete",
            "transactional-update run touch /usr/new",
            "transactional-update discard",
        ],
    );
    let theirs = record(
        &recording(Variant::RoSqlite),
        &[
            "s create --from 1 --read-write -c number -d x && s modify --userdata a=b 2 && s modify --read-only 2 && s modify --default 2",
            "s modify --default 1; s delete 2",
        ],
    );
    assert!(
        theirs[0].contains("5-last create-snapshot-post / btrfs 2\n"),
        "{theirs:?}"
    );
    assert_eq!(ours[0], "");
    assert_eq!(without_read_only(&ours[1]), theirs[0]);
    assert_eq!(ours[2], theirs[1]);
    for stage in ["pre", "post"] {
        let line = format!("10-first set-read-only-{stage} / btrfs 2\n");
        assert_eq!(ours[1].matches(&line).count(), 1, "{}", ours[1]);
    }
}

#[test]
fn plugins_hear_of_a_rollback_what_they_hear_from_snapper() {
    for variant in [Variant::RoSqlite, Variant::RwSqlite] {
        let two = "transactional-update -q run true";
        let (ours, theirs) = (recording(variant), recording(variant));
        for machine in [&ours, &theirs] {
            machine.boot(two).succeeds();
        }
        let ours = record(&ours, &["transactional-update rollback 1"]);
        let theirs = record(&theirs, &["s rollback 1"]);
        assert!(
            theirs[0].contains("10-first rollback-post / btrfs "),
            "{theirs:?}"
        );
        assert_eq!(without_read_only(&ours[0]), theirs[0], "{variant:?}");
    }
}

#[test]
fn plugins_hear_that_a_snapshot_is_gone_that_was_given_up() {
    let machine = recording(Variant::RoSqlite);
    let failed = record(&machine, &["! transactional-update run false"]);
    let stages = |record: &str| -> Vec<String> {
        let first = record.lines().filter_map(|l| l.strip_prefix("10-first "));
        first.map(str::to_owned).collect()
    };
    let made = [
        "create-snapshot-pre",
        "create-snapshot",
        "create-snapshot-post",
    ];
    let gone = [
        "delete-snapshot-pre",
        "delete-snapshot",
        "delete-snapshot-post",
    ];
    let told = |stages: &[&str]| -> Vec<String> {
        stages.iter().map(|s| format!("{s} / btrfs 2")).collect()
    };
    assert_eq!(stages(&failed[0]), told(&[made, gone].concat()));
    let killed = record(
        &machine,
        &[
            "! TU_FAILPOINTS=mounted=kill transactional-update run true",
            "transactional-update boot-complete",
            "! TU_FAILPOINTS=reserved=kill transactional-update run true",
            "transactional-update boot-complete",
        ],
    );
    assert_eq!(stages(&killed[0]), told(&made));
    assert_eq!(stages(&killed[1]), told(&gone));
    assert_eq!(
        (killed[2].as_str(), killed[3].as_str()),
        ("", ""),
        "it never came to be"
    );
    machine.holds(&[1], 1);
}

/// Runs a transaction with this plugin, which is told to end after a second.
fn with_plugin(name: &str, text: &str) -> Ran {
    let machine = Machine::new();
    machine.prepare(&format!(
        "mkdir -p {DIR}; printf '{text}' > {DIR}/{name}; chmod 755 {DIR}/{name}; echo PLUGIN_TIMEOUT=1 > /etc/tukit.conf"
    ));
    let ran = machine
        .boot("transactional-update run touch /usr/new; code=$?; ! pgrep -x sleep || exit 97; exit $code")
        .succeeds();
    machine.holds(&[1, 2], 2);
    ran
}

#[test]
fn a_plugin_that_hangs_is_ended_and_named() {
    let text = "#!/bin/sh\\n[ $1 != create-snapshot-post ] || { sleep 1234 & sleep 1234; }\\n";
    with_plugin("70-hangs", text).says(
        "the snapper plugin `/usr/lib/snapper/plugins/70-hangs create-snapshot-post / btrfs 2` failed: \
         /usr/lib/snapper/plugins/70-hangs did not end within 1 seconds and was killed",
    );
}

#[test]
fn a_plugin_that_fails_is_named_with_its_status_and_its_last_words() {
    let text =
        "#!/bin/sh\\n[ $1 != set-default-snapshot-post ] || { echo no room >&2; exit 7; }\\n";
    with_plugin("70-fails", text)
        .says("70-fails set-default-snapshot-post / btrfs 2` failed with status 7: no room");
    let text = "#!/bin/sh\\n[ $1 != create-snapshot-pre ] || kill -KILL $$\\n";
    with_plugin("70-dies", text)
        .says("70-dies create-snapshot-pre / btrfs 2` failed with status 137");
    with_plugin("70-text", "no program\\n").says("70-text could not be run");
}

#[test]
fn what_cannot_be_executed_is_passed_over_and_named_once() {
    let machine = Machine::new();
    machine.prepare(&format!(
        "mkdir -p {DIR}/40-directory; echo '#!/bin/sh' > {DIR}/20-mode; chmod 644 {DIR}/20-mode; ln -s /missing {DIR}/30-link; touch {DIR}/grub"
    ));
    let ran = machine.tu("run true").succeeds();
    for name in ["20-mode", "30-link", "40-directory"] {
        let line = format!(
            "Warning: the snapper plugin {DIR}/{name} cannot be executed and is passed over\n"
        );
        assert_eq!(ran.stderr.matches(&line).count(), 1, "{name}\n{ran}");
    }
    ran.does_not_say("grub");
}

#[test]
fn a_plugin_can_tell_us_from_snapper_and_is_not_inside_the_transaction() {
    let machine = Machine::new();
    machine.prepare(&format!(
        "mkdir -p {DIR}; printf '#!/bin/sh\\nenv >> /run/env\\n' > {DIR}/10-env; chmod 755 {DIR}/10-env"
    ));
    let script = "LC_ALL=C.UTF-8 LANGUAGE=de transactional-update run true && sort -u /run/env";
    let ran = machine.boot(script).succeeds();
    for line in ["TU_SNAPPER_PLUGINS=yes", "LC_ALL=C", "LANGUAGE=C"] {
        assert!(ran.stdout.lines().any(|l| l == line), "{line}\n{ran}");
    }
    ran.does_not_say("TRANSACTIONAL_UPDATE=");
}

#[test]
fn the_plugins_of_a_system_that_is_only_mounted_are_not_called() {
    let machine = recording(Variant::RoSqlite);
    let ran = machine.outside(
        "rm -f /run/record; $TU -v --root $FX_ROOT run true; code=$?; ls /run/record; exit $code",
    );
    let ran = ran.succeeds();
    let said = "/usr/lib/snapper/plugins are not called: that system does not run.";
    assert_eq!(ran.stderr.matches(said).count(), 1, "{ran}");
    assert_eq!(ran.stdout, "", "{ran}");
}

#[test]
fn who_only_looks_calls_no_plugin() {
    let machine = recording(Variant::RoSqlite);
    let calls = record(
        &machine,
        &["transactional-update status; transactional-update list"],
    );
    assert_eq!(calls, [""]);
}
