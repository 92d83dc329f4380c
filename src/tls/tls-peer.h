/*
 * What a server shows of itself before it is trusted: for pinning its authority at the first log-in.
 * Blocking; any thread.
 */
#pragma once
#include <stdint.h>
#include "base/error.h"

/* The certificate of the authority at the end of the chain that the server sends, as PEM, unverified: the
 * caller compares its fingerprint before use. ERROR_NOT_FOUND when the server sends its own certificate only;
 * ERROR_UNREACHABLE, ERROR_TIMED_OUT. */
bool tls_peer_authority(const char *host, uint16_t port, int64_t timeout_ms, char **ret_pem, Error *err);
