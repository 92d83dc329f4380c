/*
 * What a VM goes through: free; changing, while one thread asks the hypervisor to hold it or to let it go,
 * without the lock, and all others who ask for this VM wait; in use, by a number of copies.
 */
#include "agent/held.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "base/file.h"
#include "base/log.h"
#include "model/format.h"

#define ENDING ".held"

typedef struct Hold {
    int n_copies;
    bool is_changing;
    HeldBy by; /* once it does not change any more */
} Hold;

struct Held {
    const Hypervisor *driver;
    HypervisorSession *const *session;
    const char *folder;
    GMutex lock;
    GCond changed;
    GHashTable *holds; /* id -> Hold, of VMs that are not free */
};

Held *held_new(const Hypervisor *driver, HypervisorSession *const *session, const char *state_folder) {
    Held *held = g_new0(Held, 1);
    *held = (Held){.driver = driver,
        .session = session,
        .folder = state_folder,
        .holds = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free)};
    g_mutex_init(&held->lock);
    g_cond_init(&held->changed);
    return held;
}

void held_free(Held *held) {
    if (!held)
        return;
    g_hash_table_unref(held->holds);
    g_cond_clear(&held->changed);
    g_mutex_clear(&held->lock);
    g_free(held);
}

/* ---- the notes: one comes before its VM is held and goes after it was let go ---- */

static char *note_path(const Held *held, const char *vm_id) {
    return g_strdup_printf("%s/%s" ENDING, held->folder, vm_id);
}

static bool has_note(const Held *held, const char *vm_id) {
    g_autofree char *note = note_path(held, vm_id);
    return access(note, F_OK) == 0;
}

static bool note_write(const Held *held, const char *vm_id, Error *err) {
    g_autofree char *note = note_path(held, vm_id);
    return file_replace(note, "", 0, 0600, err);
}

static bool note_remove(const Held *held, const char *vm_id, Error *err) {
    g_autofree char *note = note_path(held, vm_id);
    return unlink(note) == 0 || errno == ENOENT || error_set_errno(err, errno, "%s", note);
}

/* ---- with the hypervisor, without the lock ---- */

static bool is_live(VmState state) {
    return state != VM_STATE_STOPPED && state != VM_STATE_CRASHED;
}

/* Only one that we held: a VM without a note is somebody else's to let go. */
static bool let_go(const Held *held, const char *vm_id) {
    g_auto(AgentVmState) state = {0};
    g_auto(Error) err = {0};
    if (!has_note(held, vm_id))
        return true;
    if (held->driver->state(*held->session, vm_id, &state, &err) &&
        (state.status.state != VM_STATE_PAUSED || held->driver->resume(*held->session, vm_id, &err)) &&
        note_remove(held, vm_id, &err))
        return true;
    log_warning("the VM %s was held to be copied and cannot go on yet: %s", vm_id, err.message);
    return false;
}

/* Also one that is paused already is asked to be quiet: its back ends may not be. A note that is there was
 * left by an agent that died, or by a hypervisor that did not answer: then it is ours, not a user's. */
static bool hold(const Held *held, const char *vm_id, HeldBy *ret_by, const Cancel *cancel, Error *err) {
    g_auto(AgentVmState) state = {0};
    *ret_by = HELD_BY_NOBODY;
    if (!held->driver->state(*held->session, vm_id, &state, err))
        return false;
    if (!is_live(state.status.state))
        return true;
    if (!held->driver->quiesce)
        return error_set(err, ERROR_UNSUPPORTED, NULL, "this host cannot copy a VM that runs: stop it");
    bool is_ours = state.status.state != VM_STATE_PAUSED || has_note(held, vm_id);
    *ret_by = is_ours ? HELD_BY_US : HELD_BY_USER;
    if (is_ours && !note_write(held, vm_id, err))
        return false;
    if (held->driver->quiesce(*held->session, vm_id, cancel, err))
        return true;
    if (is_ours)
        let_go(held, vm_id);
    return false;
}

/* ---- under the lock ---- */

/* The VM's hold, a new one when it was free. Waits for who changes it. */
static Hold *settled(Held *held, const char *vm_id) {
    Hold *one;
    while ((one = g_hash_table_lookup(held->holds, vm_id)) && one->is_changing)
        g_cond_wait(&held->changed, &held->lock);
    if (!one) {
        one = g_new0(Hold, 1);
        g_hash_table_insert(held->holds, g_strdup(vm_id), one);
    }
    return one;
}

static void begin_change(Held *held, Hold *one) {
    one->is_changing = true;
    g_mutex_unlock(&held->lock);
}

static void end_change(Held *held, const char *vm_id, Hold *one) {
    g_mutex_lock(&held->lock);
    one->is_changing = false;
    if (one->n_copies == 0)
        g_hash_table_remove(held->holds, vm_id);
    g_cond_broadcast(&held->changed);
}

/* ---- for everybody ---- */

bool held_take(Held *held, const char *vm_id, const Cancel *cancel, HeldBy *ret_by, Error *err) {
    g_mutex_lock(&held->lock);
    Hold *one = settled(held, vm_id);
    bool is_good = true;
    if (one->n_copies == 0) {
        begin_change(held, one);
        is_good = hold(held, vm_id, &one->by, cancel, err);
        one->n_copies = is_good;
        *ret_by = one->by;
        end_change(held, vm_id, one);
    } else {
        one->n_copies++;
        *ret_by = one->by;
    }
    g_mutex_unlock(&held->lock);
    return is_good;
}

void held_release(Held *held, const char *vm_id) {
    g_mutex_lock(&held->lock);
    Hold *one = settled(held, vm_id);
    g_assert(one->n_copies > 0);
    if (--one->n_copies == 0) {
        begin_change(held, one);
        if (one->by == HELD_BY_US)
            let_go(held, vm_id);
        end_change(held, vm_id, one);
    }
    g_mutex_unlock(&held->lock);
}

static bool resume_one(Held *held, const char *vm_id) {
    bool is_good = true;
    g_mutex_lock(&held->lock);
    if (!g_hash_table_contains(held->holds, vm_id)) {
        Hold *one = settled(held, vm_id);
        begin_change(held, one);
        is_good = let_go(held, vm_id);
        end_change(held, vm_id, one);
    }
    g_mutex_unlock(&held->lock);
    return is_good;
}

bool held_resume_all(Held *held) {
    bool is_good = true;
    g_autoptr(GDir) names = g_dir_open(held->folder, 0, NULL);
    for (const char *name = names ? g_dir_read_name(names) : NULL; name; name = g_dir_read_name(names)) {
        if (!g_str_has_suffix(name, ENDING))
            continue;
        g_autofree char *id = g_strndup(name, strlen(name) - strlen(ENDING));
        if (is_uuid(id))
            is_good = resume_one(held, id) && is_good;
    }
    return is_good;
}

bool held_check_free(Held *held, const char *vm_id, Error *err) {
    g_mutex_lock(&held->lock);
    const Hold *one = g_hash_table_lookup(held->holds, vm_id);
    bool is_free = !one || one->n_copies == 0;
    g_mutex_unlock(&held->lock);
    return is_free || error_set(err, ERROR_BUSY, NULL, "the VM's disks are being copied");
}

void held_forget(Held *held, const char *vm_id) {
    g_auto(Error) err = {0};
    g_mutex_lock(&held->lock);
    Hold *one = settled(held, vm_id);
    if (one->n_copies == 0) {
        if (!note_remove(held, vm_id, &err))
            log_warning("the VM %s may be let go although it should stay: %s", vm_id, err.message);
        g_hash_table_remove(held->holds, vm_id);
    }
    g_mutex_unlock(&held->lock);
}

bool held_wait_for_none(Held *held, int64_t timeout_ms) {
    gint64 end = g_get_monotonic_time() + timeout_ms * G_TIME_SPAN_MILLISECOND;
    bool is_in_time = true;
    g_mutex_lock(&held->lock);
    while (is_in_time && g_hash_table_size(held->holds) > 0)
        is_in_time = g_cond_wait_until(&held->changed, &held->lock, end);
    is_in_time = g_hash_table_size(held->holds) == 0;
    g_mutex_unlock(&held->lock);
    return is_in_time;
}
