#!/bin/sh
# shellcheck disable=SC2016 # dpkg-query has variables of its own
# Jailed, as a hook of mmdebstrap: debian-customize.sh PHASE TREE.
set -eu
phase=$1
tree=$2

cache_in() {
    mkdir -p "$tree/var/cache/apt/archives"
    for file in /cache/*.deb; do
        if [ -e "$file" ]; then cp "$file" "$tree/var/cache/apt/archives/" || :; fi
    done
}

# What this build used goes back, each under a temporary name first (builds may share the cache); what it did not use goes.
cache_out() {
    dpkg-query --admindir="$tree/var/lib/dpkg" -W -f '${Package}_${Version}_${Architecture}.deb\n' |
        sed 's/:/%3a/g' >/work/used
    for file in "$tree"/var/cache/apt/archives/*.deb; do
        target=/cache/${file##*/}
        if [ -e "$file" ] && ! [ -e "$target" ]; then
            cp "$file" "$target.$$.part"
            mv "$target.$$.part" "$target"
        fi
        rm -f "$file"
    done
    for file in /cache/*.deb; do
        grep -qxF "${file##*/}" /work/used || rm -f "$file"
    done
}

# Before the kernel is installed: its initial file system is made once and holds only what these machines have.
early() {
    mkdir -p "$tree/etc/initramfs-tools/conf.d"
    printf 'MODULES=list\nCOMPRESS=zstd\nCOMPRESSLEVEL=3\n' >"$tree/etc/initramfs-tools/conf.d/lodge"
    printf '%s\n' virtio_pci virtio_blk virtio_scsi sd_mod sr_mod xen_blkfront nvme ext4 >"$tree/etc/initramfs-tools/modules"
}

late() {
    chroot "$tree" passwd -l root >/dev/null
    mkdir -p "$tree/boot/efi" "$tree/boot/grub"
    cat >"$tree/etc/fstab" <<'FSTAB'
LABEL=lodge-root / ext4 defaults,noatime,x-systemd.growfs 0 1
LABEL=LODGE-EFI /boot/efi vfat umask=0077,nofail,x-systemd.automount 0 2
FSTAB
    cat >"$tree/etc/cloud/cloud.cfg.d/90_lodge.cfg" <<'CLOUD'
datasource_list: [NoCloud, None]
locale: C.UTF-8
manage_etc_hosts: true
ssh_deletekeys: true
ssh_genkeytypes: [ed25519, ecdsa]
growpart: {mode: auto, devices: ["/"]}
system_info:
  default_user:
    name: lodge
    gecos: Lodge
    lock_passwd: true
    groups: [adm, sudo]
    sudo: ["ALL=(ALL) NOPASSWD:ALL"]
    shell: /bin/bash
CLOUD
    cat >"$tree/etc/udev/rules.d/60-lodge-hotplug.rules" <<'RULES'
SUBSYSTEM=="cpu", ACTION=="add", TEST=="online", ATTR{online}!="1", ATTR{online}="1"
SUBSYSTEM=="memory", ACTION=="add", TEST=="state", ATTR{state}=="offline", ATTR{state}="online"
RULES
    # One connected interface is enough to go on; one without an address must not hold up the rest.
    mkdir -p "$tree/etc/systemd/system/systemd-networkd-wait-online.service.d"
    cat >"$tree/etc/systemd/system/systemd-networkd-wait-online.service.d/lodge.conf" <<'WAIT'
[Service]
ExecStart=
ExecStart=/lib/systemd/systemd-networkd-wait-online --any --timeout=30
WAIT
    install -m 755 /work/xen-addresses.sh "$tree/usr/local/sbin/xen-addresses"
    cat >"$tree/etc/systemd/system/xen-addresses.service" <<'UNIT'
[Unit]
Description=Tells the Xen host the addresses of this guest
ConditionPathExists=/dev/xen/xenbus
[Service]
ExecStart=/usr/local/sbin/xen-addresses
Restart=on-failure
[Install]
WantedBy=multi-user.target
UNIT
    cp /work/debian-grub.cfg "$tree/boot/grub/grub.cfg"
    chmod 644 "$tree/boot/grub/grub.cfg"
    : >"$tree/etc/machine-id"
    rm -f "$tree/var/lib/dbus/machine-id" "$tree"/etc/ssh/ssh_host_* "$tree/etc/resolv.conf" "$tree/etc/hostname" \
        "$tree/var/lib/systemd/random-seed"
    ln -s ../run/systemd/resolve/stub-resolv.conf "$tree/etc/resolv.conf"
    chroot "$tree" systemctl enable systemd-networkd systemd-resolved ssh xen-addresses 2>&1 | tail -n 1
    chroot "$tree" systemctl disable apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer e2scrub_reap.service \
        2>&1 | tail -n 1
    rm -f "$tree/etc/apt/sources.list" "$tree"/etc/apt/sources.list.d/* "$tree/etc/apt/apt.conf.d/99mmdebstrap" \
        "$tree/etc/dpkg/dpkg.cfg.d/99mmdebstrap"
    cp /work/debian.sources "$tree/etc/apt/sources.list.d/debian.sources"
    chmod 644 "$tree/etc/apt/sources.list.d/debian.sources"
    rm -rf "$tree"/var/lib/apt/lists/* "$tree"/var/log/*.log "$tree"/var/log/apt/*
}

case $phase in
cache-in) cache_in ;;
cache-out) cache_out ;;
early) early ;;
late) late ;;
esac
