/*
 * Who asks, and what he may do. A UNIX socket's peer with uid 0, or with the daemon's own uid, is
 * "root@local", an administrator without account. Everybody else shows a bearer token, whose SHA-256 the
 * store knows. Main loop only.
 *
 * A role counts everywhere, a grant for one object: `KIND/ID`, or `pool/ID` for what belongs to that pool. A
 * job counts as the object that it is about, and its asker may always see and cancel it.
 */
#pragma once
#include "http/http-request.h"
#include "inventory/inventory.h"

#define ACCESS_LOCAL_NAME "root@local"

typedef struct Identity {
    char *name;                    /* for the audit; never NULL in an identity that was found */
    char *principal_id, *token_id; /* NULL for root@local */
} Identity;
void identity_clear(Identity *identity);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Identity, identity_clear)

/* The token of a request: "Authorization: Bearer TOKEN"; a browser's WebSocket, which can set no header,
 * offers the subprotocol "lodge-bearer.TOKEN". Newly allocated, or NULL. Free it with secret_free. */
char *access_request_token(const HttpRequest *request);

/* `token` may be NULL. ERROR_UNAUTHENTICATED. A token goes before the peer. */
bool access_identify(Inventory *inventory, const Clock *clock, const HttpPeer *peer, const char *token,
    Identity *ret_identity, Error *err);
/* Whether token and principal still exist and are valid. */
bool access_is_valid(Inventory *inventory, const Clock *clock, const Identity *identity);

/* Whether he has the permission everywhere. */
bool access_permits_all(Inventory *inventory, const Identity *identity, const char *permission);
/* ERROR_DENIED with the permission's name. `kind` and `id` name the object, `id` NULL when there is none;
 * `pool_id` is the pool that it belongs to, or NULL. */
bool access_check(Inventory *inventory, const Identity *identity, const char *permission, ResourceId kind,
    const char *id, const char *pool_id, Error *err);
/* The same for an object that is known: its pool, and for a job what it is about, are found out. */
bool access_check_object(
    Inventory *inventory, const Identity *identity, const char *permission, const Object *object, Error *err);
/* Whether he may see what an event tells: his own doing, or an object that he may view. */
bool access_may_see(Inventory *inventory, const Identity *identity, const Event *event);

/* From where somebody asks, for the audit: "192.0.2.7", or "uid 0" on the socket. Newly allocated. */
char *access_source(const HttpPeer *peer);
