/*
 * Passwords as yescrypt hashes, and random secrets. The hash functions take about 100 ms of a processor and
 * some MiB of memory: call them from a worker pool. Any thread.
 */
#pragma once
#include "base/error.h"

enum { PASSWORD_MIN_LENGTH = 8 }; /* bytes */

/* A new salt each time; newly allocated. ERROR_INTERNAL when the system's library cannot. */
bool password_hash(const char *password, char **ret_hash, Error *err);
/* False also for a hash that this system cannot compute. `hash` NULL: takes as long as a real one, and is
 * false. */
bool password_matches(const char *password, const char *hash);
/* `prefix` and 2 * n_bytes hexadecimal digits from the kernel's generator; newly allocated. */
char *secret_make(const char *prefix, size_t n_bytes);
/* SHA-256 in 64 lower-case hexadecimal digits; newly allocated. */
char *secret_hash(const char *secret);
/* Overwrites the text before it is freed; accepts NULL. */
void secret_free(char *secret);
