/*
 * vCPUs of a machine in mode pvh that may get more of them. Linux from 6.9 on brings up only vCPUs that were
 * enabled in the tables of its start, so that such a machine is built with all of them, for libvirt too:
 * when the guest reboots by itself, libvirt builds it again. Which of them the guest is to use stands in
 * xenstore (cpu/N/availability, Xen's docs/misc/xenstore-paths.pandoc), and is written here. Any thread.
 */
#pragma once
#include "hypervisor/libvirt/session.h"

/* Whether the machine of that definition is built with more vCPUs than it is to use. */
bool xen_keeps_vcpus_back(const Vm *vm, VmMode mode);
/* Offers the guest of a running domain that many of `maximum`. ERROR_UNREACHABLE when xenstore does not
 * answer. */
bool xen_offer_vcpus(virDomain *domain, int64_t vcpus, int64_t maximum, Error *err);
/* The same for a run that is seen for the first time, as its definition says: its guest has rebooted, or this
 * agent is new. Every other domain is left alone. */
void xen_see_run(virDomain *domain);
/* How many vCPUs the guest has brought up. -1 with libvirt's error. */
int64_t xen_vcpus_online(virDomain *domain);
