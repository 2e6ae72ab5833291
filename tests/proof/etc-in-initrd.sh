#!/bin/bash
# etc-in-initrd.sh BUILT: boots a kernel with an initrd of dracut that holds our module, and shows what has become of /etc. 4 minutes.
# BUILT is the directory of the programs. The machine has /etc as a subvolume; an update waits, and an administrator has changed /etc
# since: after the boot, the new /etc has both. The same with the unit of the initrd masked is the control: there, nothing is merged.
# Area: dracut src/etc src/cli/sync_etc.rs
# Appends a row to docs/proofs.tsv when it succeeds. The log is target/proof/etc-in-initrd.log.
. "$(dirname "$0")/../fixture/env.sh"
. "$(dirname "$0")/row.sh"
need qemu-system-x86_64 qemu-system-x86
[ "$(id -u)" = 0 ] || die "needs root: it mounts a scratch image"
BUILT=$(realpath "${1:?usage: etc-in-initrd.sh BUILT}")
W=$(mktemp -d "$CACHE/proof.XXXXXX")
trap 'rm -rf "$W"' EXIT
LOG=$PROJECT/target/proof/etc-in-initrd.log; mkdir -p "$(dirname "$LOG")"; : > "$LOG"
in_machine() { "$HERE/enter.sh" "$W/disk.img" bash -euc "PATH=/usr/sbin:/usr/bin; $1"; }

# --- the machine: as those of the tests, with a kernel, dracut and what a real boot needs -------------------------------------
PACKAGES=(linux-image-cloud-amd64 dracut-core systemd-sysv udev kmod)
BASE=$CACHE/proof-base-$({ cat "$HERE/base.sh"; echo "${PACKAGES[@]}"; } | sha256sum | cut -c1-16).tar
if [ ! -e "$BASE" ]; then
  rm -f "$CACHE"/proof-base-*.tar
  "$HERE/base.sh" "$W/base.tar" "${PACKAGES[@]}"; mv "$W/base.tar" "$BASE"
fi
REPOS=$("$HERE/template.sh" repos)
"$HERE/image.sh" "$W/disk.img" b-sqlite 4G "$BASE" "$REPOS"
make --silent -C "$PROJECT" install-system BUILT="$BUILT" DESTDIR="$W/tree"
# what of /etc a boot shows: a line for each path, and no line of the kernel's in between
mkdir -p "$W/tree/usr/bin"
cat > "$W/tree/usr/bin/show-etc" <<'S'
#!/bin/sh
cd /etc || exit
for p in mine both both.rpmsave gone new link etc.syncpoint; do
  if [ -L $p ]; then v=$(readlink $p); elif [ -d $p ]; then v=directory; elif [ -e $p ]; then v=$(cat $p); else v=none; fi
  echo "ETC $p $v"
done
echo "ETC end $(findmnt -n -o FSROOT /etc)"
S
cat > "$W/tree/usr/lib/systemd/system/show-etc.service" <<'U'
[Unit]
Description=What is in /etc
After=basic.target
[Service]
Type=oneshot
ExecStart=/bin/sh /usr/bin/show-etc
ExecStopPost=/bin/systemctl --no-block poweroff
StandardOutput=tty
TTYPath=/dev/console
U
FX_EDIT=1 FX_BIND="$W/tree:/run/tree" in_machine '
  cp -r --preserve=mode /run/tree/. /
  kv=$(ls /lib/modules); cd /boot
  dracut --quiet --force --no-hostonly --no-hostonly-cmdline --gzip --filesystems btrfs \
    -m "base systemd systemd-initrd fs-lib rootfs-block kernel-modules udev-rules dracut-systemd btrfs usrmount shutdown transactional-update" \
    --drivers "btrfs virtio_blk virtio_pci virtio_ring virtio crc32c_generic libcrc32c xor raid6_pq zstd_compress lzo_compress" \
    initrd-$kv $kv
  ln -sf vmlinuz-$kv vmlinuz; ln -sf initrd-$kv initrd' >&2

# --- an update, and edits before the reboot ---------------------------------------------------------------------------------
in_machine '
  for f in mine both gone; do echo old > /etc/$f; done
  transactional-update -q run sh -c "echo update > /etc/both; echo update > /etc/new"
  echo edited > /etc/mine; echo edited > /etc/both; rm /etc/gone; ln -s /nowhere /etc/link' >&2
MERGED='mine edited|both update|both.rpmsave edited|gone none|new update|link /nowhere|etc.syncpoint none'
UNMERGED='mine old|both update|both.rpmsave none|gone old|new update|link none|etc.syncpoint directory'
END='end /@/.snapshots/2/snapshot/etc'
# kernel and initrd are those of the default snapshot, which is the choice that GRUB makes
FX_OUTSIDE=1 "$HERE/enter.sh" "$W/disk.img" sh -c "cp -L \$FX_ROOT/boot/vmlinuz \$FX_ROOT/boot/initrd '$W/'"

# boot NAME WORDS: boots a copy of the disk; prints what the machine showed, a line for each path
boot() {
  local name=$1; shift
  copy "$W/disk.img" "$W/boot.img"
  # other processors of QEMU 7.2 fault in the kernel; without KVM, which the machine that builds may not have
  timeout 600 qemu-system-x86_64 -M q35 -accel tcg,thread=single -cpu qemu64 -smp 1 -m 1024 -nographic -net none -nodefaults -serial stdio \
    -no-reboot -kernel "$W/vmlinuz" -initrd "$W/initrd" -drive "if=virtio,file=$W/boot.img,format=raw,cache=none,aio=threads" \
    -append "root=/dev/vda rootfstype=btrfs ro console=ttyS0 panic=-1 cryptomgr.notests mitigations=off nokaslr systemd.show_status=true
      systemd.unit=basic.target systemd.wants=show-etc.service $*" </dev/null > "$W/serial" 2>&1 || :
  { printf '=== %s\n' "$name"; tr -d '\r' < "$W/serial"; } >> "$LOG"
  tr -d '\r' < "$W/serial" | grep -ao 'ETC .*' | cut -d' ' -f2- || :
}
is() { [ "$1" = "${2//|/$'\n'}"$'\n'"$END" ]; }

control=$(boot control rd.systemd.mask=transactional-update-sync-etc-state.service)
is "$control" "$UNMERGED" || die "the control should show an /etc that is not merged, see $LOG:"$'\n'"$control"
shown=$(boot merged)
is "$shown" "$MERGED" || die "/etc is not what it should be after the boot, see $LOG:"$'\n'"$shown"
say "$shown"

versions="linux $(grep -ao 'Linux version [^ ]*' "$W/serial" | head -1 | cut -d' ' -f3), $(qemu-system-x86_64 --version | sed -n '1s/ (.*//;1s/ emulator version//p')"
versions+=", dracut $(in_machine "dpkg-query -W -f '\${Version}' dracut-core"), systemd $(in_machine "dpkg-query -W -f '\${Version}' systemd")"
# 7 paths, each as it is after a merge and none as it was before or otherwise; one control that showed the difference
row etc-in-initrd 7 0 7 0 1 - "$versions" "$LOG"
