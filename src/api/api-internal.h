/*
 * Inside src/api: one request on its way (ApiCall) and the functions that pass it on. A call belongs to its
 * request; what goes on later holds a reference on the request (call_hold) and gives it back with the answer.
 * Main loop only.
 *
 * Every path ends in exactly one call_reply_* or call_fail.
 */
#pragma once
#include "api/access.h"
#include "api/api.h"
#include "api/repeat.h"
#include "api/throttle.h"
#include "base/work.h"

typedef struct EventStreams EventStreams;
typedef struct ApiCall ApiCall;

struct Api {
    int references; /* calls hold one each: a commit may end after api_free */
    bool is_closed; /* nothing below may be used any more */
    ApiOptions options;
    Inventory *inventory;
    Jobs *jobs;
    const Clock *clock;
    int64_t started_ns;
    WorkPool *hashes;
    Throttle *throttle;
    EventStreams *streams;
    Repeats *repeats;
    char *request_prefix;
    uint64_t requests;
};

typedef struct Restore Restore;

struct ApiCall {
    Api *api;
    HttpRequest *request;
    const MethodDescriptor *method;
    MethodId id;
    char *request_id;
    Identity who;
    char *object_id, *object_name; /* the object in the path, or the one that was made */
    bool is_dry_run;
    json_t *parameters; /* decoded, with defaults, references resolved */
    void *definition;   /* of the method's resource, to be stored; owned */
    json_t *extra;      /* added to the answer once: a token's secret */
    char *job_id;       /* for the audit */
    struct {
        char *id;
        int64_t size, offset; /* bytes; size -1: not known */
        bool is_question;
        void *receiver; /* while the body arrives */
    } upload;
    char *source;      /* from where, for the audit */
    char *repeat_name; /* of its Idempotency-Key, while a create is under way; or NULL */
    Restore *restore;  /* the backup that is being received; owned */
};

/* call.c: the life of a call and its answers. */
ApiCall *call_new(Api *api, HttpRequest *request);
void call_free(void *call);
void call_hold(ApiCall *call);
void call_release(ApiCall *call);
void call_reply_json(
    ApiCall *call, unsigned status, const json_t *body, const HttpHeader *more, size_t n_more);
void call_reply_object(ApiCall *call, unsigned status, const Object *object);
/* Of a list, with the position from which events miss nothing. */
void call_reply_page(ApiCall *call, json_t *take_page);
/* JSON that is text already; status 200. */
void call_reply_text(ApiCall *call, GString *take_text);
void call_reply_empty(ApiCall *call);
void call_fail(ApiCall *call, const Error *err);
/* Before there is a handler: `allowed` is the Allow header, or NULL. */
void call_refuse(ApiCall *call, const char *allowed, const Error *err);
/* Without an answer of its own: streams, downloads, WebSockets. */
void call_audit(ApiCall *call, const char *outcome, const char *text);
bool call_is_change(const ApiCall *call);
bool call_decode_parameters(ApiCall *call, Error *err);
/* The body as JSON, {} when there is none and that is allowed; a new reference. */
json_t *call_body(ApiCall *call, bool is_required, Error *err);
/* The object in the path as it is now, or NULL with ERROR_NOT_FOUND. */
const Object *call_object(ApiCall *call, Error *err);
/* If-Match against the object's revision. */
bool call_check_match(ApiCall *call, const Object *object, Error *err);
/* NULL when the request has none. */
bool call_idempotency_key(ApiCall *call, const char **ret_key, Error *err);
bool call_check_permission(ApiCall *call, const Object *object, Error *err);
HttpHeader call_request_id_header(const ApiCall *call);

/* api.c hands over to one of these: read.c, change.c, job-call.c, login.c, events.c, system.c: handlers; each
 * answers. */
void handle_list(ApiCall *call);
void handle_get(ApiCall *call);
void handle_parts(ApiCall *call); /* parts.c */
void handle_create(ApiCall *call);
void handle_update(ApiCall *call);
void handle_delete(ApiCall *call);
void handle_job(ApiCall *call);
void handle_login(ApiCall *call);
void handle_event_watch(ApiCall *call);
void handle_system_info(ApiCall *call);
void handle_backup(ApiCall *call);
void handle_restore(ApiCall *call);
void handle_recovery_kit(ApiCall *call);
void handle_rebuild(ApiCall *call);
void handle_job_cancel(ApiCall *call);
void handle_job_break(ApiCall *call);
void handle_console(ApiCall *call);

/* upload.c: the body as a stream. */
bool upload_is_meant(const HttpRequest *request);
void upload_begin(ApiCall *call); /* inside on_headers */
void upload_end(ApiCall *call);   /* with the body's end */

/* restore.c: with the headers, before the body comes. */
bool restore_begin(ApiCall *call, Error *err);
/* On the headers of any call: a kit is longer than other bodies. */
void recovery_begin(ApiCall *call);
/* Submits the call's job with the parameters that it has, and answers. */
void call_submit(ApiCall *call);
void restore_free(Restore *restore); /* accepts NULL */

/* change.c: stores call->definition, made or changed, and answers. */
void call_store(ApiCall *call);
const char *definition_text(
    ResourceId kind, const void *definition, const char *field); /* NULL when absent */
void definition_set_text(ResourceId kind, void *definition, const char *field, const char *value);
int64_t definition_revision(ResourceId kind, const void *definition);

/* rules.c: what single methods do differently. All members may be NULL. */
typedef struct ApiRule {
    void (*handle)(ApiCall *call); /* instead of the generic handler */
    /* Completes or refuses call->definition; goes on with call_store or call_fail, now or later. */
    void (*prepare)(ApiCall *call);
    void (*also_store)(ApiCall *call, InventoryChange *change); /* in the same commit as call->definition */
    bool (*check_delete)(ApiCall *call, const Object *object, Error *err);
    void (*also_delete)(ApiCall *call, const Object *object, InventoryChange *change);
    bool (*is_visible)(ApiCall *call, const Object *object); /* in lists */
} ApiRule;
const ApiRule *rule_find(MethodId method);

/* account.c: principals and tokens. */
void prepare_principal(ApiCall *call);
void prepare_principal_update(ApiCall *call);
void also_end_sessions(ApiCall *call, InventoryChange *change);
bool check_principal_delete(ApiCall *call, const Object *object, Error *err);
void also_delete_tokens(ApiCall *call, const Object *object, InventoryChange *change);
void prepare_token(ApiCall *call);
bool check_token_delete(ApiCall *call, const Object *object, Error *err);
bool is_token_visible(ApiCall *call, const Object *object);
/* A new token's definition with a secret that is returned (secret_free). */
char *token_fill(Token *token, const Clock *clock, const char *principal_id, int64_t lifetime_ns);

/* modules.c: kernel modules of hosts. */
void handle_host_modules(ApiCall *call);
/* foreign.c */
void handle_host_vms(ApiCall *call);
void handle_vm_adopt(ApiCall *call);
void handle_vm_modes(ApiCall *call);
void prepare_host_update(ApiCall *call);

/* hosts.c */
void prepare_host(ApiCall *call);
void handle_host_move(ApiCall *call);
void handle_host_get(ApiCall *call);
void handle_host_renew(ApiCall *call);
void also_move_repositories(ApiCall *call, InventoryChange *change);
bool check_host_delete(ApiCall *call, const Object *host, Error *err);
/* rules.c: ERROR_IN_USE when an object of any kind names it. */
bool call_check_unused(ApiCall *call, const Object *object, Error *err);

/* find.c */
void handle_match_list(ApiCall *call);

/* discover.c */
void handle_host_discover(ApiCall *call);

/* statistics.c */
void handle_vm_statistics(ApiCall *call);

EventStreams *event_streams_new(Api *api);
void event_streams_free(EventStreams *streams);
