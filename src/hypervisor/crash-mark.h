/*
 * What a driver remembers of VMs that ended by themselves with a fault: FOLDER/ID.crashed with the reason. A
 * start, a stop or a kill ends it. Blocks for a moment; any thread.
 */
#pragma once
#include "types.h"

void crash_mark_set(const char *folder, const char *vm_id, const char *reason);
void crash_mark_clear(const char *folder, const char *vm_id);
/* Fills in state crashed with the reason; false when there is no mark. */
bool crash_mark_read(const char *folder, const char *vm_id, AgentVmState *ret_state);
/* Adds those VMs that have a mark and are not in the inventory. */
void crash_marks_list(const char *folder, AgentInventory *inventory);
