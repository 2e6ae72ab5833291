//! What a soft-reboot goes to.

use crate::fx::{ALL_VARIANTS, Machine, Variant};

#[test]
fn the_next_system_is_mounted_with_what_an_initrd_mounts_on_every_kind_of_machine() {
    for variant in ALL_VARIANTS.into_iter().step_by(2) {
        let machine = Machine::of(variant);
        let script = "transactional-update -q run touch /usr/new && transactional-update prepare-nextroot || exit 90
             touch /var/here; cd /run/nextroot; ls usr/new etc/fstab var/here; for m in '' /var /root; do findmnt -n -o FSROOT /run/nextroot$m; done
             touch usr/x 2>/dev/null && echo writable; [ ! -e /usr/new ] || exit 91; ls /run/nextroot/home; transactional-update prepare-nextroot";
        let ran = machine.boot(script).succeeds();
        let access = if variant.is_read_write() {
            "writable\n"
        } else {
            ""
        };
        assert_eq!(
            ran.stdout,
            format!(
                "etc/fstab\nusr/new\nvar/here\n/@/.snapshots/2/snapshot\n/@/var\n/@/root\n{access}"
            ),
            "{variant:?} {ran}"
        );
        ran.says("The soft-reboot goes to snapshot 2.")
            .says("Nothing to mount for the soft-reboot.");
    }
}

#[test]
fn what_was_changed_in_etc_meanwhile_is_in_the_system_that_the_soft_reboot_goes_to() {
    let machine = Machine::of(Variant::NestedSqlite);
    let script = "transactional-update -q run touch /etc/new || exit 90; echo admin > /etc/mine
         TU_FAILPOINTS=nextroot-mounted=error transactional-update prepare-nextroot && exit 91
         [ ! -e /run/nextroot/etc ] && ls -d /.snapshots/2/snapshot/etc/etc.syncpoint || exit 92
         transactional-update -q prepare-nextroot || exit 93
         cat /run/nextroot/etc/mine; touch /run/nextroot/etc/written; ls -d /run/nextroot/etc/etc.syncpoint";
    let ran = machine.boot(script).exits(2);
    assert_eq!(
        ran.stdout, "/.snapshots/2/snapshot/etc/etc.syncpoint\nadmin\n",
        "{ran}"
    );
}

#[test]
fn nothing_is_mounted_when_the_booted_system_is_the_next_one_or_somebody_else_did() {
    let machine = Machine::new();
    let script = "transactional-update -q prepare-nextroot || exit 90; [ ! -e /run/nextroot ] || exit 91
         transactional-update -q run touch /usr/new || exit 92; mkdir -p /run/nextroot/etc; touch /run/nextroot/etc/fstab
         transactional-update -q prepare-nextroot || exit 93; [ ! -e /run/nextroot/usr ]";
    machine.boot(script).succeeds();
}
