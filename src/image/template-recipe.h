/*
 * What templates Lodge can build, as data. Pure; any thread.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum RecipeKind {
    RECIPE_SECTOR, /* bytes of our own */
    RECIPE_KERNEL, /* a kernel and an initial file system, booted directly */
    RECIPE_DISK    /* a bootable disk with a distribution */
} RecipeKind;

typedef struct Recipe {
    const char *name;
    const char *title;
    RecipeKind kind;
    const char *suite;    /* of the packages; NULL: the host's own */
    const char *guest_os; /* libosinfo's short id */
    uint64_t disk_bytes;  /* virtual size; 0: no disk */
    uint64_t memory_minimum_bytes, memory_default_bytes;
    const char *cmdline;         /* of the kernel; NULL where the guest has its own boot loader */
    const char *default_user;    /* made by cloud-init; NULL: none */
    const char *const *packages; /* beside the essential ones; NULL-terminated */
    bool boots_bios, boots_uefi, has_cloud_init, has_guest_agent;
} Recipe;

extern const Recipe recipes[];
extern const size_t n_recipes;

/* NULL when there is none of that name. */
const Recipe *recipe_find(const char *name);
