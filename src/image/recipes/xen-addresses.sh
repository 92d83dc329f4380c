#!/bin/sh
# Inside a guest: tells its Xen host, again and again, which addresses it has. Ends at once where there is no such host.
# A message to /dev/xen/xenbus is four 32-bit words, little-endian (type: 11 writes, 13 removes; request; transaction;
# length), then a path, a NUL and the text (Xen's docs/misc/xenstore.txt). Where addresses belong stands in its
# docs/misc/xenstore-paths.pandoc: ~/attr/vif/DEVICE/ipv4/INDEX.
store=/dev/xen/xenbus
most=8 # addresses of one family
[ -c "$store" ] || exit 0

# message TYPE PATH [TEXT]
message() {
    length=$((${#2} + 1 + ${#3}))
    # shellcheck disable=SC2059 # the length is an octal escape of the format
    [ "$length" -gt 255 ] || printf "\\0$1\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\$(printf %03o "$length")\\0\\0\\0%s\\0%s" "$2" "$3" >"$store"
}

# tell INTERFACE DEVICE FAMILY: what is there, and nothing behind it.
tell() {
    number=0
    for address in $(ip -o "-$3" addr show dev "$1" scope global 2>/dev/null | sed -n 's/.* inet6\{0,1\} \([^ /]*\).*/\1/p' | head -n "$most"); do
        message 13 "attr/vif/$2/ipv$3/$number" "$address"
        number=$((number + 1))
    done
    while [ "$number" -lt "$most" ]; do
        message 15 "attr/vif/$2/ipv$3/$number"
        number=$((number + 1))
    done
}

while :; do
    for link in /sys/class/net/*/device; do
        device=$(readlink "$link")
        interface=${link%/device}
        case ${device##*/} in
        vif-*)
            tell "${interface##*/}" "${device##*-}" 4
            tell "${interface##*/}" "${device##*-}" 6
            ;;
        esac
    done
    sleep 15
done
