/*
 * VMs that were adopted from another tool and still run as that has defined them, under its name. A mark in
 * the driver's folder (ID.adopted) says so; a start by Lodge's own definition removes it. Blocks for a
 * moment; any thread.
 */
#pragma once
#include "types.h"

/* `nvram`: where the other tool keeps its UEFI variables, or NULL. */
bool adopted_mark_set(const char *folder, const char *vm_id, const char *nvram, Error *err);
void adopted_mark_clear(const char *folder, const char *vm_id);
bool adopted_mark_has(const char *folder, const char *vm_id);
/* Before a start by Lodge's definition: takes over the UEFI variables, which are whole only now, then the
 * mark goes. Nothing where there is no mark. */
bool adopted_settle(const char *folder, const char *vm_id, Error *err);
/* Copies UEFI variables to ID.nvram unless that is there. */
bool adopted_nvram_take(const char *folder, const char *vm_id, const char *nvram, Error *err);

/* What a change of such a VM means: it is not changed before its next start, and what the new definition
 * takes away must not be there any more: ERROR_WRONG_STATE. */
bool adopted_update(const Vm *running, const Vm *wanted, AgentVmChanged *changed, Error *err);
/* For what needs a domain of Lodge's own making: ERROR_WRONG_STATE. */
bool adopted_refuse(const char *what, Error *err);
