# shellcheck shell=sh
# shellcheck disable=SC2034 # read by the scripts that source this: quickstart and check
# The Debian packages of quickstart and check; reasons and licences stand in docs/dependencies.md.

build_packages="gcc libc6-dev meson ninja-build pkg-config python3 libglib2.0-dev libjansson-dev libsqlite3-dev libmicrohttpd-dev
libgnutls28-dev libwslay-dev libcurl4-gnutls-dev libseccomp-dev libarchive-dev libvirt-dev libxml2-dev libcrypt-dev libxen-dev osinfo-db"
run_packages="libvirt-daemon-system libvirt-clients qemu-system-x86 qemu-utils ovmf dnsmasq-base iproute2 iptables util-linux bubblewrap
mmdebstrap e2fsprogs dosfstools mtools fdisk grub-common grub-pc-bin grub-efi-amd64-bin cpio xz-utils zstd debian-archive-keyring gpgv"
# Beside the above, in the control domain of a Xen hypervisor (Debian 13).
xen_packages="xen-system-amd64 nftables libvirt-daemon-driver-xen grub-xen-host qemu-system-xen"
check_packages="clang clang-format libclang-rt-dev shellcheck openssl openssh-client"
full_packages="virtinst xfsprogs nmap ganeti-htools" # for the benches
# Packages of their own in Debian 13, part of others in Debian 12.
newer_packages="libvirt-daemon-log libvirt-daemon-lock libvirt-daemon-driver-qemu libvirt-daemon-driver-network"

package_is_installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# packages_missing NAME...: prints those that are not installed.
packages_missing() {
    for package in "$@"; do
        package_is_installed "$package" || printf '%s ' "$package"
    done
}

# packages_install NAME...: installs them, and those of $newer_packages that this release has. False with a message on stderr.
packages_install() {
    export DEBIAN_FRONTEND=noninteractive
    dpkg --configure -a >&2 || return 1 # what an interrupted run left half-done
    apt-get update -q >&2 || return 1
    newer=
    for package in $newer_packages; do
        if apt-cache show "$package" >/dev/null 2>&1 && ! package_is_installed "$package"; then
            newer="$newer $package"
        fi
    done
    # shellcheck disable=SC2086 # a list of names
    apt-get install -q -y --no-install-recommends "$@" $newer >&2
}
