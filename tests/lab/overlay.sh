#!/bin/sh
# Puts the overlay in place inside the lab's machine, before anything else runs there; see overlay.toml.
set -eu
mkdir -p /etc/systemd/system/libvirtd.service.d
printf '[Service]\nEnvironment=LD_PRELOAD=/root/lodge/build-lab/native-tsc.so\n' >/etc/systemd/system/libvirtd.service.d/lab.conf
cat >/etc/systemd/system/lab-pin.service <<'UNIT'
[Unit]
Description=Keeps guests on one emulated processor
ConditionPathExists=/sys/hypervisor/type
After=xen.service
StartLimitIntervalSec=0
[Service]
ExecStart=/root/lodge/tests/lab/pin.sh
Restart=always
RestartSec=1
[Install]
WantedBy=multi-user.target
UNIT
systemctl daemon-reload
systemctl enable --quiet --now lab-pin
systemctl try-restart libvirtd
