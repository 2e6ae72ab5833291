#!/bin/sh -e
# What the merge needs mounted: the snapshots, to read the old /etc, and the new /etc writable. All of it goes away with
# the unit, which has a mount namespace of its own.
root=${1:-/sysroot}
mount --target-prefix "$root" --fstab "$root/etc/fstab" /.snapshots
mount --bind "$root/etc" "$root/etc"
mount -o remount,rw "$root/etc"
exec /bin/transactional-update-sync-etc-state --sysroot "$root"
