/*
 * From a definition and what a user asks for to the next complete definition. Pure: no I/O, no clock; the
 * same definition, request and random seed give the same ids and MACs, so that a step that is repeated after
 * a crash makes the same devices again. Any thread.
 *
 * Disks and NICs are told apart by id, and by name (NICs also by MAC) where a request gives no id. A list in
 * a merge patch is the whole list: what it does not name goes, what has no match in the old definition is
 * new.
 */
#pragma once
#include "model/method.h"

typedef struct VmChangeWorld {
    const char *default_network_id;                    /* for a NIC that names none; may be NULL */
    const char *mac_prefix;                            /* "52:54:00" */
    bool (*is_mac_taken)(const char *mac, void *data); /* by another VM */
    void *data;
} VmChangeWorld;

/* Whether the method is one that changes a definition. */
bool vm_change_is_known(MethodId method);
/* The definition after the method (vm.update: `parameters` is a merge patch). ERROR_INVALID, ERROR_EXISTS,
 * ERROR_NOT_FOUND or ERROR_WRONG_STATE with the field of the request; *ret_vm is only set on success. */
bool vm_change(MethodId method, const Vm *before, const json_t *parameters, const VmChangeWorld *world,
    guint32 seed, Vm *ret_vm, Error *err);
/* Whether the method asks for the files of disks that vanish to be deleted for good. */
bool vm_change_purges(MethodId method, const json_t *parameters);
/* The disk with that id, or NULL. */
const Disk *vm_disk_find(const Vm *vm, const char *id);
