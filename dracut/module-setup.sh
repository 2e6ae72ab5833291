#!/bin/bash
# dracut module: /etc of a new snapshot gets what an administrator changed in the old one, before anything reads it.
# The initrd keeps the program it was built with: rebuild it when that changes.

check() {
    require_binaries /usr/libexec/transactional-update-sync-etc-state || return 1
    return 0
}

depends() {
    echo systemd-initrd
    return 0
}

install() {
    local name=transactional-update-sync-etc-state
    inst_multiple mount sh
    inst_binary "/usr/libexec/$name" "/bin/$name"
    inst_script "$moddir/$name.sh" "/bin/$name.sh"
    inst_simple "$moddir/$name.service" "$systemdsystemunitdir/$name.service"
    mkdir -p "$initdir$systemdsystemunitdir/initrd.target.wants"
    ln -sf "../$name.service" "$initdir$systemdsystemunitdir/initrd.target.wants/$name.service"
}
