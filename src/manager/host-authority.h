/*
 * What this manager shows to agents on other machines, and the authority that signs for their keys: files
 * `agents` and `agents-client` in its state folder. Its own beside that of HTTPS, so that no host's key
 * speaks for the manager's web address. Main loop only; signing takes a millisecond.
 */
#pragma once
#include "rpc/rpc-connect.h"
#include "tls/tls-identity.h"

typedef struct HostAuthority HostAuthority;
/* Makes both at the first start, and the client's certificate again when it is due. Blocks. */
HostAuthority *host_authority_new(
    const char *folder, const char *manager_uuid, const Clock *clock, Error *err);
/* One of somebody else's identity, in memory only: to look at hosts before it is taken over. Blocks for a
 * moment. */
HostAuthority *host_authority_of(
    const TlsIdentity *identity, const char *manager_uuid, const Clock *clock, Error *err);
/* Takes over another one, on the disk too: this manager is made anew in place of that one. Killed in between
 * it may have none, and makes a new one at its next start. Connections that are open keep the one before.
 * Blocks for a moment; on failure all is as before in memory. */
bool host_authority_become(
    HostAuthority *authority, const TlsIdentity *identity, const char *manager_uuid, Error *err);
/* Once a day will do: makes the client's certificate again when it is due; connections that are open keep the
 * one before. Blocks for a moment. On failure the one before stays. */
bool host_authority_renew(HostAuthority *authority, Error *err);
void host_authority_free(HostAuthority *authority); /* accepts NULL */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(HostAuthority, host_authority_free)

TlsCredentials *host_authority_credentials(const HostAuthority *authority); /* borrowed */
const char *host_authority_pem(const HostAuthority *authority);
const TlsIdentity *host_authority_identity(const HostAuthority *authority); /* with its key; borrowed */

/* For the key that the host showed. */
bool host_authority_sign(const HostAuthority *authority, const char *shown_pem, const char *host_id,
    char **ret_certificate_pem, Error *err);
const char *host_authority_manager(const HostAuthority *authority); /* its UUID */
/* Whether the host that is connected showed a certificate that is to be renewed. */
bool host_authority_is_due(const HostAuthority *authority, const char *shown_pem);

/* Whom a connection must lead to. */
typedef struct HostExpected {
    const char *id, *key; /* fingerprint */
} HostExpected;
/* ERROR_DENIED: signed by another authority, expired, another name, or another key than the one that was
 * taken under management. */
bool host_expected_check(const HostExpected *expected, const TlsShown *shown, Error *err);
