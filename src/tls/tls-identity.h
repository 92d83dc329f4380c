/*
 * Certificates of our own: a certificate authority and what it signs, through GnuTLS. ECDSA P-256, SHA-256,
 * PEM. All functions block (keys are made, files written); any thread. Private keys are written with mode
 * 0600 and never logged.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include "base/clock.h"
#include "base/error.h"

enum { TLS_AUTHORITY_DAYS = 3650, TLS_CERTIFICATE_DAYS = 397, TLS_RENEW_DAYS = 30 };

#define TLS_URI_PREFIX "lodge:"

typedef enum TlsRole { TLS_ROLE_SERVER = 1, TLS_ROLE_CLIENT = 2, TLS_ROLE_BOTH = 3 } TlsRole;

typedef struct TlsIdentity {
    char *certificate_pem, *key_pem;
} TlsIdentity;
void tls_identity_clear(TlsIdentity *identity);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(TlsIdentity, tls_identity_clear)

/* A new authority, valid from now for ten years; it may sign leaves only. */
bool tls_authority_make(const char *common_name, const Clock *clock, TlsIdentity *ret_authority, Error *err);
/* A new key and a certificate for 397 days. `names` are DNS names, numeric addresses or URIs ("lodge:…"),
 * NULL-terminated; a server's gets localhost, 127.0.0.1 and ::1 besides. ret->certificate_pem is the leaf
 * alone. */
bool tls_certificate_make(const TlsIdentity *authority, const char *common_name, const char *const *names,
    TlsRole role, const Clock *clock, TlsIdentity *ret_identity, Error *err);
/* Whom a certificate is about. */
typedef struct TlsSubject {
    const char *common_name;
    const char *const *names; /* as for tls_certificate_make; may be NULL */
    TlsRole role;
} TlsSubject;
/* A certificate for 397 days for the key of one that was shown: by a peer that proved in a handshake that it
 * has the private one, which never leaves it. */
bool tls_certificate_sign(const TlsIdentity *authority, const char *shown_pem, const TlsSubject *subject,
    const Clock *clock, char **ret_certificate_pem, Error *err);
/* A new key and a certificate that it signed itself, for ten years: for who has no authority yet. */
bool tls_identity_make_own(
    const TlsSubject *subject, const Clock *clock, TlsIdentity *ret_identity, Error *err);
/* Less than 30 days are left, it is not valid yet, the authority did not sign it, or a name is missing. */
bool tls_certificate_is_due(const char *certificate_pem, const char *authority_pem, const char *const *names,
    const Clock *clock, bool *ret_is_due, Error *err);

/* "sha256:" and 64 lower-case hexadecimal digits over the DER form; newly allocated. */
bool tls_fingerprint(const char *certificate_pem, char **ret_fingerprint, Error *err);
/* The same of its public key only, which stays when the certificate is renewed: as TlsShown has it. */
bool tls_key_fingerprint(const char *certificate_pem, char **ret_fingerprint, Error *err);

/* FOLDER/NAME.pem and FOLDER/NAME.key; the key first, so that a certificate never stands without its key. */
bool tls_identity_save(const TlsIdentity *identity, const char *folder, const char *name, Error *err);
/* ERROR_NOT_FOUND when there is none. ERROR_CORRUPT when certificate and key do not belong together. */
bool tls_identity_load(const char *folder, const char *name, TlsIdentity *ret_identity, Error *err);
