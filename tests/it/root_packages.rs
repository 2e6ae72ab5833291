//! Repositories, signatures, local packages, and what is told about files that will be hidden.

use crate::fx::{Machine, Ran, Variant};

/// What a transaction must not touch in the running system; its own state and zypp's are live.
const LISTING: &str = "cat /proc/mounts; find /etc /usr /srv /opt /home /var -xdev \\( -path /var/cache -o -path /var/log \
    -o -path /var/lib/zypp -o -path /var/lib/transactional-update -o -path /var/lib/misc -o -path /var/lib/snapper \\) -prune \
    -o -printf '%p %y %m %U:%G %s %T@ %l\\n' | sort";
/// Fails when anything but the test's own shell runs.
const NOTHING_RUNS: &str = "! ps -e -o comm= | grep -vE '^(bash|ps|grep)$' >&2";

/// Runs the program with these words in a system that must stay as it is, and leave no process.
fn tu_beside_a_running_system(machine: &Machine, words: &str) -> Ran {
    let ran = machine.boot(&format!(
        "mkdir -p /var/lib/transactional-update; {LISTING} > /run/before; transactional-update {words}; rc=$?; {LISTING} > /run/after
         diff /run/before /run/after || exit 90; {NOTHING_RUNS} || exit 91; exit $rc"
    ));
    assert!(ran.code != 90, "the running system changed\n{ran}");
    assert!(ran.code != 91, "a process is left\n{ran}");
    ran
}

/// A command that fails with one error, which holds all of `words`, and leaves nothing.
fn refused(machine: &Machine, command: &str, words: &[&str]) {
    let mut ran = tu_beside_a_running_system(machine, command).exits(1);
    for word in words {
        ran = ran.says(word);
    }
    assert_eq!(
        ran.stderr.matches("\nError: ").count(),
        1,
        "one error\n{ran}"
    );
    machine.holds(&[1], 1);
}

/// A machine that trusts the key "fx" and has the repository `name` with zypper's default checks.
fn trusting(name: &str) -> Machine {
    let machine = Machine::new();
    machine.prepare("rpm --import - < /run/repos/keys/fx.asc");
    machine.use_repository(name, &[]);
    machine
}

#[test]
fn what_cannot_be_installed_is_named_with_the_reason_and_nothing_is_left() {
    let machine = Machine::new();
    for (package, words) in [
        (
            "fx-nosuch",
            ["Error: no provider of 'fx-nosuch' found", "zypper search"],
        ),
        (
            "fx-etc fx-broken",
            [
                "nothing provides 'does-not-exist' needed by",
                "fx-broken-1.0-1.noarch",
            ],
        ),
        (
            "fx-badpre",
            [
                "Error: the %pre scriptlet of fx-badpre-1.0-1.noarch failed",
                "badpre: refusing",
            ],
        ),
        (
            "fx-badpost",
            [
                "Error: the %post scriptlet of fx-badpost-1.0-1.noarch failed",
                "badpost: failing",
            ],
        ),
    ] {
        refused(&machine, &format!("-n pkg install {package}"), &words);
    }
    machine
        .boot("test ! -e /run/reboot-needed && rpm -qa 'fx-*'")
        .succeeds()
        .does_not_say("fx-bad");
}

#[test]
fn a_package_that_refuses_to_go_stays_and_so_does_what_was_removed_with_it() {
    let machine = Machine::new();
    machine.tu("-n pkg install fx-badpreun fx-lib").succeeds();
    let ran = tu_beside_a_running_system(&machine, "-n pkg remove fx-lib fx-badpreun").exits(1);
    ran.says("the %preun scriptlet of fx-badpreun-1.0-1.noarch failed")
        .says("badpreun: refusing");
    tu_beside_a_running_system(&machine, "-n pkg remove fx-lib fx-nosuch")
        .exits(1)
        .says("fx-nosuch");
    machine.holds(&[1, 2], 2);
    machine.boot("rpm -q fx-badpreun fx-lib").succeeds();
    machine
        .tu("-n pkg rm fx-lib")
        .succeeds()
        .says("To remove: fx-lib");
    machine
        .boot("rpm -q fx-lib; test ! -e /usr/share/fx-lib")
        .succeeds()
        .says("fx-lib is not installed");
}

#[test]
fn dependencies_come_along_and_what_is_there_already_makes_no_snapshot_and_no_reboot() {
    let machine = Machine::new();
    let ran = machine
        .boot("transactional-update -n pkg install fx-reqs && cat /run/reboot-needed")
        .succeeds();
    assert_eq!(ran.stdout, "reboot\n", "{ran}");
    ran.says("fx-etc 1.0-1, fx-lib 1.0-1, fx-reqs 1.0-1")
        .says("Snapshot 2 is the next system. Reboot");
    machine.boot("rpm -q fx-reqs fx-etc fx-lib").succeeds();
    let again = "transactional-update -n pkg install fx-reqs && transactional-update up && test ! -e /run/reboot-needed";
    machine
        .boot(again)
        .succeeds()
        .says("Nothing to do")
        .does_not_say("next system");
    machine.holds(&[1, 2], 2);
}

#[test]
fn the_package_manager_is_started_once_without_a_dry_run_and_in_english() {
    let machine = Machine::new();
    machine.prepare(
        "mv /usr/bin/zypper /usr/bin/zypper.real
         printf '#!/bin/sh\\necho \"$LC_ALL $*\" >> /var/cache/calls; exec /usr/bin/zypper.real \"$@\"\\n' > /usr/bin/zypper
         chmod 755 /usr/bin/zypper",
    );
    let ran = machine.boot("LC_ALL=de_DE.UTF-8 transactional-update -n pkg install fx-reqs && cat /var/cache/calls").succeeds();
    let calls: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(calls.len(), 1, "{ran}");
    assert!(
        calls[0].starts_with("C.UTF-8 ") && calls[0].ends_with(" fx-reqs"),
        "{ran}"
    );
    assert!(!calls[0].contains("dry-run"), "{ran}");
}

#[test]
fn an_update_keeps_edited_configuration_and_the_running_etc_until_the_boot() {
    let machine = Machine::new();
    machine.tu("-n pkg install fx-etc").succeeds();
    machine.prepare("echo mine > /etc/fx/a.conf; echo mine > /etc/fx/b.conf");
    machine.use_repository("v2", &["gpgcheck=0"]);
    let ran = tu_beside_a_running_system(&machine, "-n pkg update fx-etc").succeeds();
    ran.says("To upgrade: fx-etc 2.0-1");
    let ran = machine
        .boot("fx-etc; cd /etc/fx; grep . *; rpm -q fx-etc")
        .succeeds();
    let wanted = "fx-etc 2.0\na.conf:mine\na.conf.rpmnew:a=2\nb.conf:b=2\nb.conf.rpmsave:mine\nc.conf:c=2\nfx-etc-2.0-1.noarch\n";
    assert_eq!(ran.stdout, wanted, "{ran}");
}

#[test]
fn up_and_dup_bring_the_newest_versions_and_pkg_remove_takes_them_away() {
    let machine = Machine::new();
    machine.tu("-n pkg install fx-etc").succeeds();
    machine.use_repository("v2", &["gpgcheck=0"]);
    let each = "for c in up update dup dist-upgrade; do transactional-update --no-continue $c || exit; done";
    let ran = machine.boot(each).succeeds();
    assert_eq!(
        ran.stderr.matches("Base: #2 (the running system").count(),
        4,
        "{ran}"
    );
    assert_eq!(
        ran.stderr.matches("To upgrade: fx-etc 2.0-1").count(),
        4,
        "{ran}"
    );
    machine.boot("fx-etc").succeeds().says("fx-etc 2.0");
    machine
        .tu("-n pkg remove fx-etc")
        .succeeds()
        .says("To remove: fx-etc 2.0-1");
    machine
        .boot("rpm -q fx-etc; test ! -e /usr/bin/fx-etc && test ! -e /etc/fx")
        .succeeds()
        .says("not installed");
}

#[test]
fn patches_are_installed_also_when_they_want_a_reboot_or_the_package_manager_again() {
    for (name, told) in [
        ("reboot", "requires a reboot"),
        ("restart", "it runs again for the rest"),
    ] {
        let machine = Machine::new();
        machine.tu("-n pkg install fx-etc").succeeds();
        machine.use_repository(&format!("patch-{name}"), &["gpgcheck=0"]);
        machine
            .boot("transactional-update patch && cat /run/reboot-needed")
            .succeeds()
            .says(told)
            .says("reboot\n");
        machine.boot("fx-etc").succeeds().says("fx-etc 2.0");
        machine.tu("patch").succeeds().says("Nothing to do");
        machine.holds(&[1, 2, 3], 3);
    }
}

#[test]
fn a_second_run_before_the_reboot_keeps_what_the_first_one_did() {
    let machine = Machine::new();
    let ran = machine.boot(
        "transactional-update -n pkg install fx-etc; transactional-update -n pkg install fx-lib",
    );
    ran.succeeds()
        .says("Base: #1 (the running system)")
        .says("Base: #2 (pending; --no-continue starts from the running system)");
    machine.boot("rpm -q fx-etc fx-lib").succeeds();
    let third = machine
        .boot("transactional-update -n pkg install fx-caps")
        .succeeds();
    third.says("Base: #3 (the running system)");
    machine.holds(&[1, 2, 3, 4], 4);
    machine.boot("rpm -q fx-etc fx-lib fx-caps").succeeds();
}

#[test]
fn the_base_can_be_chosen_on_the_command_line_and_in_the_configuration() {
    let machine = Machine::new();
    machine.prepare(
        "mkdir -p /root/conf; for b in active default; do echo BASE=$b > /root/conf/$b; done",
    );
    let ran = machine.boot(
        "tu() { transactional-update -n \"$@\" || exit 1; }
         tu pkg install fx-etc; tu --no-continue pkg install fx-lib; tu -c 2 pkg install fx-caps
         export TU_CONFFILE=/root/conf/active; tu run true; tu -c run true
         export TU_CONFFILE=/root/conf/default; tu --continue=1 run true; tu run true; tu --continue 3 run true
         ! transactional-update -c 99 run true",
    );
    let bases: Vec<&str> = ran
        .stderr
        .lines()
        .filter_map(|l| l.strip_prefix("Base: "))
        .collect();
    let numbers: Vec<&str> = bases.iter().filter_map(|b| b.split(' ').next()).collect();
    assert_eq!(
        numbers,
        ["#1", "#1", "#2", "#1", "#5", "#1", "#7", "#3"],
        "{ran}"
    );
    assert!(
        bases[1].contains("the pending #2 will not be part of it, --continue=2 builds upon it"),
        "{ran}"
    );
    ran.succeeds()
        .says("there is no snapshot 99; `list` shows those there are");
    let has = |n: u32, packages: &str| {
        machine.boot(&format!(
            "rpm --root /.snapshots/{n}/snapshot -q {packages}"
        ))
    };
    has(3, "fx-etc").exits(1);
    has(4, "fx-etc fx-caps").succeeds();
    has(4, "fx-lib").exits(1);
}

#[test]
fn with_drop_if_no_change_only_a_change_of_the_snapshot_itself_keeps_it() {
    for variant in [Variant::usual(), Variant::RwNdb] {
        let machine = Machine::of(variant);
        for nothing in [
            "true",
            "touch /tmp/x /run/x /var/tmp/x /var/cache/x",
            "sh -c 'mkdir /usr/d; rmdir /usr/d'",
        ] {
            machine
                .tu(&format!("-d run {nothing}"))
                .succeeds()
                .says("Nothing to do");
        }
        machine
            .boot("transactional-update -d run true; test ! -e /run/reboot-needed")
            .succeeds();
        machine.holds(&[1], 1);
        for (i, change) in [
            "touch /usr/x",
            "chmod 700 /usr/x",
            "ln -s y /usr/y",
            "rm /usr/x",
        ]
        .iter()
        .enumerate()
        {
            machine
                .tu(&format!("--drop-if-no-change run {change}"))
                .succeeds()
                .says(&format!("Snapshot {} is", i + 2));
        }
        machine.holds(&[1, 2, 3, 4, 5], 5);
    }
}

#[test]
fn the_kept_snapshot_of_a_failed_run_is_for_looking_at_only() {
    let machine = Machine::new();
    let ran = tu_beside_a_running_system(&machine, "-n -k pkg install fx-badpost").exits(1);
    ran.says("snapshot 2 of the failed run was kept, `discard 2` removes it")
        .says("the %post scriptlet of fx-badpost");
    machine.holds(&[1, 2], 1);
    machine
        .boot("rpm --root /.snapshots/2/snapshot -q fx-badpost; transactional-update status")
        .succeeds()
        .says("Kept after a failure: #2");
    machine
        .tu("--keep run sh -c 'exit 9'")
        .exits(9)
        .says("snapshot 3 was kept, `discard 3` removes it");
    machine
        .tu("run true")
        .succeeds()
        .says("Base: #1 (the running system)");
    machine
        .tu("-c run true")
        .succeeds()
        .says("Base: #4 (as asked)");
    machine.holds(&[1, 2, 3, 4, 5], 5);
    machine.tu("discard 2").succeeds().says("Deleted #2");
    machine
        .tu("discard 3")
        .succeeds()
        .says("Deleted #3; snapshot 5 is the next system");
    machine.holds(&[1, 4, 5], 5);
}

#[test]
fn without_a_trusted_signature_no_repository_is_believed() {
    let unsigned = "could not be verified: Signature verification failed for repomd.xml";
    let no_key = |key: &str| {
        format!("is signed with a key that is not trusted: {key} test key <{key}@example.invalid>")
    };
    for (name, package, why) in [
        ("v1", "fx-lib", unsigned.to_owned()),
        ("badsum", "fx-etc", unsigned.to_owned()),
        ("signed", "fx-signed", no_key("fx")),
        ("wrongkey", "fx-signed", no_key("other")),
    ] {
        let machine = Machine::new();
        machine.use_repository(name, &[]);
        refused(
            &machine,
            &format!("-n pkg install {package}"),
            &[&format!("'{name}' {why}")],
        );
    }
}

#[test]
fn what_was_changed_after_it_was_signed_is_not_installed() {
    for (name, words) in [
        (
            "wrongkey",
            [
                "'wrongkey' is signed with a key that is not trusted: other test key",
                "rpm --import",
            ],
        ),
        (
            "badrepomd",
            [
                "repository 'badrepomd' could not be verified",
                "do not switch the check off",
            ],
        ),
        ("tampered", ["fx-signed", "was changed after it was signed"]),
    ] {
        refused(&trusting(name), "-n pkg install fx-etc fx-signed", &words);
    }
    let machine = Machine::new();
    machine.use_repository("badsum", &["gpgcheck=0"]);
    refused(
        &machine,
        "-n pkg install fx-lib fx-etc",
        &["fx-etc-1.0-1.noarch.rpm", "Digest verification failed"],
    );
}

#[test]
fn a_signed_repository_works_once_its_key_is_trusted_without_a_word_about_gpg() {
    let machine = Machine::new();
    machine.use_repository("signed", &[]);
    machine
        .boot("transactional-update run rpm --import - < /run/repos/keys/fx.asc")
        .succeeds();
    let ran = tu_beside_a_running_system(&machine, "-n pkg install fx-signed").succeeds();
    ran.does_not_say("Warning").does_not_say("gpg");
    machine.boot("rpm -q fx-signed").succeeds();
}

#[test]
fn new_keys_are_imported_only_where_the_configuration_says_so() {
    let machine = Machine::new();
    machine.use_repository("signed", &[]);
    let script = "echo ZYPPER_AUTO_IMPORT_KEYS=$n > /root/conf; TU_CONFFILE=/root/conf transactional-update -n pkg install fx-signed";
    machine
        .boot(&format!("n=0; {script}"))
        .exits(1)
        .says("a key that is not trusted");
    machine.holds(&[1], 1);
    machine.boot(&format!("n=1; {script}")).succeeds();
    machine
        .boot("rpm -q fx-signed && rpm -qa gpg-pubkey | grep -q .")
        .succeeds();
}

#[test]
fn a_signed_package_file_is_installed_from_wherever_it_lies() {
    let machine = trusting("none");
    let ran = machine.boot(
        "set -e; from=/run/repos/signed; mkdir -p /home/user/dir /run/links; ln -s /home/user /run/links/me
         tu() { transactional-update -n \"$@\"; }
         cp $from/fx-lib-*.rpm /tmp/lib.rpm; tu pkg install /tmp/lib.rpm
         cp $from/fx-etc-*.rpm /home/user/; tu pkg in /home/user/fx-etc-1.0-1.noarch.rpm
         cd /home/user; cp $from/fx-caps-*.rpm x.rpm; tu pkg install ./x.rpm
         cp $from/fx-ghost-*.rpm 'a näme.rpm'; tu pkg install 'a näme.rpm'
         cp $from/fx-files-*.rpm /srv/; ln -s /srv/fx-files-1.0-1.noarch.rpm link.rpm; tu pkg install /run/links/me/link.rpm
         cp $from/fx-reboot-*.rpm $from/fx-daemon-*.rpm dir; tu pkg install ./dir/
         cp $from/fx-mount-*.rpm /tmp/; tu pkg install file:///tmp/fx-mount-1.0-1.noarch.rpm",
    );
    ran.succeeds();
    machine
        .boot("rpm -q fx-lib fx-etc fx-caps fx-ghost fx-files fx-reboot fx-daemon fx-mount")
        .succeeds();
    machine
        .boot("find /tmp /home /srv -name '*.rpm'; fx-etc")
        .succeeds()
        .says("/home/user/a näme.rpm");
}

#[test]
fn a_package_file_that_cannot_be_trusted_or_read_is_refused_by_name() {
    let machine = trusting("none");
    machine.boot("cd /home/user; cp /run/repos/tampered/fx-signed-*.rpm t.rpm; cp /run/repos/wrongkey/fx-etc-*.rpm w.rpm; echo x > n.rpm").succeeds();
    for (file, words) in [
        (
            "/run/repos/v1/fx-lib-1.0-1.noarch.rpm",
            ["fx-lib-1.0-1.noarch", "File is unsigned"],
        ),
        (
            "/home/user/t.rpm",
            ["fx-signed-1.0-1.noarch", "was changed after it was signed"],
        ),
        (
            "/home/user/w.rpm",
            [
                "fx-etc-1.0-1.noarch",
                "Signatures public key is not available",
            ],
        ),
        (
            "/home/user/n.rpm",
            ["/home/user/n.rpm", "Is it an RPM file?"],
        ),
        (
            "./nowhere.rpm",
            [
                "the file './nowhere.rpm' does not exist",
                "Check the arguments",
            ],
        ),
    ] {
        refused(&machine, &format!("-n pkg install {file}"), &words);
    }
    machine
        .tu("-n pkg install --allow-unsigned-rpm /run/repos/v1/fx-lib-1.0-1.noarch.rpm")
        .succeeds();
    machine.boot("rpm -q fx-lib").succeeds();
}

#[test]
fn a_path_that_is_no_package_file_stays_a_capability() {
    let machine = Machine::new();
    machine
        .tu("-n pkg install /bin/sh")
        .succeeds()
        .says("Nothing to do");
    machine.holds(&[1], 1);
}

#[test]
fn repositories_in_directories_that_a_transaction_hides_are_read() {
    for dir in [
        "/srv/my repo",
        "/run/local",
        "/tmp/r",
        "/home/user/r",
        "/var/lib/r",
    ] {
        let machine = Machine::new();
        let url = dir.replace(' ', "%%20");
        machine.use_repository("none", &[]);
        machine.prepare(&format!(
            "printf '[r]\\nname=r\\nenabled=1\\nbaseurl=dir://{url}\\ngpgcheck=0\\n[off]\\nenabled=0\\nbaseurl=dir:/mnt\\n' > /etc/zypp/repos.d/r.repo"
        ));
        let ran = machine.boot(&format!(
            "mkdir -p /var/lib/transactional-update '{dir}'; cp -r /run/repos/small/. '{dir}/'; {LISTING} > /run/a
             transactional-update -n pkg install fx-lib || exit; {LISTING} | diff /run/a -"
        ));
        ran.succeeds();
        machine
            .boot("rpm -q fx-lib; rmdir /run/empty /srv/empty 2>/dev/null; true")
            .succeeds()
            .does_not_say("not installed");
        let left = "ls -A /.snapshots/2/snapshot/srv /.snapshots/2/snapshot/home /.snapshots/2/snapshot/opt";
        machine
            .boot(left)
            .succeeds()
            .does_not_say("repo")
            .does_not_say("user");
    }
}

#[test]
fn files_that_will_be_hidden_are_told_with_their_package_and_the_live_directories_stay() {
    let machine = Machine::new();
    let ran =
        tu_beside_a_running_system(&machine, "-n pkg install fx-files fx-vardirs fx-scriptvar")
            .succeeds();
    let told: Vec<&str> = ran
        .stderr
        .lines()
        .filter_map(|l| l.strip_prefix("  /"))
        .collect();
    let wanted = [
        "opt/fx-files/file (fx-files)",
        "srv/fx-files/file (fx-files)",
        "srv/fx-scriptvar/stamp (no package)",
        "usr/local/share/fx-files (fx-files)",
        "var/lib/fx/a/packaged-file (fx-vardirs)",
        "var/lib/fx-files/file (fx-files)",
        "var/lib/fx-scriptvar/stamp (no package)",
    ];
    assert_eq!(told, wanted, "{ran}");
    ran.says("other file systems will hide them")
        .says("BINDDIRS[]");
    let status = machine
        .boot("transactional-update status; cat /usr/share/fx-scriptvar/env")
        .succeeds();
    status
        .says("Attention: 5 packaged files of snapshot 2 are hidden")
        .says("TRANSACTIONAL_UPDATE=true");
    let again = machine.tu("-n pkg install fx-lib").succeeds();
    again
        .does_not_say("fx-files/file")
        .does_not_say("hide them");
}

#[test]
fn a_directory_of_binddirs_is_live_and_nothing_in_it_is_hidden() {
    let machine = Machine::new();
    machine.prepare("echo 'BINDDIRS[0]=/srv' > /etc/tukit.conf");
    let ran = machine.tu("-n pkg install fx-files").succeeds();
    ran.says("/opt/fx-files/file").does_not_say("/srv/fx-files");
    machine.boot("cat /srv/fx-files/file").succeeds();
}

#[test]
fn unusual_packages_arrive_whole_and_a_hostile_one_does_not_reach_the_running_system() {
    for variant in [Variant::usual(), Variant::RwNdb] {
        let machine = Machine::of(variant);
        let ran = tu_beside_a_running_system(
            &machine,
            "-n pkg install fx-caps fx-ghost fx-link fx-noise",
        )
        .succeeds();
        ran.says("/srv/fx-link-target (fx-link)")
            .says("/var/lib/fx-link (fx-link)");
        let look = machine.boot("getcap /usr/bin/fx-ping; stat -c '%a %h' /usr/bin/fx-suid /usr/bin/fx-hard; ls /usr/share/fx-caps; rpm -V fx-caps");
        let look = look
            .succeeds()
            .says("cap_net_raw=ep")
            .says("4755 2\n4755 2\n")
            .says("name with space")
            .says("ünïcode");
        assert_eq!(
            look.stdout.lines().count(),
            5,
            "rpm -V has something to say\n{look}"
        );
    }
}

#[test]
fn the_history_and_the_log_tell_what_happened() {
    let machine = Machine::new();
    machine.tu("-n pkg install fx-badpost").exits(1);
    machine.tu("-n pkg install fx-etc").succeeds();
    machine
        .boot("transactional-update rollback 1; transactional-update run sh -c 'exit 5'")
        .exits(5);
    machine.tu("-d run true").succeeds();
    let history = machine
        .boot("cat /var/lib/transactional-update/history.jsonl")
        .succeeds()
        .stdout;
    let lines: Vec<serde_json::Value> = history
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    let results: Vec<&str> = lines
        .iter()
        .map(|l| l["result"].as_str().unwrap())
        .collect();
    assert_eq!(
        results,
        ["failed", "published", "rollback", "failed", "unchanged"],
        "{history}"
    );
    assert_eq!(
        lines[0]["command"],
        "transactional-update -n pkg install fx-badpost"
    );
    assert!(
        lines[0]["error"].as_str().unwrap().contains("%post"),
        "{history}"
    );
    assert_eq!(
        (lines[1]["snapshot"].as_u64(), lines[1]["base"].as_u64()),
        (Some(2), Some(1)),
        "{history}"
    );
    assert_eq!(lines[3]["error"], "sh -c 'exit 5' failed with status 5");
    let bases: Vec<Option<u64>> = lines.iter().map(|l| l["base"].as_u64()).collect();
    assert_eq!(
        bases,
        [Some(1), Some(1), None, Some(2), Some(1)],
        "{history}"
    );
    let log = machine
        .boot("cat /var/log/transactional-update.log")
        .succeeds();
    log.says("called as: transactional-update -n pkg install fx-badpost")
        .says("badpost: failing")
        .says("Snapshot 2 is the next system");
    let other =
        "TU_LOGFILE=/root/log transactional-update -q run true && grep -c 'called as' /root/log";
    machine.boot(other).succeeds().says("1\n");
}

/// Runs a command on a terminal, typing `answer` as soon as `question` is seen there.
fn on_a_terminal(machine: &Machine, command: &str, question: &str, answer: &str) -> Ran {
    machine.boot(&format!(
        "{{ for i in $(seq 400); do grep -aqF '{question}' /run/typescript 2>/dev/null && break; sleep 0.05; done
            echo '{answer}'; sleep 0.5; }} | TERM=xterm script -qefc 'stty rows 24 cols 100; {command}' /run/typescript"
    ))
}

#[test]
fn lines_are_plain_when_nobody_watches_and_a_bar_is_drawn_on_a_terminal() {
    let machine = Machine::new();
    let plain = machine.tu("-n pkg install fx-reqs").succeeds();
    assert!(
        plain.stdout.is_empty() && !plain.stderr.contains(['\x1b', '\r']),
        "{plain}"
    );
    plain
        .says("Download 1/3: fx-etc-1.0-1.noarch")
        .says("Install 3/3: fx-reqs-1.0-1.noarch");
    let bar = on_a_terminal(
        &machine,
        "transactional-update -n pkg install fx-caps fx-noise",
        "",
        "",
    )
    .succeeds();
    let bar = bar
        .says("Install 2/2: fx-noise-1.0-1.noarch")
        .says("\x1b[2K")
        .says("%");
    let end = bar
        .stdout
        .trim_end()
        .lines()
        .last()
        .unwrap_or_default()
        .rsplit("\x1b[2K")
        .next()
        .unwrap_or_default();
    assert!(
        end.starts_with("Snapshot 3 is the next system."),
        "the bar is gone at the end: {end:?}\n{bar}"
    );
    let quiet = machine.tu("--quiet -n pkg install fx-caps").succeeds();
    assert!(
        quiet.stdout.is_empty() && quiet.stderr.is_empty(),
        "{quiet}"
    );
}

#[test]
fn a_person_is_asked_and_the_answer_counts() {
    let machine = Machine::new();
    let ask = "transactional-update pkg install fx-reqs";
    let no = on_a_terminal(&machine, ask, "Continue?", "n").exits(1);
    no.says("Live, not undone by an abort: /var/cache, /var/log")
        .says("the answer was no");
    machine.holds(&[1], 1);
    on_a_terminal(&machine, ask, "Continue?", "y")
        .succeeds()
        .says("Snapshot 2 is the next system");
    machine.boot("rpm -q fx-reqs").succeeds();
    on_a_terminal(&machine, ask, "", "")
        .succeeds()
        .says("Nothing to do: nothing changed");
    machine.holds(&[1, 2], 2);
}

#[test]
fn questions_that_nobody_can_answer_are_not_begun() {
    let machine = Machine::new();
    for command in ["pkg install fx-lib", "-i dup"] {
        machine
            .boot(&format!("yes | transactional-update {command}"))
            .exits(1)
            .says("no terminal")
            .says("--non-interactive");
    }
    machine.holds(&[1], 1);
    machine
        .tu("pkg install -y fx-lib")
        .succeeds()
        .says("Snapshot 2 is the next system");
}

#[test]
fn run_gives_the_command_its_streams_and_its_status() {
    let machine = Machine::new();
    for (command, code) in [
        ("sh -c 'exit 3'", 3),
        ("sh -c 'exit 127'", 127),
        ("sh -c 'kill -9 $$'", 137),
        ("/etc/passwd", 126),
        ("fx-no-such-program --option", 127),
    ] {
        refused_with(&machine, &format!("run {command}"), code);
    }
    let ran = machine.boot("printf 'a\\0b' | transactional-update --quiet run cat; echo err | transactional-update --quiet run sh -c 'cat >&2'");
    assert_eq!(
        (ran.stdout.as_str(), ran.stderr.as_str()),
        ("a\0b", "err\n"),
        "{ran}"
    );
    let ran = machine.boot("cd /usr/share; transactional-update run pwd; cd /root; transactional-update run pwd; mkdir -p /home/only-here; cd /home/only-here; transactional-update run pwd");
    assert_eq!(ran.stdout, "/usr/share\n/root\n/\n", "{ran}");
    let xml = machine.boot("transactional-update --continue --drop-if-no-change --quiet run zypper --xmlout --non-interactive install fx-base").succeeds();
    assert!(
        xml.stdout.starts_with("<?xml") && xml.stdout.trim_end().ends_with("</stream>"),
        "{xml}"
    );
    machine
        .boot("transactional-update run -- sh -c 'echo $0 $@' -c 5 --keep")
        .succeeds()
        .says("-c 5 --keep");
}

fn refused_with(machine: &Machine, command: &str, code: i32) {
    let ran = tu_beside_a_running_system(machine, command).exits(code);
    let ran = ran.says("Error: ").says("nothing was changed");
    assert_eq!(ran.stderr.matches("\nError: ").count(), 1, "{ran}");
    machine.holds(&[1], 1);
}

#[test]
fn a_shell_makes_its_changes_the_next_system_unless_it_fails() {
    let machine = Machine::new();
    let ran = machine
        .boot("echo 'touch /usr/lost; exit 4' | transactional-update shell")
        .exits(4);
    ran.says("A shell in snapshot 2: `exit` makes it the next system")
        .says("the shell failed with status 4; nothing was changed");
    machine.holds(&[1], 1);
    machine
        .boot("echo 'touch /usr/found; echo $BASH' | transactional-update shell")
        .succeeds()
        .says("/usr/bin/bash");
    machine
        .boot("test -e /usr/found && test ! -e /usr/lost")
        .succeeds();
}

#[test]
fn programs_see_that_they_run_in_a_transaction_and_in_a_chroot() {
    let machine = Machine::new();
    let ran = machine.boot(
        "cat > /root/look <<'END'
echo $TRANSACTIONAL_UPDATE $DISABLE_SNAPPER_ZYPP_PLUGIN $DISABLE_RESTART_ON_UPDATE $TRANSACTIONAL_UPDATE_ROOT $LANG
systemd-detect-virt --chroot && echo chroot
systemctl is-system-running
test /proc/1/root/usr -ef /usr || echo another root
findmnt -n -o FSTYPE,TARGET /run /proc; ls -A /tmp; test -w /dev/null && echo dev
END
         touch /tmp/live; LANG=xx_XX.UTF-8 transactional-update -q run bash /root/look",
    );
    assert!(
        ran.stdout
            .starts_with("true 1 yes /.snapshots/2/snapshot xx_XX.UTF-8\nchroot\n"),
        "{ran}"
    );
    ran.says("offline\n")
        .says("another root\n")
        .says("dev\n")
        .does_not_say("live");
    let inside = machine.tu("--no-continue run /run/tu/transactional-update run true");
    inside.exits(127);
    let nested = machine.boot("cp /run/tu/transactional-update /root/; transactional-update run /root/transactional-update -n pkg install fx-lib");
    nested.exits(1).says("already runs inside a transaction");
}
