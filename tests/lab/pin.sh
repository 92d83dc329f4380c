#!/bin/sh
# Guests keep to the second processor, from before they run; see overlay.toml. Runs until the hypervisor's store ends.
set -u
xenstore-watch @introduceDomain | while read -r _; do
    for id in $(xl vcpu-list | awk '$1 != "Domain-0" && $(NF - 2) == "all" { print $2 }' | sort -u); do
        xl vcpu-pin "$id" all 1
    done
done
