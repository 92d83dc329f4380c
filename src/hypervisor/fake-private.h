/* Inside of the driver "fake". */
#pragma once
#include "hypervisor/hypervisor.h"

struct HypervisorSession {
    char *folder, *instance;
    HypervisorChangeFn on_change;
    void *on_change_data;
    GMutex lock;         /* guards what is below */
    GHashTable *leading; /* ids of VMs whose migration is led by this process */
};

/* Tells the agent that something happened to a VM. */
void fake_notify(const HypervisorSession *session, const char *vm_id);
/* The delay and the fault that are set for this call; the fault that comes after it was done. */
bool fake_suffer(const HypervisorSession *session, const char *call, const Cancel *cancel, Error *err);
bool fake_suffer_late(const HypervisorSession *session, const char *call, Error *err);

/* fake-migration.c */
extern const HypervisorMover fake_mover;
void fake_migrations_sweep(
    const HypervisorSession *session); /* at the start: what nobody sends to any more */
/* What marks a copy that came, or one that left, when the VM starts or comes anew. */
void fake_migration_forget(const HypervisorSession *session, const char *vm_id);
/* fake-foreign.c */
void fake_foreign_each(
    const HypervisorSession *session, void (*tell)(const ForeignVm *vm, bool runs, void *data), void *data);
bool fake_foreign_has(const HypervisorSession *session, const char *vm_id);
bool fake_foreign(HypervisorSession *session, AgentForeignList *ret_list, Error *err);
bool fake_foreign_read(
    HypervisorSession *session, const char *vm_id, ForeignVm *ret_vm, char **ret_text, Error *err);
bool fake_adopt(HypervisorSession *session, const Vm *vm, Error *err);

bool fake_load(const HypervisorSession *session, const char *vm_id, Vm *ret_vm);
bool fake_store(const HypervisorSession *session, const Vm *vm, bool is_new, Error *err);
