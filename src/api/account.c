/* Principals and tokens: hashes instead of secrets, and an administrator who stays. */
#include <string.h>
#include "api/api-internal.h"
#include "api/password.h"

enum { TOKEN_DAYS = 90, TOKEN_BYTES = 32, MAX_TOKENS_AT_ONCE = 50 };
#define NS_PER_DAY (86400 * NS_PER_S)

/* Passwords, hashed in the pool. */

typedef struct HashWork {
    ApiCall *call;
    char *password, *hash;
    Error err;
} HashWork;

static void hash_work_free(HashWork *work) {
    secret_free(work->password);
    g_free(work->hash);
    error_clear(&work->err);
    g_free(work);
}

static void run_hash(void *data) {
    HashWork *work = data;
    password_hash(work->password, &work->hash, &work->err);
}

static void hash_done(void *data) {
    HashWork *work = data;
    ApiCall *call = work->call;
    if (call->api->is_closed && !error_is_set(&work->err))
        error_set(&work->err, ERROR_UNREACHABLE, NULL, "the manager ends");
    if (error_is_set(&work->err)) {
        call_fail(call, &work->err);
    } else {
        principal_set_password_hash(call->definition, work->hash);
        call_store(call);
    }
    hash_work_free(work);
    call_release(call);
}

static bool is_last_administrator(Inventory *inventory, const char *id) {
    const GPtrArray *all = inventory_list(inventory, RESOURCE_PRINCIPAL);
    bool is_one = false;
    for (guint i = 0; i < all->len; i++) {
        const Object *object = g_ptr_array_index(all, i);
        const Principal *principal = object->data;
        bool counts = principal->role == ROLE_ADMINISTRATOR &&
                      principal_has(principal, PRINCIPAL_FIELD_ROLE) && !principal->disabled;
        if (counts && !g_str_equal(object->id, id))
            return false;
        is_one |= counts;
    }
    return is_one;
}

static bool check_principal(ApiCall *call, Error *err) {
    const Principal *principal = call->definition;
    bool has_password = principal_has(principal, PRINCIPAL_FIELD_PASSWORD);
    if (has_password && principal->kind == PRINCIPAL_KIND_SERVICE)
        return error_set(err, ERROR_INVALID, "/password", "password: a service has tokens only");
    if (has_password && strlen(principal->password) < PASSWORD_MIN_LENGTH)
        return error_set(
            err, ERROR_INVALID, "/password", "password: at least %d characters", PASSWORD_MIN_LENGTH);
    return true;
}

/* Names become ids, so that a grant follows its object and never another one of the same name. A grant whose
 * object is gone may stay. */
static bool resolve_grants(ApiCall *call, Error *err) {
    Principal *principal = call->definition;
    for (size_t i = 0; i < principal->grants.n; i++) {
        Grant *grant = &principal->grants.items[i];
        g_auto(GStrv) parts = g_strsplit(grant->object, "/", 2);
        g_autofree char *pointer = g_strdup_printf("/grants/%zu/object", i);
        ResourceId kind = parts[0] && parts[1] && *parts[1] ? resource_find(parts[0]) : RESOURCE_MAX;
        if (kind == RESOURCE_MAX)
            return error_set(err, ERROR_INVALID, pointer, "object: must be KIND/NAME, such as vm/web-1");
        if (g_uuid_string_is_valid(parts[1]))
            continue;
        const Object *object = inventory_find(call->api->inventory, kind, parts[1], err);
        if (!object)
            return error_prefix_field(err, pointer);
        g_autofree char *text = g_strconcat(parts[0], "/", object->id, NULL);
        grant_set_object(grant, text);
    }
    return true;
}

void prepare_principal(ApiCall *call) {
    g_auto(Error) err = {0};
    Principal *principal = call->definition;
    if (!check_principal(call, &err) || !resolve_grants(call, &err)) {
        call_fail(call, &err);
        return;
    }
    if (!principal_has(principal, PRINCIPAL_FIELD_PASSWORD)) {
        call_store(call);
        return;
    }
    HashWork *work = g_new0(HashWork, 1);
    work->call = call;
    work->password = g_strdup(principal->password);
    explicit_bzero(principal->password, strlen(principal->password));
    principal_set_password(principal, NULL);
    json_object_del(call->parameters, "password");
    call_hold(call);
    if (work_pool_add(call->api->hashes, run_hash, hash_done, work, &err))
        return;
    hash_work_free(work);
    call_fail(call, &err);
    call_release(call);
}

void prepare_principal_update(ApiCall *call) {
    const Principal *principal = call->definition;
    bool stays = principal->role == ROLE_ADMINISTRATOR && !principal->disabled;
    if (stays || !is_last_administrator(call->api->inventory, call->object_id)) {
        prepare_principal(call);
        return;
    }
    g_auto(Error) err = {0};
    error_set(&err, ERROR_IN_USE, NULL, "%s is the last administrator", call->object_name);
    call_fail(call, &err);
}

bool check_principal_delete(ApiCall *call, const Object *object, Error *err) {
    if (is_last_administrator(call->api->inventory, object->id))
        return error_set(err, ERROR_IN_USE, NULL, "%s is the last administrator", object->name);
    return true;
}

/* More than these are left behind: without their principal they open nothing. */
static void delete_tokens(
    ApiCall *call, const char *principal_id, bool only_sessions, InventoryChange *change) {
    const GPtrArray *tokens = inventory_list(call->api->inventory, RESOURCE_TOKEN);
    int n = 0;
    for (guint i = 0; i < tokens->len && n < MAX_TOKENS_AT_ONCE; i++) {
        const Object *object = g_ptr_array_index(tokens, i);
        const Token *token = object->data;
        if (g_strcmp0(token->principal, principal_id) != 0 || (only_sessions && !token->session))
            continue;
        inventory_change_delete(change, RESOURCE_TOKEN, object->id);
        n++;
    }
}

void also_delete_tokens(ApiCall *call, const Object *principal, InventoryChange *change) {
    delete_tokens(call, principal->id, false, change);
}

/* A new password ends what was begun with the old one. */
void also_end_sessions(ApiCall *call, InventoryChange *change) {
    const Principal *next = call->definition;
    const Object *now = inventory_get(call->api->inventory, RESOURCE_PRINCIPAL, call->object_id);
    if (now && g_strcmp0(((const Principal *)now->data)->password_hash, next->password_hash) != 0)
        delete_tokens(call, call->object_id, true, change);
}

/* Tokens. */

char *token_fill(Token *token, const Clock *clock, const char *principal_id, int64_t lifetime_ns) {
    char *secret = secret_make("lodge_", TOKEN_BYTES);
    g_autofree char *hash = secret_hash(secret);
    token_set_hash(token, hash);
    token_set_principal(token, principal_id);
    if (!token_has(token, TOKEN_FIELD_EXPIRES))
        token_set_expires(token, clock_realtime_ns(clock) + lifetime_ns);
    return secret;
}

static bool owns(ApiCall *call, const char *principal_id) {
    return call->who.principal_id && g_strcmp0(call->who.principal_id, principal_id) == 0;
}

static bool is_manager(ApiCall *call) {
    return access_permits_all(call->api->inventory, &call->who, "principal.manage");
}

static bool check_token(ApiCall *call, const char *principal_id, Error *err) {
    const Token *token = call->definition;
    if (!principal_id)
        return error_set(
            err, ERROR_INVALID, "/principal", "principal: %s is no principal, name one", call->who.name);
    if (!owns(call, principal_id) && !is_manager(call))
        return error_set(err, ERROR_DENIED, "/principal",
            "a token of somebody else needs the permission principal.manage");
    if (token_has(token, TOKEN_FIELD_EXPIRES) && token->expires <= clock_realtime_ns(call->api->clock))
        return error_set(err, ERROR_INVALID, "/expires", "expires: lies in the past");
    return true;
}

void prepare_token(ApiCall *call) {
    g_auto(Error) err = {0};
    Token *token = call->definition;
    g_autofree char *principal_id =
        g_strdup(token_has(token, TOKEN_FIELD_PRINCIPAL) ? token->principal : call->who.principal_id);
    if (!check_token(call, principal_id, &err)) {
        call_fail(call, &err);
        return;
    }
    char *secret = token_fill(token, call->api->clock, principal_id, TOKEN_DAYS * NS_PER_DAY);
    call->extra = json_pack("{ss}", "secret", secret);
    secret_free(secret);
    call_store(call);
}

bool is_token_visible(ApiCall *call, const Object *object) {
    return owns(call, ((const Token *)object->data)->principal) || is_manager(call);
}

bool check_token_delete(ApiCall *call, const Object *object, Error *err) {
    if (is_token_visible(call, object))
        return true;
    return error_set(err, ERROR_NOT_FOUND, NULL, "there is no token %s of yours", call->object_name);
}
