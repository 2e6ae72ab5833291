//! Real boots: the directories that packages own are there before anything needs them, and nothing about them stops a boot.

use crate::fx::{ALL_VARIANTS, Machine, REBOOT, Ran, Variant};

/// What fx-vardirs owns, as `stat` shows it: all that it brings, sorted.
const OWNED: &str = "\
/opt/fx 755 root:root
/opt/fx/bin 700 root:root
/srv/fx 711 www-data:www-data
/srv/fx/www 755 www-data:www-data
/var/lib/fx 755 root:root
/var/lib/fx/a 700 daemon:daemon
/var/lib/fx/b 1777 root:root
/var/lib/fx/setgid 2775 root:mail
/var/log/fx 750 mail:adm
";

/// Lists what is there of it and of what it owns without bringing it.
const LIST: &str = "stat -c '%n %a %U:%G' /opt/fx /opt/fx/bin /srv/fx /srv/fx/www /var/lib/fx /var/lib/fx/a \
                    /var/lib/fx/b /var/lib/fx/setgid /var/log/fx /var/cache/fx 2>/dev/null";

/// When the helper was done and when systemd-tmpfiles began, as the first process knows it.
const ORDER: &str = "when() { systemctl show -P $1TimestampMonotonic $2; }
    done=$(when ActiveEnter create-dirs-from-rpmdb.service) begun=$(when InactiveExit systemd-tmpfiles-setup.service)
    [ 0 -lt $done ] && [ $done -le $begun ] && [ $begun -le $(when ActiveEnter sysinit.target) ] && echo in order";

/// What the unit said in this boot, and how it ended.
const SAID: &str = "journal -o cat -t create-dirs-from-rpmdb
    echo $(systemctl show -P ActiveState create-dirs-from-rpmdb.service) $(systemctl show -P ExecMainStatus create-dirs-from-rpmdb.service)";

/// A machine with the programs and units, which lists the directories at the moment when systemd-tmpfiles-setup.service starts,
/// without an order of its own.
fn machine(variant: Variant) -> Machine {
    let machine = Machine::of(variant).with_own_identity();
    machine.install();
    let probe = format!("[Service]\nExecStartPre=-/bin/sh -c \"{LIST} > /run/probe\"\n");
    machine.prepare(&format!(
        "d=/etc/systemd/system/systemd-tmpfiles-setup.service.d; mkdir -p $d; cat > $d/probe.conf <<'EOF'\n{}EOF\n",
        probe.replace('%', "%%")
    ));
    machine
}

/// Asserts that all directories were there when systemd-tmpfiles began, and the unit before it.
fn in_time(ran: Ran) -> Ran {
    assert!(
        ran.stdout.starts_with(&format!("{OWNED}in order\n")),
        "{ran}"
    );
    ran
}

fn look() -> String {
    format!("cat /run/probe; {ORDER}; systemctl --failed --no-legend; {SAID}")
}

/// An update with a new package, the boot into it, and one more.
fn update_and_boot(variant: Variant) {
    let machine = machine(variant);
    let update =
        "transactional-update -n pkg install fx-vardirs || exit; systemctl --no-block reboot";
    machine.power_on(update).exits(REBOOT);
    // without the unit nothing is there
    let ran = machine.power_on_with(
        "systemd.mask=create-dirs-from-rpmdb.service",
        "cat /run/probe",
    );
    let ran = ran.exits(0).does_not_say("/opt/fx").does_not_say("/srv/fx");
    ran.does_not_say("/var/lib/fx");
    let verify = "rpm -V fx-vardirs; ls -ld /var/cache/fx";
    let ran = in_time(machine.power_on(&format!("{}; {verify}", look())).exits(0));
    let ran = ran.says("made, 0 deferred, 0 failed, 0 differing");
    // the one regular file stays hidden; of the directories rpm has nothing to say
    assert!(
        ran.stdout.ends_with(
            "active 0\nmissing     /var/lib/fx/a/packaged-file\n\
             ls: cannot access '/var/cache/fx': No such file or directory\n"
        ),
        "{ran}"
    );
    let ran = in_time(machine.power_on(&look()).exits(0));
    assert!(
        ran.stdout
            .ends_with("in order\nThe directories of all packages are there\nactive 0\n"),
        "{ran}"
    );
}

#[test]
fn directories_of_a_new_package_are_there_before_tmpfiles_begins_and_the_next_boot_does_nothing() {
    update_and_boot(ALL_VARIANTS[0]);
}

#[test]
fn directories_of_a_new_package_are_there_before_tmpfiles_begins_with_ndb_and_etc_as_a_subvolume() {
    update_and_boot(Variant::NestedNdb);
}

#[test]
fn an_offline_update_and_a_rescue_system_have_the_directories_as_well() {
    let machine = machine(Variant::RoNdb);
    machine.tu("-n pkg install fx-vardirs").succeeds();
    let gone = "rm -r /var/lib/fx /srv/fx /opt/fx /var/log/fx";
    machine.prepare("ln -s /var/lib/offline /system-update");
    let active = "systemctl is-active basic.target multi-user.target";
    let ran = machine.power_on_with(
        "systemd.unit=default.target",
        &format!(
            "{}; systemctl show -P Id default.target; {active}; {gone}",
            look()
        ),
    );
    in_time(ran.exits(0)).says("active 0\nsystem-update.target\ninactive\ninactive\n");
    machine.prepare("rm /system-update");
    let ran = machine.power_on_with(
        "systemd.unit=rescue.target",
        &format!("{}; {active}", look()),
    );
    in_time(ran.exits(0)).says("active 0\ninactive\ninactive\n");
}

#[test]
fn a_directory_that_cannot_be_made_is_named_in_the_journal_and_the_boot_is_no_failure() {
    let machine = machine(Variant::usual());
    let update = "transactional-update -n pkg install fx-vardirs fx-ghost || exit
        touch /opt/fx; systemctl --no-block reboot";
    machine.power_on(update).exits(REBOOT);
    let look = look();
    let warned = "journal -o cat -t create-dirs-from-rpmdb -p warning";
    let verify = "rpm -V fx-vardirs fx-ghost";
    let ran = machine.power_on(&format!("{look}; echo =; {warned}; echo =; {verify}"));
    let ran = ran.exits(0);
    let parts: Vec<&str> = ran.stdout.split("=\n").collect();
    let [boot, warned, verified] = parts[..] else {
        panic!("{ran}");
    };
    let others: String = OWNED
        .lines()
        .filter(|l| !l.starts_with("/opt/fx"))
        .map(|l| format!("{l}\n"))
        .collect();
    assert!(
        boot.contains(&others) && boot.contains("\nin order\nWarning: "),
        "{ran}"
    );
    assert!(boot.ends_with("active 73\n"), "{ran}");
    for (path, package) in [
        ("/opt/fx could not be made: ", "fx-vardirs-1.0-1.noarch"),
        ("/opt/fx/bin could not be made: ", "fx-vardirs-1.0-1.noarch"),
        ("/var/lib/fxg-nouser has to wait: ", "fx-ghost-1.0-1.noarch"),
    ] {
        let is_named = |l: &str| l.contains(path) && l.contains(package);
        assert!(
            warned.lines().any(is_named),
            "{path} is not warned of\n{ran}"
        );
    }
    assert!(warned.contains("nosuchuser"), "{ran}");
    // each problem has its line; `systemctl --failed`, which stands before them, has none, and nothing else is as grave
    assert_eq!(warned.lines().count(), 3, "{ran}");
    for path in ["/var/lib/fx ", "/srv/fx", "/var/lib/fxg/real"] {
        assert!(
            !verified.contains(path),
            "rpm is not content with {path}\n{ran}"
        );
    }
    // what the administrator mends is done at the next boot, without reading the database again
    machine.prepare("echo nosuchuser:x:4711:4711::/:/bin/false >> /etc/passwd; echo nosuchgroup:x:4711: >> /etc/group");
    let ran = machine.power_on(&format!(
        "rm -f /opt/fx; systemctl restart create-dirs-from-rpmdb.service; {LIST}; {SAID}; rpm -V fx-ghost"
    ));
    let ran = ran.exits(0);
    assert!(ran.stdout.starts_with(OWNED), "{ran}");
    ran.says("active 0").does_not_say("fxg-nouser\n");
}
