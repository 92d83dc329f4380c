/*
 * Migrations of the driver "fake". Beside ID.json lie marks: ID.held (suspended at the source by a
 * migration), ID.left (all of it has gone), ID.arriving and ID.arrived at the target. A mark is made before
 * the file is changed and removed after it, so that one beside a running VM says nothing. `move` is
 * hypervisor and client in one: it sends the definition over `memory`, holds the VM, then asks over `control`
 * whether all has arrived; when it cannot learn that, it lets the VM go on here, as libvirt's client does.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "base/file.h"
#include "hypervisor/crash-mark.h"
#include "hypervisor/fake-private.h"

enum { BLOCK = 4096, BLOCKS = 25, POLL_MS = 20, TARGET_PATIENCE_MS = 60 * 1000, MEMORY_LIMIT = 4 << 20 };

static const char asked[] = "finish\n", answered[] = "arrived\n";

/* ---- marks ---- */

static char *mark_path(const HypervisorSession *session, const char *vm_id, const char *mark) {
    return g_strdup_printf("%s/%s.%s", session->folder, vm_id, mark);
}

static bool has_mark(const HypervisorSession *session, const char *vm_id, const char *mark) {
    g_autofree char *path = mark_path(session, vm_id, mark);
    return access(path, F_OK) == 0;
}

static bool mark(const HypervisorSession *session, const char *vm_id, const char *name, Error *err) {
    g_autofree char *path = mark_path(session, vm_id, name);
    return file_replace(path, "", 0, 0600, err);
}

static void unmark(const HypervisorSession *session, const char *vm_id, const char *name) {
    g_autofree char *path = mark_path(session, vm_id, name);
    unlink(path);
}

static bool remove_vm(const HypervisorSession *session, const char *vm_id, Error *err) {
    g_autofree char *path = mark_path(session, vm_id, "json");
    return unlink(path) == 0 || errno == ENOENT || error_set_errno(err, errno, "%s", path);
}

static bool set_state(const HypervisorSession *session, const char *vm_id, VmState state, Error *err) {
    g_auto(Vm) vm = {0};
    if (!fake_load(session, vm_id, &vm))
        return error_set(err, ERROR_WRONG_STATE, NULL, "the VM does not run");
    vm_status_set_state(&vm.status, state);
    return fake_store(session, &vm, false, err);
}

static void lead(HypervisorSession *session, const char *vm_id, bool is_leading) {
    g_mutex_lock(&session->lock);
    if (is_leading)
        g_hash_table_add(session->leading, g_strdup(vm_id));
    else
        g_hash_table_remove(session->leading, vm_id);
    g_mutex_unlock(&session->lock);
}

static bool is_led(HypervisorSession *session, const char *vm_id) {
    g_mutex_lock(&session->lock);
    bool is = g_hash_table_contains(session->leading, vm_id);
    g_mutex_unlock(&session->lock);
    return is;
}

/* Stubs whose stream has ended with the process that received it. */
void fake_migrations_sweep(const HypervisorSession *session) {
    GDir *folder = g_dir_open(session->folder, 0, NULL);
    for (const char *name = folder ? g_dir_read_name(folder) : NULL; name; name = g_dir_read_name(folder))
        if (g_str_has_suffix(name, ".arriving")) {
            g_autofree char *path = g_build_filename(session->folder, name, NULL);
            unlink(path);
        }
    if (folder)
        g_dir_close(folder);
}

/* ---- sockets ---- */

static bool address_of(const char *path, struct sockaddr_un *ret_address, Error *err) {
    *ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
    return g_strlcpy(ret_address->sun_path, path, sizeof ret_address->sun_path) <
               sizeof ret_address->sun_path ||
           error_set(err, ERROR_INVALID, NULL, "%s is too long for a socket", path);
}

static int connect_to(const HypervisorMigration *migration, MigrationChannel channel, Error *err) {
    g_autofree char *path = migration_socket(migration->folder, channel);
    struct sockaddr_un address;
    if (!address_of(path, &address, err))
        return -1;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    error_set_errno(err, errno, "%s", path);
    if (fd >= 0)
        close(fd);
    return -1;
}

static bool send_all(int fd, const char *bytes, size_t length, Error *err) {
    for (size_t sent = 0; sent < length;) {
        ssize_t n = send(fd, bytes + sent, length - sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_set_errno(err, errno, "sending to the other host");
        sent += (size_t)n;
    }
    return true;
}

/* Until the text has come as a whole; false at the end of the stream, and when there is no more patience. */
static bool receive(int fd, const char *text, int patience_ms) {
    char got[16] = "";
    size_t length = 0;
    for (int waited = 0; length < strlen(text) && waited < patience_ms; waited += POLL_MS) {
        struct pollfd poller = {.fd = fd, .events = POLLIN};
        if (poll(&poller, 1, POLL_MS) <= 0)
            continue;
        ssize_t n = recv(fd, got + length, strlen(text) - length, 0);
        if (n <= 0)
            return false;
        length += (size_t)n;
    }
    return strcmp(got, text) == 0;
}

/* ---- the source ---- */

/* The definition, and filling behind it, so that there is a while in which it can be cut off. */
static bool send_memory(HypervisorSession *session, const HypervisorMigration *migration, int fd,
    const ImageProgress *progress, const Cancel *cancel, Error *err) {
    g_auto(Vm) vm = {0};
    static const char filling[BLOCK];
    if (!fake_load(session, migration->vm->vm->id, &vm))
        return error_set(err, ERROR_WRONG_STATE, NULL, "the VM does not run");
    g_autoptr(json_t) json = vm_encode(&vm, MODEL_ENCODE_ALL);
    g_autofree char *text = json_to_text(json);
    if (!send_all(fd, text, strlen(text) + 1, err))
        return false;
    for (int i = 0; i < BLOCKS; i++) {
        progress_report(progress, i * 100 / BLOCKS, "Copying memory");
        if (!fake_suffer(session, "migrate", cancel, err) || !send_all(fd, filling, sizeof filling, err))
            return false;
    }
    return true;
}

static bool hold(HypervisorSession *session, const char *vm_id, Error *err) {
    return mark(session, vm_id, "held", err) && set_state(session, vm_id, VM_STATE_PAUSED, err);
}

static bool go_on_here(HypervisorSession *session, const char *vm_id, Error *err) {
    if (!set_state(session, vm_id, VM_STATE_RUNNING, err))
        return false;
    unmark(session, vm_id, "held");
    return true;
}

static bool leave(HypervisorSession *session, const char *vm_id, Error *err) {
    if (!mark(session, vm_id, "left", err) || !remove_vm(session, vm_id, err))
        return false;
    unmark(session, vm_id, "held");
    return true;
}

static bool lead_on(HypervisorSession *session, const HypervisorMigration *migration,
    const ImageProgress *progress, const Cancel *cancel, Error *err) {
    const char *id = migration->vm->vm->id;
    fd_auto int control = connect_to(migration, MIGRATION_CHANNEL_CONTROL, err), memory = -1;
    if (control < 0)
        return false;
    memory = connect_to(migration, MIGRATION_CHANNEL_MEMORY, err);
    if (memory < 0 || !send_memory(session, migration, memory, progress, cancel, err) ||
        !hold(session, id, err))
        return false;
    shutdown(memory, SHUT_WR);
    if (send_all(control, asked, sizeof asked - 1, err) && receive(control, answered, TARGET_PATIENCE_MS))
        return leave(session, id, err);
    g_auto(Error) fault = {0};
    if (!go_on_here(session, id, &fault))
        return error_set(err, ERROR_HYPERVISOR, NULL, "the VM does not go on: %s", fault.message);
    return error_is_set(err)
               ? false
               : error_set(err, ERROR_HYPERVISOR, NULL, "the connection to the other host was lost");
}

static bool fake_move(HypervisorSession *session, const HypervisorMigration *migration,
    const ImageProgress *progress, const Cancel *cancel, Error *err) {
    const char *id = migration->vm->vm->id;
    lead(session, id, true);
    bool has_moved = lead_on(session, migration, progress, cancel, err);
    lead(session, id, false);
    fake_notify(session, id);
    return has_moved;
}

/* ---- the target ---- */

typedef struct Arrival {
    HypervisorSession session; /* of its own: the driver's may be closed meanwhile */
    char *vm_id;
    int listeners[MIGRATION_CHANNEL_MAX];
} Arrival;

static void arrival_free(Arrival *arrival) {
    for (int i = 0; i < MIGRATION_CHANNEL_MAX; i++)
        if (arrival->listeners[i] >= 0)
            close(arrival->listeners[i]);
    g_free(arrival->session.folder);
    g_free(arrival->session.instance);
    g_free(arrival->vm_id);
    g_free(arrival);
}

static int listen_at(const char *folder, MigrationChannel channel, Error *err) {
    g_autofree char *path = migration_socket(folder, channel);
    struct sockaddr_un address;
    if (!address_of(path, &address, err))
        return -1;
    unlink(path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof address) == 0 && listen(fd, 4) == 0)
        return fd;
    error_set_errno(err, errno, "%s", path);
    if (fd >= 0)
        close(fd);
    return -1;
}

/* -1 when nobody comes. */
static int accept_one(int listener) {
    struct pollfd poller = {.fd = listener, .events = POLLIN};
    return poll(&poller, 1, TARGET_PATIENCE_MS) > 0 ? accept4(listener, NULL, NULL, SOCK_CLOEXEC) : -1;
}

/* All of the memory: the definition is what stands before the first NUL. NULL when it was cut off. */
static char *receive_memory(int fd) {
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    uint8_t block[BLOCK];
    ssize_t n;
    while ((n = recv(fd, block, sizeof block, 0)) > 0 && bytes->len < MEMORY_LIMIT)
        g_byte_array_append(bytes, block, (guint)n);
    const uint8_t *end = n == 0 && bytes->len > 0 ? memchr(bytes->data, 0, bytes->len) : NULL;
    bool is_whole = end && bytes->len == (size_t)(end - bytes->data) + 1 + BLOCK * BLOCKS;
    return is_whole ? g_strdup((const char *)bytes->data) : NULL;
}

static bool complete(HypervisorSession *session, const char *vm_id, const char *memory) {
    g_auto(Vm) vm = {0};
    g_autoptr(json_t) json = json_parse(memory, strlen(memory), NULL);
    if (!json || !vm_decode(json, MODEL_STORED, &vm, NULL) || g_strcmp0(vm.id, vm_id) != 0)
        return false;
    vm_status_set_state(vm_put_status(&vm), VM_STATE_PAUSED);
    bool is_there = mark(session, vm_id, "arrived", NULL) && fake_store(session, &vm, true, NULL);
    unmark(session, vm_id, "arriving");
    return is_there;
}

/* The fake hypervisor at the target, as long as this process lives. */
static void *run_arrival(void *data) {
    Arrival *arrival = data;
    fd_auto int control = accept_one(arrival->listeners[MIGRATION_CHANNEL_CONTROL]);
    fd_auto int memory = control >= 0 ? accept_one(arrival->listeners[MIGRATION_CHANNEL_MEMORY]) : -1;
    if (memory >= 0 && mark(&arrival->session, arrival->vm_id, "arriving", NULL)) {
        g_autofree char *text = receive_memory(memory);
        if (text && receive(control, asked, TARGET_PATIENCE_MS) &&
            complete(&arrival->session, arrival->vm_id, text))
            send_all(control, answered, sizeof answered - 1, NULL);
        unmark(&arrival->session, arrival->vm_id, "arriving");
    }
    arrival_free(arrival);
    return NULL;
}

void fake_migration_forget(const HypervisorSession *session, const char *vm_id) {
    static const char *const marks[] = {"arriving", "arrived", "held", "left"};
    for (size_t i = 0; i < G_N_ELEMENTS(marks); i++)
        unmark(session, vm_id, marks[i]);
    crash_mark_clear(session->folder, vm_id);
}

static bool fake_expect(HypervisorSession *session, const HypervisorMigration *migration, Error *err) {
    if (!fake_suffer(session, "expect", NULL, err))
        return false;
    fake_migration_forget(session, migration->vm->vm->id);
    Arrival *arrival = g_new0(Arrival, 1);
    *arrival =
        (Arrival){.session = {.folder = g_strdup(session->folder), .instance = g_strdup(session->instance)},
            .vm_id = g_strdup(migration->vm->vm->id),
            .listeners = {-1, -1, -1}};
    arrival->listeners[MIGRATION_CHANNEL_CONTROL] =
        listen_at(migration->folder, MIGRATION_CHANNEL_CONTROL, err);
    if (arrival->listeners[MIGRATION_CHANNEL_CONTROL] >= 0)
        arrival->listeners[MIGRATION_CHANNEL_MEMORY] =
            listen_at(migration->folder, MIGRATION_CHANNEL_MEMORY, err);
    if (arrival->listeners[MIGRATION_CHANNEL_MEMORY] < 0) {
        arrival_free(arrival);
        return false;
    }
    g_thread_unref(g_thread_new("fake-arrival", run_arrival, arrival));
    return true;
}

static char *fake_folder(HypervisorSession *session, const char *migration_id, bool is_target) {
    return g_build_filename(session->folder, is_target ? "to" : "from", migration_id, NULL);
}

static char *fake_path(HypervisorSession *session G_GNUC_UNUSED, const HypervisorMigration *migration,
    MigrationChannel channel) {
    return channel == MIGRATION_CHANNEL_DISKS ? NULL : migration_socket(migration->folder, channel);
}

static bool fake_tap(MigrationTap *tap, const uint8_t *bytes, size_t length) {
    bool is_news = tap->state[0] == 0;
    for (size_t i = 0; i < length; i++)
        if (bytes[i] == '\n' && tap->state[0] == 0)
            tap->state[0] = 1;
    return is_news && tap->state[0] == 1;
}

/* ---- both ---- */

static bool fake_look(HypervisorSession *session, const char *vm_id, MigrationHere *ret_here, Error *err) {
    g_auto(Vm) vm = {0};
    AgentVmState crash = {0};
    if (!fake_suffer(session, "look", NULL, err))
        return false;
    if (is_led(session, vm_id)) {
        *ret_here = MIGRATION_LEADING;
        return true;
    }
    bool is_there = fake_load(session, vm_id, &vm);
    bool is_paused = is_there && vm.status.state == VM_STATE_PAUSED;
    if (is_there && !is_paused) /* its agent died before it was suspended */
        unmark(session, vm_id, "held");
    if (is_there)
        *ret_here = is_paused && has_mark(session, vm_id, "arrived") ? MIGRATION_ARRIVED
                    : is_paused && has_mark(session, vm_id, "held")  ? MIGRATION_HELD
                                                                     : MIGRATION_RUNS;
    else
        *ret_here = crash_mark_read(session->folder, vm_id, &crash) ? MIGRATION_ENDED
                    : has_mark(session, vm_id, "left")              ? MIGRATION_LEFT
                    : has_mark(session, vm_id, "arriving")          ? MIGRATION_ARRIVING
                                                                    : MIGRATION_NOTHING;
    agent_vm_state_clear(&crash);
    return true;
}

static bool drop(HypervisorSession *session, const char *vm_id, Error *err) {
    if (!remove_vm(session, vm_id, err))
        return false;
    fake_migration_forget(session, vm_id);
    return true;
}

static bool start_here(HypervisorSession *session, const char *vm_id, Error *err) {
    if (!set_state(session, vm_id, VM_STATE_RUNNING, err))
        return false;
    unmark(session, vm_id, "arrived");
    return true;
}

static bool fake_act(HypervisorSession *session, const char *vm_id, MigrationStep step, Error *err) {
    MigrationHere here = MIGRATION_UNKNOWN;
    bool is_done = false;
    if (!fake_look(session, vm_id, &here, err) || !migration_check(step, here, &is_done, err))
        return false;
    if (is_done && step == MIGRATION_START_TARGET)
        unmark(session, vm_id, "arrived");
    if (!is_done)
        is_done = step == MIGRATION_START_TARGET    ? start_here(session, vm_id, err)
                  : step == MIGRATION_RESUME_SOURCE ? go_on_here(session, vm_id, err)
                                                    : drop(session, vm_id, err);
    fake_notify(session, vm_id);
    return is_done && fake_suffer_late(session, "act", err);
}

const HypervisorMover fake_mover = {
    fake_folder, NULL, NULL, fake_expect, fake_path, fake_move, fake_tap, NULL, fake_look, fake_act};
