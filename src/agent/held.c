/* The lock is held while the hypervisor works: copies of one VM start and end rarely. */
#include "agent/held.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "base/file.h"
#include "base/log.h"
#include "model/format.h"

#define ENDING ".held"

struct Held {
    const Hypervisor *driver;
    HypervisorSession *const *session;
    const char *folder;
    GMutex lock;
    GHashTable *counts; /* id -> number of copies */
};

Held *held_new(const Hypervisor *driver, HypervisorSession *const *session, const char *state_folder) {
    Held *held = g_new0(Held, 1);
    *held = (Held){.driver = driver,
        .session = session,
        .folder = state_folder,
        .counts = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL)};
    g_mutex_init(&held->lock);
    return held;
}

void held_free(Held *held) {
    if (!held)
        return;
    g_hash_table_unref(held->counts);
    g_mutex_clear(&held->lock);
    g_free(held);
}

static char *note_path(const Held *held, const char *vm_id) {
    return g_strdup_printf("%s/%s" ENDING, held->folder, vm_id);
}

static int count_of(const Held *held, const char *vm_id) {
    return GPOINTER_TO_INT(g_hash_table_lookup(held->counts, vm_id));
}

/* The note comes first and goes last: a VM that we hold has one. */
static bool hold(Held *held, const char *vm_id, const Cancel *cancel, Error *err) {
    g_autofree char *note = note_path(held, vm_id);
    if (!file_replace(note, "", 0, 0600, err))
        return false;
    if (held->driver->quiesce(*held->session, vm_id, cancel, err))
        return true;
    unlink(note);
    return false;
}

static bool take(Held *held, const char *vm_id, const Cancel *cancel, bool *ret_is_ours, Error *err) {
    g_auto(AgentVmState) state = {0};
    int count = count_of(held, vm_id);
    *ret_is_ours = true;
    if (!count) {
        if (!held->driver->state(*held->session, vm_id, &state, err))
            return false;
        if (state.status.state == VM_STATE_PAUSED) {
            *ret_is_ours = false;
            return true;
        }
        if (!held->driver->quiesce)
            return error_set(err, ERROR_UNSUPPORTED, NULL, "this host cannot copy a VM that runs: stop it");
        if (!hold(held, vm_id, cancel, err))
            return false;
    }
    g_hash_table_replace(held->counts, g_strdup(vm_id), GINT_TO_POINTER(count + 1));
    return true;
}

bool held_take(Held *held, const char *vm_id, const Cancel *cancel, bool *ret_is_ours, Error *err) {
    g_mutex_lock(&held->lock);
    bool is_good = take(held, vm_id, cancel, ret_is_ours, err);
    g_mutex_unlock(&held->lock);
    return is_good;
}

/* One that has ended meanwhile needs nothing. */
static bool let_go(Held *held, const char *vm_id) {
    g_autofree char *note = note_path(held, vm_id);
    g_auto(AgentVmState) state = {0};
    g_auto(Error) err = {0};
    if (held->driver->state(*held->session, vm_id, &state, &err) &&
        (state.status.state != VM_STATE_PAUSED || held->driver->resume(*held->session, vm_id, &err)) &&
        (unlink(note) == 0 || errno == ENOENT))
        return true;
    log_warning(
        "the VM %s was held to be copied and cannot go on yet: %s", vm_id, err.message ? err.message : note);
    return false;
}

void held_release(Held *held, const char *vm_id) {
    g_mutex_lock(&held->lock);
    int count = count_of(held, vm_id);
    if (count > 1) {
        g_hash_table_replace(held->counts, g_strdup(vm_id), GINT_TO_POINTER(count - 1));
    } else {
        g_hash_table_remove(held->counts, vm_id);
        let_go(held, vm_id);
    }
    g_mutex_unlock(&held->lock);
}

bool held_resume_all(Held *held) {
    bool is_done = true;
    g_mutex_lock(&held->lock);
    g_autoptr(GDir) names = g_dir_open(held->folder, 0, NULL);
    for (const char *name = names ? g_dir_read_name(names) : NULL; name; name = g_dir_read_name(names)) {
        if (!g_str_has_suffix(name, ENDING))
            continue;
        g_autofree char *id = g_strndup(name, strlen(name) - strlen(ENDING));
        if (is_uuid(id) && !count_of(held, id))
            is_done = let_go(held, id) && is_done;
    }
    g_mutex_unlock(&held->lock);
    return is_done;
}
