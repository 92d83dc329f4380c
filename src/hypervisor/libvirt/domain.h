/*
 * What all domains of ours have in common, whatever hypervisor runs them: names, aliases of devices, and two
 * metadata elements. "urn:lodge:vm:1" says whose the domain is, how it is accelerated and when it was
 * started; "urn:lodge:definition:1" holds the definition that runs as JSON, without secrets. The first half
 * is pure. Any thread.
 */
#pragma once
#include <libvirt/libvirt.h>
#include "hypervisor/libvirt/connection.h"

#define DOMAIN_VM_NAMESPACE "urn:lodge:vm:1"
#define DOMAIN_DEFINITION_NAMESPACE "urn:lodge:definition:1"

/* Every argument is escaped for XML. */
void domain_add(GString *xml, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* "INSTANCE-ID", newly allocated. */
char *domain_name(const char *instance, const char *vm_id);
/* "INSTANCE-" and the first eight characters of the id: libvirt's name of a NAT network; newly allocated. */
char *domain_network_name(const char *instance, const char *network_id);
/* libvirt's name of the disk or NIC with that id; newly allocated. */
char *domain_alias(const char *id);
/* "sd", 2: "sdc", as Linux counts: a … z, aa … zz; newly allocated. */
char *domain_letters(const char *prefix, size_t index);

uint64_t domain_memory_maximum(const Vm *vm);
int64_t domain_vcpus_maximum(const Vm *vm);
bool domain_has_serial(const Vm *vm);
bool domain_has_graphics(const Vm *vm);
bool domain_is_uefi(const Vm *vm);
bool domain_is_connected(const Nic *nic);

typedef struct DomainMark {
    const char *instance, *acceleration;
    const char *started;   /* decimal, realtime in ns */
    const char *cpu_level; /* what of the processor it was given; NULL: all of it */
    const char *pending;   /* JSON pointers with spaces between them, or NULL */
} DomainMark;

/* The element of DOMAIN_VM_NAMESPACE, newly allocated. */
char *domain_mark_element(const DomainMark *mark);
/* The JSON in the element of DOMAIN_DEFINITION_NAMESPACE as that element; newly allocated. */
char *domain_definition_element(const Vm *vm);
/* Name, id, title and both elements: how each <domain> begins. */
void domain_add_head(GString *xml, const Vm *vm, const DomainMark *mark);
/* <boot dev=…> in the order of the definition, or disk, CD, network. */
void domain_add_boot_devices(GString *xml, const Vm *vm);

/* Writes both elements of a running domain that has none yet. */
bool domain_mark(virDomain *domain, const Vm *vm, const DomainMark *mark, Error *err);
/* The definition with which the domain runs now. False when it cannot be read. */
bool domain_running_definition(virDomain *domain, Vm *ret_vm);
/* Writes both elements of a running domain; `element_before` is the mark that it had. What fails is logged.
 */
void domain_write_back(virDomain *domain, const char *instance, const char *element_before, const Vm *running,
    const AgentVmChanged *changed);
