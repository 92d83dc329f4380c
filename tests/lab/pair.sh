#!/bin/sh
# Makes this machine number N of two that are joined by their second network cards: pair.sh N
# Number 1 has the file system that both mount at /srv/san, by NFS.
set -eu
number=$1
server=10.98.0.1
hostnamectl set-hostname "xen-$number"
echo "127.0.1.1 xen-$number" >>/etc/hosts
cat >/etc/systemd/network/wire.network <<NETWORK
[Match]
Name=eth1
[Network]
Address=10.98.0.$number/24
NETWORK
networkctl reload
until ip -4 addr show dev eth1 | grep -q 10.98.0; do sleep 1; done
if [ "$number" = 1 ]; then
    mkdir -p /srv/export
    chmod 0711 /srv/export
    echo '/srv/export 10.98.0.0/24(rw,sync,no_root_squash,no_subtree_check,fsid=0)' >/etc/exports
    systemctl restart nfs-server
fi
mkdir -p /srv/san
for _ in 1 2 3 4 5 6 7 8 9 10; do
    ! mount -t nfs4 -o vers=4.2,hard "$server:/" /srv/san || exit 0
    sleep 5
done
exit 1
