#!/bin/busybox sh
# First process of the smallest guest: address by DHCP, login on the serial port, power button, hot-added vCPUs.
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /run
mount -t devpts devpts /dev/pts
# Twice: which of two modules needs the other differs between kernels.
while read -r module; do insmod "/modules/$module" 2>/dev/null; done </modules/order
while read -r module; do insmod "/modules/$module" 2>/dev/null; done </modules/order

word_from_command_line() {
    # shellcheck disable=SC2013 # words are wanted
    for word in $(cat /proc/cmdline); do
        case $word in "$1"=*) echo "${word#*=}" ;; esac
    done
}
name=$(word_from_command_line lodge.hostname)
if [ -n "$name" ]; then
    echo command-line >/run/hostname-source
else
    id=$(cut -c1-8 /sys/class/dmi/id/product_uuid 2>/dev/null)
    name=tiny${id:+-$id}
fi
hostname "$name"
echo "127.0.0.1 localhost" >/etc/hosts

ip link set lo up
ip link set eth0 up 2>/dev/null && udhcpc -i eth0 -b -S -t 10 -T 2 -F "$(hostname)" -s /etc/udhcpc.sh >/dev/null 2>&1 &

xen-addresses >/dev/null 2>&1 &
acpid -d -l /dev/null >/dev/null 2>&1 &
(
    while :; do
        for online in /sys/devices/system/cpu/cpu*/online /sys/devices/system/memory/memory*/online; do
            # No process for each: this runs as long as the guest does.
            [ -e "$online" ] && read -r state <"$online" && [ "$state" = 0 ] && echo 1 >"$online" 2>/dev/null
        done
        sleep 2
    done
) &
[ -e /dev/tty1 ] && (while :; do setsid getty 0 tty1 linux; sleep 1; done) &

trap 'sync; poweroff -f' USR1 USR2 TERM
trap 'sync; reboot -f' INT
echo "tiny: ready after $(cut -d' ' -f1 /proc/uptime) s as $(hostname)" >/dev/console
# Where the kernel speaks: ttyS0 of a PC, hvc0 of a paravirtual machine.
# shellcheck disable=SC2013 # words are wanted
for serial in $(cat /sys/class/tty/console/active 2>/dev/null) ttyS0; do
    case $serial in ttyS*|hvc*) break ;; esac
done
while :; do
    setsid getty -L 115200 "$serial" vt100 &
    wait $!
    sleep 1
done
