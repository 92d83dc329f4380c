/*
 * A repository in a folder of its own, a template, a VM: what the tests of src/storage work on. One thread.
 */
#pragma once
#include "storage/repository-kind.h"

#define MIB (UINT64_C(1) << 20)
#define REPOSITORY_ID "11111111-1111-4111-8111-111111111111"
#define OTHER_ID "22222222-2222-4222-8222-222222222222"
#define VM_ID "33333333-3333-4333-8333-333333333333"
#define DISK_ID "44444444-4444-4444-8444-444444444444"
#define TEMPLATE_ID "55555555-5555-4555-8555-555555555555"

typedef struct Place {
    char *folder;
    Repository repository;
    Template template;
} Place;

void place_init(Place *place);
void place_init_at(Place *place, char *take_folder);
void place_clear(Place *place);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Place, place_clear)
/* A template whose disk holds "content" at 64 KiB, 1 MiB in all. */
void place_add_template(Place *place);
/* A request for the VM with one disk of 2 MiB, or with a clone of the template's; to be cleared. */
void request_init(AgentVm *request, const Place *place, bool from_template);
void make_vm(const Place *place, bool from_template, CloneMethod clone, Vm *ret_vm);
/* In the repository. */
bool exists(const Place *place, const char *name);
void assert_no_debris(const Place *place, size_t n_vms);
/* A request to make a template of the VM; to be cleared. */
void capture_init(AgentTemplateFromVm *request, const Place *place, const Vm *vm);
