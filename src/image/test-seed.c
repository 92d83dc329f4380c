/* Proves that a seed can be read back, and that no value of a user can become YAML. */
#include <archive.h>
#include <archive_entry.h>
#include <string.h>
#include "image/seed.h"

static const SeedSpec plain = {.hostname = "web-3", .instance_id = "i-1"};

/* The text of one file in the image. */
static char *read_file(const uint8_t *data, size_t length, const char *name) {
    struct archive *iso = archive_read_new();
    struct archive_entry *entry = NULL;
    char *text = NULL;
    archive_read_support_format_iso9660(iso);
    g_assert_cmpint(archive_read_open_memory(iso, data, length), ==, ARCHIVE_OK);
    while (!text && archive_read_next_header(iso, &entry) == ARCHIVE_OK) {
        if (strcmp(archive_entry_pathname(entry), name) != 0)
            continue;
        text = g_malloc0((gsize)archive_entry_size(entry) + 1);
        archive_read_data(iso, text, (size_t)archive_entry_size(entry));
    }
    archive_read_free(iso);
    g_assert_nonnull(text);
    return text;
}

static char *file_of(const SeedSpec *spec, const char *name) {
    g_autofree uint8_t *data = NULL;
    size_t length = 0;
    g_auto(Error) err = {0};
    g_assert_true(seed_make(spec, &data, &length, &err));
    return read_file(data, length, name);
}

static void assert_refused(const SeedSpec *spec, const char *field) {
    uint8_t *data = NULL;
    size_t length = 0;
    g_auto(Error) err = {0};
    g_assert_false(seed_make(spec, &data, &length, &err));
    g_assert_cmpint(err.code, ==, ERROR_INVALID);
    g_assert_cmpstr(err.field, ==, field);
}

static void test_seed_reads_back(void) {
    const char *const keys[] = {"ssh-ed25519 AAAA one", "ssh-ed25519 BBBB two", NULL};
    SeedSpec spec = plain;
    spec.ssh_keys = keys;
    g_autofree char *meta_data = file_of(&spec, "meta-data"), *user_data = file_of(&spec, "user-data");
    g_assert_cmpstr(meta_data, ==, "instance-id: \"i-1\"\nlocal-hostname: \"web-3\"\n");
    g_assert_true(g_str_has_prefix(user_data, "#cloud-config\n"));
    g_assert_nonnull(strstr(user_data, "\n  - \"ssh-ed25519 BBBB two\"\n"));
    g_autofree char *network = file_of(&spec, "network-config");
    g_assert_nonnull(strstr(network, "dhcp4: true"));
}

static void test_network_settings_replace_dhcp(void) {
    SeedSpec spec = plain;
    spec.network_config = "version: 2\nethernets:\n  eth0:\n    addresses: [192.0.2.7/24]\n";
    g_autofree char *network = file_of(&spec, "network-config");
    g_assert_cmpstr(network, ==, spec.network_config);
    spec.network_config = "version: 1\n";
    assert_refused(&spec, "/network_config");
}

static void test_seed_carries_the_label_that_cloud_init_looks_for(void) {
    g_autofree uint8_t *data = NULL;
    size_t length = 0;
    g_assert_true(seed_make(&plain, &data, &length, NULL));
    g_assert_cmpuint(length, >, 0x8000 + 72);
    /* ISO 9660: the primary volume descriptor is sector 16, its volume identifier lies at byte 40. libarchive
     * writes it in capitals as the standard demands; cloud-init accepts both. */
    g_autofree char *label = g_ascii_strdown((const char *)data + 0x8000 + 40, 6);
    g_assert_cmpstr(label, ==, "cidata");
}

static void test_quotes_in_a_key_stay_inside_the_string(void) {
    const char *const keys[] = {"ssh-ed25519 AAAA \"]\\ #x: {", NULL};
    SeedSpec spec = plain;
    spec.user = "admin";
    spec.ssh_keys = keys;
    g_autofree char *user_data = file_of(&spec, "user-data");
    g_assert_nonnull(strstr(user_data, "\n      - \"ssh-ed25519 AAAA \\\"]\\\\ #x: {\"\n"));
    g_assert_nonnull(strstr(user_data, "- name: \"admin\"\n"));
}

static void test_a_new_line_is_refused_everywhere(void) {
    const char *const keys[] = {"ssh-ed25519 AAAA good", "ssh-ed25519 BBBB\nruncmd: [reboot]", NULL};
    SeedSpec hostname = plain, id = plain, user = plain, key = plain;
    hostname.hostname = "web\nruncmd: [reboot]";
    id.instance_id = "i-1\nx: y";
    user.user = "a\n";
    key.ssh_keys = keys;
    assert_refused(&hostname, "/hostname");
    assert_refused(&id, "/instance_id");
    assert_refused(&user, "/user");
    assert_refused(&key, "/ssh_keys/1");
}

static void test_impossible_names_are_refused(void) {
    static const char *const names[] = {"", "-a", "a-", "a.b", "a b", "ä",
        "a234567890123456789012345678901234567890123456789012345678901234"};
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        SeedSpec spec = plain;
        spec.hostname = names[i];
        assert_refused(&spec, "/hostname");
    }
}

static void test_user_data_replaces_ours_and_nothing_else(void) {
    const char *const keys[] = {"ssh-ed25519 AAAA x", NULL};
    SeedSpec spec = plain;
    spec.user_data = "#!/bin/sh\necho hello\n";
    g_autofree char *user_data = file_of(&spec, "user-data"), *meta_data = file_of(&spec, "meta-data");
    g_assert_cmpstr(user_data, ==, spec.user_data);
    g_assert_nonnull(strstr(meta_data, "\"web-3\""));
    spec.ssh_keys = keys;
    assert_refused(&spec, "/user_data");
    spec.ssh_keys = NULL;
    spec.user_data = "hello";
    assert_refused(&spec, "/user_data");
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/seed/reads-back", test_seed_reads_back);
    g_test_add_func("/seed/network-settings-replace-dhcp", test_network_settings_replace_dhcp);
    g_test_add_func("/seed/label", test_seed_carries_the_label_that_cloud_init_looks_for);
    g_test_add_func("/seed/quotes", test_quotes_in_a_key_stay_inside_the_string);
    g_test_add_func("/seed/new-line", test_a_new_line_is_refused_everywhere);
    g_test_add_func("/seed/names", test_impossible_names_are_refused);
    g_test_add_func("/seed/user-data", test_user_data_replaces_ours_and_nothing_else);
    return g_test_run();
}
