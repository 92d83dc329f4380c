/*
 * What libvirt says of the processor that guests get by hardware virtualization (`host-model`). Pure. Any
 * thread.
 */
#pragma once
#include "types.h"

/* From domain capabilities (virConnectGetDomainCapabilities): the definition of that processor alone, newly
 * allocated; NULL when there is none. */
char *qemu_cpu_definition(const char *capabilities);
/* From a definition whose features are all named (VIR_CONNECT_BASELINE_CPU_EXPAND_FEATURES). False when it
 * names none. */
bool qemu_cpu_read(const char *definition, HostCpu *ret_cpu);
