/* A table of running VMs and a timer that looks whose turn it is. */
#include "agent/guest-watch.h"
#include "base/clock.h"

enum {
    TICK_MS = 500,
    MAX_ASKED = 8,   /* at once; more wait for the next tick */
    YOUNG_MS = 3000, /* none can know anything yet */
    SOON_MS = 1000,
    SEARCHING_MS = 2000,    /* between two questions while it has no address yet */
    SEARCH_MS = 120 * 1000, /* after that it counts as a guest that has none */
    CALM_MS = 15 * 1000,
    EACH_MS = 150, /* for every guest there is: many together are asked as often as few */
    REST = 40      /* at most one part in so many of the time is spent on asking */
};

typedef struct Guest {
    char *id;
    int64_t run;   /* its start: a later run is another guest */
    int64_t vcpus; /* as the hypervisor counts them */
    int64_t begun_ns, next_ns;
    bool is_running, is_asked;
    VmStatus said;
} Guest;

struct GuestWatch {
    GuestWatchOptions options;
    guint source;
    int n_asked;
    GMutex lock;        /* guards what is below */
    GHashTable *guests; /* id -> Guest */
};

/* One guest being asked; belongs to the thread while it works. */
typedef struct Question {
    GuestWatch *watch;
    char *id;
    int64_t run, took_ms;
    bool is_answered;
    VmStatus said;
} Question;

static int64_t now_ns(void) {
    return clock_monotonic_ns(clock_system());
}

static void guest_free(void *data) {
    Guest *guest = data;
    vm_status_clear(&guest->said);
    g_free(guest->id);
    g_free(guest);
}

/* ---- asking ---- */

static void question_run(void *data) {
    Question *question = data;
    const GuestWatchOptions *options = &question->watch->options;
    int64_t start_ns = now_ns();
    question->is_answered = options->driver->guest(*options->session, question->id, &question->said, NULL);
    question->took_ms = (now_ns() - start_ns) / NS_PER_MS;
}

static int64_t pause_ms(const Guest *guest, guint n_guests, int64_t took_ms, int64_t now) {
    bool is_searching = !guest->said.addresses.n && now - guest->begun_ns < SEARCH_MS * NS_PER_MS;
    int64_t least_ms = MAX(is_searching ? SEARCHING_MS : CALM_MS, (int64_t)n_guests * EACH_MS);
    return MAX(least_ms, took_ms * (is_searching ? 1 : REST));
}

/* With the lock held. True when it says something new. */
static bool take_answer(Guest *guest, guint n_guests, Question *question) {
    int64_t now = now_ns();
    guest->is_asked = false;
    bool is_news = question->is_answered && !model_equal(&vm_status_type, &guest->said, &question->said);
    if (is_news) {
        vm_status_clear(&guest->said);
        vm_status_copy(&guest->said, &question->said);
    }
    guest->next_ns = now + pause_ms(guest, n_guests, question->took_ms, now) * NS_PER_MS;
    return is_news;
}

static void question_done(void *data) {
    Question *question = data;
    GuestWatch *watch = question->watch;
    watch->n_asked--;
    g_mutex_lock(&watch->lock);
    Guest *guest = g_hash_table_lookup(watch->guests, question->id);
    bool is_news = guest && guest->run == question->run &&
                   take_answer(guest, g_hash_table_size(watch->guests), question);
    g_mutex_unlock(&watch->lock);
    if (is_news && watch->source)
        watch->options.on_news(question->id, watch->options.data);
    vm_status_clear(&question->said);
    g_free(question->id);
    g_free(question);
}

/* With the lock held. */
static void ask(GuestWatch *watch, Guest *guest) {
    Question *question = g_new0(Question, 1);
    *question = (Question){.watch = watch, .id = g_strdup(guest->id), .run = guest->run};
    if (!work_pool_add(watch->options.pool, question_run, question_done, question, NULL)) {
        g_free(question->id);
        g_free(question);
        return;
    }
    guest->is_asked = true;
    watch->n_asked++;
}

static gboolean tick(void *data) {
    GuestWatch *watch = data;
    int64_t now = now_ns();
    GHashTableIter each;
    void *value;
    g_mutex_lock(&watch->lock);
    g_hash_table_iter_init(&each, watch->guests);
    while (watch->n_asked < MAX_ASKED && g_hash_table_iter_next(&each, NULL, &value)) {
        Guest *guest = value;
        if (guest->is_running && !guest->is_asked && guest->next_ns <= now)
            ask(watch, guest);
    }
    g_mutex_unlock(&watch->lock);
    return G_SOURCE_CONTINUE;
}

/* ---- what the hypervisor says ---- */

/* With the lock held. */
static Guest *guest_of(GuestWatch *watch, const AgentVmState *state) {
    Guest *guest = g_hash_table_lookup(watch->guests, state->id);
    if (guest && guest->run == state->status.started)
        return guest;
    guest = g_new0(Guest, 1);
    guest->id = g_strdup(state->id);
    guest->run = state->status.started;
    guest->begun_ns = now_ns();
    int64_t age_ns = clock_realtime_ns(clock_system()) - state->status.started;
    guest->next_ns = guest->begun_ns + (age_ns < YOUNG_MS * NS_PER_MS ? YOUNG_MS * NS_PER_MS : 0);
    g_hash_table_replace(watch->guests, guest->id, guest);
    return guest;
}

void guest_watch_note(GuestWatch *watch, const AgentVmState *state, bool soon) {
    bool is_running = state->status.state == VM_STATE_RUNNING;
    bool is_known = is_running || state->status.state == VM_STATE_PAUSED;
    if (!watch->options.driver->guest || !state->managed)
        return;
    g_mutex_lock(&watch->lock);
    if (is_known) {
        Guest *guest = guest_of(watch, state);
        bool has_other_vcpus = guest->vcpus && guest->vcpus != state->status.vcpus_online;
        guest->is_running = is_running;
        guest->vcpus = state->status.vcpus_online;
        if (has_other_vcpus)
            guest->said.present &= ~MODEL_BIT(VM_STATUS_FIELD_VCPUS_ONLINE);
        if (soon || has_other_vcpus)
            guest->next_ns = MIN(guest->next_ns, now_ns() + SOON_MS * NS_PER_MS);
    } else {
        g_hash_table_remove(watch->guests, state->id);
    }
    g_mutex_unlock(&watch->lock);
}

void guest_watch_fill(GuestWatch *watch, AgentVmState *state) {
    g_mutex_lock(&watch->lock);
    const Guest *guest = g_hash_table_lookup(watch->guests, state->id);
    if (guest && state->managed && guest->run == state->status.started) {
        VmStatus *status = &state->status;
        for (size_t i = 0; i < guest->said.addresses.n; i++)
            address_copy(vm_status_add_addresses(status), &guest->said.addresses.items[i]);
        if (vm_status_has(&guest->said, VM_STATUS_FIELD_AGENT))
            vm_status_set_agent(status, guest->said.agent);
        if (vm_status_has(&guest->said, VM_STATUS_FIELD_VCPUS_ONLINE) && guest->vcpus == status->vcpus_online)
            vm_status_set_vcpus_online(status, guest->said.vcpus_online);
    }
    g_mutex_unlock(&watch->lock);
}

/* ---- life ---- */

GuestWatch *guest_watch_new(const GuestWatchOptions *options) {
    GuestWatch *watch = g_new0(GuestWatch, 1);
    watch->options = *options;
    g_mutex_init(&watch->lock);
    watch->guests = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, guest_free);
    if (options->driver->guest)
        watch->source = g_timeout_add(TICK_MS, tick, watch);
    return watch;
}

void guest_watch_stop(GuestWatch *watch) {
    g_clear_handle_id(&watch->source, g_source_remove);
}

void guest_watch_free(GuestWatch *watch) {
    if (!watch)
        return;
    guest_watch_stop(watch);
    g_hash_table_unref(watch->guests);
    g_mutex_clear(&watch->lock);
    g_free(watch);
}
