#!/bin/busybox sh
# shellcheck disable=SC2154 # udhcpc sets the variables
# Applies a DHCP lease. The host's name comes from the kernel's command line, else from the lease.
export PATH=/bin
case $1 in
bound | renew)
    ip addr flush dev "$interface"
    ip addr add "$ip/${mask:-24}" dev "$interface"
    [ -n "$router" ] && ip route replace default via "${router%% *}" dev "$interface"
    : >/etc/resolv.conf
    for server in $dns; do echo "nameserver $server" >>/etc/resolv.conf; done
    [ -n "$hostname" ] && ! [ -e /run/hostname-source ] && hostname "$hostname"
    [ "$1" = bound ] && echo "tiny: address $ip" >/dev/console
    ;;
deconfig) ip addr flush dev "$interface" ;;
esac
