/*
 * VMs whose memory lies in a file: vms/ID/memory in their repository while the note STATE/ID.saved names it.
 * A VM never runs beside a file that is still taken for true: the file is complete before the note is made,
 * and it is gone, durably, before a VM that was made of it runs its first instruction. STATE/ID.saving is a
 * save that has begun. What an interruption left is settled by the next call that works on the VM, or by
 * saved-watch.h. Functions block, in threads, one at a time for one VM.
 */
#pragma once
#include "agent/agent-private.h"

/* What an interrupted save or start left: afterwards the VM is saved, or runs, or neither, but never two of
 * them. Nothing to do is success. ERROR_WRONG_STATE while the folder of the file is out of reach: the VM
 * counts as saved. */
bool saved_memory_settle(const Agent *agent, const char *vm_id, const Cancel *cancel, Error *err);
/* Ids of VMs whose save has begun and is not settled; NULL-terminated, newly allocated. */
char **saved_memory_unsettled(const Agent *agent);
/* After saved_memory_settle. */
bool saved_memory_exists(const Agent *agent, const char *vm_id);

/* ERROR_NO_SPACE before anything is written; on failure the VM runs on. One that is saved is success. */
bool saved_memory_save(AgentCall *call, const AgentVmRef *vm, Error *err);
/* Of a VM that is saved; it runs then. On failure it is saved still. */
bool saved_memory_restore(AgentCall *call, const HypervisorVm *vm, Error *err);
/* The VM has no saved memory any more; settles first. None is success, also where the file is out of reach.
 */
bool saved_memory_drop(const Agent *agent, const char *vm_id, const Cancel *cancel, Error *err);

/* What a driver tells as stopped is saved if it is, and one that is held before its first instruction too. */
void saved_memory_fill(const Agent *agent, AgentVmState *state);
/* Adds the saved ones that are not in the inventory, which no driver knows. */
void saved_memory_list(const Agent *agent, AgentInventory *inventory);
