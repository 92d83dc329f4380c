/*
 * What Lodge can do with VMs, templates, repositories and networks: tables of steps for src/jobs. `job_host`
 * of every run is the Fleet. Pure tables; the functions run on the main loop.
 */
#pragma once
#include "manager/fleet.h"

extern const JobKind *const vm_job_kinds[];
extern const size_t n_vm_job_kinds;
extern const JobKind *const vm_change_job_kinds[];
extern const size_t n_vm_change_job_kinds;
extern const JobKind *const infrastructure_job_kinds[];
extern const size_t n_infrastructure_job_kinds;
extern const JobKind *const network_job_kinds[];
extern const size_t n_network_job_kinds;
extern const JobKind *const content_job_kinds[];
extern const size_t n_content_job_kinds;
extern const JobKind *const host_job_kinds[];
extern const size_t n_host_job_kinds;
extern const JobKind *const take_job_kinds[];
extern const size_t n_take_job_kinds;
extern const JobKind *const adopt_job_kinds[];
extern const size_t n_adopt_job_kinds;
extern const JobKind *const foreign_job_kinds[];
extern const size_t n_foreign_job_kinds;
/* Whether it is on its way out: who has let go of it must not take it again. */
bool host_is_being_released(Inventory *inventory, const char *host);
extern const JobKind *const migrate_job_kinds[];
extern const size_t n_migrate_job_kinds;
extern const JobKind *const balance_job_kinds[];
extern const size_t n_balance_job_kinds;
extern const JobKind *const rebuild_job_kinds[];
extern const size_t n_rebuild_job_kinds;
extern const JobKind *const removal_job_kinds[];
extern const size_t n_removal_job_kinds;

#define DEFAULT_MAC_PREFIX "52:54:00"

/* The only object of a kind when `id` is NULL, else that one. ERROR_INVALID names the field when there are
 * several. */
const Object *the_object(
    Inventory *inventory, ResourceId kind, const char *id, const char *field, Error *err);
/* All that the agent needs to know of a VM (type agent_vm); a new reference. NULL when something is missing.
 */
json_t *agent_vm_message(Inventory *inventory, const Vm *vm, const char *clone, Error *err);
/* The network called "default", or NULL. */
const char *default_network(Inventory *inventory);
/* Shared claims on all that a VM which is made needs: nobody takes it away meanwhile. */
void claim_needs(Job *job, const Vm *vm);
/* Whether all of that is there (again, when the claims are held): ERROR_NOT_FOUND. The template is not looked
 * for: what a copy needs of it lies in the copied VM. */
bool check_needs(Inventory *inventory, const Vm *vm, Error *err);
/* Takes the state out of an agent_vm_state and into the inventory. */
void take_vm_state(Inventory *inventory, const json_t *agent_vm_state);
/* Shows a state that the manager itself knows of, until the agent reports. */
void show_vm_state(Inventory *inventory, const char *vm_id, VmState state, const char *job_id);
void step_failed(JobRun *run, ErrorCode code, const char *field, const char *message);
/* Ends the step when the change is durable, or fails it. */
void commit_and_go_on(JobRun *run, InventoryChange *take_change);
