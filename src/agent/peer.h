/*
 * Connections to agents on other hosts of the same owner: believed by the key that the manager named. The
 * other side must expect this host (remote_expect). Main loop only.
 */
#pragma once
#include "agent/agent-private.h"

typedef struct PeerPlace {
    const char *address;  /* numeric or a name, with a port */
    const char *id, *key; /* of the host there: its id, the fingerprint of its key */
} PeerPlace;

typedef struct PeerLink PeerLink;

/* Never before peer_link_new returns. */
typedef struct PeerLinkFns {
    void (*on_ready)(PeerLink *link, void *data); /* calls may be made */
    /* It could not be connected, or it was lost, perhaps before on_ready. Free the link. */
    void (*on_closed)(PeerLink *link, const Error *why, void *data);
} PeerLinkFns;

/* ERROR_INVALID for an address that is none. */
PeerLink *peer_link_new(Agent *agent, const PeerPlace *place, const PeerLinkFns *fns, void *data, Error *err);
/* Streams that were opened live on; those that are being opened are given up, without on_opened. Accepts
 * NULL. */
void peer_link_free(PeerLink *link);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(PeerLink, peer_link_free)

RpcConnection *peer_link_connection(PeerLink *link); /* borrowed; NULL until on_ready */
/* A stream of its own to that host, which gave the ticket. Exactly one of `take_stream` and `error` is given,
 * never before this returns. */
void peer_link_stream(PeerLink *link, const char *ticket, RpcOpenedFn on_opened, void *data);
