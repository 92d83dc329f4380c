#!/bin/sh
# shellcheck disable=SC2016 # mmdebstrap's own shell expands the hook
# Makes a Debian machine that boots with systemd: image.sh SUITE FOLDER PACKAGE...
# FOLDER gets `disk` (raw, one ext4 file system without partitions), `kernel` and `initrd` (QEMU boots them directly) and,
# last, `complete`. The machine runs QEMU's guest agent, through which tests/systemd/run commands it, and asks for its
# address by DHCP. No boot loader, loop device, mount or network service of this machine is used. Needs root.
set -eu
suite=$1
folder=$2
shift 2
disk_bytes=8589934592

tree=$folder/tree
sources=$folder/sources
# shellcheck source=tools/apt-sources.sh
. "$(dirname "$0")/../../tools/apt-sources.sh"
source=$(apt_sources "$suite" "$sources")

packages=$(printf '%s,' systemd-sysv systemd-resolved udev dbus kmod initramfs-tools linux-image-cloud-amd64 qemu-guest-agent \
    ca-certificates sudo "$@")
rm -rf --one-file-system "$tree"
mmdebstrap --quiet --mode=root --variant=minbase --include="${packages%,}" --skip=check/qemu \
    --aptopt='APT::Install-Recommends "false"' --aptopt='Acquire::Languages "none"' --dpkgopt=force-unsafe-io \
    --essential-hook='mkdir -p "$1/etc/initramfs-tools/conf.d"
        printf "MODULES=list\nCOMPRESS=zstd\n" >"$1/etc/initramfs-tools/conf.d/guest"
        printf "%s\n" virtio_pci virtio_blk ext4 >"$1/etc/initramfs-tools/modules"' \
    "$suite" "$tree" "$source"

apt_access "$tree"
chroot "$tree" update-ca-certificates >/dev/null 2>&1
echo guest >"$tree/etc/hostname"
printf '127.0.0.1 localhost\n127.0.1.1 guest\n' >"$tree/etc/hosts"
printf 'LABEL=root / ext4 defaults,noatime 0 1\n' >"$tree/etc/fstab"
printf '[Match]\nName=en*\n[Network]\nDHCP=ipv4\n' >"$tree/etc/systemd/network/wired.network"
ln -sf ../run/systemd/resolve/stub-resolv.conf "$tree/etc/resolv.conf"
: >"$tree/etc/machine-id"
mkdir -p "$tree/var/log/journal"
chroot "$tree" systemctl --quiet enable systemd-networkd systemd-resolved
chroot "$tree" systemctl --quiet disable apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer e2scrub_reap.service \
    2>/dev/null || true
cp "$tree"/boot/vmlinuz-* "$folder/kernel"
cp "$tree"/boot/initrd.img-* "$folder/initrd"

truncate -s "$disk_bytes" "$folder/disk"
mke2fs -q -F -t ext4 -L root -m 1 -O ^metadata_csum_seed,^orphan_file -E lazy_itable_init=1,lazy_journal_init=1 -d "$tree" "$folder/disk"
rm -rf --one-file-system "$tree" "$sources"
: >"$folder/complete"
