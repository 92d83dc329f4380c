/*
 * The recovery kit: what a manager on an empty store needs to be believed by the hosts of a lost one (type
 * recovery_kit). Its secret part is sealed (tls/tls-seal.h). Whether the newest one is still worth something
 * is told by a digest of what it holds, kept in the store (RECOVERY_KEY). Main loop only, but for what says
 * otherwise.
 */
#pragma once
#include "base/work.h"
#include "inventory/inventory.h"
#include "manager/host-authority.h"

enum { RECOVERY_PASSPHRASE_LEAST = 12 };

/* Exactly one of both is given, never before the function returns. */
typedef void (*RecoveryFn)(const json_t *result, const Error *err, void *data);

/* Makes one (type recovery_kit); borrows all until `done`. ERROR_INVALID for a passphrase that is too short.
 */
void recovery_make(Inventory *inventory, const HostAuthority *authority, WorkPool *pool,
    const char *passphrase, RecoveryFn done, void *data);
/* What is known of the one that was made last. */
void recovery_fill_state(Inventory *inventory, const HostAuthority *authority, RecoveryState *ret_state);

/* An opened one; owned. */
typedef struct OpenedKit {
    char *manager;
    int64_t epoch, made_ns;
    TlsIdentity authority;
    json_t *hosts;      /* [{id, name, address, key?, pool?}] */
    json_t *pools;      /* definitions, with their secrets */
    json_t *principals; /* definitions, with their hashes */
} OpenedKit;
void opened_kit_clear(OpenedKit *kit);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(OpenedKit, opened_kit_clear)
/* ERROR_INVALID at /kit when it is none or damaged, ERROR_DENIED at /passphrase, ERROR_NEWER_FORMAT. Blocks
 * for some tenths of a second; any thread. */
bool recovery_open(const char *text, const char *passphrase, OpenedKit *ret_kit, Error *err);
