#!/bin/sh
# Puts the overlay in place inside the lab's machine, before anything else runs there; see overlay.toml.
set -eu
mkdir -p /etc/systemd/system/libvirtd.service.d
printf '[Service]\nEnvironment=LD_PRELOAD=/root/lodge/build-lab/native-tsc.so\n' >/etc/systemd/system/libvirtd.service.d/lab.conf
systemctl daemon-reload
systemctl try-restart libvirtd
