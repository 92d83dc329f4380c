#!/bin/sh
# Jailed, in /work: fetches a kernel and busybox, makes `kernel`, `initrd`, `packages`. Nothing is installed.
set -eu
export APT_CONFIG=/work/apt.conf
mkdir -p apt/etc/apt/sources.list.d apt/etc/apt/preferences.d apt/etc/apt/apt.conf.d apt/var/lib/dpkg \
    apt/var/lib/apt/lists/partial apt/var/cache/apt/archives/partial apt/var/log/apt tmp
mv debian.sources apt/etc/apt/sources.list.d/
: >apt/var/lib/dpkg/status
export TMPDIR=/work/tmp

echo "step 5 reading package lists"
apt-get -q update
image=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/^ *|\{0,1\}Depends: \(linux-image-[0-9][^ ]*\)$/\1/p' | head -n 1)
[ -n "$image" ]

echo "step 20 fetching packages"
mkdir debs
apt-get -q download --print-uris "$image" busybox-static >uris
while read -r _ file _ sum; do
    if [ -e "/cache/$file" ] && echo "${sum#SHA256:}  /cache/$file" | sha256sum --status -c; then
        cp "/cache/$file" debs/
    fi
done <uris
for package in "$image" busybox-static; do
    ls debs/"${package}"_*.deb >/dev/null 2>&1 && continue
    (cd debs && apt-get -q download "$package")
    cp debs/"${package}"_*.deb /cache/
done

echo "step 60 unpacking"
for file in debs/*.deb; do
    dpkg-deb -x "$file" tree
    dpkg-deb -f "$file" Package Version | sed 's/^[^:]*: //' | paste -sd ' ' >>packages
done
mkdir -p initrd.d/bin initrd.d/dev initrd.d/proc initrd.d/sys initrd.d/run initrd.d/root initrd.d/tmp initrd.d/modules \
    initrd.d/etc/acpi/PWRF

echo "step 75 packing the initial file system"
cp "$(find tree -path '*bin/busybox' -type f | head -n 1)" initrd.d/bin/busybox
for applet in $(initrd.d/bin/busybox --list); do
    [ "$applet" = busybox ] || ln -s busybox "initrd.d/bin/$applet"
done
# In loading order; what a kernel has built in has no file.
for module in virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci failover net_failover virtio_net \
    virtio_blk scsi_common scsi_mod virtio_scsi cdrom sr_mod virtio-rng virtio_console virtio_balloon xen-blkfront xen-netfront evdev button; do
    path=$(find tree -name "$module.ko*" | head -n 1)
    case $path in
    '') continue ;;
    *.xz) xz -dc "$path" >"initrd.d/modules/$module.ko" ;;
    *.zst) zstd -qdc "$path" >"initrd.d/modules/$module.ko" ;;
    *) cp "$path" "initrd.d/modules/$module.ko" ;;
    esac
    echo "$module.ko" >>initrd.d/modules/order
done
install -m 755 tiny-init.sh initrd.d/init
install -m 755 tiny-udhcpc.sh initrd.d/etc/udhcpc.sh
install -m 755 xen-addresses.sh initrd.d/bin/xen-addresses
printf '#!/bin/busybox sh\nexec /bin/poweroff -f\n' >initrd.d/etc/acpi/PWRF/00000080
chmod 755 initrd.d/etc/acpi/PWRF/00000080
# What the kernel calls when the hypervisor asks for it without a power button.
mkdir initrd.d/sbin
for action in poweroff reboot; do
    printf '#!/bin/busybox sh\n/bin/sync\nexec /bin/%s -f\n' "$action" >"initrd.d/sbin/$action"
    chmod 755 "initrd.d/sbin/$action"
done
echo 'root::0:0:root:/root:/bin/sh' >initrd.d/etc/passwd
echo 'root:x:0:' >initrd.d/etc/group
printf '%s\n' '' 'Lodge tiny guest (log in as root, no password)' '' >initrd.d/etc/issue
(cd initrd.d && find . | LC_ALL=C sort | cpio -o -H newc -R 0:0 --quiet) >initrd
cp "$(find tree/boot -name 'vmlinuz-*' | head -n 1)" kernel
echo "step 90 checking"
