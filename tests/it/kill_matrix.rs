//! Every command that changes something, stopped at every failpoint in every way: in all five where a machine meets the point for
//! the first time, then in one that takes turns. `CRASH_ALL` in the environment asks for all five at each point of each command.

use std::collections::BTreeSet;

use crate::boot_offline;
pub(crate) use crate::crash::Bench;
use crate::crash::{Between, Scenario};
use crate::etc_merge;
use crate::fx::{Machine, Variant, failpoints};
use crate::root_boot::{self, Bls};
use crate::root_cleanup::after_two_rollbacks;
use crate::sysupdate;

const NEW: &str = "[ ! -e $D/usr/new ] || echo new";
const PENDING: &str = "transactional-update -q run touch /usr/new";

/// What is done in one transaction, and how it ends.
const TRANSACTIONS: &[Scenario] = &[
    Scenario::new("run", "", "transactional-update run touch /usr/new").look(NEW),
    Scenario::new("install", "", "transactional-update -n pkg install fx-etc")
        .look("cat $D/usr/bin/fx-etc; installed"),
    Scenario::new(
        "a command that fails",
        "",
        "transactional-update run sh -c 'touch /usr/new; exit 7'",
    )
    .look(NEW),
    Scenario::new(
        "a failure that is kept",
        "",
        "transactional-update -k run sh -c 'touch /usr/new; exit 7'",
    )
    .look(NEW),
    Scenario::new("nothing changed", "", "transactional-update -d run true").look(NEW),
    Scenario::new(
        "run after half a line of history",
        "printf half >> /var/lib/transactional-update/history.jsonl",
        "transactional-update run touch /usr/new",
    )
    .look(NEW),
    Scenario::new(
        "run that changes the products",
        "rm -rf /var/lib/rollback",
        "transactional-update run sh -c 'mkdir -p /etc/products.d; echo 1 > /etc/products.d/a.prod'",
    )
    .look("ls $D/etc/products.d"),
];

/// What changes which snapshot boots next, or removes one.
const MANAGED: &[Scenario] = &[
    Scenario::new("discard", PENDING, "transactional-update discard")
        .look(NEW)
        .late("discard-switched"),
    Scenario::new(
        "discard of what was kept",
        "transactional-update -q -k run sh -c 'exit 7'",
        "transactional-update discard 2",
    )
    .late("delete-marked"),
    Scenario::new("rollback", PENDING, "transactional-update rollback")
        .look(NEW)
        .marks(),
    Scenario::new(
        "boot-complete",
        "cp /run/unbooted /.snapshots/1/info.xml",
        "transactional-update boot-complete",
    )
    .look("grep -c tu-booted $D/../info.xml")
    .after("transactional-update boot-complete")
    .between(Between::UntilAfter),
    Scenario::new(
        "prepare-nextroot",
        PENDING,
        "transactional-update prepare-nextroot",
    )
    .look("findmnt -n -o FSROOT /run/nextroot; ls /run/nextroot/usr/new")
    .after("transactional-update prepare-nextroot")
    .between(Between::UntilAfter),
    Scenario::new(
        "recover after half an apply",
        concat!(
            "transactional-update -q run touch /usr/new;",
            "TU_FAILPOINTS=apply-bound@2=kill transactional-update apply 2>/dev/null"
        ),
        "transactional-update recover",
    )
    .look(APPLIED)
    .after("transactional-update recover")
    .between(Between::UntilAfter),
    Scenario::new(
        "recover of temporary files",
        "touch /.snapshots/1/.info.xml.x.tu-new",
        "transactional-update recover",
    )
    .look("ls -A $D/..")
    .after("transactional-update recover")
    .between(Between::UntilAfter),
    Scenario::new("apply", PENDING, "transactional-update apply")
        .look(APPLIED)
        .after("transactional-update apply")
        .between(Between::UntilAfter),
];

const APPLIED: &str = "for d in boot etc usr; do findmnt -n -o FSROOT -T /$d | tail -n 1; done";

/// Transactions of several processes.
const TUKIT: &[Scenario] = &[
    Scenario::new("tukit execute", "", "tukit execute touch /usr/new").look(NEW),
    Scenario::new("tukit open", "", "tukit open").look(NEW),
    Scenario::new("tukit call", "tukit -q open", "tukit call 2 touch /usr/new")
        .look(NEW)
        .after("[ ! -e /.snapshots/2 ] || tukit -q close 2"),
    Scenario::new(
        "tukit callext",
        "tukit -q open",
        "tukit callext 2 touch {}/usr/new",
    )
    .look(NEW)
    .after("[ ! -e /.snapshots/2 ] || tukit -q close 2"),
    Scenario::new(
        "tukit close",
        "tukit -q open; tukit -q call 2 touch /usr/new",
        "tukit close 2",
    )
    .look(NEW),
    Scenario::new("tukit abort", "tukit -q open", "tukit abort 2").look(NEW),
];

/// On a machine that runs snapshot 2, which has a package, with a newer one in its repository.
const UPDATES: &[Scenario] = &[
    Scenario::new("update", "", "transactional-update -n pkg update fx-etc")
        .look("cat $D/usr/bin/fx-etc; installed"),
    Scenario::new("remove", "", "transactional-update -n pkg remove fx-etc")
        .look("ls $D/usr/bin/fx-etc; installed"),
    Scenario::new(
        "run upon a pending update",
        PENDING,
        "transactional-update run touch /usr/newer",
    )
    .look("ls $D/usr/new $D/usr/newer"),
    Scenario::new("rollback to another", "", "transactional-update rollback 1")
        .look("ls $D/usr/bin/fx-etc")
        .marks(),
];

/// Steps that write into the snapshot and into /boot.
const STEPS: &[Scenario] = &[
    Scenario::new(
        "chain",
        "",
        "transactional-update -n initrd grub.cfg run touch /usr/new",
    )
    .look(STEPPED),
    Scenario::new("setup-fips", "", "transactional-update -n setup-fips").look(STEPPED),
    Scenario::new("setup-selinux", "", "transactional-update -n setup-selinux").look(STEPPED),
];
const STEPPED: &str =
    "[ ! -e $D/usr/new ] || echo new; cat $D/boot/initrd $D/etc/default/grub; installed";

const CLEANUP: &[Scenario] = &[Scenario::new("cleanup", "", "transactional-update cleanup")
    .look("grep -ho '<cleanup>.*</cleanup>\\|<key>important' /.snapshots/[123]/info.xml")
    .after("transactional-update cleanup")
    .between(Between::UntilAfter)];

/// On a read-write system that runs snapshot 2.
const COPIES: &[Scenario] = &[
    Scenario::new(
        "run on a read-write system",
        "",
        "transactional-update run touch /usr/newer",
    )
    .look("ls $D/usr/new $D/usr/newer"),
    Scenario::new(
        "discard of a number that is given once",
        "echo 'UNIQUE_NUMBERS=\"yes\"' >> /etc/snapper/configs/root; transactional-update -q run touch /usr/newer",
        "transactional-update discard",
    )
    .look("ls $D/usr/newer")
    .late("discard-switched"),
    Scenario::new("rollback by a copy", "sed -i /UNIQUE/d /etc/snapper/configs/root", "transactional-update rollback 1")
        .look("ls $D/usr/new"),
];

const ETC_PENDING: &str = "rm -rf /etc/both /etc/mine /etc/kind; echo 1 > /etc/both; echo 1 > /etc/kind
     transactional-update -q run sh -c 'echo update > /etc/both; echo update > /etc/new'; echo admin > /etc/both; echo admin > /etc/mine
     rm /etc/kind; mkdir /etc/kind; echo admin > /etc/kind/file";
const ETC: &str = "cd $D/etc; grep -s . both both.rpmsave new mine kind/file; ls -d etc.syncpoint";

/// Where /etc is a subvolume of its own.
const NESTED: &[Scenario] = &[
    Scenario::new(
        "run with a nested /etc",
        "",
        "transactional-update run touch /etc/new",
    )
    .look("ls $D/etc/new"),
    Scenario::new(
        "run upon a pending update with a nested /etc",
        ETC_PENDING,
        "transactional-update run touch /usr/newer",
    )
    .look("ls $D/usr/newer; cat $D/etc/mine"),
    Scenario::new(
        "discard with a nested /etc",
        "transactional-update -q run touch /etc/new",
        "transactional-update discard",
    )
    .look("ls $D/etc/new")
    .late("discard-switched"),
    Scenario::new(
        "etc of a snapshot that snapper made",
        "snapper --no-dbus -c root create -d x",
        "transactional-update snapper-plugin create-snapshot-post 2",
    )
    .look("btrfs property get -ts /.snapshots/2/snapshot ro; stat -c %i /.snapshots/2/snapshot/etc")
    .after("transactional-update snapper-plugin create-snapshot-post 2")
    .between(Between::UntilAfter),
    Scenario::new(
        "tukit abort with a nested /etc",
        "tukit -q open",
        "tukit abort 2",
    ),
];

/// What takes over the running /etc into that of the next system.
const MERGES: &[Scenario] = &[
    Scenario::new(
        "merge at boot",
        ETC_PENDING,
        "merge /etc /.snapshots/2/snapshot/etc /.snapshots/2/snapshot/etc/etc.syncpoint",
    )
    .look(ETC)
    .after("[ ! -e /.snapshots/2/snapshot/etc/etc.syncpoint ] || merge /etc /.snapshots/2/snapshot/etc /.snapshots/2/snapshot/etc/etc.syncpoint")
    .between(Between::UntilAfter),
    Scenario::new("apply with a nested /etc", ETC_PENDING, "transactional-update apply")
        .look(ETC)
        .after("transactional-update apply")
        .between(Between::UntilAfter),
    Scenario::new(
        "prepare-nextroot with a nested /etc",
        ETC_PENDING,
        "transactional-update prepare-nextroot",
    )
    .look(ETC)
    .after("transactional-update prepare-nextroot")
    .between(Between::UntilAfter),
];

const NO_DIRECTORIES: &str =
    "rm -rf /var/lib/fx /var/log/fx /srv/fx /opt/fx /var/lib/transactional-update/create-dirs.json
     find /var /srv /opt -name '.create-dirs-*' -prune -exec rm -r {} +";
const DIRECTORIES: &str =
    "find /var/lib/fx /var/log/fx /srv/fx /opt/fx -printf '%p %m %u %g,' | tr , '\\n' | sort
     find /var /srv /opt -name '.create-dirs-*'";
const MAKES: &str = "create-dirs-from-rpmdb --tmpfiles && [ -s /var/lib/transactional-update/create-dirs.json ] &&
     [ \"$(cd /; stat -c '%a %U %G' var/lib/fx/setgid srv/fx opt/fx/bin | xargs)\" = '2775 root mail 711 www-data www-data 700 root root' ]";

/// What makes the directories of packages.
fn directories() -> [Scenario; 2] {
    let left: &'static str = format!(
        "{NO_DIRECTORIES}; mkdir -p -m 700 /srv/.create-dirs-abc123/a/b /var/lib/.create-dirs-0a0a0a"
    )
    .leak();
    [
        ("directories of packages", NO_DIRECTORIES),
        ("directories after a run that was cut off", left),
    ]
    .map(|(name, before)| {
        Scenario::new(name, before, "create-dirs-from-rpmdb --tmpfiles")
            .look(DIRECTORIES)
            .after(MAKES)
            .between(Between::UntilAfter)
    })
}

/// What removes versions of images that are too many, of one of three a part at most is left, and the next call removes that; what goes
/// back to an older one, which the next call finishes.
const IMAGES: &[Scenario] = &[
    Scenario::new(
        "sysupdate vacuum",
        "cd /srv; rm -rf ab; mkdir -p ab/d ab/src ab/t ab/e
     printf '[Source]\\nType=regular-file\\nPath=/srv/ab/src\\nMatchPattern=os_@v\\n[Target]\\nPath=/srv/ab/t\\nMatchPattern=os_@v/file\\nInstancesMax=2\\n' > ab/d/1.transfer
     sed s,/ab/t,/ab/e, ab/d/1.transfer > ab/d/2.transfer; for v in 1 2 3; do for d in t e; do mkdir ab/$d/os_$v; : > ab/$d/os_$v/file; done; done",
        "sysupdate --definitions=/srv/ab/d --offline vacuum",
    )
    .look("cd /srv/ab && find t e | sort")
    .after(VACUUMED)
    .between(Between::UntilAfter),
    Scenario::new(
        "sysupdate rollback",
        "cd /srv; rm -rf ab /var/lib/transactional-update/sysupdate; mkdir -p ab/d ab/src ab/t
     printf '[Source]\\nType=regular-file\\nPath=/srv/ab/src\\nMatchPattern=os_@v\\n[Target]\\nPath=/srv/ab/t\\nMatchPattern=os_@v+@l\\nCurrentSymlink=now\\n' > ab/d/1.transfer
     touch ab/t/os_1+3 ab/t/os_2+3; ln -s os_2+3 ab/t/now",
        "sysupdate --definitions=/srv/ab/d rollback 1",
    )
    .look("cd /srv/ab/t && ls && readlink now")
    .after(WENT_BACK)
    .between(Between::UntilAfter),
];
const WENT_BACK: &str = "sysupdate --definitions=/srv/ab/d rollback 1 && [ \"$(cd /srv/ab/t; ls | xargs; readlink now; ls -A /var/lib/transactional-update/sysupdate/held | wc -l)\" = $'now os_1+3 os_2+0\\nos_1+3\\n1' ]";
const VACUUMED: &str = "sysupdate --definitions=/srv/ab/d --offline vacuum && [ \"$(cd /srv/ab; find t e -type f | sort | xargs)\" = 'e/os_2/file e/os_3/file t/os_2/file t/os_3/file' ]";

/// What prepares an update for a boot of its own: no plan, or all that it speaks of.
const PREPARED: &[Scenario] = &[
    Scenario::new(
        "offline prepare",
        "rm -rf /var/lib/transactional-update/offline",
        "transactional-update offline prepare install fx-lib",
    )
    .look(PLANNED)
    .after("transactional-update offline prepare install fx-lib"),
    Scenario::new(
        "offline prepare in place of another plan",
        "transactional-update -q offline prepare install fx-etc",
        "transactional-update offline prepare install fx-lib",
    )
    .look(PLANNED)
    .after("transactional-update offline prepare install fx-lib")
    .between(Between::UntilAfter),
];
const PLANNED: &str = r#"cd /var/lib/transactional-update/offline 2>/dev/null && [ -e plan.json ] || return 0
    grep -E '"(file|sha256)"' plan.json | cut -d'"' -f4 | paste - - | while read -r f s; do echo "$s  packages/$f" | sha256sum -c; done"#;

/// What arms a plan and calls it off: each step is whole.
const ARMED: &[Scenario] = &[
    Scenario::new(
        "offline arm",
        "transactional-update -q offline cancel",
        "transactional-update offline arm",
    )
    .look(ARMING)
    .after("transactional-update offline arm")
    .between(Between::UntilAfter),
    Scenario::new(
        "offline cancel",
        "transactional-update -q offline arm",
        "transactional-update offline cancel",
    )
    .look(ARMING)
    .after("transactional-update offline cancel")
    .between(Between::UntilAfter),
];
const ARMING: &str = "readlink /system-update
    cd /var/lib/transactional-update/offline && ls -A | grep -x 'state.json\\|motd\\|.transactional-update-armed'";

const ENTRY: &str = "state; whole";

/// An update in the boot of its own.
const OFFLINE: &[Scenario] = &[
    Scenario::new(
        "offline update",
        "transactional-update offline arm; echo 2 > /run/userspace",
        "transactional-update offline run",
    )
    .look("cat $D/usr/bin/fx-etc"),
    Scenario::new(
        "offline update in a boot that was entered from the running system",
        "transactional-update offline arm",
        "transactional-update offline run",
    )
    .look("cat $D/usr/bin/fx-etc"),
];

/// Where entries on the ESP decide what boots.
fn entries() -> [Scenario; 4] {
    let update = |tool: &str| -> &'static str {
        format!("{tool} transactional-update run {}", root_boot::UPDATE).leak()
    };
    let pending: &'static str = format!("transactional-update -q run {}", root_boot::UPDATE).leak();
    [
        Scenario::new("update of the kernel", "", update("")),
        Scenario::new(
            "update of the kernel that does not boot",
            "",
            update("env FX_SDB=is-bootable=fail"),
        ),
        Scenario::new(
            "rollback of the entry",
            pending,
            "transactional-update rollback",
        ),
        Scenario::new(
            "discard of the entry",
            pending,
            "transactional-update discard",
        )
        .late("discard-switched"),
    ]
    .map(|s| s.look(ENTRY).between(Between::UntilRecovery).marks())
}

pub(crate) fn transactions() -> Bench {
    Bench::new(Machine::of(Variant::RoSqlite), TRANSACTIONS)
}

pub(crate) fn managed() -> Bench {
    let mut bench = Bench::new(Machine::of(Variant::RoSqlite), MANAGED);
    bench.first = "cp /.snapshots/1/info.xml /run/unbooted".into();
    bench
}

pub(crate) fn tukit() -> Bench {
    Bench::new(Machine::of(Variant::RoSqlite), TUKIT)
}

fn updates() -> Bench {
    let machine = Machine::of(Variant::RoSqlite);
    machine.tu("-q boot-complete").succeeds();
    machine.tu("-n pkg install fx-etc").succeeds();
    machine.use_repository("v2", &["gpgcheck=0"]);
    Bench::new(machine, UPDATES)
}

fn steps() -> Bench {
    let machine = Machine::of(Variant::RoSqlite);
    machine.use_repository("kernels", &["gpgcheck=0"]);
    machine.prepare(
        "program() { printf '#!/bin/sh\\n%s\\n' \"$2\" > $1; chmod 755 $1; }
         program /usr/sbin/dracut 'echo new > /boot/initrd-6.4'; program /usr/bin/fips-mode-setup ''
         program /usr/sbin/grub2-mkconfig 'echo new > /boot/grub2/grub.cfg'
         mkdir -p /boot/grub2 /usr/lib/modules/6.4; echo old > /boot/grub2/grub.cfg; : > /usr/lib/modules/6.4/modules.dep
         echo 'GRUB_CMDLINE_LINUX_DEFAULT=\"quiet\"' > /etc/default/grub
         for f in vmlinuz initrd; do echo $f > /boot/$f-6.4; ln -s $f-6.4 /boot/$f; done",
    );
    Bench::new(machine, STEPS)
}

pub(crate) fn cleanup() -> Bench {
    Bench::new(after_two_rollbacks(Variant::RoSqlite), CLEANUP)
}

pub(crate) fn copies() -> Bench {
    let machine = Machine::of(Variant::RwSqlite);
    machine.tu("-q run touch /usr/new").succeeds();
    Bench::new(machine, COPIES)
}

pub(crate) fn nested() -> Bench {
    Bench::new(Machine::of(Variant::NestedSqlite), NESTED)
}

fn merges() -> Bench {
    let mut machine = Machine::of(Variant::NestedSqlite);
    machine.bind(etc_merge::PROGRAM, "/run/tu/merge");
    Bench::new(machine, MERGES)
}

fn directories_of_packages() -> Bench {
    let machine = Machine::of(Variant::RoNdb);
    machine.tu("-q boot-complete").succeeds();
    machine.tu("-n pkg install fx-vardirs").succeeds();
    Bench::new(machine, &directories())
}

fn images() -> Bench {
    let mut machine = Machine::of(Variant::RoSqlite);
    machine.bind(sysupdate::PROGRAM, "/run/tu/sysupdate");
    Bench::new(machine, IMAGES)
}

fn prepared() -> Bench {
    Bench::new(Machine::of(Variant::RoSqlite), PREPARED)
}

fn armed() -> Bench {
    let machine = Machine::of(Variant::RwSqlite);
    machine.install();
    machine.tu("offline prepare install fx-lib").succeeds();
    Bench::new(machine, ARMED)
}

/// A machine in which an update is prepared. There is no systemd in it: what stands for it knows what it may be asked.
fn offline_of(variant: Variant, scenarios: &[Scenario]) -> Bench {
    let machine = boot_offline::machine(variant);
    machine.prepare(
        "cat > /usr/bin/systemctl <<'EOF'
#!/bin/sh
case \"$*\" in
show\\ --property=Version*) printf 'Version=257\\nUserspaceTimestampMonotonic=%s\\n' $(cat /run/userspace);;
list-jobs\\ *system-update.target) echo 1 system-update.target start waiting;;
--no-block\\ reboot) [ \"$SYSTEMCTL_SKIP_AUTO_SOFT_REBOOT$SYSTEMCTL_SKIP_AUTO_KEXEC\" = 11 ];;
*) echo \"not asked for: $*\" >&2; exit 1;;
esac
EOF
chmod 755 /usr/bin/systemctl",
    );
    let mut bench = Bench::new(machine, scenarios);
    bench.first = "S=/var/lib/transactional-update/offline; echo 1 > /run/userspace
         transactional-update -q offline prepare dup || exit 94; cp -a $S /run/prepared
         also() { rm -rf $S /system-update /etc/system-update; cp -a /run/prepared $S; echo 1 > /run/userspace; }"
        .into();
    bench
}

fn offline() -> Bench {
    offline_of(Variant::NestedSqlite, OFFLINE)
}

/// Once only: nothing brings the running root back here. In boot_offline the plug is pulled at these points.
fn in_place() -> Bench {
    offline_of(Variant::RwSqlite, &OFFLINE[..1])
}

pub(crate) fn bls() -> Bench {
    bls_of(Variant::RoSqlite, &entries())
}

/// There the plugin leaves entries of kernels that were replaced, and adds none.
fn bls_read_write() -> Bench {
    bls_of(Variant::RwSqlite, &entries()[..1])
}

fn bls_of(variant: Variant, scenarios: &[Scenario]) -> Bench {
    let mut bench = Bench::new(Bls::of(variant, true, 8192).0, scenarios);
    bench.first = format!(
        "{}\n{}\nsave\nalso() {{ find /boot/efi -mindepth 1 -delete; cp -a /run/esp/. /boot/efi/; }}",
        root_boot::MOUNT,
        root_boot::FUNCTIONS
    );
    bench
}

/// All of them.
pub(crate) const BENCHES: &[fn() -> Bench] = &[
    transactions,
    managed,
    tukit,
    updates,
    steps,
    cleanup,
    copies,
    nested,
    merges,
    directories_of_packages,
    images,
    prepared,
    armed,
    offline,
    in_place,
    bls,
    bls_read_write,
];

#[test]
fn every_failpoint_is_passed_by_a_command_that_is_stopped_there() {
    // an update of images is stopped at its points by the tests of sysupdate, which need no machine
    let is_here = |name: &String| !name.starts_with("sysupdate-");
    let names: BTreeSet<String> = failpoints().into_iter().filter(is_here).collect();
    let passed: BTreeSet<String> = std::thread::scope(|scope| {
        let halves = BENCHES.chunks(BENCHES.len().div_ceil(2));
        let running: Vec<_> = halves
            .map(|half| scope.spawn(|| half.iter().map(|b| b().go("discover")).collect::<Vec<_>>()))
            .collect();
        let found = running.into_iter().flat_map(|r| r.join().unwrap());
        found.flat_map(|f| f.points()).filter(is_here).collect()
    });
    assert_eq!(names, passed);
}

#[test]
fn the_judge_of_these_tests_refuses_what_must_not_be() {
    let mut bench = transactions();
    bench.scenarios.truncate(1);
    bench.refuses("mounted@1");
}

#[test]
fn a_transaction_that_is_stopped_anywhere_leaves_the_old_system_or_the_whole_new_one() {
    transactions().holds("matrix");
}

#[test]
fn going_back_and_what_follows_an_update_are_done_or_not_done_wherever_they_are_stopped() {
    managed().holds("matrix");
}

#[test]
fn a_transaction_of_several_processes_stays_open_or_is_gone_or_whole_wherever_one_is_stopped() {
    tukit().holds("matrix");
}

#[test]
fn an_update_or_removal_of_packages_is_whole_or_not_there_wherever_it_is_stopped() {
    updates().holds("matrix");
}

#[test]
fn boot_files_and_settings_are_those_of_the_system_that_boots_wherever_their_steps_are_stopped() {
    steps().holds("matrix");
}

#[test]
fn a_clean_up_that_is_stopped_is_completed_by_the_next_one() {
    cleanup().holds("matrix");
}

#[test]
fn a_read_write_system_is_gone_back_from_by_a_whole_copy_or_not_at_all() {
    copies().holds("matrix");
}

#[test]
fn a_nested_etc_belongs_to_its_snapshot_wherever_a_command_is_stopped() {
    nested().holds("matrix");
}

#[test]
fn a_merge_of_etc_that_is_stopped_anywhere_comes_to_the_same_when_it_is_done_again() {
    merges().holds("matrix");
}

#[test]
fn directories_of_packages_are_whole_or_missing_wherever_making_them_is_stopped() {
    directories_of_packages().holds("matrix");
}

#[test]
fn a_version_of_images_is_gone_as_a_whole_after_the_next_call_wherever_removing_it_is_stopped() {
    images().holds("matrix");
}

#[test]
fn a_plan_for_an_update_offline_is_whole_or_not_there_wherever_making_it_is_stopped() {
    prepared().holds("matrix");
}

#[test]
fn an_update_offline_is_armed_or_called_off_by_the_next_call_wherever_one_is_stopped() {
    armed().holds("matrix");
}

#[test]
fn an_offline_update_is_done_or_not_done_and_never_begun_twice_wherever_it_is_stopped() {
    offline().holds("matrix");
}

#[test]
fn the_default_entry_and_the_default_snapshot_are_both_old_or_both_new_after_recovery() {
    for bench in [bls(), bls_read_write()] {
        bench.holds("matrix");
    }
}
