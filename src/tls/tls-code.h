/*
 * A short code that a person carries from one side of a TLS connection to the other, and the proof that both
 * know it. The proof is bound to that very connection (tls_session_binding): who stands between the two has
 * another binding on each side and can pass nothing on. A code has 40 random bits, so a proof is made costly
 * (PBKDF2-HMAC-SHA-256, RFC 8018): who caught one must not find the code before it has expired. Whoever
 * issues a code counts wrong proofs and takes the code back after a few.
 */
#pragma once
#include "tls/tls-session.h"

enum { TLS_CODE_LENGTH = 9, TLS_PROOF_LENGTH = 64 };
/* Characters of a secret that machines keep, which serves as a code without an end. */
enum { TLS_SECRET_LEAST = 16 };

/* "7H2K-9QLM", newly allocated: digits and capitals without I, L, O and U. Never log one. */
char *tls_code_make(void);
/* What a person typed: small letters, spaces, and letters that look like digits are understood. ERROR_INVALID
 * without the text. */
bool tls_code_parse(const char *text, char ret_code[TLS_CODE_LENGTH + 1], Error *err);

/* In hexadecimal. Who initiated the connection shows its proof first, the acceptor only after it was right.
 */
typedef struct TlsProofs {
    char initiator[TLS_PROOF_LENGTH + 1], acceptor[TLS_PROOF_LENGTH + 1];
} TlsProofs;
/* Blocks for some tenths of a second; any thread. */
bool tls_code_prove(
    const char *code, const uint8_t binding[TLS_BINDING_BYTES], TlsProofs *ret_proofs, Error *err);
/* In constant time. `shown` may be NULL. */
bool tls_proof_is(const char *expected, const char *shown);
