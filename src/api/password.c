/* libxcrypt and getrandom. */
#include "api/password.h"
#include <crypt.h>
#include <errno.h>
#include <string.h>
#include <sys/random.h>

enum { SECRET_MAX_BYTES = 64 };

/* Of a password that nobody has, so that an unknown name costs the same time as a known one. */
static const char *const nobody = "$y$j9T$C4uTpVdyWtQbJ3Q1tbhVv0$Zc8ZtoDNeJ1LBsQb6kqgCqzGmPuBFtqB6nIWzMW0jq1";

static bool hash_with(const char *password, const char *setting, char **ret_hash) {
    struct crypt_data *data = g_new0(struct crypt_data, 1);
    const char *hash = crypt_r(password, setting, data);
    bool ok = hash && *hash != '*';
    if (ok)
        *ret_hash = g_strdup(hash);
    explicit_bzero(data, sizeof *data);
    g_free(data);
    return ok;
}

bool password_hash(const char *password, char **ret_hash, Error *err) {
    char setting[CRYPT_GENSALT_OUTPUT_SIZE];
    if (!crypt_gensalt_rn("$y$", 0, NULL, 0, setting, sizeof setting))
        return error_set_errno(err, errno, "no salt for a password");
    if (!hash_with(password, setting, ret_hash))
        return error_set(err, ERROR_INTERNAL, NULL, "yescrypt is not available");
    return true;
}

/* Both are public to nobody but compared whole, so that time says nothing of where they differ. */
static bool is_same_text(const char *a, const char *b) {
    size_t length = strlen(a);
    if (strlen(b) != length)
        return false;
    int difference = 0;
    for (size_t i = 0; i < length; i++)
        difference |= a[i] ^ b[i];
    return difference == 0;
}

bool password_matches(const char *password, const char *hash) {
    g_autofree char *computed = NULL;
    bool ok = hash_with(password, hash ? hash : nobody, &computed);
    return ok && hash && is_same_text(computed, hash);
}

char *secret_make(const char *prefix, size_t n_bytes) {
    unsigned char bytes[SECRET_MAX_BYTES];
    g_assert(n_bytes <= sizeof bytes);
    ssize_t got = getrandom(bytes, n_bytes, 0); /* up to 256 bytes come whole */
    g_assert(got == (ssize_t)n_bytes);
    GString *text = g_string_new(prefix);
    for (size_t i = 0; i < n_bytes; i++)
        g_string_append_printf(text, "%02x", bytes[i]);
    explicit_bzero(bytes, sizeof bytes);
    return g_string_free(text, FALSE);
}

char *secret_hash(const char *secret) {
    return g_compute_checksum_for_string(G_CHECKSUM_SHA256, secret, -1);
}

void secret_free(char *secret) {
    if (secret)
        explicit_bzero(secret, strlen(secret));
    g_free(secret);
}
