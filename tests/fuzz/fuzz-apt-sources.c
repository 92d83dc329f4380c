/* Package sources in both styles, and os-release: the same bytes as each of them. */
#include <string.h>
#include "fuzz.h"
#include "image/apt-sources.h"

enum { MAX_SIZE = 16384 };

const char *const fuzz_seeds[] = {
    "deb http://mirror.example/debian bookworm main contrib\n# deb x y z\n"
    "deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://a b-updates main\n",
    "Types: deb deb-src\nURIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates\n"
    "Components: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\nTypes: deb\nEnabled: "
    "no\n",
    "PRETTY_NAME=\"Debian\"\nVERSION_CODENAME=bookworm\nID=debian\n", "VERSION_CODENAME='book\\worm'\n",
    "deb\thttp://\xc3\xa4 stable\tmain\n \n\n", NULL};

static void read_all(void) {
    for (int i = 0; i < 2; i++) {
        g_autofree char *text = NULL;
        g_auto(Error) err = {0};
        if (apt_sources_for_suite(fuzz_folder(), i ? "trixie" : NULL, &text, &err))
            g_assert_true(g_str_has_prefix(text, "Types: deb\n"));
        else
            g_assert_true(error_is_set(&err));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char release[] = "VERSION_CODENAME=bookworm\n";
    size = MIN(size, MAX_SIZE);
    fuzz_write("os-release", release, strlen(release));
    fuzz_write("apt/sources.list", data, size);
    fuzz_write("apt/sources.list.d/a.sources", data, size);
    read_all();
    fuzz_write("os-release", data, size);
    read_all();
    return 0;
}
