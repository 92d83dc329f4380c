/* lodge-agent: options, signals, main loop. */
#include <errno.h>
#include <glib-unix.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "agent/agent.h"
#include "agent/local-call.h"
#include "base/file.h"
#include "base/heap.h"
#include "base/log.h"
#include "base/notify.h"

enum { STOP_CHECK_MS = 50, STOP_LIMIT_MS = 5000 };

typedef struct Settings {
    char *released;                      /* the manager that is lost */
    char *console_vm;                    /* whose serial line is wanted */
    char *passed_on, *passed_parameters; /* from `lodge --host-local` */
    char *instance, *driver, *socket, *listen, *enrol_secret, *state, *acceleration, *allow_uid, *helpers,
        *system_root;
    gboolean fetches_from_itself, is_verbose, shows_version, lets_begin;
    int end_s; /* 0: not asked */
    bool shows_code;
} Settings;

typedef struct Daemon {
    Agent *agent;
    GMainLoop *loop;
    int waited_ms;
} Daemon;

static void settings_clear(Settings *settings) {
    char **texts[] = {&settings->instance, &settings->driver, &settings->socket, &settings->state,
        &settings->acceleration, &settings->allow_uid, &settings->helpers, &settings->system_root,
        &settings->listen, &settings->enrol_secret, &settings->released, &settings->passed_on,
        &settings->passed_parameters, &settings->console_vm};
    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++)
        g_clear_pointer(texts[i], g_free);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Settings, settings_clear)

/* What is asked of the agent that runs. */
static bool take_words(Settings *settings, int argc, char **argv, Error *err) {
    if (argc == 2 && g_str_equal(argv[1], "enrol")) {
        settings->shows_code = true;
    } else if (argc == 3 && g_str_equal(argv[1], "release")) {
        settings->released = g_strdup(argv[2]);
    } else if (argc == 3 && g_str_equal(argv[1], "console")) {
        settings->console_vm = g_strdup(argv[2]);
    } else if ((argc == 3 || argc == 4) && g_str_equal(argv[1], "local")) {
        settings->passed_on = g_strdup(argv[2]);
        settings->passed_parameters = argc == 4 ? g_strdup(argv[3]) : NULL;
    } else if (argc > 1) {
        return error_set(err, ERROR_INVALID, NULL, "unexpected argument %s", argv[1]);
    }
    return true;
}

static bool settings_parse(Settings *settings, int *argc, char ***argv, Error *err) {
    const GOptionEntry entries[] = {
        {"instance", 0, 0, G_OPTION_ARG_STRING, &settings->instance,
            "Prefix of all that is made on this host (lodge)", "NAME"},
        {"driver", 0, 0, G_OPTION_ARG_STRING, &settings->driver,
            "Hypervisor: auto, or a driver's name (auto)", "NAME"},
        {"socket", 0, 0, G_OPTION_ARG_FILENAME, &settings->socket, "UNIX socket (/run/INSTANCE/agent.sock)",
            "PATH"},
        {"listen", 0, 0, G_OPTION_ARG_STRING, &settings->listen,
            "Address for managers on other machines, for example 192.0.2.7, or [::]:7444 for all (none)",
            "ADDRESS[:PORT]"},
        {"enrol-secret-file", 0, 0, G_OPTION_ARG_FILENAME, &settings->enrol_secret,
            "Holds a secret that managers with the same one need no code for, while this host has no owner",
            "PATH"},
        {"state", 0, 0, G_OPTION_ARG_FILENAME, &settings->state, "Own files (/var/lib/INSTANCE/agent)",
            "FOLDER"},
        {"acceleration", 0, 0, G_OPTION_ARG_STRING, &settings->acceleration, "auto, kvm or emulation (auto)",
            "NAME"},
        {"allow-uid", 0, 0, G_OPTION_ARG_STRING, &settings->allow_uid, "User who may connect beside root",
            "USER"},
        {"helpers", 0, 0, G_OPTION_ARG_FILENAME, &settings->helpers,
            "Where lodge-fetch lies (" LODGE_HELPERS ")", "FOLDER"},
        {"fetch-from-this-machine", 0, 0, G_OPTION_ARG_NONE, &settings->fetches_from_itself,
            "Let imports come from this machine's own addresses", NULL},
        {"system-root", 0, G_OPTION_FLAG_HIDDEN, G_OPTION_ARG_FILENAME, &settings->system_root,
            "Where the kernel's modules and modprobe.d lie, for tests (/)", "FOLDER"},
        {"end-guests", 0, 0, G_OPTION_ARG_INT, &settings->end_s,
            "Ask the agent that runs to stop all VMs, because the machine goes down; pull the plug after "
            "that "
            "time",
            "SECONDS"},
        {"allow-guests", 0, 0, G_OPTION_ARG_NONE, &settings->lets_begin,
            "Tell the agent that runs that VMs may start (again)", NULL},
        {"verbose", 'v', 0, G_OPTION_ARG_NONE, &settings->is_verbose, "Log more", NULL},
        {"version", 0, 0, G_OPTION_ARG_NONE, &settings->shows_version, "Show the version", NULL},
        {0},
    };
    GOptionContext *context =
        g_option_context_new("[enrol | release MANAGER | console VM-ID] - serves a manager on this host");
    g_option_context_set_summary(context,
        "With `enrol`: asks the agent that runs for a one-time code with which a manager on another machine "
        "takes this host.\nWith `release`: the host forgets its manager of that id, which is lost; its VMs "
        "run on. "
        "While the manager is there, use `lodge host release`.");
    g_option_context_add_main_entries(context, entries, NULL);
    GError *fault = NULL;
    bool is_good = g_option_context_parse(context, argc, argv, &fault);
    g_option_context_free(context);
    if (is_good)
        return take_words(settings, *argc, *argv, err);
    error_set(err, ERROR_INVALID, NULL, "%s", fault->message);
    g_error_free(fault);
    return false;
}

static bool check_instance(const char *instance, Error *err) {
    size_t length = strlen(instance);
    if (length < 1 || length > 32 || strspn(instance, "abcdefghijklmnopqrstuvwxyz0123456789-") != length ||
        instance[0] == '-')
        return error_set(err, ERROR_INVALID, "--instance",
            "an instance is named by 1-32 small letters, digits and hyphens");
    return true;
}

static bool settings_complete(Settings *settings, Error *err) {
    if (!settings->instance)
        settings->instance = g_strdup("lodge");
    if (!check_instance(settings->instance, err))
        return false;
    if (!settings->driver)
        settings->driver = g_strdup("auto");
    if (!settings->socket)
        settings->socket = g_strdup_printf("/run/%s/agent.sock", settings->instance);
    if (!settings->state)
        settings->state = g_strdup_printf("/var/lib/%s/agent", settings->instance);
    if (!settings->helpers)
        settings->helpers = g_strdup(LODGE_HELPERS);
    if (!settings->system_root)
        settings->system_root = g_strdup("/");
    if (!settings->acceleration)
        settings->acceleration = g_strdup("auto");
    return true;
}

/* A name, or a number (which need not have a name). */
static bool find_user(const char *user, AgentOptions *options, Error *err) {
    const struct passwd *entry = getpwnam(user);
    char *end = NULL;
    unsigned long number = strtoul(user, &end, 10);
    bool is_number = user[0] >= '0' && user[0] <= '9' && *end == '\0' && number < (uid_t)-1;
    if (!entry && is_number)
        entry = getpwuid((uid_t)number);
    if (!entry && !is_number)
        return error_set(err, ERROR_NOT_FOUND, "--allow-uid", "there is no user %s", user);
    options->has_allowed_user = true;
    options->allowed_uid = entry ? entry->pw_uid : (uid_t)number;
    options->allowed_gid = entry ? entry->pw_gid : (gid_t)number;
    return true;
}

static Agent *start(const Settings *settings, Error *err) {
    AgentOptions options = {.instance = settings->instance,
        .socket = settings->socket,
        .state = settings->state,
        .listen = settings->listen && !g_str_equal(settings->listen, "none") ? settings->listen : NULL,
        .enrol_secret = settings->enrol_secret,
        .helpers = settings->helpers,
        .system_root = settings->system_root,
        .fetches_from_itself = settings->fetches_from_itself};
    options.driver = hypervisor_find(settings->driver);
    int acceleration = model_enum_value(&acceleration_enum, settings->acceleration);
    if (!options.driver || acceleration < 0) {
        error_set(err, ERROR_INVALID, options.driver ? "--acceleration" : "--driver", "there is no %s",
            options.driver ? settings->acceleration : settings->driver);
        return NULL;
    }
    options.acceleration = (Acceleration)acceleration;
    if (settings->allow_uid && !find_user(settings->allow_uid, &options, err))
        return NULL;
    g_autofree char *run = g_path_get_dirname(settings->socket);
    if (!folder_make(run, 0755, err) || !folder_make(settings->state, 0711, err))
        return NULL;
    return agent_new(&options, err);
}

/* What works may end; VMs run on in any case. */
static gboolean stop_when_idle(void *data) {
    Daemon *daemon = data;
    daemon->waited_ms += STOP_CHECK_MS;
    if (agent_running(daemon->agent) > 0 && daemon->waited_ms < STOP_LIMIT_MS)
        return G_SOURCE_CONTINUE;
    g_main_loop_quit(daemon->loop);
    return G_SOURCE_REMOVE;
}

static gboolean on_signal(void *data) {
    Daemon *daemon = data;
    service_notify("STOPPING=1");
    agent_stop(daemon->agent);
    g_timeout_add(STOP_CHECK_MS, stop_when_idle, daemon);
    return G_SOURCE_REMOVE;
}

static void run(Agent *agent) {
    Daemon daemon = {.agent = agent, .loop = g_main_loop_new(NULL, FALSE)};
    g_unix_signal_add(SIGTERM, on_signal, &daemon);
    g_unix_signal_add(SIGINT, on_signal, &daemon);
    service_notify("READY=1");
    g_main_loop_run(daemon.loop);
    g_main_loop_unref(daemon.loop);
    if (agent_running(agent) > 0) {
        log_warning("%d calls still work; they count as interrupted", agent_running(agent));
        agent_abandon(agent);
        _exit(0);
    }
    agent_free(agent);
}

static bool is_asking(const Settings *settings) {
    return settings->end_s || settings->lets_begin || settings->shows_code || settings->released ||
           settings->passed_on || settings->console_vm;
}

static bool ask_agent(const Settings *settings, Error *err) {
    if (settings->end_s)
        return local_end_guests(settings->socket, settings->end_s, err);
    if (settings->lets_begin)
        return local_allow_guests(settings->socket, err);
    if (settings->released)
        return local_release(settings->socket, settings->released, err);
    if (settings->console_vm)
        return local_console(settings->socket, settings->console_vm, err);
    if (settings->passed_on)
        return local_pass_on(settings->socket, settings->passed_on, settings->passed_parameters, err);
    return local_show_code(settings->socket, err);
}

int main(int argc, char **argv) {
    g_auto(Settings) settings = {0};
    g_auto(Error) err = {0};
    heap_use_few_arenas();
    signal(SIGPIPE, SIG_IGN);
    umask(022);
    bool is_good = settings_parse(&settings, &argc, &argv, &err);
    if (is_good && settings.shows_version) {
        g_print("lodge-agent %s\n", LODGE_VERSION);
        return 0;
    }
    log_init("lodge-agent", settings.is_verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
    is_good = is_good && settings_complete(&settings, &err);
    bool is_question = is_asking(&settings);
    if (is_good && is_question)
        is_good = ask_agent(&settings, &err);
    Agent *agent = is_good && !is_question ? start(&settings, &err) : NULL;
    if (!is_good || (!agent && !is_question)) {
        g_autofree char *text = error_text(&err);
        log_error("%s", text);
        return error_info(err.code)->exit_status;
    }
    if (is_question)
        return 0;
    log_info("serving on %s with the driver %s", settings.socket, hypervisor_find(settings.driver)->name);
    run(agent);
    return 0;
}
