#!/bin/sh
# shellcheck disable=SC2016 # mmdebstrap's own shell expands the hook
# Makes a Debian 13 machine that boots under Xen as its control domain: image.sh FOLDER KEY.pub PACKAGE...
# FOLDER gets `tree` (the system, for building in it), `disk` (raw, one ext4 file system), `xen`, `kernel`, `initrd` and, last,
# `complete`. Nothing of this machine but its package sources is used. Needs root.
set -eu
folder=$1
key=$2
shift 2
disk_bytes=12884901888
suite=trixie

tree=$folder/tree
sources=$folder/sources
# shellcheck source=tools/apt-sources.sh
. "$(dirname "$0")/../../tools/apt-sources.sh"
source=$(apt_sources "$suite" "$sources")

packages=$(printf '%s,' systemd-sysv systemd-resolved udev dbus kmod initramfs-tools linux-image-amd64 openssh-server \
    ca-certificates sudo procps nfs-kernel-server "$@")
rm -rf --one-file-system "$tree"
mmdebstrap --quiet --mode=root --variant=minbase --include="${packages%,}" --skip=check/qemu \
    --aptopt='APT::Install-Recommends "false"' --aptopt='Acquire::Languages "none"' --dpkgopt=force-unsafe-io \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --essential-hook='mkdir -p "$1/etc/initramfs-tools/conf.d"
        printf "MODULES=list\nCOMPRESS=zstd\n" >"$1/etc/initramfs-tools/conf.d/guest"
        printf "%s\n" virtio_pci virtio_blk ext4 >"$1/etc/initramfs-tools/modules"' \
    "$suite" "$tree" "$source"

apt_access "$tree"
chroot "$tree" update-ca-certificates >/dev/null 2>&1
echo dom0 >"$tree/etc/hostname"
printf '127.0.0.1 localhost\n127.0.1.1 dom0\n' >"$tree/etc/hosts"
printf 'LABEL=root / ext4 defaults,noatime 0 1\n' >"$tree/etc/fstab"
# The first card leads out, the second to the lab's other machine, which tells its address to the kernel.
printf '[Match]\nName=eth0\n[Network]\nDHCP=ipv4\n' >"$tree/etc/systemd/network/wired.network"
ln -sf ../run/systemd/resolve/stub-resolv.conf "$tree/etc/resolv.conf"
: >"$tree/etc/machine-id"
install -d -m 0700 "$tree/root/.ssh"
install -m 0600 "$key" "$tree/root/.ssh/authorized_keys"
chroot "$tree" systemctl --quiet enable systemd-networkd systemd-resolved ssh
chroot "$tree" systemctl --quiet disable apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer e2scrub_reap.service \
    2>/dev/null || true
chroot "$tree" systemctl --quiet mask systemd-networkd-wait-online.service
# The overlay's one edit; see overlay.toml.
sed -i "/name='sep'/d" "$tree/usr/share/libvirt/cpu_map/x86_qemu64.xml"
# What guests print is kept, so that it can be told why one died.
echo 'XENCONSOLED_ARGS=--log=guest' >>"$tree/etc/default/xen"
install -d "$tree/var/log/xen/console"
cp "$tree"/boot/vmlinuz-* "$folder/kernel"
cp "$tree"/boot/initrd.img-* "$folder/initrd"
zcat "$tree"/boot/xen-[0-9]*amd64.gz >"$folder/xen"

truncate -s "$disk_bytes" "$folder/disk"
mke2fs -q -F -t ext4 -L root -m 1 -E lazy_itable_init=1,lazy_journal_init=1 -d "$tree" "$folder/disk"
rm -rf --one-file-system "$sources"
: >"$folder/complete"
