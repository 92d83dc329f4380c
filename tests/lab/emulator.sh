#!/bin/sh
# Makes a folder with Debian 13's QEMU, which runs on this machine through its own dynamic linker: emulator.sh FOLDER
# FOLDER gets `tree` and, last, `complete`. Nothing is installed on this machine. Needs root.
set -eu
folder=$1
suite=trixie
# shellcheck source=tools/apt-sources.sh
. "$(dirname "$0")/../../tools/apt-sources.sh"
source=$(apt_sources "$suite" "$folder/sources")
rm -rf --one-file-system "$folder/tree"
mmdebstrap --quiet --mode=root --variant=extract --include=qemu-system-x86,seabios,ipxe-qemu --skip=check/qemu \
    --aptopt='APT::Install-Recommends "false"' --aptopt='Acquire::Languages "none"' \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
    "$suite" "$folder/tree" "$source"
rm -rf --one-file-system "$folder/sources"
: >"$folder/complete"
