/*
 * Name and password for a token, in the order in which it happens. Right and wrong names cost the same time;
 * guesses have to wait by name and by address.
 */
#include <string.h>
#include "api/api-internal.h"
#include "api/password.h"

enum { SESSION_HOURS = 12, MAX_CLEANED = 20 };
#define SESSION_NS (SESSION_HOURS * 3600 * NS_PER_S)

typedef struct LoginWork {
    ApiCall *call;
    char *password, *hash; /* hash NULL: nobody can log in with that name */
    char *principal_id, *name_key, *address_key;
    bool is_right;
} LoginWork;

static void login_work_free(LoginWork *work) {
    secret_free(work->password);
    g_free(work->hash);
    g_free(work->principal_id);
    g_free(work->name_key);
    g_free(work->address_key);
    g_free(work);
}

static void run_login(void *data) {
    LoginWork *work = data;
    work->is_right = password_matches(work->password, work->hash);
}

/* 1. What is known of the name. */
static LoginWork *login_work_new(ApiCall *call, const char *name, const char *password) {
    LoginWork *work = g_new0(LoginWork, 1);
    work->call = call;
    work->password = g_strdup(password);
    work->name_key = g_strconcat("name:", name, NULL);
    work->address_key = g_strconcat("from:", call->source, NULL);
    const Object *object = inventory_find(call->api->inventory, RESOURCE_PRINCIPAL, name, NULL);
    const Principal *principal = object ? object->data : NULL;
    bool can = principal && !principal->disabled && principal->kind != PRINCIPAL_KIND_SERVICE;
    if (can && principal_has(principal, PRINCIPAL_FIELD_PASSWORD_HASH)) {
        work->hash = g_strdup(principal->password_hash);
        work->principal_id = g_strdup(object->id);
    }
    return work;
}

static bool may_try(LoginWork *work, Error *err) {
    Throttle *throttle = work->call->api->throttle;
    return throttle_attempt(throttle, work->name_key, err) &&
           throttle_attempt(throttle, work->address_key, err);
}

/* 4. The token is durable. */
static void session_stored(const Error *err, void *data) {
    ApiCall *call = data;
    g_auto(Error) gone = {0};
    const Object *token = err || call->api->is_closed
                              ? NULL
                              : inventory_get(call->api->inventory, RESOURCE_TOKEN, call->object_id);
    if (token) {
        call_reply_object(call, 200, token);
    } else {
        error_set(&gone, ERROR_UNREACHABLE, NULL, "the manager ends");
        call_fail(call, err ? err : &gone);
    }
    call_release(call);
}

static void clean_sessions(Api *api, const char *principal_id, InventoryChange *change) {
    const GPtrArray *tokens = inventory_list(api->inventory, RESOURCE_TOKEN);
    int n = 0;
    for (guint i = 0; i < tokens->len && n < MAX_CLEANED; i++) {
        const Object *object = g_ptr_array_index(tokens, i);
        const Token *token = object->data;
        if (!token->session || g_strcmp0(token->principal, principal_id) != 0 ||
            token->expires > clock_realtime_ns(api->clock))
            continue;
        inventory_change_delete(change, RESOURCE_TOKEN, object->id);
        n++;
    }
}

/* 3. The password was right: a token. */
static void make_session(ApiCall *call, const char *principal_id) {
    Api *api = call->api;
    g_auto(Token) token = {0};
    g_autofree char *id = g_uuid_string_random();
    g_autofree char *name = g_strdup_printf("session-%.8s", id);
    token_set_id(&token, id);
    token_set_name(&token, name);
    token_set_session(&token, true);
    char *secret = token_fill(&token, api->clock, principal_id, SESSION_NS);
    call->extra = json_pack("{ss}", "secret", secret);
    secret_free(secret);
    g_free(call->object_id);
    call->object_id = g_strdup(id);
    void *principal = inventory_runtime(api->inventory, RESOURCE_PRINCIPAL, principal_id);
    principal_set_last_login(principal, clock_realtime_ns(api->clock));
    inventory_runtime_changed(api->inventory, RESOURCE_PRINCIPAL, principal_id);
    InventoryChange *change = inventory_change_new(api->inventory);
    inventory_change_put(change, RESOURCE_TOKEN, &token);
    clean_sessions(api, principal_id, change);
    inventory_change_by(change, call->who.name, NULL);
    call_hold(call);
    inventory_commit(api->inventory, change, session_stored, call);
}

/* The account may have been closed while the hash was computed. */
static bool is_still_open(const LoginWork *work) {
    Inventory *inventory = work->call->api->inventory;
    const Object *object = inventory_get(inventory, RESOURCE_PRINCIPAL, work->principal_id);
    const Principal *principal = object ? object->data : NULL;
    return principal && !principal->disabled && g_strcmp0(principal->password_hash, work->hash) == 0;
}

/* 2. The hash is computed. */
static void login_done(void *data) {
    LoginWork *work = data;
    ApiCall *call = work->call;
    if (call->api->is_closed) {
        http_reply(call->request, 503, NULL, 0, NULL);
    } else if (work->is_right && is_still_open(work)) {
        throttle_success(call->api->throttle, work->name_key);
        throttle_success(call->api->throttle, work->address_key);
        make_session(call, work->principal_id);
    } else {
        g_auto(Error) err = {0};
        error_set(&err, ERROR_UNAUTHENTICATED, NULL, "name or password is wrong");
        call_fail(call, &err);
    }
    login_work_free(work);
    call_release(call);
}

void handle_login(ApiCall *call) {
    g_auto(Error) err = {0};
    if (!call_decode_parameters(call, &err)) {
        call_fail(call, &err);
        return;
    }
    const char *name = json_string_value(json_object_get(call->parameters, "name"));
    const char *password = json_string_value(json_object_get(call->parameters, "password"));
    g_free(call->who.name);
    call->who.name = g_strdup(name);
    LoginWork *work = login_work_new(call, name, password);
    g_clear_pointer(&call->parameters, json_decref);
    call_hold(call);
    if (may_try(work, &err) && work_pool_add(call->api->hashes, run_login, login_done, work, &err))
        return;
    login_work_free(work);
    call_fail(call, &err);
    call_release(call);
}
