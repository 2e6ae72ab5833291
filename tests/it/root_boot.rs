//! Boot entries on the ESP: what boots next is what was shown to boot, whatever sdbootutil does.

use crate::fx::{Machine, Ran, Variant, command, fixture};

/// The first kernel, and the one that [`UPDATE`] puts in its place.
const OLD: &str = "6.4.0-1-default";
const NEW: &str = "6.4.0-2-default";
/// A command for `run`: replaces the kernel.
pub(crate) const UPDATE: &str = "sh -c 'cd /usr/lib/modules; cp -r 6.4.0-1-default 6.4.0-2-default; echo 2 >> 6.4.0-2-default/vmlinuz; rm -r 6.4.0-1-default'";

/// A machine with systemd-boot, an ESP of this many KiB and sdbootutil, with or without its plugin for snapper.
pub(crate) struct Bls(pub(crate) Machine);

impl Bls {
    fn new(with_plugin: bool) -> Bls {
        Bls::of(Variant::RoSqlite, with_plugin, 8192)
    }

    pub(crate) fn of(variant: Variant, with_plugin: bool, esp: u32) -> Bls {
        let mut machine = Machine::of(variant);
        let image = machine.dir().join("esp.img");
        // not FAT: what matters here is that it is small and apart
        std::fs::File::create(&image)
            .unwrap()
            .set_len(u64::from(esp) << 10)
            .unwrap();
        let made = command("mkfs.ext2")
            .args(["-q", "-m", "0", "-b", "1024"])
            .arg(&image)
            .status();
        assert!(made.unwrap().success(), "mkfs.ext2");
        machine.bind(image, "/run/esp.img");
        for file in ["sdbootutil", "sdbootutil.snapper"] {
            machine.bind(fixture(file), &format!("/run/fx/{file}"));
        }
        let bls = Bls(machine);
        bls.0.prepare(&format!(
            "mkdir -p /boot/efi /etc/sysconfig; echo 'LOADER_TYPE=\"systemd-boot\"' > /etc/sysconfig/bootloader
             install -m 755 /run/fx/sdbootutil /usr/bin/sdbootutil
             [ {with_plugin} = false ] || install -D -m 755 /run/fx/sdbootutil.snapper /usr/lib/snapper/plugins/10-sdbootutil.snapper
             echo PLUGIN_TIMEOUT=2 > /etc/tukit.conf
             m=/usr/lib/modules/{OLD}; mkdir -p $m; head -c 300K /dev/urandom > $m/vmlinuz; : > $m/modules.dep
             {MOUNT}; mkdir -p /boot/efi/loader/entries /boot/efi/EFI/systemd; : > /boot/efi/EFI/systemd/installed_by_sdbootutil
             sdbootutil add-all-kernels --disable-predictions 1; sdbootutil set-default fx-{OLD}-1.conf"
        ));
        bls
    }

    fn boot(&self, script: &str) -> Ran {
        self.0.boot(&format!("{MOUNT}\n{FUNCTIONS}\n{script}"))
    }

    /// Asserts what boots next and that it is whole: snapshots, the default one, the default entry, and that no
    /// snapshot is marked as unproved.
    #[track_caller]
    fn holds(&self, snapshots: &[u32], default: u32, entry: &str) {
        let ran = self.boot("whole; grep -h '^default' /boot/efi/loader/loader.conf; grep -l tu-unproved /.snapshots/*/info.xml");
        assert_eq!(ran.stdout, format!("default {entry}\n"), "{ran}");
        self.0.holds(snapshots, default);
    }

    /// Asserts that nothing has changed.
    #[track_caller]
    fn holds_nothing_new(&self) {
        self.holds(&[1], 1, &format!("fx-{OLD}-1.conf"));
    }
}

pub(crate) const MOUNT: &str = "mount -o loop /run/esp.img /boot/efi";
/// `whole` compares the default entry and its files with the default snapshot; `calls` prints what sdbootutil was
/// asked to do that changes something.
pub(crate) const FUNCTIONS: &str = r#"
next() { btrfs subvolume get-default / | sed -E 's|.*snapshots/([0-9]+)/.*|\1|'; }
whole() {
  local e=/boot/efi c=$(sed -n 's/^default //p' /boot/efi/loader/loader.conf) n=$(next)
  c=$e/loader/entries/$c
  grep -q "rootflags=subvol=@/.snapshots/$n/snapshot" $c || { echo "$c does not boot $n"; exit 91; }
  local k=$(sed -n 's/^linux //p' $c) i=$(sed -n 's/^initrd //p' $c) v=$(sed -n 's/^version .*@//p' $c)
  cmp $e$k /.snapshots/$n/snapshot/usr/lib/modules/$v/vmlinuz || exit 92
  [ -s $e$i ] || { echo "no initrd $i"; exit 93; }; }
calls() { grep -v '^is-bootable\|^get-default' /run/sdbootutil.calls; }
entries() { ls /boot/efi/loader/entries | xargs; }
tu() { transactional-update "$@"; }
state() { # default subvolume, default entry without what is the same in all, snapshots that are marked as unproved
  local m=$(cd /.snapshots; grep -l tu-unproved */info.xml | xargs -r dirname)
  echo "$(next) $(sed -n 's/^default fx-6.4.0-\(.*\)-default-\(.*\).conf/\1@\2/p' /boot/efi/loader/loader.conf)${m:+ unproved $m}"; }
save() { mkdir -p /run/esp; cp -a /boot/efi/. /run/esp/; }
reset() { # what was there when `save` was called, and snapshot 1 alone
  btrfs subvolume set-default $(btrfs inspect-internal rootid /) /.snapshots; local n
  for n in 2 3 4; do [ ! -e /.snapshots/$n ] || { btrfs -q subvolume delete /.snapshots/$n/snapshot; rm -r /.snapshots/$n; }; done
  find /boot/efi -mindepth 1 -delete 2>/dev/null; cp -a /run/esp/. /boot/efi/; }
"#;

#[test]
fn an_update_is_the_next_system_when_its_entry_is_the_default_one() {
    let machines = [
        (Variant::RoSqlite, true),
        (Variant::RoSqlite, false),
        (Variant::NestedSqlite, true),
    ];
    for (variant, with_plugin) in machines {
        let bls = Bls::of(variant, with_plugin, 8192);
        let ran = bls
            .boot(&format!(
                "transactional-update run {UPDATE} || exit; calls >&2; whole; entries"
            ))
            .succeeds();
        assert_eq!(
            ran.stdout,
            format!("fx-{OLD}-1.conf fx-{NEW}-2.conf\n"),
            "{ran}"
        );
        let p = "--disable-predictions";
        let wanted = if with_plugin {
            format!(
                "update {p} 2\nadd-all-kernels {p} 2\nset-default-snapshot {p} 2\nupdate {p} --sync 2\n"
            )
        } else {
            format!(
                "add-all-kernels {p} 2\nset-default-snapshot {p} 2\nupdate {p} --sync 2\nupdate-predictions\n"
            )
        };
        assert!(ran.stderr.ends_with(&wanted), "{ran}");
        bls.holds(&[1, 2], 2, &format!("fx-{NEW}-2.conf"));
    }
}

#[test]
fn a_kernel_that_replaces_another_on_a_read_write_system_gets_the_default_entry() {
    for with_plugin in [true, false] {
        let bls = Bls::of(Variant::RwSqlite, with_plugin, 8192);
        bls.boot(&format!("transactional-update run {UPDATE} && entries"))
            .succeeds()
            .says(&format!("fx-{OLD}-1.conf fx-{NEW}-2.conf"));
        bls.holds(&[1, 2], 2, &format!("fx-{NEW}-2.conf"));
    }
}

#[test]
fn a_snapshot_without_what_its_entry_would_need_is_never_the_next_one() {
    let bls = Bls::new(true);
    for (break_it, says) in [
        (
            "rm -r /usr/lib/modules",
            "it has no kernel (usr/lib/modules/*/vmlinuz)",
        ),
        ("truncate -s 0 /usr/lib/modules/*/vmlinuz", "is empty"),
        (
            "sh -c 'rm /usr/lib/modules/*/modules.dep'",
            "there are no modules for its kernel 6.4.0-1-default",
        ),
    ] {
        let break_it = break_it.replace("/*/vmlinuz", &format!("/{OLD}/vmlinuz"));
        let ran = bls.boot(&format!(
            "transactional-update run {break_it}; code=$?; calls | grep set-default; exit $code"
        ));
        let ran = ran
            .exits(1)
            .says("snapshot 2 is not made the next one")
            .says(says);
        assert_eq!(ran.stdout, "", "{ran}");
        bls.holds_nothing_new();
    }
}

/// What goes wrong, whether also where the plugin does the work first, and what is said.
const HOSTILE: &[(&str, bool, &str)] = &[
    (
        "add-all-kernels=fail set-default-snapshot=fail",
        true,
        "told to fail",
    ),
    (
        "add-all-kernels=hang",
        true,
        "did not end within 2 seconds and was killed",
    ),
    ("add-all-kernels=kill", false, "failed with status 137"),
    ("add-all-kernels=late", false, "told to fail at the end"),
    (
        "add-all-kernels=cut",
        true,
        "bytes, the kernel in the snapshot has",
    ),
    (
        "add-all-kernels=rot",
        true,
        "is not the kernel of the snapshot",
    ),
    (
        "add-all-kernels=bare set-default-snapshot=bare",
        true,
        "is missing or empty",
    ),
    (
        "add-all-kernels=fill",
        true,
        "bytes are missing for kernel and initrd",
    ),
    ("set-default-snapshot=fail", true, "told to fail"),
    (
        "set-default-snapshot=hang",
        true,
        "did not end within 2 seconds and was killed",
    ),
    ("set-default-snapshot=kill", true, "failed with status 137"),
    (
        "set-default-snapshot=late",
        false,
        "told to fail at the end",
    ),
    ("set-default-snapshot=lie", true, "boots another system"),
    ("update=fail", false, "told to fail"),
    (
        "update=hang",
        false,
        "did not end within 2 seconds and was killed",
    ),
    ("update=kill", false, "failed with status 137"),
    (
        "is-bootable=fail",
        true,
        "is-bootable 2` failed with status 1",
    ),
    (
        "is-bootable=hang",
        true,
        "did not end within 2 seconds and was killed",
    ),
    ("is-bootable=kill", true, "failed with status 137"),
    (
        "get-default=fail",
        true,
        "get-default` failed with status 1",
    ),
    (
        "get-default=hang",
        true,
        "did not end within 2 seconds and was killed",
    ),
    ("get-default=lie", true, "names no entry"),
    (
        "get-default:2=fail get-default:3=fail",
        true,
        "get-default` failed with status 1",
    ),
];

#[test]
fn whatever_sdbootutil_does_wrong_what_booted_before_boots_next() {
    std::thread::scope(|scope| {
        for with_plugin in [true, false] {
            scope.spawn(move || hostile(with_plugin));
        }
    });
}

fn hostile(with_plugin: bool) {
    let bls = Bls::new(with_plugin);
    for (how, also_with_plugin, says) in HOSTILE {
        if with_plugin && !also_with_plugin {
            continue;
        }
        let ran = bls.boot(&format!(
            "export FX_SDB='{how}'; transactional-update run {UPDATE}; code=$?; rm -f /boot/efi/fill
             unset FX_SDB; whole; exit $code"
        ));
        ran.exits(1)
            .says(says)
            .does_not_say("not allowed")
            .does_not_say("stays until");
        bls.holds_nothing_new();
    }
    bls.boot(&format!("transactional-update run {UPDATE}"))
        .succeeds();
    bls.holds(&[1, 2], 2, &format!("fx-{NEW}-2.conf"));
}

/// Points of a switch at which it is cut off, and what there is then: default subvolume, `kernel@snapshot` of the
/// default entry, marks; and what there is after the next boot, when sdbootutil works and when it does not.
const CUTS: &[[&str; 4]] = &[
    ["final-info", "1 1@1 unproved 2", "1 1@1", "1 1@1"],
    ["before-set-default", "1 1@1 unproved 2", "1 1@1", "1 1@1"],
    ["after-set-default", "2 1@1 unproved 2", "2 2@2", "1 1@1"],
    ["committed", "2 1@1 unproved 2", "2 2@2", "1 1@1"],
    ["told", "2 2@2 unproved 2", "2 2@2", "1 1@1"],
    ["shown", "2 2@2 unproved 2", "2 2@2", "1 1@1"],
];

/// Cuts a switch off at each point, lets `then` go on, and compares the states before and after that.
#[track_caller]
fn cut_everywhere(
    with_plugin: bool,
    then: &str,
    after: impl Fn(&[&'static str; 4]) -> &'static str,
) {
    let bls = Bls::new(with_plugin);
    let mut script = "tu -q boot-complete; save\n".to_owned();
    let mut wanted = String::new();
    for cut in CUTS {
        let [point, mut before, ..] = *cut;
        if !with_plugin && point == "told" {
            before = "2 1@1 unproved 2"; // nobody was told who could do it
        }
        script += &format!(
            "text=$(TU_FAILPOINTS={point}=kill tu run {UPDATE} 2>&1); [ $? = 137 ] || echo \"{point}: $text\"
             echo \"{point}: $(state)\"
             [ $(next) = 1 ] || tu status | grep -q 'default 2, not known to be bootable' || tu status
             {{ {then}; }} >&2; echo \"{point}: $(state)\"; whole; reset\n"
        );
        wanted += &format!("{point}: {before}\n{point}: {}\n", after(cut));
    }
    let ran = bls.boot(&script).succeeds();
    assert_eq!(ran.stdout, wanted, "{ran}");
    bls.holds_nothing_new();
}

#[test]
fn a_switch_that_was_cut_off_is_completed_by_the_next_boot() {
    std::thread::scope(|scope| {
        for with_plugin in [true, false] {
            scope.spawn(move || {
                cut_everywhere(with_plugin, "tu boot-complete || exit 90", |c| c[2])
            });
        }
    });
}

#[test]
fn a_switch_that_was_cut_off_is_undone_when_it_cannot_be_completed() {
    for hostile in ["is-bootable=fail", "is-bootable=hang"] {
        let then = format!("FX_SDB={hostile} tu boot-complete || exit 90");
        cut_everywhere(true, &then, |c| c[3]);
    }
    let then = "FX_SDB='add-all-kernels=fail' tu discard || exit 90";
    cut_everywhere(false, then, |c| match c[0] {
        "shown" => "1 1@1", // whole already, and then dropped
        _ => c[3],
    });
}

#[test]
fn completing_a_switch_can_itself_be_cut_off() {
    let works = ["told", "shown"].map(|p| format!("TU_FAILPOINTS={p}=kill tu boot-complete"));
    for again in works {
        cut_everywhere(
            true,
            &format!("{again}; tu boot-complete || exit 90"),
            |c| c[2],
        );
    }
    // on its way back, and then with a tool that works again
    let again = "TU_FAILPOINTS=entry-back=kill FX_SDB=is-bootable=fail tu boot-complete; tu boot-complete || exit 90";
    cut_everywhere(true, again, |c| c[2]);
}

/// A machine with the disks that `bls` has when it loses power at the point that `script` marks by making
/// /run/host/reached: what only lies in memory is gone.
fn after_a_power_cut(bls: &mut Bls, script: &str) -> Bls {
    let dir = bls.0.dir().to_owned();
    bls.0.bind(&dir, "/run/host");
    let mut running = bls.0.start(&format!("{MOUNT}\n{FUNCTIONS}\n{script}"));
    for _ in 0..600 {
        if dir.join("reached").exists() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert!(dir.join("reached").exists(), "{script}");
    let cut = Bls::new(true);
    let esp = "esp.img";
    for (from, to) in [
        (bls.0.image().to_owned(), cut.0.image().to_owned()),
        (dir.join(esp), cut.0.dir().join(esp)),
    ] {
        let copied = command("cp")
            .arg("--sparse=always")
            .args([from, to])
            .status();
        assert!(copied.unwrap().success(), "cp");
    }
    running.kill().unwrap();
    running.wait().unwrap();
    std::fs::remove_file(dir.join("reached")).unwrap();
    cut
}

#[test]
fn power_that_fails_at_any_point_of_a_switch_leaves_a_system_that_was_shown_to_boot() {
    let reached = "touch:/run/host/reached";
    for (point, ends) in [
        ("after-set-default", &["1 1@1\n", "2 2@2\n"][..]),
        ("committed", &["2 2@2\n"]),
        ("told", &["2 2@2\n"]),
        ("shown", &["2 2@2\n"]),
    ] {
        let script = format!("TU_FAILPOINTS={point}={reached},{point}=sleep:60000 tu run {UPDATE}");
        let cut = after_a_power_cut(&mut Bls::new(true), &script);
        // which of the two default entries is on disk before the proof is chance; each has its snapshot
        let ran = cut
            .boot("state >&2; tu boot-complete; state; whole")
            .succeeds();
        assert!(ends.contains(&ran.stdout.as_str()), "{point}\n{ran}");
        if point == "shown" {
            ran.says("2 2@2 unproved 2\n");
        }
    }
    let said = format!("tu run {UPDATE}; touch /run/host/reached; sleep 60");
    let cut = after_a_power_cut(&mut Bls::new(true), &said);
    cut.holds(&[1, 2], 2, &format!("fx-{NEW}-2.conf"));
}

#[test]
fn where_no_entries_decide_there_is_nothing_to_make_good() {
    let machine = Machine::new();
    let cut = "TU_FAILPOINTS=told=kill transactional-update -q run true; grep -c tu-unproved /.snapshots/2/info.xml; transactional-update status";
    let ran = machine.boot(cut).succeeds();
    assert!(
        ran.stdout.starts_with("0\nRunning: #1\nNext boot: #2\n"),
        "{ran}"
    );
    ran.does_not_say("Attention");
    machine.holds(&[1, 2], 2);
}

#[test]
fn the_next_command_completes_a_switch_and_builds_upon_it() {
    let bls = Bls::new(true);
    let cut = format!("TU_FAILPOINTS=committed=kill tu -q run {UPDATE}; tu run touch /usr/new");
    bls.boot(&cut)
        .succeeds()
        .says("Snapshot 2 is the next system: a switch that was cut off is complete")
        .says("Base: #2");
    bls.holds(&[1, 2, 3], 3, &format!("fx-{NEW}-3.conf"));
    let cut = "TU_FAILPOINTS=committed=kill tu -q run touch /usr/newer; FX_SDB=is-bootable=fail tu boot-complete; state";
    bls.boot(cut)
        .succeeds()
        .says("3 2@3\n")
        .says("what booted before is the next one again");
    bls.holds(&[1, 2, 3, 4], 3, &format!("fx-{NEW}-3.conf"));
}

#[test]
fn a_running_system_is_not_gone_back_from_by_itself() {
    let bls = Bls::new(true);
    bls.boot(&format!(
        "TU_FAILPOINTS=told=kill tu -q run {UPDATE}; state"
    ))
    .says("2 2@2 unproved 2\n");
    bls.boot("FX_SDB=is-bootable=fail tu boot-complete; state")
        .succeeds()
        .says("2 2@2 unproved 2\n")
        .says("it is not known to be bootable");
    bls.boot("tu boot-complete; state")
        .succeeds()
        .says("2 2@2\n");
    bls.holds(&[1, 2], 2, &format!("fx-{NEW}-2.conf"));
}

#[test]
fn when_going_back_fails_too_both_causes_are_told_and_the_next_command_goes_on() {
    let bls = Bls::new(true);
    let hostile = "FX_SDB='is-bootable=fail set-default=fail'";
    let ran = bls.boot(&format!(
        "{hostile} tu run {UPDATE}; code=$?; state; tu status >&2; exit $code"
    ));
    ran.exits(1)
        .says("`sdbootutil is-bootable 2` failed with status 1")
        .says("`sdbootutil set-default fx-6.4.0-1-default-1.conf` failed with status 1")
        .says("snapshot 2 stays until the next command has gone back")
        .says("1 2@2 unproved 2\n");
    // still broken: nothing is made worse
    bls.boot("FX_SDB=set-default=fail tu -q boot-complete; state")
        .says("1 2@2 unproved 2\n")
        .says("the boot entry could not be put back");
    bls.boot("tu -q boot-complete; state")
        .succeeds()
        .says("1 1@1\n");
    bls.holds(&[1, 2], 1, &format!("fx-{OLD}-1.conf"));
}

#[test]
fn the_entry_tells_what_boots_next_where_it_and_the_default_subvolume_differ() {
    let bls = Bls::new(true);
    let script = format!(
        "tu -q run {UPDATE}; rm /run/sdbootutil.calls; tu status; [ ! -e /run/sdbootutil.calls ] || exit 97
         sdbootutil set-default fx-{OLD}-1.conf; tu status; tu rollback 2; state"
    );
    let ran = bls.boot(&script).succeeds();
    let attention = format!(
        "Running: #1\nNext boot: #1\nPending: #2 since DATE UTC\nAttention: the default entry fx-{OLD}-1.conf of the \
         boot loader boots #1, but the default subvolume is #2; `rollback N` makes both the same\n2 2@2\n"
    );
    let since = ran
        .stdout
        .split("since ")
        .nth(1)
        .unwrap()
        .split(" UTC")
        .next()
        .unwrap();
    assert!(
        ran.stdout.ends_with(&attention.replace("DATE", since)),
        "{ran}"
    );
    assert!(
        ran.stdout.starts_with("Running: #1\nNext boot: #2\n"),
        "{ran}"
    );
    bls.holds(&[1, 2], 2, &format!("fx-{NEW}-2.conf"));
}

#[test]
fn what_a_failed_switch_leaves_when_it_is_cut_off_is_removed_by_the_next_boot() {
    for with_plugin in [true, false] {
        let bls = Bls::new(with_plugin);
        let cut = "FX_SDB=is-bootable=fail TU_FAILPOINTS=deleted-subvolume=kill";
        let ran = bls.boot(&format!(
            "{cut} tu run {UPDATE}; state; tu boot-complete; entries"
        ));
        ran.succeeds()
            .says("1 1@1\n")
            .says("Removed snapshot 2, left behind")
            .says(&format!("\nfx-{OLD}-1.conf\n"));
        bls.holds_nothing_new();
    }
}

#[test]
fn going_back_and_dropping_an_update_switch_the_entry_too() {
    for with_plugin in [true, false] {
        let bls = Bls::new(with_plugin);
        let script = format!(
            "tu -q run {UPDATE}; state; tu rollback; state; tu rollback 2; state; tu -q discard; state; entries"
        );
        let ran = bls.boot(&script).succeeds();
        assert_eq!(
            ran.stdout,
            format!("2 2@2\n1 1@1\n2 2@2\n1 1@1\nfx-{OLD}-1.conf\n"),
            "{ran}"
        );
        bls.holds_nothing_new();
        let hostile = "FX_SDB='is-bootable=fail' ";
        let script = format!(
            "tu -q run {UPDATE}; for words in rollback discard; do {hostile} tu $words; [ $? = 1 ] || exit 98; state; done"
        );
        let ran = bls.boot(&script).succeeds();
        assert_eq!(ran.stdout, "2 2@2\n2 2@2\n", "{ran}");
        bls.holds(&[1, 2], 2, &format!("fx-{NEW}-2.conf"));
    }
}

#[test]
fn what_tukit_closes_and_goes_back_to_gets_the_default_entry_as_well() {
    let bls = Bls::new(true);
    let script = format!(
        "id=$(tukit open | sed -n 's/^ID: //p'); tukit -q call $id {UPDATE}; state
         FX_SDB=is-bootable=fail tukit -q close $id; [ $? = 1 ] || exit 98; state; ls /.snapshots
         id=$(tukit open | sed -n 's/^ID: //p'); tukit -q call $id {UPDATE}; tukit -q close $id; state; tukit -q rollback 1; state"
    );
    let ran = bls.boot(&script).succeeds();
    assert_eq!(ran.stdout, "1 1@1\n1 1@1\n1\n2 2@2\n1 1@1\n", "{ran}");
    bls.holds(&[1, 2], 1, &format!("fx-{OLD}-1.conf"));
}

#[test]
fn a_writable_copy_gets_an_entry_and_goes_when_it_cannot() {
    let bls = Bls::of(Variant::RwSqlite, true, 8192);
    bls.boot(&format!("tu -q run {UPDATE}")).succeeds();
    let failed =
        bls.boot("FX_SDB=is-bootable=fail tu rollback 1; code=$?; state; entries; exit $code");
    failed.exits(1).says("2 2@2\n");
    bls.holds(&[1, 2], 2, &format!("fx-{NEW}-2.conf"));
    let broken = bls.boot(
        "FX_SDB='is-bootable=fail set-default=fail' tu rollback 1; code=$?; state; exit $code",
    );
    broken.exits(1).says("2 1@4 unproved 4\n");
    bls.boot("tu boot-complete; state; tu list >&2")
        .says("2 2@2\n");
    bls.boot("snapper --no-dbus -c root delete 3 4").succeeds();
    bls.holds(&[1, 2], 2, &format!("fx-{NEW}-2.conf"));
    bls.boot("tu rollback 1")
        .succeeds()
        .says("a read-write copy of #1");
    bls.holds(&[1, 2, 3, 4], 4, &format!("fx-{OLD}-4.conf"));
}

#[test]
fn an_esp_without_room_is_refused_before_any_work_with_the_bytes_that_are_missing() {
    let bls = Bls::new(true);
    let script = r"head -c $(( $(df -B1 --output=avail /boot/efi | tail -1) - 300000 )) /dev/zero > /boot/efi/fill
        tu -n pkg install fx-etc; code=$?; df -B1 --output=avail /boot/efi | tail -1; cat /run/sdbootutil.calls; exit $code";
    let ran = bls
        .boot(script)
        .exits(1)
        .says("/boot/efi has no room for another kernel and initrd");
    let number = |before: &str| -> u64 {
        let text = ran.stderr.split_once(before).unwrap().0;
        text.rsplit(' ').next().unwrap().parse().unwrap()
    };
    let (needed, missing) = (number(" bytes are needed"), number(" bytes are missing"));
    let free: u64 = ran
        .stdout
        .trim()
        .parse()
        .expect("only the free bytes: sdbootutil was not called");
    // kernel, initrd, and a tenth of the partition
    assert!(needed > 1_300_000 && needed == free + missing, "{ran}");
    bls.holds_nothing_new();
    // sdbootutil asks for as much when the kernel is that of another snapshot
    bls.boot("tu run touch /usr/new")
        .exits(1)
        .says("/boot/efi has no room");
    bls.boot("rm /boot/efi/fill; tu -q run touch /usr/new")
        .succeeds();
    bls.holds(&[1, 2], 2, &format!("fx-{OLD}-2.conf"));
}

#[test]
fn an_esp_that_sdbootutil_can_make_room_on_is_no_reason_to_refuse() {
    let bls = Bls::of(Variant::RoSqlite, true, 1600);
    bls.boot(&format!("tu -q run {UPDATE}")).succeeds();
    // the kernel of snapshot 1 stays for nobody but a snapshot that neither runs nor boots next
    let third = UPDATE
        .replace("6.4.0-2", "6.4.0-3")
        .replace("6.4.0-1", "6.4.0-2");
    bls.boot(&format!(
        "df -B1 --output=avail /boot/efi >&2; tu run {third} && entries"
    ))
    .succeeds()
    .says("fx-6.4.0-2-default-2.conf fx-6.4.0-3-default-3.conf\n");
    bls.holds(&[1, 2, 3], 3, "fx-6.4.0-3-default-3.conf");
}

#[test]
fn a_system_without_its_esp_or_that_does_not_run_is_refused() {
    let bls = Bls::new(true);
    bls.0
        .boot("transactional-update run true")
        .exits(1)
        .says("no partition with boot loader entries")
        .says("/boot/efi; mount the ESP");
    bls.0.outside("$TU --root $FX_ROOT run true").exits(1).says(
        "boots by entries on its ESP; what boots next there can only be changed while it runs",
    );
    bls.holds_nothing_new();
}

#[test]
fn initrd_and_boot_loader_are_made_by_sdbootutil() {
    let bls = Bls::new(true);
    let ran = bls
        .boot("transactional-update -v initrd grub.cfg bootloader; calls")
        .succeeds()
        .says("Step initrd: it was asked for")
        .says("No grub.cfg was made: this boot loader reads entries.");
    assert!(ran.stdout.contains("mkinitrd 2\nupdate 2\n"), "{ran}");
    bls.holds(&[1, 2], 2, &format!("fx-{OLD}-2.conf"));
    bls.boot("export FX_SDB=mkinitrd=fail; transactional-update initrd")
        .exits(1)
        .says("`sdbootutil mkinitrd 3` failed with status 1");
    bls.holds(&[1, 2], 2, &format!("fx-{OLD}-2.conf"));
}

#[test]
fn selinux_is_switched_on_by_the_command_line_that_entries_are_made_from() {
    let bls = Bls::new(true);
    bls.0.use_repository("kernels", &["gpgcheck=0"]);
    bls.0
        .prepare("mkdir -p /etc/kernel; echo 'quiet splash' > /etc/kernel/cmdline");
    bls.boot("transactional-update setup-selinux; calls")
        .succeeds()
        .says("mkinitrd 2\n")
        .does_not_say("grub.cfg");
    let look = "cat /etc/kernel/cmdline; transactional-update setup-selinux; cat /.snapshots/3/snapshot/etc/kernel/cmdline";
    let ran = bls.boot(look).succeeds();
    let line = "quiet splash security=selinux selinux=1\n";
    assert_eq!(ran.stdout, format!("{line}{line}"), "{ran}");
}
