/*
 * What a driver's `probe` reports of the host itself, whatever the hypervisor: name, kernel, CPUs, memory;
 * and whether hardware virtualization really runs guests here. Reads /proc, /sys and /etc/os-release. Any
 * thread.
 */
#pragma once
#include "types.h"

/* Fills in hostname, kernel, boot_id, operating_system, cpus, cpu_model, memory and memory_free. */
void host_facts_read(HostStatus *status);

/* Whether ordinary guests run by KVM. A /dev/kvm that opens is not enough: some containers offer one that
 * only runs guests made for it, on which others hang silently. So the CPU must show vmx or svm, or the kernel
 * must have loaded kvm_intel or kvm_amd. *ret_reason is newly allocated. */
bool host_has_kvm(char **ret_reason);

/* What guests get: `wanted` unless it is `auto`. *ret_reason is newly allocated. Never ACCELERATION_AUTO. */
Acceleration host_acceleration(Acceleration wanted, char **ret_reason);
