//! `cleanup` marks, snapper deletes.

use crate::fx::{Machine, Ran, Variant};

/// `snapper` without its daemon, and one line for each snapshot: number, cleanup algorithm, important.
const TOOLS: &str = r#"
s() { snapper --no-dbus -c root "$@"; }
marks() { for n in $(ls /.snapshots | sort -n); do
  x=/.snapshots/$n/info.xml; a=$(sed -n 's|.*<cleanup>\(.*\)</cleanup>.*|\1|p' $x); i=; ! grep -q '<key>important' $x || i=' important'
  echo "$n:$a$i"; done; }
"#;

/// snapper keeps nothing that it need not keep.
const KEEP_NOTHING: &str = "sed -i -E 's/^(NUMBER_LIMIT(_IMPORTANT)?)=.*/\\1=\"0\"/; s/^NUMBER_MIN_AGE=.*/NUMBER_MIN_AGE=\"0\"/' /etc/snapper/configs/root";

fn boot(machine: &Machine, script: &str) -> Ran {
    machine.boot(&format!("{TOOLS}{script}"))
}

/// Snapshots 1 to 3, each of which ran; a rollback to 2 and one to 3 took away the algorithm of both. 3 runs.
pub(crate) fn after_two_rollbacks(variant: Variant) -> Machine {
    let machine = Machine::of(variant);
    machine.prepare(KEEP_NOTHING);
    for script in [
        "run touch /usr/2",
        "run touch /usr/3",
        "rollback 2",
        "rollback 3",
        "boot-complete",
    ] {
        machine
            .boot(&format!(
                "transactional-update -q boot-complete && transactional-update -q {script}"
            ))
            .succeeds();
    }
    machine
}

#[test]
fn systems_that_are_no_longer_in_use_are_marked_and_snapper_deletes_them() {
    let machine = after_two_rollbacks(Variant::RoSqlite);
    let ran = boot(&machine, "marks; s cleanup number; ls /.snapshots | xargs").succeeds();
    assert_eq!(ran.stdout, "1:number\n2:\n3:\n2 3\n", "{ran}");
    let ran = boot(&machine, "transactional-update cleanup; marks").succeeds();
    assert_eq!(ran.stdout, "2:number important\n3:\n", "{ran}");
    ran.says("Marked for deletion by snapper: #2 (important)\n");
    boot(
        &machine,
        "s cleanup number; transactional-update -v cleanup",
    )
    .succeeds()
    .says("No snapshot has to be marked")
    .does_not_say("warning");
    machine.holds(&[3], 3);
}

#[test]
fn a_system_that_ran_is_kept_longer_than_one_that_never_did() {
    let machine = Machine::new();
    machine.prepare(&format!("{KEEP_NOTHING}; sed -i 's/^NUMBER_LIMIT_IMPORTANT=.*/NUMBER_LIMIT_IMPORTANT=\"1\"/' /etc/snapper/configs/root"));
    let run = "transactional-update -q --no-continue run true";
    machine
        .boot(&format!("transactional-update boot-complete; {run}; {run}"))
        .succeeds();
    boot(
        &machine,
        "transactional-update boot-complete; transactional-update cleanup; s cleanup number; marks",
    )
    .succeeds()
    .says("Marked for deletion by snapper: #1 (important)\n")
    .says("1:number important\n3:number\n");
    machine.holds(&[1, 3], 3);
}

#[test]
fn an_update_that_waits_for_the_next_boot_is_not_marked_nor_what_it_was_made_from() {
    let machine = Machine::new();
    let strip = "for n in 2 3 4; do sed -i /cleanup/d /.snapshots/$n/info.xml; done";
    let script = format!(
        "for n in 2 3; do transactional-update -q run touch /usr/$n; done; transactional-update -q --no-continue -k run false; {strip}
         transactional-update cleanup && marks"
    );
    let ran = boot(&machine, &script).succeeds();
    assert_eq!(ran.stdout, "1:number\n2:\n3:\n4:\n", "{ran}");
}

#[test]
fn nothing_is_marked_while_one_snapshot_is_not_understood_and_the_update_goes_on() {
    let machine = after_two_rollbacks(Variant::RoSqlite);
    let ran = boot(
        &machine,
        "echo '<snapshot><num>7</num>' > /.snapshots/1/info.xml; transactional-update -n cleanup pkg install fx-etc; marks",
    )
    .succeeds()
    .says("no snapshot is marked for deletion: the info.xml of snapshot 1 is not understood")
    .says("Snapshot 4 is the next system");
    assert!(ran.stdout.ends_with("1:\n2:\n3:\n4:number\n"), "{ran}");
}

#[test]
fn a_forgotten_transaction_of_another_program_is_marked_and_one_of_this_boot_is_not() {
    let machine = Machine::new();
    machine.prepare(KEEP_NOTHING);
    let begin = "s create --from 1 --read-write --userdata transactional-update-in-progress=yes";
    let script = format!(
        "{begin}; {begin}; sed -i 's|<date>.*</date>|<date>2020-01-01 00:00:00</date>|' /.snapshots/2/info.xml
         transactional-update cleanup && marks && s cleanup number"
    );
    let ran = boot(&machine, &script).succeeds();
    assert_eq!(ran.stdout, "1:number\n2:number\n3:\n", "{ran}");
    ran.says("Marked for deletion by snapper: #2\n");
    machine.holds(&[1, 3], 1);
}

#[test]
fn what_a_cut_left_complete_but_never_the_next_one_goes_with_the_others() {
    let machine = Machine::new();
    machine.prepare(KEEP_NOTHING);
    boot(&machine, "TU_FAILPOINTS=final-info=kill transactional-update run touch /usr/2; sed -i /cleanup/d /.snapshots/2/info.xml
        transactional-update cleanup && s cleanup number")
        .succeeds()
        .says("Marked for deletion by snapper: #2\n");
    machine.holds(&[1], 1);
}

#[test]
fn a_clean_up_that_dies_in_the_middle_is_finished_by_the_next_one() {
    let marks = |script: &str| {
        let machine = after_two_rollbacks(Variant::RoSqlite);
        boot(
            &machine,
            &format!("sed -i /cleanup/d /.snapshots/1/info.xml; {script}; marks"),
        )
        .succeeds()
        .stdout
    };
    let whole = marks("transactional-update -q cleanup");
    assert_eq!(whole, "1:number important\n2:number important\n3:\n");
    let cut = "TU_FAILPOINTS=cleanup-marked=kill transactional-update -q cleanup";
    assert_eq!(marks(cut), "1:number important\n2:\n3:\n");
    assert_eq!(
        marks(&format!("{cut}; transactional-update -q cleanup")),
        whole
    );
}

#[test]
fn on_a_read_write_system_nothing_becomes_important() {
    let machine = after_two_rollbacks(Variant::RwSqlite);
    let ran = boot(&machine, "transactional-update cleanup; marks").succeeds();
    ran.does_not_say("important");
}

#[test]
fn another_system_that_is_mounted_is_cleaned_up_in_the_same_way() {
    let machine = after_two_rollbacks(Variant::RoSqlite);
    let ran = machine
        .outside(r#""$TU" --root "$FX_ROOT" cleanup-snapshots"#)
        .succeeds();
    ran.says("Marked for deletion by snapper: #1 (important), #2 (important)\n");
}

#[test]
fn overlays_that_no_snapshot_uses_are_named_and_stay() {
    let machine = Machine::new();
    machine.prepare("mkdir -p /var/lib/overlay/{1,2,work-etc}; echo 'overlay /mnt overlay upperdir=/var/lib/overlay/2/etc,noauto 0 0' >> /etc/fstab");
    for words in ["cleanup-overlays", "cleanup"] {
        let ran = machine.tu(words).succeeds().does_not_say("overlay/2");
        ran.says("/var/lib/overlay/1 is used by no snapshot")
            .says("/var/lib/overlay/work-etc is");
    }
    machine
        .tu("cleanup-snapshots")
        .succeeds()
        .does_not_say("overlay");
    machine
        .boot("ls /var/lib/overlay | xargs")
        .succeeds()
        .says("1 2 work-etc");
}

#[test]
fn what_the_default_entry_boots_is_not_marked_though_it_is_not_the_default_snapshot() {
    let machine = after_two_rollbacks(Variant::RoSqlite);
    machine.prepare("mkdir -p /boot/efi /etc/sysconfig; echo LOADER_TYPE=systemd-boot > /etc/sysconfig/bootloader; sed -i /cleanup/d /.snapshots/1/info.xml");
    let unknown = "transactional-update cleanup; marks";
    let ran = boot(&machine, unknown)
        .succeeds()
        .says("what boots next is not known");
    assert_eq!(ran.stdout, "1:\n2:\n3:\n", "{ran}");
    let esp = "mount -t tmpfs tmpfs /boot/efi; mkdir -p /boot/efi/loader/entries; echo default suse-2 > /boot/efi/loader/loader.conf
        printf 'linux /k\\noptions rootflags=subvol=@/.snapshots/2/snapshot quiet\\n' > /boot/efi/loader/entries/suse-2.conf";
    let ran = boot(
        &machine,
        &format!("{esp}; transactional-update cleanup; marks"),
    )
    .succeeds();
    assert_eq!(ran.stdout, "1:number important\n2:\n3:\n", "{ran}");
}
