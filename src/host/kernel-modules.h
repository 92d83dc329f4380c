/*
 * The modules of the kernel that runs, as depmod(8), modprobe.d(5), the kernel's /proc and /sys tell of them
 * below a root folder. The functions that take a text are pure; all texts are bounded by what
 * kernel_modules_read reads. One thread at a time for each object.
 */
#pragma once
#include <stdint.h>
#include "base/error.h"

typedef struct KernelModule {
    char *name;          /* with `_`, as the kernel calls it */
    char *path;          /* of its file; NULL: in the kernel itself, or depmod does not know it */
    GPtrArray *needs;    /* names: the whole chain; NULL: none. The three lists own their strings */
    GPtrArray *may_need; /* soft dependencies, one level */
    GPtrArray *used_by;  /* loaded modules */
    uint64_t size;       /* of a loaded one, bytes of memory */
    int64_t uses;        /* as the kernel counts them */
    bool is_builtin, is_loaded;
    bool is_in_use;          /* by something else than unused modules: a process, a device that it drives, a
                                network interface of its kind */
    bool is_blocked;         /* by modprobe.d, apart from our file */
    bool is_blocked_by_file; /* by our file */
} KernelModule;

typedef struct KernelModules {
    char *root, *release;
    GHashTable *by_name; /* KernelModule, owned */
    bool has_list;       /* depmod's list was there; without it nothing is known of what is not loaded */
} KernelModules;

/* `own_file` is the name of our file in /etc/modprobe.d. A list that is missing is no error (containers have
 * none); one that cannot be read or is too large is. */
bool kernel_modules_read(const char *root, const char *own_file, KernelModules **ret_modules, Error *err);
KernelModules *kernel_modules_new(const char *root, const char *release);
void kernel_modules_free(KernelModules *modules); /* accepts NULL */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(KernelModules, kernel_modules_free)

const KernelModule *kernel_modules_find(const KernelModules *modules, const char *name);
/* Borrowed KernelModules in the order of their names; to be freed with g_ptr_array_unref. */
GPtrArray *kernel_modules_sorted(const KernelModules *modules);

/* The text of one file each, in this order; what is not understood is skipped. */
void kernel_modules_take_list(KernelModules *modules, const char *text);    /* modules.dep */
void kernel_modules_take_builtin(KernelModules *modules, const char *text); /* modules.builtin */
void kernel_modules_take_loaded(KernelModules *modules, const char *text);  /* /proc/modules */
/* modprobe.d(5): blacklist, install with a command that does nothing, softdep; also modules.softdep. */
void kernel_modules_take_configuration(KernelModules *modules, const char *text, bool is_own_file);
