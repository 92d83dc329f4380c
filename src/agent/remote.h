/*
 * What this agent shows of itself over the network, and whom it believes: its own key, made here and never
 * leaving, its certificate, its owner's authority, and the one-time code with which a manager becomes owner.
 * Files in STATE/tls. Main loop only, but for what says otherwise.
 */
#pragma once
#include "agent/journal.h"
#include "rpc/rpc-tls.h"
#include "tls/tls-code.h"

enum { REMOTE_CODE_S = 900, REMOTE_TRIES = 3 };

typedef struct Remote Remote;
/* Makes the key at the first start. The journal must outlive it. Blocks. */
Remote *remote_new(const char *state_folder, const Journal *journal, const Clock *clock, Error *err);
void remote_free(Remote *remote); /* accepts NULL */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Remote, remote_free)

TlsCredentials *remote_credentials(const Remote *remote); /* borrowed; others after a reload */
const char *remote_key(const Remote *remote);             /* fingerprint of the own key */

/* RpcTlsOptions.check; `remote` is the Remote. Lets in the owner; strangers with a key of their own only
 * while the host is free or a code is open. */
bool remote_check(const TlsShown *shown, void *remote, Error *err);
bool remote_is_owner(const Remote *remote, const TlsShown *shown);

/* ---- the one-time code ---- */

/* A new one, which ends the one before; borrowed. Never log it. */
const char *remote_code_make(Remote *remote);
/* Uses up one of the tries and gives a copy of the code to prove. `manager` may try again after it was the
 * owner's proof that was right (the answer may have been lost). ERROR_DENIED when no code is open. */
bool remote_try(Remote *remote, const char *manager, char **ret_code, Error *err);
/* That try was right: from now on the code is worth something to that manager only. */
void remote_tried_well(Remote *remote, const char *manager);

/* ---- files; any thread, one at a time ---- */

bool remote_write_authority(const Remote *remote, const char *manager, const char *authority_pem, Error *err);
/* ERROR_INVALID for a certificate that is not for the own key. */
bool remote_write_certificate(const Remote *remote, const char *certificate_pem, Error *err);

/* Takes up what was written. Blocks for a moment. */
bool remote_reload(Remote *remote, Error *err);
