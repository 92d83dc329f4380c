/* The decision itself stands in the generated role table. */
#include "api/access.h"
#include <string.h>
#include <unistd.h>
#include "api/api-internal.h"
#include "api/password.h"

#define BEARER "Bearer "
#define PROTOCOL_PREFIX "lodge-bearer."

void identity_clear(Identity *identity) {
    g_free(identity->name);
    g_free(identity->principal_id);
    g_free(identity->token_id);
    memset(identity, 0, sizeof *identity);
}

char *access_request_token(const HttpRequest *request) {
    const char *header = http_request_header(request, "Authorization");
    if (header)
        return g_ascii_strncasecmp(header, BEARER, strlen(BEARER)) == 0
                   ? g_strstrip(g_strdup(header + strlen(BEARER)))
                   : g_strdup("");
    const char *protocols = http_request_header(request, "Sec-WebSocket-Protocol");
    if (!protocols || !http_request_is_websocket(request))
        return NULL;
    g_auto(GStrv) offers = g_strsplit(protocols, ",", 16);
    for (char **offer = offers; *offer; offer++)
        if (g_str_has_prefix(g_strstrip(*offer), PROTOCOL_PREFIX))
            return g_strdup(*offer + strlen(PROTOCOL_PREFIX));
    return NULL;
}

static bool is_alive(const Clock *clock, const Token *token) {
    return token_has(token, TOKEN_FIELD_EXPIRES) && token->expires > clock_realtime_ns(clock);
}

static const Principal *principal_get(Inventory *inventory, const char *id) {
    const Object *object = id ? inventory_get(inventory, RESOURCE_PRINCIPAL, id) : NULL;
    return object ? object->data : NULL;
}

static bool may_enter(const Principal *principal) {
    return principal && !(principal_has(principal, PRINCIPAL_FIELD_DISABLED) && principal->disabled);
}

static bool identify_token(
    Inventory *inventory, const Clock *clock, const char *secret, Identity *ret_identity, Error *err) {
    g_autofree char *hash = secret_hash(secret);
    const GPtrArray *tokens = inventory_list(inventory, RESOURCE_TOKEN);
    for (guint i = 0; i < tokens->len; i++) {
        const Token *token = ((const Object *)g_ptr_array_index(tokens, i))->data;
        if (g_strcmp0(token->hash, hash) != 0)
            continue;
        const Principal *principal = principal_get(inventory, token->principal);
        if (!is_alive(clock, token))
            return error_set(err, ERROR_UNAUTHENTICATED, NULL, "the token has expired");
        if (!may_enter(principal))
            return error_set(err, ERROR_UNAUTHENTICATED, NULL, "the token's principal is disabled");
        token_set_last_used(
            inventory_runtime(inventory, RESOURCE_TOKEN, token->id), clock_realtime_ns(clock));
        *ret_identity = (Identity){.name = g_strdup(principal->name),
            .principal_id = g_strdup(principal->id),
            .token_id = g_strdup(token->id)};
        return true;
    }
    return error_set(err, ERROR_UNAUTHENTICATED, NULL, "the token is not known");
}

bool access_identify(Inventory *inventory, const Clock *clock, const HttpPeer *peer, const char *token,
    Identity *ret_identity, Error *err) {
    if (token)
        return identify_token(inventory, clock, token, ret_identity, err);
    if (peer->is_unix && (peer->uid == 0 || peer->uid == getuid())) {
        *ret_identity = (Identity){.name = g_strdup(ACCESS_LOCAL_NAME)};
        return true;
    }
    return error_set(err, ERROR_UNAUTHENTICATED, NULL, "a token is needed");
}

bool access_is_valid(Inventory *inventory, const Clock *clock, const Identity *identity) {
    if (!identity->token_id)
        return identity->name;
    const Object *token = inventory_get(inventory, RESOURCE_TOKEN, identity->token_id);
    return token && is_alive(clock, token->data) &&
           may_enter(principal_get(inventory, identity->principal_id));
}

static Role role_of(const Principal *principal) {
    return principal_has(principal, PRINCIPAL_FIELD_ROLE) ? principal->role : ROLE_VIEWER;
}

bool access_permits_all(Inventory *inventory, const Identity *identity, const char *permission) {
    if (g_str_equal(permission, "anyone"))
        return true;
    if (!identity->principal_id)
        return identity->name && role_permits(ROLE_ADMINISTRATOR, permission);
    const Principal *principal = principal_get(inventory, identity->principal_id);
    return may_enter(principal) && role_permits(role_of(principal), permission);
}

static bool grant_permits(const Principal *principal, const char *permission, const char *object) {
    for (size_t i = 0; i < principal->grants.n; i++) {
        const Grant *grant = &principal->grants.items[i];
        if (g_strcmp0(grant->object, object) == 0 && role_permits(grant->role, permission))
            return true;
    }
    return false;
}

bool access_check(Inventory *inventory, const Identity *identity, const char *permission, ResourceId kind,
    const char *id, const char *pool_id, Error *err) {
    if (access_permits_all(inventory, identity, permission))
        return true;
    const Principal *principal = principal_get(inventory, identity->principal_id);
    g_autofree char *object = id ? g_strconcat(resources[kind].name, "/", id, NULL) : NULL;
    g_autofree char *pool = pool_id ? g_strconcat("pool/", pool_id, NULL) : NULL;
    if (may_enter(principal) && ((object && grant_permits(principal, permission, object)) ||
                                    (pool && grant_permits(principal, permission, pool))))
        return true;
    return error_set(err, ERROR_DENIED, NULL, "%s needs the permission %s",
        identity->name ? identity->name : "this", permission);
}

/* A template or ISO belongs to the pool of its repository. */
static const char *pool_of(Inventory *inventory, const Object *object) {
    if (object->kind == RESOURCE_POOL)
        return object->id;
    const char *pool = definition_text(object->kind, object->data, "pool");
    const char *repository = definition_text(object->kind, object->data, "repository");
    const Object *place = repository ? inventory_get(inventory, RESOURCE_REPOSITORY, repository) : NULL;
    return pool || !place ? pool : ((const Repository *)place->data)->pool;
}

/* The object behind "vm/ID"; NULL when it is gone. */
static const Object *named_object(Inventory *inventory, const char *text) {
    const char *slash = text ? strchr(text, '/') : NULL;
    if (!slash)
        return NULL;
    g_autofree char *noun = g_strndup(text, (size_t)(slash - text));
    ResourceId kind = resource_find(noun);
    return kind < RESOURCE_MAX ? inventory_get(inventory, kind, slash + 1) : NULL;
}

static bool job_permits(
    Inventory *inventory, const Identity *identity, const char *permission, const Job *job) {
    bool is_asker = identity->principal_id && g_strcmp0(job->principal, identity->name) == 0;
    if (is_asker && (g_str_equal(permission, "job.view") || g_str_equal(permission, "job.cancel")))
        return true;
    const Object *target = named_object(inventory, job->target);
    return target && target->kind != RESOURCE_JOB &&
           access_check_object(inventory, identity, permission, target, NULL);
}

bool access_check_object(Inventory *inventory, const Identity *identity, const char *permission,
    const Object *object, Error *err) {
    if (access_permits_all(inventory, identity, permission))
        return true;
    if (object->kind == RESOURCE_JOB && job_permits(inventory, identity, permission, object->data))
        return true;
    return access_check(
        inventory, identity, permission, object->kind, object->id, pool_of(inventory, object), err);
}

bool access_may_see(Inventory *inventory, const Identity *identity, const Event *event) {
    if (access_permits_all(inventory, identity, "event.view") ||
        (identity->name && g_strcmp0(event->principal, identity->name) == 0))
        return true;
    const Object *object = named_object(inventory, event->object);
    if (!object)
        return false;
    g_autofree char *permission = g_strconcat(resources[object->kind].name, ".view", NULL);
    return access_check_object(inventory, identity, permission, object, NULL);
}

char *access_source(const HttpPeer *peer) {
    return peer->is_unix ? g_strdup_printf("uid %u", peer->uid) : g_strdup(peer->address);
}
