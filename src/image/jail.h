/*
 * The jail: everything that parses foreign bytes or runs package scripts runs here, through bubblewrap.
 *
 * A jailed program sees /usr read-only (with the usual links /bin, /sbin, /lib, /lib64), an empty /tmp, a few
 * devices (null, zero, full, random, urandom), the binds it was given, and nothing else: no /root, no
 * /etc/shadow, no other process, and no network unless asked. It has new pid, ipc, uts, mount and cgroup
 * namespaces; when its end comes (exit, cancel, time-out, death of the caller) the kernel ends all of its
 * processes.
 *
 * Two identities, both from a range of host ids that belongs to nobody else:
 *   JAIL_SINGLE  one unprivileged uid and gid (first_id + 65536), no capability, no user namespaces, no
 * /proc. JAIL_BUILD   root of a user namespace that maps 0..65535 to first_id..first_id+65535: package
 * scripts chown and mount inside, on the host all they touch belongs to the range. It has /proc.
 *
 * Needs root, bubblewrap, util-linux. All functions block (worker pools); any thread.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "base/process.h"

/* The range is first_id .. first_id + JAIL_ID_COUNT - 1. */
enum { JAIL_DEFAULT_FIRST_ID = 2000000, JAIL_MAP_COUNT = 65536, JAIL_ID_COUNT = JAIL_MAP_COUNT + 1 };

typedef enum JailKind { JAIL_SINGLE, JAIL_BUILD } JailKind;

typedef struct JailBind {
    const char *host_path; /* absolute */
    const char *jail_path; /* absolute; parents are made */
    bool is_writable;      /* then the jail's identity must own it: jail_folder_new, jail_lend */
    bool is_optional;      /* a missing host_path is no error */
} JailBind;

/* 0 means the default, which suits reading one image. */
typedef struct JailLimits {
    uint64_t cpu_s;               /* 600 */
    uint64_t address_space_bytes; /* 4 GiB; JAIL_BUILD: none */
    uint64_t file_bytes;          /* 16 MiB in JAIL_SINGLE, 64 GiB in JAIL_BUILD */
    uint64_t processes;           /* and threads, of all jails of this kind and range at once (setrlimit(2),
                                   * RLIMIT_NPROC; qemu-img has up to 64 threads): 1024; JAIL_BUILD: 4096 */
} JailLimits;

typedef struct JailSpec {
    JailKind kind;
    uint32_t first_id;       /* 0: JAIL_DEFAULT_FIRST_ID */
    const char *const *argv; /* NULL-terminated; argv[0] is searched in the jail's PATH */
    const JailBind *binds;
    size_t n_binds;
    const char *folder; /* working folder inside; NULL: / */
    bool has_network;   /* the host's network, with its resolver configuration and public certificates */
    JailLimits limits;
    int64_t timeout_ms;  /* required */
    size_t output_limit; /* as in ProcessSpec */
    const char *stdin_data;
    const Cancel *cancel;
    ProcessLineFn on_line; /* lines are foreign text: never print or parse them without care */
    void *on_line_data;
} JailSpec;

/* Runs it to its end. Errors as process_run; ERROR_UNSUPPORTED when this host cannot make such a jail. */
bool jail_run(const JailSpec *spec, char **ret_output, Error *err);

/* False with ERROR_CONFLICT when /etc/subuid or /etc/subgid gives a part of the range to somebody. */
bool jail_range_check(uint32_t first_id, Error *err);

/* Makes a new folder below `parent` (which must exist) that belongs to the jail's identity. *ret_path is
 * newly allocated. */
bool jail_folder_new(const char *parent, JailKind kind, uint32_t first_id, char **ret_path, Error *err);
/* Removes it with all that is in it and frees the path; accepts NULL. Waits a moment for dying processes. */
void jail_folder_free(char *take_path);
typedef char JailFolder;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(JailFolder, jail_folder_free)

/* Removes what jail_folder_new made below `parent` and a killed process left. Only while no jail works below
 * it: at start. */
bool jail_folders_sweep(const char *parent, Error *err);

/* Writes a file into a jail's folder, readable for its identity. The folder must not be in use by a running
 * jail. */
bool jail_folder_put(
    const char *folder, const char *name, const void *data, size_t length, mode_t mode, Error *err);
/* Moves folder/name out to `destination` (same file system) as root's file. Refuses what is no regular file
 * with one link. The folder must not be in use by a running jail. */
bool jail_folder_take(const char *folder, const char *name, const char *destination, mode_t mode, Error *err);

/* Lets JAIL_SINGLE read a file of the agent: its group becomes the jail's gid and may read (unless all may).
 * Refuses links and what is no regular file. */
bool jail_lend(const char *path, uint32_t first_id, Error *err);
/* Makes JAIL_SINGLE the owner of an open file, for a writable bind of this one file. */
bool jail_give(int fd, uint32_t first_id, Error *err);
