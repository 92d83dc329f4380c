#!/bin/sh
# Makes a folder with Debian 13's QEMU, which runs on this machine through its own dynamic linker: emulator.sh FOLDER
# FOLDER gets `tree` and, last, `complete`. Nothing is installed on this machine. Needs root.
set -eu
folder=$1
suite=trixie
mkdir -p "$folder/sources"
host_suite=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
for file in /etc/apt/sources.list /etc/apt/sources.list.d/debian.sources; do
    [ ! -f "$file" ] || sed "s/\\b$host_suite/$suite/g" "$file" >"$folder/sources/$(basename "$file")"
done
source=$(find "$folder/sources" -type f -size +0 | head -n 1)
rm -rf --one-file-system "$folder/tree"
mmdebstrap --quiet --mode=root --variant=extract --include=qemu-system-x86,seabios,ipxe-qemu --skip=check/qemu \
    --aptopt='APT::Install-Recommends "false"' --aptopt='Acquire::Languages "none"' \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
    "$suite" "$folder/tree" "$source"
rm -rf --one-file-system "$folder/sources"
: >"$folder/complete"
