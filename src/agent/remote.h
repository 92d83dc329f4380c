/*
 * What this agent shows of itself over the network, and whom it believes: its own key, made here and never
 * leaving, its certificate, its owner's authority, and the one-time code with which a manager becomes owner.
 * Files in STATE/tls. Main loop only, but for what says otherwise.
 */
#pragma once
#include "agent/journal.h"
#include "rpc/rpc-tls.h"
#include "tls/tls-code.h"

enum { REMOTE_CODE_S = 900, REMOTE_TRIES = 3, REMOTE_SECRET_PAUSE_S = 2 };

typedef struct RemoteOptions {
    const char *state_folder;
    /* A file with a secret of at least TLS_SECRET_LEAST characters that counts as a code while the host
     * has no owner, for hosts that are set up unattended; NULL: none. Read at each try. */
    const char *secret_path;
    const Journal *journal; /* must outlive it */
    const Clock *clock;
} RemoteOptions;

typedef struct Remote Remote;
/* Makes the key at the first start. Blocks. */
Remote *remote_new(const RemoteOptions *options, Error *err);
void remote_free(Remote *remote); /* accepts NULL */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Remote, remote_free)

TlsCredentials *remote_credentials(const Remote *remote); /* borrowed; others after a reload */
const char *remote_key(const Remote *remote);             /* fingerprint of the own key */

/* RpcTlsOptions.check; `remote` is the Remote. Lets in the owner; strangers with a key of their own only
 * while the host is free or a code is open. */
bool remote_check(const TlsShown *shown, void *remote, Error *err);
bool remote_is_owner(const Remote *remote, const TlsShown *shown);

/* ---- other hosts of the owner ---- */

enum { REMOTE_PEERS_LIMIT = 1024 };
/* Lets in the host with that id and that key (fingerprint), whose certificate the owner's authority signed,
 * for so long; 0: no more. Nobody is expected any more when the agent starts anew. ERROR_BUSY: too many. */
bool remote_expect(Remote *remote, const char *host_id, const char *key, int64_t seconds, Error *err);
/* Its id when somebody who is expected shows this; borrowed. NULL when not. */
const char *remote_peer(const Remote *remote, const TlsShown *shown);

/* ---- the one-time code ---- */

/* A new one, which ends the one before; borrowed. Never log it. */
const char *remote_code_make(Remote *remote);
/* What may be proved; each may be NULL. */
typedef struct RemoteCodes {
    char *code, *secret;
} RemoteCodes;
void remote_codes_clear(RemoteCodes *codes);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(RemoteCodes, remote_codes_clear)

/* Uses up one of the tries and gives a copy of the code to prove, and of the secret. `manager` may try again
 * after it was the owner's proof that was right (the answer may have been lost). ERROR_DENIED when no code is
 * open and there is no secret, ERROR_RATE_LIMITED for the secret more than once in two seconds. */
bool remote_try(Remote *remote, const char *manager, RemoteCodes *ret_codes, Error *err);
/* The code was proved: from now on the code is worth something to that manager only. */
void remote_tried_well(Remote *remote, const char *manager);

/* ---- files; any thread, one at a time ---- */

bool remote_write_authority(const Remote *remote, const char *manager, const char *authority_pem, Error *err);
/* ERROR_INVALID for a certificate that is not for the own key. */
bool remote_write_certificate(const Remote *remote, const char *certificate_pem, Error *err);

/* Takes up what was written. Blocks for a moment. */
bool remote_reload(Remote *remote, Error *err);
