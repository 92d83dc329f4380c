/* Values for cloud-init: host name, instance id, user, then SSH keys, one a line; an input that begins with
 * "#" is user data. What is taken must not leave its place in the texts. */
#include <string.h>
#include "fuzz.h"
#include "image/seed.h"

enum { MAX_SIZE = 65536, KEYS_MAX = SEED_KEYS_LIMIT + 2 };

const char *const fuzz_seeds[] = {
    "web-1\ni-1.2_3\nlodge\nssh-ed25519 AAAA me@here\nssh-rsa BBBB \"quoted\" \\ back\n",
    "a\nb\n\nssh-ed25519 \xc3\xa4\xe2\x80\xa8\n", "#cloud-config\nruncmd: [true]\n", "#!/bin/sh\nexit 0\n",
    NULL};

static void make(const SeedSpec *spec) {
    g_autofree uint8_t *image = NULL;
    size_t length = 0;
    g_auto(Error) err = {0};
    if (seed_make(spec, &image, &length, &err))
        g_assert_cmpuint(length, >, 32768); /* the system area of ISO 9660 */
    else
        g_assert_true(err.code == ERROR_INVALID && err.field);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    g_autofree char *text = g_strndup((const char *)data, MIN(size, MAX_SIZE));
    if (*text == '#') {
        make(&(SeedSpec){.hostname = "web", .instance_id = "i", .user_data = text});
        return 0;
    }
    g_auto(GStrv) lines = g_strsplit(text, "\n", KEYS_MAX);
    guint n = g_strv_length(lines);
    make(&(SeedSpec){.hostname = n > 0 ? lines[0] : NULL,
        .instance_id = n > 1 ? lines[1] : NULL,
        .user = n > 2 && *lines[2] ? lines[2] : NULL,
        .ssh_keys = n > 3 ? (const char *const *)lines + 3 : NULL});
    return 0;
}
