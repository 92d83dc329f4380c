#!/bin/sh
# shellcheck disable=SC2016 # mmdebstrap's own shell expands the hooks
# Jailed, in /work: debian-tree.sh SUITE PACKAGES: installs a Debian tree into /work/tree; makes `packages`.
set -eu
suite=$1
packages=$2
mkdir tmp
export TMPDIR=/work/tmp
mmdebstrap --verbose --mode=root --variant=minbase --include="$packages" --skip=check/qemu,download/empty \
    --aptopt=/work/apt.conf \
    --aptopt='Acquire::Languages "none"' \
    --aptopt='APT::Install-Recommends "false"' \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt=force-unsafe-io \
    --setup-hook='sh /work/debian-customize.sh cache-in "$1"' \
    --essential-hook='sh /work/debian-customize.sh early "$1"' \
    --customize-hook='sh /work/debian-customize.sh late "$1"' \
    --customize-hook='sh /work/debian-customize.sh cache-out "$1"' \
    "$suite" tree debian.sources
dpkg-query --admindir=tree/var/lib/dpkg -W -f '${Package} ${Version}\n' >packages
