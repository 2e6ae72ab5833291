//! tukit's plugins: when they are called, with what, and what their answers do.

use crate::fx::Machine;
use crate::root_tukit::boot;

/// Bash function: `plugin PATH` makes an executable from standard input.
const PLUGIN: &str = r#"
plugin() { mkdir -p "$(dirname "$1")"; cat > "$1"; chmod +x "$1"; }
"#;

/// Notes each call with its arguments in /run/calls, and fails with status 7 in the stage that $FAIL names.
const RECORDER: &str = r#"plugin /etc/tukit/plugins/recorder <<'P'
#!/bin/bash
printf '%s' "$1" >> /run/calls; shift_stage=$1; shift
printf ' [%s]' "$@" >> /run/calls; echo >> /run/calls
[ "$shift_stage" != "$FAIL" ] || { echo "told to fail in $FAIL" >&2; exit 7; }
P
"#;

fn machine(plugins: &str) -> Machine {
    let machine = Machine::new();
    machine.prepare(&format!("{PLUGIN}{plugins}"));
    machine
}

/// What the recorder noted while `script` ran.
#[track_caller]
fn calls(machine: &Machine, script: &str) -> Vec<String> {
    let ran = boot(
        machine,
        &format!("{{ {script}\n}} >&2; cat /run/calls 2>/dev/null || true"),
    )
    .succeeds();
    // a call without arguments prints one empty one
    ran.stdout.lines().map(|l| l.replace(" []", "")).collect()
}

const TOP: &str = "[/.snapshots/2/snapshot] [2]";

// --- stages and arguments -------------------------------------------------------------------------------------

#[test]
fn execute_calls_its_stages_with_their_arguments() {
    let machine = machine(RECORDER);
    let told = calls(&machine, "tukit execute sh -c 'true # a b' \"it's\" ''");
    let command = "[sh] [-c] [true # a b] [it's] []".replace(" []", "");
    assert_eq!(
        told,
        [
            "init-pre".to_owned(),
            format!("init-post {TOP}"),
            format!("execute-pre {TOP} {command}"),
            format!("execute-post {TOP} {command}"),
            format!("finalize-pre {TOP}"),
            "finalize-post [2]".to_owned(),
        ]
    );
}

#[test]
fn a_transaction_of_several_calls_is_kept_and_resumed_between_them() {
    let machine = machine(RECORDER);
    let told = calls(
        &machine,
        "tukit open; tukit call 2 true; tukit callext 2 ls -d {}; tukit close 2",
    );
    let resume = ["resume-pre [2]".to_owned(), format!("resume-post {TOP}")];
    let keep = [format!("keep-pre {TOP}"), "keep-post [2]".to_owned()];
    let expected: Vec<String> = [
        &["init-pre".to_owned(), format!("init-post {TOP}")][..],
        &keep,
        &resume,
        &[
            format!("execute-pre {TOP} [true]"),
            format!("execute-post {TOP} [true]"),
        ],
        &keep,
        &resume,
        &[
            format!("callExt-pre {TOP} [ls] [-d] [/.snapshots/2/snapshot]"),
            format!("callExt-post {TOP} [ls] [-d] [/.snapshots/2/snapshot]"),
        ],
        &keep,
        &resume,
        &[
            format!("finalize-pre {TOP}"),
            "finalize-post [2]".to_owned(),
        ],
    ]
    .concat();
    assert_eq!(told, expected);
}

#[test]
fn what_is_given_up_is_told_with_its_number() {
    let machine = machine(RECORDER);
    let told = calls(&machine, "exits 1 tukit execute false");
    assert_eq!(
        told[2..],
        [
            format!("execute-pre {TOP} [false]"),
            format!("execute-post {TOP} [false]"),
            "abort-post [2]".to_owned()
        ]
    );
    let told = calls(&machine, "tukit -q open; rm /run/calls; tukit abort 2");
    assert_eq!(
        told,
        [
            "resume-pre [2]".to_owned(),
            format!("resume-post {TOP}"),
            "abort-post [2]".to_owned()
        ]
    );
    let told = calls(&machine, "exits 1 tukit -k execute false; there");
    assert_eq!(told.last().unwrap(), "abort-post [2]");
}

#[test]
fn what_changed_nothing_is_finalized_as_discarded() {
    let machine = machine(RECORDER);
    for script in [
        "tukit -d execute true",
        "tukit -d open; rm /run/calls; tukit close 2",
        "transactional-update -n pkg install fx-base",
    ] {
        let told = calls(&machine, script);
        let [.., before, after] = &told[..] else {
            panic!("{told:?}")
        };
        assert_eq!(
            (before.as_str(), after.as_str()),
            (
                &*format!("finalize-pre {TOP}"),
                "finalize-post [2] [discarded]"
            ),
            "{script}"
        );
        machine.holds(&[1], 1);
    }
}

#[test]
fn run_and_shell_are_execute_for_plugins_and_package_commands_are_callext() {
    let machine = machine(RECORDER);
    let told = calls(&machine, "transactional-update run ls -d /usr");
    assert_eq!(told[2], format!("execute-pre {TOP} [ls] [-d] [/usr]"));
    let told = calls(
        &machine,
        "echo exit 3 | transactional-update --no-continue shell || true",
    );
    assert_eq!(told[2], "execute-pre [/.snapshots/3/snapshot] [3] [bash]");
    let told = calls(
        &machine,
        "transactional-update --no-continue -n pkg install fx-etc",
    );
    assert!(
        told[2].starts_with("callExt-pre [/.snapshots/3/snapshot] [3] [zypper]")
            && told[2].ends_with("[fx-etc]"),
        "{told:?}"
    );
    assert_eq!(told.len(), 6, "{told:?}");
    assert!(told[3].starts_with("callExt-post"), "{told:?}");
    let told = calls(&machine, "exits 1 transactional-update run false");
    assert_eq!(told.last().unwrap(), "abort-post [4]");
}

#[test]
fn the_snapshot_is_mounted_until_the_last_plugin_of_a_step_has_run() {
    let machine = machine(
        r#"plugin /etc/tukit/plugins/look <<'P'
#!/bin/sh
case $1 in *-post|*-pre) ;; esac
[ $# -lt 3 ] || { findmnt -n -o FSTYPE "$2/run"; ls "$2/run/marker" 2>/dev/null; } | xargs echo "$1:" >> /run/seen
P
"#,
    );
    let ran = boot(
        &machine,
        "tukit -q execute touch /run/marker; cat /run/seen",
    );
    ran.succeeds().says(
        "init-post: tmpfs\nexecute-pre: tmpfs\nexecute-post: tmpfs /.snapshots/2/snapshot/run/marker\n\
         finalize-pre: tmpfs /.snapshots/2/snapshot/run/marker\n",
    );
}

#[test]
fn a_plugin_can_take_files_out_of_the_transaction_as_known_ones_do() {
    let machine = machine(
        r#"plugin /usr/lib/tukit/plugins/10-loader <<'P'
#!/bin/sh
if [ "$1" = callExt-post ] && [ -e "$2/run/wish" ]; then cp "$2/run/wish" /run/; fi
P
"#,
    );
    let script =
        "tukit -q open; tukit callext 2 sh -c 'echo 1 > {}/run/wish'; cat /run/wish; tukit close 2";
    boot(&machine, script).succeeds().says("1\n");
}

#[test]
fn a_plugin_is_asked_before_a_reboot_and_can_stop_it() {
    let machine = machine(RECORDER);
    let told = calls(&machine, "FAIL=reboot-pre exits 7 tukit reboot none");
    assert_eq!(told, ["reboot-pre"]);
}

// --- which are called -----------------------------------------------------------------------------------------

#[test]
fn a_name_in_etc_hides_the_same_one_in_usr_and_a_link_to_the_null_device_masks_it() {
    let machine = machine(
        r#"say() { plugin "$1" <<P
#!/bin/sh
[ "\$1" != init-pre ] || echo "$1" >> /run/calls
P
}
         E=/etc/tukit/plugins U=/usr/lib/tukit/plugins
         for n in both masked other b a; do say $U/$n; done
         for n in both z mine; do say $E/$n; done
         ln -s /dev/null $E/masked; say $U/not-hidden; say $E/not-hidden; chmod -x $E/not-hidden
         say /usr/lib/linked; ln -s /usr/lib/linked $E/link; ln -s /nowhere $E/dangling
         mkdir $E/directory; say $U/directory; ln -s /dev/null $U/mask-in-usr"#,
    );
    let ran = boot(&machine, "tukit execute true; cat /run/calls").succeeds();
    let told: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(
        told,
        [
            "/etc/tukit/plugins/both",
            "/usr/lib/linked",
            "/etc/tukit/plugins/mine",
            "/etc/tukit/plugins/z",
            "/usr/lib/tukit/plugins/a",
            "/usr/lib/tukit/plugins/b",
            "/usr/lib/tukit/plugins/directory",
            "/usr/lib/tukit/plugins/not-hidden",
            "/usr/lib/tukit/plugins/other",
        ],
        "{ran}"
    );
    ran.says("/etc/tukit/plugins/not-hidden is not executable, so it is not called as a plugin")
        .says("/etc/tukit/plugins/directory is no file")
        .says("/etc/tukit/plugins/dangling is not called as a plugin: No such file")
        .does_not_say("mask-in-usr");
}

#[test]
fn a_system_that_is_mounted_somewhere_has_no_plugins() {
    let machine = machine(RECORDER);
    machine
        .outside("$TU --root $FX_ROOT run true && test ! -e /run/calls")
        .succeeds();
    machine.holds(&[1, 2], 2);
}

// --- what their answers do ------------------------------------------------------------------------------------

/// A stage, the words in which it fails, whether an open transaction 2 is there before, and what is there after.
const FAILURES: &[(&str, &str, bool, &str)] = &[
    ("init-pre", "open", false, "1 default 1"),
    ("init-post", "open", false, "1 default 1"),
    ("keep-pre", "open", false, "1 default 1"),
    ("keep-post", "open", false, "1 default 1"),
    (
        "execute-pre",
        "execute touch /usr/one",
        false,
        "1 default 1",
    ),
    (
        "execute-post",
        "execute touch /usr/one",
        false,
        "1 default 1",
    ),
    (
        "finalize-pre",
        "execute touch /usr/one",
        false,
        "1 default 1",
    ),
    ("resume-pre", "call 2 true", true, "1 2 default 1"),
    ("resume-post", "call 2 true", true, "1 default 1"),
    ("execute-pre", "call 2 true", true, "1 default 1"),
    ("execute-post", "call 2 true", true, "1 default 1"),
    ("execute-post", "call 2 no-such", true, "1 default 1"),
    ("callExt-pre", "callext 2 true", true, "1 default 1"),
    ("callExt-post", "callext 2 true", true, "1 default 1"),
    ("keep-pre", "call 2 true", true, "1 default 1"),
    ("keep-post", "call 2 true", true, "1 default 1"),
    ("finalize-pre", "close 2", true, "1 default 1"),
    ("finalize-post", "-d close 2", true, "1 default 1"),
    ("resume-pre", "abort 2", true, "1 2 default 1"),
    ("resume-post", "abort 2", true, "1 default 1"),
];

#[test]
fn a_plugin_that_fails_in_any_stage_ends_the_transaction_with_its_status() {
    let machine = machine(RECORDER);
    for (stage, words, is_open, after) in FAILURES {
        let begin = if *is_open { "tukit -q open; " } else { "" };
        let script = format!(
            "{begin}rm -f /run/calls; FAIL={stage} exits 7 tukit {words}; there; cat /run/calls
             [ ! -e /.snapshots/2 ] || tukit -q abort 2"
        );
        let ran = boot(&machine, &script)
            .succeeds()
            .says(&format!(
                "the plugin /etc/tukit/plugins/recorder failed in stage {stage}: status 7: told to fail in {stage}"
            ))
            .says(&format!("there: {after}\n"));
        let gives_up = ran.stdout.contains("\nabort-post [2]\n");
        let expected = !["init-pre", "resume-pre", "finalize-post"].contains(stage);
        assert_eq!(gives_up, expected, "{stage}: {words}\n{ran}");
    }
}

#[test]
fn with_keep_a_plugin_that_fails_is_told_and_nothing_ends() {
    let machine = machine(RECORDER);
    let mut script = String::new();
    for (stage, words, is_open, _) in FAILURES {
        let begin = if *is_open { "tukit -q open; " } else { "" };
        script += &format!(
            "{begin} FAIL={stage} tukit -k {words} 2> /run/err || [ $? = 127 ]; grep -q '^Warning: .* failed in stage {stage}: status 7' /run/err
             reset\n"
        );
    }
    let ran = boot(&machine, &script);
    ran.succeeds();
    let script =
        "tukit -q open; FAIL=execute-pre tukit -k call 2 touch /usr/one; tukit close 2; there";
    boot(&machine, script)
        .succeeds()
        .says("there: 1 2 default 2");
    machine.boot("ls /usr/one").succeeds();
}

#[test]
fn a_plugin_that_fails_when_all_is_done_is_told_and_changes_nothing() {
    let machine = machine(RECORDER);
    for program in ["tukit execute", "transactional-update run"] {
        let script = format!(
            "FAIL=finalize-post {program} true; there; transactional-update -q rollback; transactional-update -q rollback 1"
        );
        boot(&machine, &script)
            .succeeds()
            .says("failed in stage finalize-post: status 7")
            .says("is the next system all the same");
    }
    machine.holds(&[1, 2, 3], 1);
    boot(&machine, "FAIL=abort-post exits 1 tukit execute false")
        .succeeds()
        .says("failed in stage abort-post");
    machine.holds(&[1, 2, 3], 1);
}

#[test]
fn transactional_update_fails_with_1_when_a_plugin_does() {
    let machine = machine(RECORDER);
    for (stage, words) in [
        ("init-pre", "run true"),
        ("execute-post", "run true"),
        ("callExt-pre", "-n pkg install fx-etc"),
        ("callExt-post", "-n pkg install fx-etc"),
        ("finalize-pre", "run true"),
    ] {
        boot(
            &machine,
            &format!("FAIL={stage} exits 1 transactional-update {words}; there"),
        )
        .succeeds()
        .says(&format!("failed in stage {stage}: status 7"))
        .says("there: 1 default 1");
    }
}

#[test]
fn a_plugin_that_hangs_is_ended_with_a_message_and_ends_the_transaction() {
    let machine = machine(
        "plugin /etc/tukit/plugins/slow <<'P'
#!/bin/sh
[ \"$1\" != execute-post ] || { sleep 1000 & sleep 1000; }
P
         echo PLUGIN_TIMEOUT=1 > /etc/tukit.conf",
    );
    let script = "start=$SECONDS; exits 1 tukit execute true; exits 1 transactional-update run true; [ $((SECONDS - start)) -lt 20 ]
         there; exits 1 pgrep -x sleep; tukit -o PLUGIN_TIMEOUT=2 -k execute true; there";
    boot(&machine, script)
        .succeeds()
        .says("in stage execute-post: /etc/tukit/plugins/slow did not end within 1 seconds and was killed")
        .says("did not end within 2 seconds")
        .says("there: 1 default 1")
        .says("there: 1 2 default 2");
}

#[test]
fn a_plugin_that_the_system_cannot_execute_is_a_failure() {
    let machine = machine(
        "plugin /etc/tukit/plugins/broken <<'P'
#!/no/such/interpreter
P",
    );
    boot(&machine, "exits 1 tukit open; there")
        .succeeds()
        .says("the plugin /etc/tukit/plugins/broken failed in stage init-pre")
        .says("there: 1 default 1");
}

#[test]
fn what_a_plugin_says_is_told_with_verbose_and_kept_out_of_the_output() {
    let machine = machine(
        "plugin /etc/tukit/plugins/chatty <<'P'
#!/bin/sh
echo \"from $1\"; echo complaint >&2
P",
    );
    let ran = boot(
        &machine,
        "tukit execute echo out; tukit -v execute true 2>&1 | grep '  from execute-pre'",
    );
    assert_eq!(ran.stdout, "out\n  from execute-pre\n", "{ran}");
}
