/* bubblewrap's argument vector, the user namespace for builds, and the folders that cross the wall. */
#include "image/jail.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/file.h"
#include "image/jail-filter.h"

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)
#define FOLDER_PREFIX "jail-"

enum { DEATH_WAIT_MS = 5000, REMOVE_ATTEMPTS = 50, REMOVE_PAUSE_US = 100000, SUBID_FILE_LIMIT = 1024 * 1024 };

typedef struct Jail {
    const JailSpec *spec;
    uint32_t first_id;
    int filter, namespace, life_read, life_write;
    GPtrArray *argv; /* owns its strings */
} Jail;

static void jail_clear(Jail *jail) {
    fd_close(&jail->filter);
    fd_close(&jail->namespace);
    fd_close(&jail->life_read);
    fd_close(&jail->life_write);
    g_ptr_array_unref(jail->argv);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Jail, jail_clear)

static uint32_t first_id_or_default(uint32_t first_id) {
    return first_id ? first_id : JAIL_DEFAULT_FIRST_ID;
}

/* The host id that the jail's identity has. */
static uint32_t host_id(JailKind kind, uint32_t first_id) {
    return first_id_or_default(first_id) + (kind == JAIL_SINGLE ? JAIL_MAP_COUNT : 0);
}

static void G_GNUC_PRINTF(2, 3) add(Jail *jail, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    g_ptr_array_add(jail->argv, g_strdup_vprintf(format, arguments));
    va_end(arguments);
}

static void add_all(Jail *jail, const char *const *words) {
    for (; *words; words++)
        add(jail, "%s", *words);
}

/* --- the user namespace of a build
 * ---------------------------------------------------------------------------- */

static bool write_map(pid_t pid, const char *name, uint32_t first_id, Error *err) {
    g_autofree char *path = g_strdup_printf("/proc/%d/%s", (int)pid, name);
    g_autofree char *line = g_strdup_printf("0 %u %d\n", first_id, JAIL_MAP_COUNT);
    fd_auto int fd = open(path, O_WRONLY | O_CLOEXEC);
    /* The kernel takes a map in one write or not at all. */
    if (fd < 0 || write(fd, line, strlen(line)) != (ssize_t)strlen(line))
        return error_set_errno(err, errno, "mapping ids %u and up into a user namespace", first_id);
    return true;
}

/* A user namespace lives as long as a descriptor of it: a child makes it, we map it and open it, the child
 * goes. */
static bool open_namespace(Jail *jail, Error *err) {
    int gate[2];
    if (pipe2(gate, O_CLOEXEC) < 0)
        return error_set_errno(err, errno, "making a pipe");
    pid_t pid = (pid_t)syscall(SYS_clone, (unsigned long)(CLONE_NEWUSER | SIGCHLD), NULL, NULL, NULL, 0UL);
    if (pid == 0) {
        /* After a raw clone of a threaded process only system calls are safe. */
        char byte;
        close(gate[1]);
        while (read(gate[0], &byte, 1) < 0 && errno == EINTR)
            ;
        _exit(0);
    }
    int saved = errno;
    close(gate[0]);
    bool ok = pid > 0 || error_set_errno(err, saved, "making a user namespace");
    ok = ok && write_map(pid, "uid_map", jail->first_id, err) &&
         write_map(pid, "gid_map", jail->first_id, err);
    if (ok) {
        g_autofree char *path = g_strdup_printf("/proc/%d/ns/user", (int)pid);
        jail->namespace = open(path, O_RDONLY | O_CLOEXEC);
        ok = jail->namespace >= 0 || error_set_errno(err, errno, "opening %s", path);
    }
    close(gate[1]);
    if (pid > 0)
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
            ;
    return ok;
}

/* --- the argument vector, outermost first
 * --------------------------------------------------------------------- */

static void add_walls(Jail *jail) {
    static const char *const walls[] = {"bwrap", "--die-with-parent", "--new-session", "--unshare-pid",
        "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try", "--hostname", "jail", "--clearenv",
        "--setenv", "PATH", "/usr/sbin:/usr/bin:/sbin:/bin", "--setenv", "LANG", "C.UTF-8", "--setenv",
        "HOME", "/tmp", NULL};
    static const char *const root[] = {"--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin",
        "--symlink", "usr/sbin", "/sbin", "--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64",
        "--perms", "1777", "--tmpfs", "/tmp", "--dir", "/var/tmp", "--dir", "/dev", "--dir", "/etc/ssl",
        "--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache", "--ro-bind-try", "/etc/alternatives",
        "/etc/alternatives", NULL};
    static const char *const network[] = {"--ro-bind-try", "/etc/resolv.conf", "/etc/resolv.conf",
        "--ro-bind-try", "/etc/hosts", "/etc/hosts", "--ro-bind-try", "/etc/nsswitch.conf",
        "/etc/nsswitch.conf", "--ro-bind-try", "/etc/ssl/certs", "/etc/ssl/certs", "--ro-bind-try",
        "/etc/services", "/etc/services", NULL};
    add_all(jail, walls);
    add_all(jail, root);
    if (jail->spec->has_network)
        add_all(jail, network);
    else
        add(jail, "--unshare-net");
}

static void add_devices(Jail *jail) {
    static const char *const devices[] = {
        "/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"};
    if (jail->spec->kind == JAIL_BUILD) {
        static const char *const build[] = {"--proc", "/proc", "--dev", "/dev", "--dir", "/sys", NULL};
        add_all(jail, build);
        return;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(devices); i++) {
        add(jail, "--dev-bind");
        add(jail, "%s", devices[i]);
        add(jail, "%s", devices[i]);
    }
}

static void add_binds(Jail *jail) {
    for (size_t i = 0; i < jail->spec->n_binds; i++) {
        const JailBind *bind = &jail->spec->binds[i];
        const char *option = bind->is_writable ? "--bind" : "--ro-bind";
        /* bubblewrap would make a missing parent of a file for root alone. */
        g_autofree char *parent = g_path_get_dirname(bind->jail_path);
        add(jail, "--dir");
        add(jail, "%s", parent);
        add(jail, "%s%s", option, bind->is_optional ? "-try" : "");
        add(jail, "%s", bind->host_path);
        add(jail, "%s", bind->jail_path);
    }
    add(jail, "--remount-ro");
    add(jail, "/");
    add(jail, "--chdir");
    add(jail, "%s", jail->spec->folder ? jail->spec->folder : "/");
}

static void add_identity(Jail *jail) {
    if (jail->spec->kind == JAIL_BUILD) {
        static const char *const all[] = {"--cap-add", "ALL", "--", "nsenter", NULL};
        /* The mounts of the jail belong to the host; with a mount namespace of its own a build may mount
         * below them. */
        static const char *const mounts[] = {"unshare", "--mount", "--propagation", "private", "--", NULL};
        add_all(jail, all);
        add(jail, "--user=/proc/self/fd/%d", jail->namespace);
        add(jail, "--");
        add_all(jail, mounts);
        return;
    }
    static const char *const some[] = {"--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID", "--cap-add",
        "CAP_SETPCAP", "--", "setpriv", NULL};
    static const char *const none[] = {"--clear-groups", "--no-new-privs", "--inh-caps=-all",
        "--ambient-caps=-all", "--bounding-set=-all", "--", NULL};
    uint32_t id = host_id(JAIL_SINGLE, jail->first_id);
    add_all(jail, some);
    add(jail, "--reuid=%u", id);
    add(jail, "--regid=%u", id);
    add_all(jail, none);
}

static void add_limit(Jail *jail, const char *name, uint64_t value, uint64_t fallback) {
    if (value || fallback)
        add(jail, "--%s=%" G_GUINT64_FORMAT, name, value ? value : fallback);
}

static void add_limits(Jail *jail) {
    const JailLimits *limits = &jail->spec->limits;
    bool is_build = jail->spec->kind == JAIL_BUILD;
    add(jail, "prlimit");
    add(jail, "--core=0");
    add_limit(jail, "cpu", limits->cpu_s, is_build ? 3600 : 600);
    add_limit(jail, "as", limits->address_space_bytes, is_build ? 0 : 4 * GIB);
    add_limit(jail, "fsize", limits->file_bytes, is_build ? 64 * GIB : 16 * MIB);
    add_limit(jail, "nproc", limits->processes, is_build ? 4096 : 1024);
    add(jail, "--");
}

/* --- running
 * -------------------------------------------------------------------------------------------------- */

/* The first process of the pid namespace holds the pipe: its end means that the kernel is ending the others.
 */
static void wait_for_death(Jail *jail) {
    fd_close(&jail->life_write);
    struct pollfd life = {.fd = jail->life_read, .events = POLLIN};
    while (poll(&life, 1, DEATH_WAIT_MS) < 0 && errno == EINTR)
        ;
}

static bool prepare(Jail *jail, Error *err) {
    int life[2];
    if (pipe2(life, O_CLOEXEC) < 0)
        return error_set_errno(err, errno, "making a pipe");
    jail->life_read = life[0];
    jail->life_write = life[1];
    if (!jail_filter_open(jail->spec->kind, &jail->filter, err))
        return false;
    if (jail->spec->kind == JAIL_BUILD && !open_namespace(jail, err))
        return error_wrap(err, ERROR_UNSUPPORTED, "this host cannot make a build jail");
    add_walls(jail);
    add(jail, "--seccomp");
    add(jail, "%d", jail->filter);
    add(jail, "--sync-fd");
    add(jail, "%d", jail->life_write);
    add_devices(jail);
    add_binds(jail);
    add_identity(jail);
    add_limits(jail);
    add_all(jail, jail->spec->argv);
    g_ptr_array_add(jail->argv, NULL);
    return true;
}

bool jail_run(const JailSpec *spec, char **ret_output, Error *err) {
    g_assert(spec->timeout_ms > 0);
    g_auto(Jail) jail = {.spec = spec,
        .first_id = first_id_or_default(spec->first_id),
        .filter = -1,
        .namespace = -1,
        .life_read = -1,
        .life_write = -1,
        .argv = g_ptr_array_new_with_free_func(g_free)};
    if (!cancel_check(spec->cancel, err) || !prepare(&jail, err))
        return false;
    int fds[3] = {jail.filter, jail.life_write, jail.namespace};
    const ProcessSpec process = {.argv = (const char *const *)jail.argv->pdata,
        .stdin_data = spec->stdin_data,
        .timeout_ms = spec->timeout_ms,
        .output_limit = spec->output_limit,
        .cancel = spec->cancel,
        .on_line = spec->on_line,
        .on_line_data = spec->on_line_data,
        .keep_fds = fds,
        .n_keep_fds = jail.namespace >= 0 ? 3 : 2};
    bool ok = process_run(&process, ret_output, err);
    wait_for_death(&jail);
    return ok;
}

/* --- ids
 * ------------------------------------------------------------------------------------------------------ */

static bool is_range_free(const char *path, uint64_t first, uint64_t count, Error *err) {
    g_autofree char *text = NULL;
    g_auto(Error) missing = {0};
    if (!file_read(path, SUBID_FILE_LIMIT, &text, NULL, &missing)) {
        if (missing.code == ERROR_NOT_FOUND)
            return true;
        error_move(err, &missing);
        return false;
    }
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++) {
        g_auto(GStrv) parts = g_strsplit(*line, ":", 3); /* user:first:count, subuid(5) */
        if (g_strv_length(parts) != 3)
            continue;
        uint64_t begin = g_ascii_strtoull(parts[1], NULL, 10), length = g_ascii_strtoull(parts[2], NULL, 10);
        if (begin < first + count && first < begin + length)
            return error_set(
                err, ERROR_CONFLICT, NULL, "%s gives ids of the jail's range to %s", path, parts[0]);
    }
    return true;
}

bool jail_range_check(uint32_t first_id, Error *err) {
    uint64_t first = first_id_or_default(first_id);
    if (first < JAIL_MAP_COUNT || first + JAIL_ID_COUNT > INT32_MAX)
        return error_set(err, ERROR_INVALID, NULL, "jail ids must lie between %d and 2^31", JAIL_MAP_COUNT);
    return is_range_free("/etc/subuid", first, JAIL_ID_COUNT, err) &&
           is_range_free("/etc/subgid", first, JAIL_ID_COUNT, err);
}

/* --- folders
 * -------------------------------------------------------------------------------------------------- */

bool jail_folder_new(const char *parent, JailKind kind, uint32_t first_id, char **ret_path, Error *err) {
    g_autofree char *path = g_build_filename(parent, FOLDER_PREFIX "XXXXXX", NULL);
    uint32_t id = host_id(kind, first_id);
    if (!g_mkdtemp_full(path, 0700))
        return error_set_errno(err, errno, "making a folder in %s", parent);
    if (chown(path, id, id) < 0) {
        int saved = errno;
        rmdir(path);
        return error_set_errno(err, saved, "giving %s to the jail", path);
    }
    *ret_path = g_steal_pointer(&path);
    return true;
}

void jail_folder_free(char *path) {
    if (!path)
        return;
    for (int i = 0; i < REMOVE_ATTEMPTS && !tree_remove(path, NULL); i++)
        g_usleep(REMOVE_PAUSE_US);
    g_free(path);
}

bool jail_folders_sweep(const char *parent, Error *err) {
    g_autoptr(GError) error = NULL;
    g_autoptr(GDir) dir = g_dir_open(parent, 0, &error);
    if (!dir)
        return error_set(err, ERROR_IO, NULL, "%s", error->message);
    const char *name = NULL;
    while ((name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(parent, name, NULL);
        if (g_str_has_prefix(name, FOLDER_PREFIX) && !tree_remove(path, err))
            return false;
    }
    return true;
}

bool jail_folder_put(
    const char *folder, const char *name, const void *data, size_t length, mode_t mode, Error *err) {
    struct stat status;
    fd_auto int at = open(folder, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (at < 0 || fstat(at, &status) < 0)
        return error_set_errno(err, errno, "opening %s", folder);
    fd_auto int fd = openat(at, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_set_errno(err, errno, "creating %s/%s", folder, name);
    if (!fd_write_all(fd, data, length, err))
        return error_wrap(err, ERROR_NONE, "cannot write %s/%s", folder, name);
    if (fchown(fd, status.st_uid, status.st_gid) < 0 || fchmod(fd, mode) < 0)
        return error_set_errno(err, errno, "giving %s/%s to the jail", folder, name);
    return true;
}

/* Opens a regular file with one link and nothing else; *ret_mode may be NULL. */
static bool open_plain(int at, const char *name, int *ret_fd, mode_t *ret_mode, Error *err) {
    struct stat status;
    fd_auto int fd = openat(at, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &status) < 0)
        return error_set_errno(err, errno, "opening %s", name);
    if (!S_ISREG(status.st_mode) || status.st_nlink != 1)
        return error_set(err, ERROR_IO, NULL, "%s is not a regular file with one name", name);
    if (ret_mode)
        *ret_mode = status.st_mode & 07777;
    *ret_fd = fd_steal(&fd);
    return true;
}

bool jail_folder_take(
    const char *folder, const char *name, const char *destination, mode_t mode, Error *err) {
    fd_auto int at = open(folder, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), fd = -1;
    if (at < 0)
        return error_set_errno(err, errno, "opening %s", folder);
    if (!open_plain(at, name, &fd, NULL, err))
        return error_wrap(err, ERROR_NONE, "the jail left nothing usable");
    if (fchown(fd, 0, 0) < 0 || fchmod(fd, mode) < 0 || fsync(fd) < 0)
        return error_set_errno(err, errno, "taking %s out of the jail", name);
    if (renameat(at, name, AT_FDCWD, destination) < 0)
        return error_set_errno(err, errno, "moving %s to %s", name, destination);
    g_autofree char *parent = g_path_get_dirname(destination);
    return folder_sync(parent, err);
}

bool jail_lend(const char *path, uint32_t first_id, Error *err) {
    fd_auto int fd = -1;
    mode_t mode = 0;
    if (!open_plain(AT_FDCWD, path, &fd, &mode, err))
        return false;
    if (mode & 0004)
        return true;
    if (fchown(fd, (uid_t)-1, host_id(JAIL_SINGLE, first_id)) < 0 || fchmod(fd, (mode & ~07020U) | 0040) < 0)
        return error_set_errno(err, errno, "lending %s to the jail", path);
    return true;
}

bool jail_give(int fd, uint32_t first_id, Error *err) {
    uint32_t id = host_id(JAIL_SINGLE, first_id);
    if (fchown(fd, id, id) < 0)
        return error_set_errno(err, errno, "giving a file to the jail");
    return true;
}
