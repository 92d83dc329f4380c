/* Proves which of a machine's package sources reach a guest, and under which names. */
#include <string.h>
#include "base/file.h"
#include "image/apt-sources.h"

typedef struct Fixture {
    char *etc;
} Fixture;

static void put(const Fixture *fixture, const char *name, const char *text) {
    g_autofree char *path = g_build_filename(fixture->etc, name, NULL), *folder = g_path_get_dirname(path);
    g_assert_true(folder_make(folder, 0700, NULL));
    g_assert_true(file_replace(path, text, strlen(text), 0600, NULL));
}

static void set_up(Fixture *fixture, const void *data G_GNUC_UNUSED) {
    fixture->etc = g_dir_make_tmp("lodge-etc-XXXXXX", NULL);
    put(fixture, "os-release", "NAME=\"Debian\"\nVERSION_CODENAME=bookworm\n");
}

static void tear_down(Fixture *fixture, const void *data G_GNUC_UNUSED) {
    g_assert_true(tree_remove(fixture->etc, NULL));
    g_free(fixture->etc);
}

static char *sources_of(const Fixture *fixture, const char *suite) {
    char *text = NULL;
    g_auto(Error) err = {0};
    g_assert_true(apt_sources_for_suite(fixture->etc, suite, &text, &err));
    return text;
}

#define KEY "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\n"

static void test_stanzas_move_to_the_wanted_suite(Fixture *fixture, const void *data G_GNUC_UNUSED) {
    put(fixture, "apt/sources.list.d/debian.sources",
        "Types: deb deb-src\n# a comment\nURIs: file:/a\nSuites: bookworm bookworm-updates "
        "bookworm-backports\n"
        "Components: main contrib\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\n"
        "Types: deb\nURIs: file:/b\nSuites: bookworm-security\nComponents: main\n");
    g_autofree char *other = sources_of(fixture, "trixie"), *own = sources_of(fixture, NULL);
    g_assert_cmpstr(other, ==,
        "Types: deb\nURIs: file:/a\nSuites: trixie trixie-updates\nComponents: main\n" KEY
        "Types: deb\nURIs: file:/b\nSuites: trixie-security\nComponents: main\n" KEY);
    g_assert_nonnull(strstr(own, "Suites: bookworm bookworm-updates\n"));
}

static void test_lines_are_understood(Fixture *fixture, const void *data G_GNUC_UNUSED) {
    put(fixture, "apt/sources.list",
        "# deb file:/no bookworm main\ndeb-src file:/no bookworm main\n"
        "deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] file:/c bookworm main # "
        "x\n");
    g_autofree char *text = sources_of(fixture, "trixie");
    g_assert_cmpstr(text, ==, "Types: deb\nURIs: file:/c\nSuites: trixie\nComponents: main\n" KEY);
}

static void test_sources_of_others_stay_out(Fixture *fixture, const void *data G_GNUC_UNUSED) {
    put(fixture, "apt/sources.list.d/other.list",
        "deb [signed-by=/etc/apt/keyrings/other.gpg] file:/d bookworm main\ndeb file:/e bookworm nginx\n");
    put(fixture, "apt/sources.list.d/other.sources",
        "Types: deb\nURIs: file:/f\nSuites: bookworm\nComponents: main\nEnabled: no\n\n"
        "Types: deb\nURIs: file:/g\nSuites: bookworm\nComponents: main\nSigned-By: "
        "/etc/apt/keyrings/other.gpg\n");
    char *text = NULL;
    g_auto(Error) err = {0};
    g_assert_false(apt_sources_for_suite(fixture->etc, "trixie", &text, &err));
    g_assert_cmpint(err.code, ==, ERROR_UNSUPPORTED);
}

#define ADD(name, function) g_test_add("/apt-sources/" name, Fixture, NULL, set_up, function, tear_down)

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    ADD("stanzas", test_stanzas_move_to_the_wanted_suite);
    ADD("lines", test_lines_are_understood);
    ADD("others", test_sources_of_others_stay_out);
    return g_test_run();
}
