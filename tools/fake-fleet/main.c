/* fake-fleet: options, a state that outlives it, hosts side by side, one clock for the beats of all. */
#include <arpa/inet.h>
#include <glib-unix.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include "base/file.h"
#include "base/heap.h"
#include "base/log.h"
#include "fake-host.h"
#include "rpc/rpc-frame.h"

enum { TICK_MS = 10, QUEUE_LIMIT = WORLD_MOST_HOSTS, SECRET_LIMIT = 4096, SPARE_DESCRIPTORS = 64 };
#define SEED_KEY "meta/seed"
#define DEFAULT_LISTEN "127.78.0.1:7444"

typedef struct Settings {
    char *listen, *state, *secret_path, *truth;
    int n_hosts, n_vms, seed, changes, page_bytes;
    double beat_s;
    gboolean is_verbose, shows_version;
} Settings;

typedef struct FakeFleet {
    Settings settings;
    GMainLoop *loop;
    FakeShared shared;
    char *secret;
    GPtrArray *hosts; /* FakeHost */
    guint tick_source;
    int64_t begun_ns; /* of the first beat */
    int64_t n_beats;  /* of all hosts, one after the other */
    bool is_held;     /* VMs change no more */
} FakeFleet;

/* ---- options ---- */

static bool check_number(const char *option, double value, double least, double most, Error *err) {
    return (value >= least && value <= most) ||
           error_set(err, ERROR_INVALID, NULL, "--%s: must lie between %g and %g", option, least, most);
}

static bool check_settings(const Settings *settings, Error *err) {
    return check_number("hosts", settings->n_hosts, 1, WORLD_MOST_HOSTS, err) &&
           check_number("vms", settings->n_vms, 0, WORLD_MOST_VMS, err) &&
           check_number("seed", settings->seed, 0, INT32_MAX, err) &&
           check_number("beat", settings->beat_s, 0.1, 3600, err) &&
           check_number("changes", settings->changes, 0, WORLD_MOST_VMS, err) &&
           check_number("page-bytes", settings->page_bytes, 1, RPC_MAX_FRAME / 2, err) &&
           (settings->state ||
               error_set(err, ERROR_INVALID, NULL, "--state: name a folder for keys and owners"));
}

static bool parse_options(Settings *settings, int argc, char **argv, Error *err) {
    *settings = (Settings){
        .n_hosts = 1000, .n_vms = 100, .seed = 1, .changes = 1, .page_bytes = RPC_MAX_FRAME / 2, .beat_s = 5};
    const GOptionEntry entries[] = {
        {"hosts", 0, 0, G_OPTION_ARG_INT, &settings->n_hosts, "How many hosts (1000)", "N"},
        {"vms", 0, 0, G_OPTION_ARG_INT, &settings->n_vms, "VMs of each host (100)", "N"},
        {"seed", 0, 0, G_OPTION_ARG_INT, &settings->seed, "Ids, names, MACs and sizes follow from it (1)",
            "N"},
        {"listen", 0, 0, G_OPTION_ARG_STRING, &settings->listen,
            "IPv4 address of the first host; the others follow it, on the same port (" DEFAULT_LISTEN ")",
            "ADDRESS[:PORT]"},
        {"state", 0, 0, G_OPTION_ARG_FILENAME, &settings->state, "Keys, certificates and owners", "FOLDER"},
        {"enrol-secret-file", 0, 0, G_OPTION_ARG_FILENAME, &settings->secret_path,
            "Holds the secret by which managers take these hosts (none)", "PATH"},
        {"beat", 0, 0, G_OPTION_ARG_DOUBLE, &settings->beat_s, "Each host reports a change so often (5)",
            "SECONDS"},
        {"changes", 0, 0, G_OPTION_ARG_INT, &settings->changes, "VMs of it that start or stop each time (1)",
            "N"},
        {"page-bytes", 0, 0, G_OPTION_ARG_INT, &settings->page_bytes,
            "Of VMs in one page of an answer (524288)", "N"},
        {"truth", 0, 0, G_OPTION_ARG_FILENAME, &settings->truth, "What SIGUSR1 writes (none)", "PATH"},
        {"verbose", 'v', 0, G_OPTION_ARG_NONE, &settings->is_verbose, "Log more", NULL},
        {"version", 0, 0, G_OPTION_ARG_NONE, &settings->shows_version, "Show the version", NULL},
        {0},
    };
    g_autoptr(GOptionContext) context = g_option_context_new("- many pretended hosts in one process");
    g_option_context_set_summary(context, "Speaks the agent protocol over TLS, each host with a key, an "
                                          "owner and an address of its own, for tests and benches.\n"
                                          "A line on standard output tells when all listen. SIGUSR1: no VM "
                                          "changes from now on, and the states of all are\n"
                                          "written to --truth; SIGUSR2: they change again.");
    g_option_context_add_main_entries(context, entries, NULL);
    g_autoptr(GError) fault = NULL;
    if (!g_option_context_parse(context, &argc, &argv, &fault))
        return error_set(err, ERROR_INVALID, NULL, "%s", fault->message);
    if (argc > 1)
        return error_set(err, ERROR_INVALID, NULL, "unexpected argument %s; see --help", argv[1]);
    return settings->shows_version || check_settings(settings, err);
}

static bool read_secret(FakeFleet *fleet, Error *err) {
    const char *path = fleet->settings.secret_path;
    if (!path)
        return true;
    if (!file_read(path, SECRET_LIMIT, &fleet->secret, NULL, err))
        return error_wrap(err, ERROR_NONE, "--enrol-secret-file");
    g_strstrip(fleet->secret);
    fleet->shared.secret = fleet->secret;
    return strlen(fleet->secret) >= TLS_SECRET_LEAST ||
           error_set(err, ERROR_INVALID, NULL, "--enrol-secret-file: the secret has less than %d characters",
               TLS_SECRET_LEAST);
}

/* A listening and a connected socket for each host. */
static bool raise_descriptors(int n_hosts, Error *err) {
    rlim_t needed = (rlim_t)n_hosts * 2 + SPARE_DESCRIPTORS;
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return error_set(err, ERROR_INTERNAL, NULL, "the limit of open files is not known");
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    return limit.rlim_max >= needed ||
           error_set(err, ERROR_INVALID, NULL,
               "%d hosts need %llu open files, the limit is %llu (ulimit -Hn)", n_hosts,
               (unsigned long long)needed, (unsigned long long)limit.rlim_max);
}

/* ---- hosts ---- */

/* Another seed would give other hosts the keys and owners of these. */
static bool check_seed(Store *store, int seed, Error *err) {
    g_auto(StoreItem) item = {0};
    g_autofree char *text = g_strdup_printf("%d", seed);
    if (!store_get(store, SEED_KEY, &item, NULL)) {
        StoreTransaction *transaction = store_transaction_new();
        store_transaction_put(transaction, SEED_KEY, text, strlen(text), 0);
        return store_commit_wait(store, transaction, NULL, err);
    }
    g_autofree char *known = g_strndup(g_bytes_get_data(item.value, NULL), g_bytes_get_size(item.value));
    return strcmp(known, text) == 0 || error_set(err, ERROR_CONFLICT, NULL,
                                           "--seed: the hosts in --state were made with the seed %s", known);
}

static bool open_state(FakeFleet *fleet, Error *err) {
    g_autofree char *path = g_build_filename(fleet->settings.state, "fleet.db", NULL);
    if (!folder_make(fleet->settings.state, 0700, err))
        return false;
    fleet->shared.store = store_open_sqlite(path, NULL, clock_system(), err);
    return fleet->shared.store && check_seed(fleet->shared.store, fleet->settings.seed, err);
}

static bool parse_first(const char *listen, RpcAddress *ret_address, struct in_addr *ret_first, Error *err) {
    if (!rpc_address_parse(listen, ret_address, err))
        return error_wrap(err, ERROR_NONE, "--listen");
    return (ret_address->host && inet_pton(AF_INET, ret_address->host, ret_first) == 1) ||
           error_set(err, ERROR_INVALID, NULL, "--listen: %s is no IPv4 address", listen);
}

static bool add_hosts(FakeFleet *fleet, Error *err) {
    const char *listen = fleet->settings.listen ? fleet->settings.listen : DEFAULT_LISTEN;
    g_auto(RpcAddress) address = {0};
    struct in_addr first;
    if (!parse_first(listen, &address, &first, err))
        return false;
    for (int number = 0; number < fleet->settings.n_hosts; number++) {
        const struct in_addr place = {htonl(ntohl(first.s_addr) + (uint32_t)number)};
        char text[INET_ADDRSTRLEN];
        g_assert(inet_ntop(AF_INET, &place, text, sizeof text));
        g_free(address.host);
        address.host = g_strdup(text);
        FakeHost *host = fake_host_new(&fleet->shared, number, &address, err);
        if (!host)
            return false;
        g_ptr_array_add(fleet->hosts, host);
        if (!fake_host_listen(host, err))
            return error_wrap(err, ERROR_NONE, "--listen");
    }
    return true;
}

/* ---- beats ---- */

/* Spread evenly: the fleet beats hosts times as often as one host. */
static gboolean tick(void *data) {
    FakeFleet *fleet = data;
    double passed_s = (double)(clock_monotonic_ns(clock_system()) - fleet->begun_ns) / (double)NS_PER_S;
    int64_t due = (int64_t)(passed_s / fleet->settings.beat_s * fleet->hosts->len);
    for (; fleet->n_beats < due; fleet->n_beats++)
        fake_host_beat(g_ptr_array_index(fleet->hosts, (guint)(fleet->n_beats % fleet->hosts->len)),
            fleet->is_held ? 0 : fleet->settings.changes);
    return G_SOURCE_CONTINUE;
}

/* ---- signals ---- */

static char *truth_text(const FakeFleet *fleet) {
    const World *world = fleet->shared.world;
    GString *text = g_string_new(NULL);
    g_string_append_printf(text, "{\"reports\":%" G_GINT64_FORMAT ",\"vms\":{", fleet->shared.n_reports);
    for (int host = 0; host < world_hosts(world); host++)
        for (int vm = 0; vm < world_vms(world); vm++) {
            g_auto(AgentVmState) state = {0};
            world_fill_vm_state(world, host, vm, &state);
            g_string_append_printf(text, "%s\"%s\":\"%s\"", host || vm ? "," : "", state.id,
                model_enum_name(&vm_state_enum, (int)state.status.state));
        }
    g_string_append(text, "}}\n");
    return g_string_free(text, FALSE);
}

static gboolean on_hold(void *data) {
    FakeFleet *fleet = data;
    g_auto(Error) err = {0};
    fleet->is_held = true;
    if (!fleet->settings.truth)
        return G_SOURCE_CONTINUE;
    g_autofree char *text = truth_text(fleet);
    if (!file_replace(fleet->settings.truth, text, strlen(text), 0644, &err))
        log_error("--truth: %s", err.message);
    return G_SOURCE_CONTINUE;
}

static gboolean on_go(void *data) {
    ((FakeFleet *)data)->is_held = false;
    return G_SOURCE_CONTINUE;
}

static gboolean on_end(void *data) {
    g_main_loop_quit(((FakeFleet *)data)->loop);
    return G_SOURCE_CONTINUE;
}

/* ---- start and end ---- */

static bool start(FakeFleet *fleet, Error *err) {
    const Settings *settings = &fleet->settings;
    fleet->hosts = g_ptr_array_new_with_free_func((GDestroyNotify)fake_host_free);
    fleet->shared.page_bytes = (size_t)settings->page_bytes;
    fleet->shared.world = world_new(settings->n_hosts, settings->n_vms, (uint32_t)settings->seed);
    fleet->shared.proofs = work_pool_new("proofs", (int)g_get_num_processors(), QUEUE_LIMIT);
    if (!read_secret(fleet, err) || !raise_descriptors(settings->n_hosts, err) || !open_state(fleet, err) ||
        !add_hosts(fleet, err))
        return false;
    fleet->begun_ns = clock_monotonic_ns(clock_system());
    fleet->tick_source = g_timeout_add(TICK_MS, tick, fleet);
    return true;
}

static void stop(FakeFleet *fleet) {
    g_clear_handle_id(&fleet->tick_source, g_source_remove);
    work_pool_free(fleet->shared.proofs);
    store_close(fleet->shared.store); /* calls what still waits for it */
    if (fleet->hosts)
        g_ptr_array_unref(fleet->hosts);
    world_free(fleet->shared.world);
    g_free(fleet->secret);
    g_main_loop_unref(fleet->loop);
    char *texts[] = {
        fleet->settings.listen, fleet->settings.state, fleet->settings.secret_path, fleet->settings.truth};
    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++)
        g_free(texts[i]);
}

static int run(FakeFleet *fleet) {
    g_auto(Error) err = {0};
    if (!start(fleet, &err)) {
        g_autofree char *text = error_text(&err);
        g_printerr("fake-fleet: %s\n", text);
        return 1;
    }
    const struct {
        int number;
        GSourceFunc act;
    } signals[] = {{SIGTERM, on_end}, {SIGINT, on_end}, {SIGUSR1, on_hold}, {SIGUSR2, on_go}};
    for (size_t i = 0; i < G_N_ELEMENTS(signals); i++)
        g_unix_signal_add(signals[i].number, signals[i].act, fleet);
    g_print("ready: %d hosts with %d VMs each\n", fleet->settings.n_hosts, fleet->settings.n_vms);
    fflush(stdout);
    g_main_loop_run(fleet->loop);
    return 0;
}

int main(int argc, char **argv) {
    FakeFleet fleet = {0};
    g_auto(Error) err = {0};
    setlocale(LC_ALL, "C.UTF-8");
    heap_use_few_arenas();
    signal(SIGPIPE, SIG_IGN);
    fleet.loop = g_main_loop_new(NULL, FALSE);
    int status = 2;
    if (!parse_options(&fleet.settings, argc, argv, &err)) {
        g_printerr("fake-fleet: %s\n", err.message);
    } else if (fleet.settings.shows_version) {
        g_print("fake-fleet %s\n", LODGE_VERSION);
        status = 0;
    } else {
        log_init("fake-fleet", fleet.settings.is_verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
        status = run(&fleet);
    }
    stop(&fleet);
    return status;
}
