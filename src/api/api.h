/*
 * The REST façade: every method of the schema on an HTTP server, generic over the generated table. It finds
 * route and caller, checks the permission, decodes, resolves names, then reads the inventory, commits a
 * change or submits a job. Every change leaves an audit line. Errors are RFC 9457 problems.
 *
 * What callers should know beyond the schema:
 * - Lists answer {"items":[…],"next":CURSOR,"position":"EPOCH:SEQUENCE"}: watch from that position to miss
 * nothing.
 * - GET of an object and the answer to a change carry ETag "<revision>"; PATCH and DELETE heed If-Match.
 * - A method that is a job answers 202 with the job, with ?dry_run=true 200 with what it would do. The job of
 * an update gets the merge patch as parameters, names resolved to ids, nulls kept.
 * - Jobs and creates heed Idempotency-Key: the same request again gives the same job or object, another
 * request with a known key is ERROR_CONFLICT. Jobs keep their keys as long as they are listed, creates see
 * repeat.h.
 * - Lists and the event stream show those who may not view all what their grants name.
 * - Parameters of DELETE come from the query or the body.
 * - A method that takes a file: upload.c.
 * - The secret of a token stands only in the answer that makes it.
 *
 * Main loop only.
 */
#pragma once
#include "http/http-server.h"
#include "inventory/inventory.h"
#include "jobs/jobs.h"

typedef struct Api Api;

#define RESTORE_PENDING "restore.pending"

/* `identity` is what the host's agent said of itself, or NULL with `err`; `key` the fingerprint of the key
 * that it showed, NULL where it was not asked over the network. All borrowed. */
typedef void (*ApiHostFn)(const AgentIdentity *identity, const char *key, const Error *err, void *data);

/* What a host answered, or NULL with `err`; borrowed. */
typedef void (*ApiAnswerFn)(const json_t *result, const Error *err, void *data);

typedef void (*ApiRowFn)(const FoundHost *row, void *data);
typedef void (*ApiEndFn)(const Error *err, void *data);

/* A file on its way to a host. Borrowed during the call. */
typedef struct ApiUpload {
    const char *id;           /* a UUID that nobody else's upload has */
    const json_t *parameters; /* of the method, references resolved */
    int64_t size;             /* in all, bytes; -1: not known */
    uint64_t offset;          /* where the body begins, bytes */
} ApiUpload;
/* Bytes that the host keeps of it. */
typedef void (*ApiUploadFn)(uint64_t kept_bytes, const Error *err, void *data);

typedef struct ApiOptions {
    Inventory *inventory; /* borrowed, as all below; must outlive api_free */
    Jobs *jobs;
    const Clock *clock;
    const char *instance;       /* its name */
    const char *ca_fingerprint; /* shown by system.info; or NULL */
    const char
        *backup_folder; /* where a backup lies for moments while it is sent; NULL: backups are refused */
    void *hook_data;    /* last argument of the hooks */
    /* A checked backup lies in `backup_folder` as RESTORE_PENDING: the manager is to start again and to take
     * it up. NULL: not offered. */
    void (*restored)(void *data);
    /* Takes over a WebSocket request for a VM's console; false with *err set: nothing answered. NULL: not
     * offered. */
    bool (*open_console)(HttpRequest *request, const Object *vm, void *data, Error *err);
    /* Tells how much of an upload is kept; `done` once. All three NULL: uploads are refused. */
    void (*ask_upload)(const ApiUpload *upload, ApiUploadFn done, void *done_data, void *data);
    /* Inside on_headers: takes the body. `done` once, with what is then kept; the receiver that is returned
     * (NULL when done was called already) is gone when it is called. Answers nothing. */
    void *(*begin_upload)(
        HttpRequest *request, const ApiUpload *upload, ApiUploadFn done, void *done_data, void *data);
    /* The body is complete. */
    void (*end_upload)(void *receiver, void *data);
    /* Asks the agent at an address who it is and takes ownership, before a host is stored; of a host that is
     * known, by its id, once more. Calls `done` once, never before this returns. NULL: the host is stored
     * under a new id. */
    void (*own_host)(const HostAdd *host, const char *host_id, ApiHostFn done, void *done_data, void *data);
    /* Asks a host for its kernel modules: `result` is an array of rows. `done` once, perhaps before this
     * returns. NULL: not offered. */
    void (*list_modules)(const char *host_id, ApiAnswerFn done, void *done_data, void *data);
    /* What a host would do with a list of allowed modules (agent_modules_plan), or why it refuses it; as
     * above. NULL: nothing is checked. */
    void (*check_modules)(const Host *host, ApiAnswerFn done, void *done_data, void *data);
    /* Asks a host for the VMs that Lodge did not make: an array of foreign_vm; as above. NULL: not offered.
     */
    void (*list_foreign)(const char *host_id, ApiAnswerFn done, void *done_data, void *data);
    /* Asks a VM's host what the VM uses (vm_statistics without `name`); as above. NULL: not offered. */
    void (*read_statistics)(const Vm *vm, ApiAnswerFn done, void *done_data, void *data);
    /* Makes a recovery kit (recovery_kit); `done` once, never before this returns. NULL: not offered. */
    void (*make_kit)(const char *passphrase, ApiAnswerFn done, void *done_data, void *data);
    /* What is known of the newest one, for system.info. NULL: not told. */
    void (*fill_kit_state)(RecoveryState *ret_state, void *data);
    /* Before the job of system.rebuild: `result` is its parameters, or, when `is_dry`, what it would do.
     * `done` once, never before this returns. NULL: not offered. */
    void (*prepare_rebuild)(
        const json_t *parameters, bool is_dry, ApiAnswerFn done, void *done_data, void *data);
    /* The id of a job that works on that host or waits for it: then it cannot be removed. NULL: never asked.
     */
    const char *(*job_on_host)(const char *host_id, void *data);
    /* Looks for hosts: `on_row` as they are found, then `on_end` once (NULL: all were tried), neither before
     * this returns; the handle is gone then. NULL with *err set: nothing began. Both NULL: not offered. */
    void *(*begin_discovery)(
        const HostDiscover *asked, ApiRowFn on_row, ApiEndFn on_end, void *user_data, void *data, Error *err);
    void (*end_discovery)(void *discovery); /* without on_end */
    /* What is not below /v1 (the web console). NULL: not found. */
    void (*on_other)(HttpRequest *request, void *data);
} ApiOptions;

/* `options` is copied, what it names is not. */
Api *api_new(const ApiOptions *options);
/* After the server is freed and before the inventory is. Accepts NULL. Commits and jobs that are under way go
 * on. */
void api_free(Api *api);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Api, api_free)

/* For http_server_new(&api_http_handler, api, …). */
extern const HttpHandler api_http_handler;

/* When there is no principal at all: makes "admin", administrator, with a random password that `done` gets
 * once. Otherwise `done` gets NULL. `done` is never called before this returns. */
void api_first_administrator(
    Api *api, void (*done)(const char *password, const Error *err, void *data), void *data);
