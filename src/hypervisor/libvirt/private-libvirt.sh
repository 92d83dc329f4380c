#!/bin/sh
# Runs a program with a libvirt of its own, beside which the machine's is neither seen nor touched: private mount,
# network, process and IPC namespaces, private folders, stock configuration. All guests and daemons end with it.
# Usage: private-libvirt.sh [--prepare | --host-network] PROGRAM [ARGUMENT...]   Needs root; status 77 where impossible.
# With --prepare, "PROGRAM --prepare" runs first, outside, where the network is; LODGE_PRIVATE_FOLDER takes its files.
# With --host-network the network stays the machine's, so that the program can fetch packages. Its instance is then to be
# named LODGE_PRIVATE_INSTANCE, whose bridges are removed when it was killed and left them.
# LODGE_PRIVATE_HOSTNAME, when set, is the host's name inside; LODGE_PRIVATE_RUN a folder in /run that it has to itself. Each is a host of its own to libvirt, by a UUID of its own.
set -eu
if [ "${LODGE_PRIVATE_LIBVIRT:-}" != inside ]; then
    [ "$(id -u)" = 0 ] && command -v libvirtd virtlogd qemu-system-x86_64 >/dev/null || exit 77
    unshare --mount --net --pid --ipc --uts true 2>/dev/null || exit 77
    LODGE_PRIVATE_FOLDER=$(mktemp -d /var/tmp/lodge-libvirt-XXXXXX)
    LODGE_PRIVATE_INSTANCE=p$(($$ % 100000))
    export LODGE_PRIVATE_FOLDER LODGE_PRIVATE_INSTANCE LODGE_PRIVATE_LIBVIRT=inside
    # shellcheck disable=SC2317 # called by the trap
    clean() {
        for bridge in $(ip -o link show type bridge 2>/dev/null | cut -d: -f2 | grep "^ $LODGE_PRIVATE_INSTANCE-"); do
            ip link delete "$bridge" || true
        done
        rm -rf --one-file-system "$LODGE_PRIVATE_FOLDER"
        rmdir "/run/$LODGE_PRIVATE_INSTANCE-migrate" 2>/dev/null || true
    }
    trap clean EXIT
    trap 'exit 1' INT TERM
    status=0
    network=--net
    chmod 711 "$LODGE_PRIVATE_FOLDER"
    if [ "$1" = --prepare ]; then
        shift
        "$1" --prepare || exit 1
    elif [ "$1" = --host-network ]; then
        shift
        network=
    fi
    LODGE_PRIVATE_NETWORK=$network
    export LODGE_PRIVATE_NETWORK
    # shellcheck disable=SC2086 # an option or nothing
    unshare --mount $network --pid --ipc --uts --fork --mount-proc --kill-child --propagation private "$0" "$@" || status=$?
    exit $status
fi
for folder in etc/libvirt run/libvirt var/lib/libvirt var/log/libvirt var/cache/libvirt; do
    mkdir -p "/$folder" "$LODGE_PRIVATE_FOLDER/$folder"
    case $folder in etc/* | var/cache/*) cp -a "/$folder/." "$LODGE_PRIVATE_FOLDER/$folder/" ;; esac
    mount --bind "$LODGE_PRIVATE_FOLDER/$folder" "/$folder"
done
# libvirt locks a console's terminal by a file there; one that was killed leaves it, and its process id means nothing here.
mount -t tmpfs tmpfs /run/lock
[ -z "${LODGE_PRIVATE_RUN:-}" ] || { mkdir -p "$LODGE_PRIVATE_RUN" && mount -t tmpfs -o mode=0711 tmpfs "$LODGE_PRIVATE_RUN"; }
rm -rf /etc/libvirt/qemu/networks/autostart/*
sed -i '/^host_uuid/d' /etc/libvirt/libvirtd.conf
printf 'host_uuid = "%s"\n' "$(cat /proc/sys/kernel/random/uuid)" >>/etc/libvirt/libvirtd.conf
[ -z "${LODGE_PRIVATE_HOSTNAME:-}" ] || hostname "$LODGE_PRIVATE_HOSTNAME"
if [ -n "$LODGE_PRIVATE_NETWORK" ]; then
    mkdir "$LODGE_PRIVATE_FOLDER/cgroup"
    mount --rbind /sys/fs/cgroup "$LODGE_PRIVATE_FOLDER/cgroup"
    mount -t sysfs sysfs /sys # that of the new network namespace
    mount --rbind "$LODGE_PRIVATE_FOLDER/cgroup" /sys/fs/cgroup
    ip link set lo up
fi
# As udev would have it: with another group libvirt asks QEMU for its capabilities again at every step.
if [ -c /dev/kvm ] && [ ! -d /run/systemd/system ] && getent group kvm >/dev/null; then
    chgrp kvm /dev/kvm
    chmod 0660 /dev/kvm
fi
virtlogd -d -p /run/libvirt/virtlogd.pid
libvirtd -d -p /run/libvirt/libvirtd.pid
# Not exec: this shell is process 1 here and must stay until the program has ended.
status=0
"$@" || status=$?
exit $status
