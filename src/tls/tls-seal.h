/*
 * A text that only a passphrase opens: PKCS #12 (RFC 7292) with one secret in it, encrypted and authenticated
 * by GnuTLS (PBES2, AES-256). `openssl pkcs12` reads it too. Blocks for some tenths of a second, which is
 * meant: guessing takes as long. Any thread.
 */
#pragma once
#include <stddef.h>
#include "base/error.h"

/* *ret_sealed: base64, newly allocated. */
bool tls_seal(const char *passphrase, const char *text, char **ret_sealed, Error *err);
/* ERROR_DENIED: it is another passphrase. ERROR_INVALID: this is nothing that was sealed, or it is damaged.
 * *ret_text is newly allocated; tls_sealed_free it. */
bool tls_unseal(const char *passphrase, const char *sealed, char **ret_text, Error *err);
/* Overwrites the text before it is freed; accepts NULL. */
void tls_sealed_free(char *text);
