/* Checks, three texts, one ISO image. */
#include "image/seed.h"
#include <archive.h>
#include <archive_entry.h>
#include <string.h>
#include <time.h>
#include "base/file.h"
#include "model/cloud-init.h"

enum { IMAGE_LIMIT = 4 * 1024 * 1024, N_FILES = 3 };

/* Where the guest sees its network; an interface with another name than e* is not ours. */
static const char network_config[] = "version: 2\n"
                                     "ethernets:\n"
                                     "  all:\n"
                                     "    match: {name: \"e*\"}\n"
                                     "    dhcp4: true\n"
                                     "    dhcp6: true\n";

/* --- checks
 * ----------------------------------------------------------------------------------------------------- */

static bool is_made_of(const char *text, const char *more, size_t limit) {
    size_t length = strlen(text);
    for (size_t i = 0; i < length; i++)
        if (!g_ascii_isalnum(text[i]) && !strchr(more, text[i]))
            return false;
    return length > 0 && length <= limit;
}

static bool check_hostname(const char *name, Error *err) {
    if (!name || !is_made_of(name, "-", SEED_HOSTNAME_LIMIT) || *name == '-' || g_str_has_suffix(name, "-"))
        return error_set(err, ERROR_INVALID, "/hostname", "must be 1 to %d letters, digits and inner hyphens",
            SEED_HOSTNAME_LIMIT);
    return true;
}

static bool check_user(const char *user, Error *err) {
    if (user && (!is_made_of(user, "-_", SEED_USER_LIMIT) || g_ascii_isdigit(*user) || *user == '-'))
        return error_set(err, ERROR_INVALID, "/user",
            "must be 1 to %d letters, digits, \"-\" and \"_\", and not begin with a digit or \"-\"",
            SEED_USER_LIMIT);
    return true;
}

static bool is_key(const char *key) {
    size_t length = strlen(key);
    for (size_t i = 0; i < length; i++)
        if (g_ascii_iscntrl(key[i]))
            return false;
    return length > 0 && length <= SEED_KEY_BYTES_LIMIT && g_utf8_validate(key, -1, NULL) && strchr(key, ' ');
}

static bool check_keys(const char *const *keys, Error *err) {
    for (size_t i = 0; keys && keys[i]; i++) {
        g_autofree char *field = g_strdup_printf("/ssh_keys/%zu", i);
        if (i >= SEED_KEYS_LIMIT)
            return error_set(err, ERROR_INVALID, "/ssh_keys", "at most %d keys", SEED_KEYS_LIMIT);
        if (!is_key(keys[i]))
            return error_set(err, ERROR_INVALID, field, "must be one line of an OpenSSH public key file");
    }
    return true;
}

static bool check_user_data(const SeedSpec *spec, Error *err) {
    if (!spec->user_data)
        return true;
    if (spec->user || (spec->ssh_keys && spec->ssh_keys[0]))
        return error_set(err, ERROR_INVALID, "/user_data",
            "replaces the user and the SSH keys: give either user_data or those");
    return cloud_init_check_user_data(spec->user_data, err);
}

static bool check(const SeedSpec *spec, Error *err) {
    if (!check_hostname(spec->hostname, err))
        return false;
    if (!spec->instance_id || !is_made_of(spec->instance_id, "-_.", SEED_INSTANCE_ID_LIMIT))
        return error_set(err, ERROR_INVALID, "/instance_id",
            "must be 1 to %d letters, digits, \"-\", \"_\", \".\"", SEED_INSTANCE_ID_LIMIT);
    return check_user(spec->user, err) && check_keys(spec->ssh_keys, err) && check_user_data(spec, err) &&
           (!spec->network_config || cloud_init_check_network_config(spec->network_config, err));
}

/* --- texts
 * ------------------------------------------------------------------------------------------------------ */

/* A JSON string. The input is valid UTF-8. */
static void append_quoted(GString *text, const char *value) {
    g_string_append_c(text, '"');
    for (const char *next = value; *next; next++) {
        unsigned char byte = (unsigned char)*next;
        if (byte == '"' || byte == '\\')
            g_string_append_printf(text, "\\%c", byte);
        else if (byte < 0x20 || byte == 0x7f)
            g_string_append_printf(text, "\\u%04x", byte);
        else
            g_string_append_c(text, *next);
    }
    g_string_append_c(text, '"');
}

static void append_pair(GString *text, const char *name, const char *value) {
    g_string_append_printf(text, "%s: ", name);
    append_quoted(text, value);
    g_string_append_c(text, '\n');
}

static char *make_meta_data(const SeedSpec *spec) {
    g_autoptr(GString) text = g_string_new(NULL);
    append_pair(text, "instance-id", spec->instance_id);
    append_pair(text, "local-hostname", spec->hostname);
    return g_strdup(text->str);
}

static void append_keys(GString *text, const char *indent, const char *const *keys) {
    if (!keys || !keys[0])
        return;
    g_string_append_printf(text, "%sssh_authorized_keys:\n", indent);
    for (; *keys; keys++) {
        g_string_append_printf(text, "%s  - ", indent);
        append_quoted(text, *keys);
        g_string_append_c(text, '\n');
    }
}

static char *make_user_data(const SeedSpec *spec) {
    if (spec->user_data)
        return g_strdup(spec->user_data);
    g_autoptr(GString) text = g_string_new("#cloud-config\n");
    append_pair(text, "hostname", spec->hostname);
    g_string_append(text, "package_update: false\nssh_pwauth: false\n");
    if (!spec->user) {
        append_keys(text, "", spec->ssh_keys); /* of the default user */
        return g_strdup(text->str);
    }
    g_string_append(text, "users:\n  - name: ");
    append_quoted(text, spec->user);
    g_string_append(text, "\n    shell: /bin/bash\n    lock_passwd: true\n    groups: [adm, sudo]\n"
                          "    sudo: \"ALL=(ALL) NOPASSWD:ALL\"\n");
    append_keys(text, "    ", spec->ssh_keys);
    return g_strdup(text->str);
}

/* --- the image
 * -------------------------------------------------------------------------------------------------- */

typedef struct SeedFile {
    const char *name, *text;
} SeedFile;

static bool add_file(struct archive *iso, const SeedFile *file) {
    size_t length = strlen(file->text);
    struct archive_entry *entry = archive_entry_new();
    archive_entry_set_pathname(entry, file->name);
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_perm(entry, 0644);
    archive_entry_set_size(entry, (la_int64_t)length);
    archive_entry_set_mtime(entry, 0, 0);
    bool ok = archive_write_header(iso, entry) == ARCHIVE_OK &&
              archive_write_data(iso, file->text, length) == (la_ssize_t)length;
    archive_entry_free(entry);
    return ok;
}

static bool write_iso(struct archive *iso, const SeedFile *files, uint8_t *buffer, size_t *ret_length) {
    bool ok = archive_write_set_format_iso9660(iso) == ARCHIVE_OK &&
              archive_write_set_options(iso, "volume-id=cidata,joliet,rockridge=useful,pad") == ARCHIVE_OK &&
              archive_write_set_bytes_per_block(iso, 0) == ARCHIVE_OK &&
              archive_write_open_memory(iso, buffer, IMAGE_LIMIT, ret_length) == ARCHIVE_OK;
    for (size_t i = 0; ok && i < N_FILES; i++)
        ok = add_file(iso, &files[i]);
    return ok && archive_write_close(iso) == ARCHIVE_OK;
}

bool seed_make(const SeedSpec *spec, uint8_t **ret_data, size_t *ret_length, Error *err) {
    if (!check(spec, err))
        return false;
    g_autofree char *meta_data = make_meta_data(spec), *user_data = make_user_data(spec);
    const SeedFile files[N_FILES] = {{"meta-data", meta_data}, {"user-data", user_data},
        {"network-config", spec->network_config ? spec->network_config : network_config}};
    g_autofree uint8_t *buffer = g_malloc(IMAGE_LIMIT);
    size_t length = 0;
    struct archive *iso = archive_write_new();
    g_assert(iso);
    bool ok = write_iso(iso, files, buffer, &length);
    if (!ok)
        error_set(err, ERROR_IO, NULL, "cannot make the seed: %s", archive_error_string(iso));
    archive_write_free(iso);
    if (!ok)
        return false;
    *ret_data = g_realloc(g_steal_pointer(&buffer), length);
    *ret_length = length;
    return true;
}

bool seed_write(const SeedSpec *spec, const char *path, Error *err) {
    g_autofree uint8_t *data = NULL;
    size_t length = 0;
    return seed_make(spec, &data, &length, err) && file_replace(path, data, length, 0600, err);
}
