/*
 * A VM as libvirt's domain XML (https://libvirt.org/formatdomain.html). Pure but for the two questions to the
 * disk that DomainXmlOptions carries; every value is escaped. Golden files in golden/ show what comes out.
 * Any thread.
 *
 * The domain carries two metadata elements: "urn:lodge:vm:1" says whose it is, how it is accelerated and when
 * it was started; "urn:lodge:definition:1" holds the definition that runs as JSON, without secrets.
 */
#pragma once
#include "hypervisor/hypervisor.h"

#define DOMAIN_VM_NAMESPACE "urn:lodge:vm:1"
#define DOMAIN_DEFINITION_NAMESPACE "urn:lodge:definition:1"

typedef struct DomainXmlOptions {
    const char *instance;
    const char
        *state_folder; /* takes ID.log (serial port, written by virtlogd) and ID.nvram (UEFI variables) */
    bool is_kvm;
    const char *uefi_code,
        *uefi_variables; /* firmware and its template of variables; NULL: none on this host */
    bool (*can_bypass_cache)(const char *path); /* whether O_DIRECT works there */
    int64_t started_ns;                         /* realtime; 0: no metadata at all */
    int64_t vcpus_limit;                        /* of this machine type; 0: not known */
} DomainXmlOptions;

/* "INSTANCE-ID", newly allocated. */
char *domain_name(const char *instance, const char *vm_id);
/* "INSTANCE-" and the first eight characters of the id: libvirt's name of a NAT network; newly allocated. */
char *domain_network_name(const char *instance, const char *network_id);

/* ERROR_UNSUPPORTED or ERROR_INVALID with the field when this host cannot run the VM. Starts nothing. */
bool domain_check(const HypervisorVm *vm, const DomainXmlOptions *options, Error *err);
/* The whole domain, newly allocated. The VM has passed domain_check. */
char *domain_xml(const HypervisorVm *vm, const DomainXmlOptions *options);
/* One device of it, for changes while it runs; newly allocated. `index` is the disk's place among those that
 * share its letters ("sdc" is 2). */
char *domain_disk_xml(const HypervisorVm *vm, size_t i, size_t index, const DomainXmlOptions *options);
char *domain_nic_xml(const HypervisorVm *vm, size_t i, const DomainXmlOptions *options);
/* The JSON in the element of DOMAIN_DEFINITION_NAMESPACE as that element; newly allocated. */
char *domain_definition_element(const Vm *vm);

uint64_t domain_memory_maximum(const Vm *vm);
int64_t domain_vcpus_maximum(const Vm *vm);
/* "vda", "sdb"…: what libvirt calls a disk; newly allocated. */
char *domain_target_name(DiskBus bus, size_t index);
/* libvirt's name of the disk or NIC with that id; newly allocated. */
char *domain_alias(const char *id);
/* The element of DOMAIN_VM_NAMESPACE; `pending` (may be NULL) are JSON pointers with spaces between them. */
char *domain_vm_element(
    const char *instance, const char *acceleration, const char *started, const char *pending);
