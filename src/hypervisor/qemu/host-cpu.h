/*
 * The processor that guests get by hardware virtualization (`host-model`), as libvirt tells of it. Any
 * thread.
 */
#pragma once
#include <libvirt/libvirt.h>
#include "types.h"

/* With every feature by its name. `kind`: of virtualization, "kvm" or "qemu". False when libvirt does not
 * tell. Blocks; seconds while libvirt knows QEMU not yet. */
bool qemu_cpu_ask(virConnect *connection, const char *kind, HostCpu *ret_cpu);

/* Its parts, pure. */
/* From domain capabilities (virConnectGetDomainCapabilities): the definition of that processor alone, newly
 * allocated; NULL when there is none. */
char *qemu_cpu_definition(const char *capabilities);
/* The beginning of <cpu> that gives a guest this, without its end; newly allocated. */
char *qemu_cpu_element(const CpuLevel *level);
/* From a definition whose features are all named (VIR_CONNECT_BASELINE_CPU_EXPAND_FEATURES). False when it
 * names none. */
bool qemu_cpu_read(const char *definition, HostCpu *ret_cpu);
