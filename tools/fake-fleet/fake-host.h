/*
 * One pretended agent: a key, a certificate, an owner and an address of its own; it is taken by a secret,
 * believes its owner only, answers calls and reports what its VMs do. It keeps the rules of
 * docs/agent-protocol.md as far as a manager can see them; operations are remembered in memory only. Main
 * loop only.
 */
#pragma once
#include "rpc/rpc-connection.h"
#include "rpc/rpc-listener.h"
#include "store/store.h"
#include "tls/tls-code.h"
#include "tls/tls-identity.h"
#include "base/work.h"
#include "world.h"

/* What all hosts of the process share; borrowed, must outlive them. */
typedef struct FakeShared {
    World *world;
    Store *store;       /* keys, certificates and owners */
    WorkPool *proofs;   /* of the secret: some tenths of a second each */
    const char *secret; /* NULL: nobody takes these hosts */
    size_t page_bytes;  /* of the rows in one page of an answer */
    int64_t n_reports;  /* sent since the start */
} FakeShared;

typedef struct FakeHost {
    FakeShared *shared;
    int number;
    char *id, *name;
    RpcAddress address;
    RpcListener *listener;
    GPtrArray *clients; /* FakeClient */
    /* In the store: */
    TlsIdentity identity;
    char *owner, *authority_pem; /* NULL: free */
    int64_t epoch;
    json_t *kept; /* in memory only; NULL: nothing */
    /* What follows from that: */
    TlsCredentials *credentials;
    char *key;              /* fingerprint */
    GHashTable *operations; /* id -> json_t, what came of it */
    GHashTable *claims;     /* object -> int64_t, the highest revision that was seen */
    GArray *changed;        /* int: VMs to report */
    bool is_host_changed;   /* the host is to be reported, too */
    guint report_source;
} FakeHost;

typedef struct FakeClient {
    FakeHost *host;
    RpcConnection *connection;
    bool is_owner;    /* said `hello` as the owner, or `own` */
    char *proved_for; /* the manager that proved the secret on this connection */
} FakeClient;

/* Makes its key at the first start; does not listen yet. Blocks. */
FakeHost *fake_host_new(FakeShared *shared, int number, const RpcAddress *address, Error *err);
void fake_host_free(FakeHost *host); /* accepts NULL */
bool fake_host_listen(FakeHost *host, Error *err);
/* Tells the owner a moment later; -1: only of the host. */
void fake_host_changed(FakeHost *host, int vm);
/* Lets `n` VMs change and tells the owner of these and of the host, at once. */
void fake_host_beat(FakeHost *host, int n);

/* ---- inside: fake-host.c, fake-answers.c ---- */

bool fake_client_is_owner(const FakeClient *client); /* may ask for more than who is there */
/* Stores keys and owner; `done` may be NULL. */
void fake_host_save(FakeHost *host, StoreDoneFn done, void *data);
/* Takes up another certificate, owner or authority; all connections but `keep` end when it is not NULL. */
bool fake_host_reload(FakeHost *host, const FakeClient *keep, Error *err);
RpcHandler fake_answer_lookup(const char *method, void *client);
