/* Inside of src/agent: the agent's parts and the shape of a call. */
#pragma once
#include "agent/agent.h"
#include "agent/guest-watch.h"
#include "agent/held.h"
#include "agent/journal.h"
#include "agent/module-keeper.h"
#include "agent/remote.h"
#include "base/work.h"
#include "image/progress.h"
#include "rpc/rpc-connect.h"
#include "rpc/rpc-connection.h"
#include "rpc/rpc-listener.h"
#include "storage/repository-kind.h"

enum { AGENT_PROTOCOL_VERSION = 1 };

/* Pools of threads: what hangs in one does not hold the others. They share the queues of objects: one call
 * after the other for each object, on whichever lane. */
typedef enum AgentLane {
    LANE_VM,    /* short changes of a VM */
    LANE_START, /* starts: they keep processors busy */
    LANE_MAKE,  /* VMs' files by shared blocks or overlays */
    LANE_COPY,  /* VMs' files copied byte by byte: perhaps for hours */
    LANE_MOVE,  /* live migrations from here: each takes long and waits for the other host */
    LANE_STOP,  /* waits for guests that were asked to stop */
    LANE_KILL,  /* pulling the plug waits for nobody */
    LANE_PROBE, /* inventory, state, consoles */
    LANE_COUNT, /* statistics of VMs: one that hangs holds neither inventory nor consoles */
    LANE_GUEST, /* asks guests */
    LANE_HOST,  /* repositories, networks, templates' files */
    LANE_BUILD, /* template builds, imports */
    LANE_MAX
} AgentLane;

typedef struct Reporter Reporter;
typedef struct HostEnd HostEnd;
typedef struct SavedWatch SavedWatch;

struct Agent {
    char *instance, *state;
    const Hypervisor *driver;
    HypervisorSession *session;
    Acceleration acceleration;
    char *helpers;      /* folder of lodge-fetch and lodge-migrate */
    char *fetch_helper; /* path of lodge-fetch */
    bool fetches_from_itself;
    bool has_allowed_user;
    uid_t allowed_uid;

    Journal *journal;
    char *host_id; /* of this host; may be read in any thread */
    WorkPool *pools[LANE_MAX];
    RpcTickets *tickets;
    RpcListener *listener, *remote_listener; /* the latter may be NULL */
    RpcConnector *connector;                 /* to other agents */
    Remote *remote;
    char *address;                /* that it listens on; NULL: on its socket only */
    GPtrArray *clients;           /* AgentClient, owned */
    GHashTable *splices;          /* RpcSplice: open consoles */
    GPtrArray *migration_streams; /* see migration-streams.c */
    GHashTable *uploads;          /* id -> Upload that is being received; they free themselves */
    Reporter *reporter;
    GuestWatch *guests;
    SavedWatch *saved_watch;
    Held *held;
    guint held_source;
    guint release_source;     /* the old owner is hung up on in a moment */
    GPtrArray *local_changes; /* LocalChange that work; they free themselves */
    ModuleKeeper *modules;
    char *system_root;
    GMutex control_lock;
    char *control_error; /* under the lock; NULL: what was asked for last was written */
    guint trash_source;
    int n_running;
    guint trim_source; /* heap_trim_later */
    bool is_stopping;
    HostEnd *host_end;  /* while VMs are asked to stop because the machine goes down */
    int is_host_ending; /* atomic: nothing starts any more */
    int n_starting;     /* atomic: starts under way */
};

/* Whom a connection comes from. */
typedef enum AgentAccess {
    ACCESS_LOCAL,    /* the machine's own socket: root, or whom root named */
    ACCESS_OWNER,    /* over the network: the owner, by its certificate or by the code that it proved */
    ACCESS_PEER,     /* over the network: another host of the owner, for what is between hosts */
    ACCESS_STRANGER, /* over the network: may say hello, and prove a code */
} AgentAccess;

/* One connection. */
typedef struct AgentClient {
    Agent *agent;
    RpcConnection *connection;
    bool is_remote;
    char *proved_for; /* the manager that proved the code on this connection; or NULL */
    bool is_owner;    /* said hello as the owner: gets events */
    bool is_former;   /* of an owner that gave the host away */
} AgentClient;

/* One call while it works. The thread uses parameters, result, err, cancel and progress only. */
typedef struct AgentCall {
    Agent *agent; /* in threads: what comes from the options and session, which never change */
    Operation *operation;
    AgentMethodId method;
    char *operation_id;        /* copy for the thread, or NULL */
    void *parameters, *result; /* of the method's types */
    Cancel *cancel;
    bool is_good;
    bool has_come; /* migration.end at the target: the VM runs here for certain */
    Error err;
    ImageProgress progress;
    GMutex lock; /* guards the two below */
    int percent;
    char *phase;
} AgentCall;

typedef bool (*AgentWorkFn)(AgentCall *call, Error *err);

/* How a method is served; a row without `run` is not offered (ERROR_UNSUPPORTED). */
typedef struct AgentHandler {
    AgentLane lane;
    AgentWorkFn run;                            /* in a thread */
    AgentWorkFn finish;                         /* on the main loop after a good run; may be NULL */
    const char *(*key)(const void *parameters); /* id of the object; NULL: none */
    bool (*is_long)(const void *parameters);    /* then LANE_COPY; NULL: never */
    bool is_certain;                  /* `run` sees to cancels itself, so that it always comes to an end */
    void (*abandon)(AgentCall *call); /* in a thread, when it is cancelled before `run`; may be NULL */
} AgentHandler;
extern const AgentHandler agent_handlers[AGENT_METHOD_MAX];

/* dispatch.c */
RpcHandler agent_lookup(const char *method, void *client);

/* agent.c */
AgentAccess client_access(const AgentClient *client);
bool client_is_believed(const AgentClient *client); /* the machine itself, or the owner */
/* Root on the machine itself: the user as whom the agent runs. */
bool client_is_root(const AgentClient *client);
/* What was written for the network counts for connections from now on. */
bool agent_take_credentials(Agent *agent, Error *err);
/* The same at once: other connections than `keep` (may be NULL) that came
 * over it end. */
bool agent_reload_remote(Agent *agent, const AgentClient *keep, Error *err);
void agent_identity_fill(const Agent *agent, AgentIdentity *identity);

/* report.c */
Reporter *reporter_new(Agent *agent);
void reporter_free(Reporter *reporter); /* accepts NULL; no worker may run any more */
void reporter_stop(Reporter *reporter);
/* The driver's on_change; any thread. */
void reporter_changed(const char *vm_id, void *reporter);
/* Everything that the hypervisor shows, and what guests said last. Blocks; any thread. */
bool agent_collect(const Agent *agent, AgentInventory *ret_inventory, Error *err);
/* Its VMs, and those that are saved. Blocks; any thread. */
bool agent_list_vms(const Agent *agent, AgentInventory *ret_inventory, Error *err);
/* One VM's state, with what its guest said last. Blocks; any thread. */
bool agent_vm_state(const Agent *agent, const char *vm_id, AgentVmState *ret_state, Error *err);
/* An operation on it has ended: what is being asked just now may be older. Main loop. */
void reporter_touch(Reporter *reporter, const char *vm_id);
/* From now on only differences to this are reported. Main loop. */
void reporter_know(Reporter *reporter, const AgentInventory *inventory);
/* What the manager was told of, with every change that was reported since, as one message holds it: the VMs
 * behind the id `after` (NULL: from the first), and `next` when more follow. Main loop. */
void reporter_page(const Reporter *reporter, const char *after, AgentInventory *ret_page);

/* upload.c: bytes that arrive on a stream of their own. */
void uploads_stop(Agent *agent);
/* With all that arrived of it. */
void upload_remove(const RepositoryKindOps *kind, const Repository *repository, const char *upload_id);

/* handlers.c: remembers what its VMs need, for a start without the manager and for the next owner. Main loop.
 */
void agent_note_networks(Agent *agent, const Network *networks, size_t n);

/* handle-vm.c: ERROR_WRONG_STATE for a VM that runs. In a thread. */
bool agent_check_vm_stands(const AgentCall *call, const Vm *source, Error *err);

/* trash.c */
void trash_start(Agent *agent); /* until agent_stop */

/* handle-modules.c: what the definition said last holds again, for the kernel that runs now. Main loop. */
void modules_resume(Agent *agent);
const char *key_of_modules(const void *parameters);

/* handle-control.c: adds what became of the host's `control`. Any thread. */
void control_fill(const Agent *agent, HostStatus *status);
const char *key_of_control(const void *parameters);

/* keep.c */
void serve_keep(AgentClient *client, const void *parameters, RpcRequest *request);
void serve_kept(AgentClient *client, const void *parameters, RpcRequest *request);

/* migration.c */
/* ERROR_WRONG_STATE when a VM is leaving this host, or has left it and its manager was not told. */
bool migration_check_method(const Agent *agent, AgentMethodId method, const void *parameters, Error *err);
bool migration_check_peer(const AgentClient *client, const json_t *parameters, Error *err);
void serve_migration_give(AgentClient *client, const void *parameters, RpcRequest *request);
void serve_migration_files(AgentClient *client, const void *parameters, RpcRequest *request);
bool handle_migration_carry(AgentCall *call, Error *err);
void serve_migration_stream(AgentClient *client, const void *parameters, RpcRequest *request);
const char *key_of_migration(const void *parameters);
const char *key_of_migration_ref(const void *parameters);
const char *key_of_migration_end(const void *parameters);
const char *key_of_migration_step(const void *parameters);
bool handle_migration_expect(AgentCall *call, Error *err);
bool finish_migration_expect(AgentCall *call, Error *err);
bool handle_migration_move(AgentCall *call, Error *err);
bool handle_migration_look(AgentCall *call, Error *err);
bool handle_migration_act(AgentCall *call, Error *err);
bool handle_migration_end(AgentCall *call, Error *err);
bool finish_migration_end(AgentCall *call, Error *err);

/* owning.c: answered at once. */
void serve_own(AgentClient *client, const void *parameters, RpcRequest *request);
void serve_host_release(AgentClient *client, const void *parameters, RpcRequest *request);
void serve_enrol_release(AgentClient *client, const void *parameters, RpcRequest *request);
void serve_holdings(AgentClient *client, const void *parameters, RpcRequest *request);
void serve_enrol_code(AgentClient *client, const void *parameters, RpcRequest *request);
const char *key_of_certificate(const void *parameters);

/* Handlers, by file. */
bool handle_certificate_apply(AgentCall *call, Error *err);
bool finish_certificate_apply(AgentCall *call, Error *err);
bool handle_control_apply(AgentCall *call, Error *err);
bool handle_modules_apply(AgentCall *call, Error *err);
bool handle_modules_check(AgentCall *call, Error *err);
bool handle_modules_list(AgentCall *call, Error *err);
bool handle_vm_create(AgentCall *call, Error *err);
bool handle_vm_foreign(AgentCall *call, Error *err);
bool handle_vm_adopt(AgentCall *call, Error *err);
bool handle_vm_start(AgentCall *call, Error *err);
bool handle_vm_stop(AgentCall *call, Error *err);
bool handle_vm_kill(AgentCall *call, Error *err);
bool handle_vm_reset(AgentCall *call, Error *err);
bool handle_vm_pause(AgentCall *call, Error *err);
bool handle_vm_resume(AgentCall *call, Error *err);
bool handle_vm_save(AgentCall *call, Error *err);
bool handle_vm_update(AgentCall *call, Error *err);
bool handle_vm_delete(AgentCall *call, Error *err);
bool handle_vm_leave(AgentCall *call, Error *err);
bool finish_vm_leave(AgentCall *call, Error *err);
bool handle_vm_statistics(AgentCall *call, Error *err);
bool handle_vm_console(AgentCall *call, Error *err);
bool finish_vm_console(AgentCall *call, Error *err);
bool handle_recipe_list(AgentCall *call, Error *err);
bool handle_template_build(AgentCall *call, Error *err);
bool handle_template_create(AgentCall *call, Error *err);
bool handle_template_write(AgentCall *call, Error *err);
bool handle_template_delete(AgentCall *call, Error *err);
bool handle_iso_delete(AgentCall *call, Error *err);
bool handle_template_import(AgentCall *call, Error *err);
bool handle_iso_import(AgentCall *call, Error *err);
void abandon_import(AgentCall *call);
bool handle_upload_status(AgentCall *call, Error *err);
bool handle_upload_discard(AgentCall *call, Error *err);
bool handle_upload_open(AgentCall *call, Error *err);
bool finish_upload_open(AgentCall *call, Error *err);
