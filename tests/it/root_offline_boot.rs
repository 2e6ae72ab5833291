//! Whether an offline update may be armed, as far as the boot loader and its partition decide that.

use crate::fx::{Machine, Variant};
use crate::root_boot::{Bls, MOUNT};

/// Arms with this kernel command line, prints the code, and calls it off again.
const TRY: &str = r#"try() { echo "$1" > /run/cmdline; mount --bind /run/cmdline /proc/cmdline; transactional-update offline arm
    echo "code $?"; transactional-update -q offline cancel; umount /proc/cmdline; }"#;

#[test]
fn a_root_that_the_kernel_command_line_names_is_accepted_where_an_entry_that_is_switched_says_so() {
    let arm = |machine: &Machine, mount: &str, flags: &str| {
        machine.install();
        machine.boot(&format!(
            "{mount}; {TRY}; transactional-update -q offline prepare install fx-lib; try 'quiet rootflags=ro,{flags}'"
        ))
    };
    let entries = Bls::of(Variant::RwSqlite, true, 8192).0;
    arm(&entries, MOUNT, "subvol=@/.snapshots/1/snapshot")
        .says("The update is armed")
        .says("code 0");
    for flags in ["subvol=@/.snapshots/9/snapshot", "subvolid=266"] {
        arm(&entries, MOUNT, flags)
            .says(&format!(
                "mounts the root with rootflags={flags}, and that is not how snapshot 1 is named there"
            ))
            .says("code 1");
    }
    let none = Machine::of(Variant::RwSqlite);
    arm(&none, "true", "subvol=@/.snapshots/1/snapshot")
        .says("no boot entry decides that which could be switched: no other snapshot would boot")
        .says("code 1");
}

#[test]
fn a_new_kernel_is_armed_only_where_its_partition_has_room_for_it() {
    let machine = Bls::of(Variant::RwSqlite, true, 8192).0;
    machine.install();
    machine.use_repository("kernels", &["gpgcheck=0"]);
    let script = format!(
        "{MOUNT}; {TRY}; transactional-update -q offline prepare install kernel-fx; try quiet
        head -c 1G /dev/zero > /boot/efi/fill 2>/dev/null; try quiet; rm /boot/efi/fill; try quiet"
    );
    let ran = machine.boot(&script);
    let codes: Vec<&str> = ran
        .stdout
        .lines()
        .filter(|l| l.starts_with("code"))
        .collect();
    assert_eq!(codes, ["code 0", "code 1", "code 0"], "{ran}");
    ran.says("/boot/efi has too little room for another kernel and initrd: 1 MiB are missing");
}
