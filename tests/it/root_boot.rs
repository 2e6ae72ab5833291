//! Boot entries on the ESP: what boots next is what was shown to boot, whatever sdbootutil does.

use crate::fx::{Machine, Ran, Variant, command, fixture};

/// The first kernel, and the one that [`UPDATE`] puts in its place.
const OLD: &str = "6.4.0-1-default";
const NEW: &str = "6.4.0-2-default";
/// A command for `run`: replaces the kernel.
const UPDATE: &str = "sh -c 'cd /usr/lib/modules; cp -r 6.4.0-1-default 6.4.0-2-default; echo 2 >> 6.4.0-2-default/vmlinuz; rm -r 6.4.0-1-default'";

/// A machine with systemd-boot, an ESP of this many KiB and sdbootutil, with or without its plugin for snapper.
struct Bls(Machine);

impl Bls {
    fn new(with_plugin: bool) -> Bls {
        Bls::of(Variant::RoSqlite, with_plugin, 8192)
    }

    fn of(variant: Variant, with_plugin: bool, esp: u32) -> Bls {
        let mut machine = Machine::of(variant);
        let image = machine.dir().join("esp.img");
        let made = command("mkfs.ext2")
            .args(["-q", "-m", "0", "-b", "1024"])
            .arg(&image)
            .arg(format!("{esp}k"))
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

const MOUNT: &str = "mount -o loop /run/esp.img /boot/efi";
/// `whole` compares the default entry and its files with the default snapshot; `calls` prints what sdbootutil was
/// asked to do that changes something.
const FUNCTIONS: &str = r#"
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
"#;

#[test]
fn an_update_is_the_next_system_when_its_entry_is_the_default_one() {
    for with_plugin in [true, false] {
        let bls = Bls::new(with_plugin);
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
        "add-all-kernels=bare set-default-snapshot=bare",
        true,
        "is missing or empty",
    ),
    (
        "add-all-kernels=fill",
        true,
        "bytes are missing for the kernel and initrd",
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
            .does_not_say("99")
            .does_not_say("stays until");
        bls.holds_nothing_new();
    }
    bls.boot(&format!("transactional-update run {UPDATE}"))
        .succeeds();
    bls.holds(&[1, 2], 2, &format!("fx-{NEW}-2.conf"));
}
