/* Reads sources.list(5) in both styles, keeps what is Debian's, writes deb822. */
#include "image/apt-sources.h"
#include <string.h>
#include "base/file.h"
#include "base/process.h"

enum { FILE_LIMIT = 256 * 1024, MAX_FILES = 256, SETTINGS_LIMIT = 256 * 1024, SETTINGS_TIMEOUT_MS = 30000 };

typedef struct Sources {
    const char *suite; /* wanted */
    char *codename;    /* the host's */
    GString *text;     /* what was found, as deb822 */
} Sources;

static void sources_clear(Sources *sources) {
    g_free(sources->codename);
    g_string_free(sources->text, TRUE);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Sources, sources_clear)

static bool read_codename(const char *etc, Sources *sources, Error *err) {
    g_autofree char *path = g_build_filename(etc, "os-release", NULL), *text = NULL;
    if (!file_read(path, FILE_LIMIT, &text, NULL, err))
        return false;
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++) {
        if (!g_str_has_prefix(*line, "VERSION_CODENAME="))
            continue;
        g_autofree char *value = g_shell_unquote(strchr(*line, '=') + 1, NULL);
        g_free(sources->codename);
        sources->codename = g_steal_pointer(&value);
    }
    return sources->codename || error_set(err, ERROR_UNSUPPORTED, NULL, "%s names no codename", path);
}

/* "bookworm-updates" -> "trixie-updates"; NULL for what is not the host's own suite or a part of it that
 * guests need. */
static char *map_suite(const Sources *sources, const char *suite) {
    static const char *const parts[] = {"", "-updates", "-security"};
    const char *const names[] = {sources->codename, "stable", "oldstable"};
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        size_t length = strlen(names[i]);
        for (size_t k = 0; strncmp(suite, names[i], length) == 0 && k < G_N_ELEMENTS(parts); k++)
            if (strcmp(suite + length, parts[k]) == 0)
                return g_strconcat(sources->suite, parts[k], NULL);
    }
    return NULL;
}

static bool is_debian_key(const char *signed_by) {
    return !signed_by || !*signed_by || strstr(signed_by, "/debian-archive-");
}

static bool has_word(const char *text, const char *wanted) {
    g_auto(GStrv) words = g_strsplit_set(text, " \t", -1);
    return g_strv_contains((const char *const *)words, wanted);
}

static void add_entry(Sources *sources, const char *uris, const char *suites) {
    g_autoptr(GString) mapped = g_string_new(NULL);
    g_auto(GStrv) words = g_strsplit_set(suites, " \t", -1);
    for (char **word = words; *word; word++) {
        g_autofree char *suite = map_suite(sources, *word);
        if (suite)
            g_string_append_printf(mapped, " %s", suite);
    }
    if (mapped->len == 0)
        return;
    g_autofree char *entry = g_strdup_printf("Types: deb\nURIs: %s\nSuites:%s\nComponents: main\n"
                                             "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\n",
        uris, mapped->str);
    if (!strstr(sources->text->str, entry))
        g_string_append(sources->text, entry);
}

static void take_field(GHashTable *fields, char *line) {
    char *colon = strchr(line, ':');
    if (*line == '#' || g_ascii_isspace(*line) || !colon)
        return; /* a continued value is a key in place: not Debian's file, or of no interest here */
    *colon = '\0';
    g_hash_table_replace(fields, g_ascii_strdown(line, -1), g_strstrip(g_strdup(colon + 1)));
}

static void take_stanza(Sources *sources, const char *stanza) {
    g_autoptr(GHashTable) fields = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    g_auto(GStrv) lines = g_strsplit(stanza, "\n", -1);
    for (char **line = lines; *line; line++)
        take_field(fields, *line);
    const char *types = g_hash_table_lookup(fields, "types"), *uris = g_hash_table_lookup(fields, "uris");
    const char *suites = g_hash_table_lookup(fields, "suites"),
               *parts = g_hash_table_lookup(fields, "components");
    const char *enabled = g_hash_table_lookup(fields, "enabled");
    if (!types || !uris || !suites || !parts || (enabled && g_ascii_strcasecmp(enabled, "no") == 0))
        return;
    if (has_word(types, "deb") && has_word(parts, "main") &&
        is_debian_key(g_hash_table_lookup(fields, "signed-by")))
        add_entry(sources, uris, suites);
}

/* deb [option=value …] URI suite component… */
static void take_line(Sources *sources, const char *line) {
    g_autoptr(GRegex) regex = g_regex_new("^\\s*deb\\s+(?:\\[([^]]*)\\]\\s*)?(\\S+)\\s+(\\S+)\\s+([^#]*)",
        G_REGEX_DEFAULT, G_REGEX_MATCH_DEFAULT, NULL);
    g_autoptr(GMatchInfo) match = NULL;
    if (!g_regex_match(regex, line, G_REGEX_MATCH_DEFAULT, &match))
        return;
    g_autofree char *options = g_match_info_fetch(match, 1), *uri = g_match_info_fetch(match, 2);
    g_autofree char *suite = g_match_info_fetch(match, 3), *parts = g_match_info_fetch(match, 4);
    const char *key = strstr(options, "signed-by=");
    if (is_debian_key(key) && has_word(g_strstrip(parts), "main"))
        add_entry(sources, uri, suite);
}

static void take_file(Sources *sources, const char *path) {
    g_autofree char *text = NULL;
    if (!file_read(path, FILE_LIMIT, &text, NULL, NULL) || !g_utf8_validate(text, -1, NULL))
        return; /* regular expressions take valid UTF-8 only */
    bool is_deb822 = g_str_has_suffix(path, ".sources");
    if (is_deb822) {
        g_autoptr(GRegex) blank = g_regex_new("\n[ \t]*\n", G_REGEX_DEFAULT, G_REGEX_MATCH_DEFAULT, NULL);
        g_auto(GStrv) stanzas = g_regex_split(blank, text, G_REGEX_MATCH_DEFAULT);
        for (char **stanza = stanzas; stanza && *stanza; stanza++)
            take_stanza(sources, *stanza);
        return;
    }
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++)
        take_line(sources, *line);
}

bool apt_sources_for_suite(const char *etc, const char *suite, char **ret_text, Error *err) {
    g_auto(Sources) sources = {.suite = suite, .text = g_string_new(NULL)};
    if (!read_codename(etc, &sources, err))
        return false;
    if (!suite)
        sources.suite = sources.codename;
    g_autofree char *single = g_build_filename(etc, "apt", "sources.list", NULL);
    g_autofree char *folder = g_build_filename(etc, "apt", "sources.list.d", NULL);
    take_file(&sources, single);
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    const char *name = NULL;
    for (int i = 0; dir && i < MAX_FILES && (name = g_dir_read_name(dir)); i++) {
        g_autofree char *path = g_build_filename(folder, name, NULL);
        if (g_str_has_suffix(name, ".list") || g_str_has_suffix(name, ".sources"))
            take_file(&sources, path);
    }
    if (sources.text->len == 0)
        return error_set(err, ERROR_UNSUPPORTED, NULL, "this machine has no Debian package sources for %s",
            sources.codename);
    *ret_text = g_strdup(sources.text->str);
    return true;
}

bool apt_settings(const Cancel *cancel, char **ret_text, Error *err) {
    const ProcessSpec dump = {.argv = (const char *const[]){"apt-config", "dump", "--no-empty", "--format",
                                  "%f \"%v\";%n", "Acquire", NULL},
        .timeout_ms = SETTINGS_TIMEOUT_MS,
        .output_limit = SETTINGS_LIMIT,
        .cancel = cancel};
    g_autofree char *output = NULL;
    if (!process_run(&dump, &output, err))
        return error_wrap(err, ERROR_NONE, "cannot read this machine's apt settings");
    g_autoptr(GString) text = g_string_new(NULL);
    g_auto(GStrv) lines = g_strsplit(output, "\n", -1);
    for (char **line = lines; *line; line++)
        if (!g_str_has_prefix(*line, "Acquire::IndexTargets") &&
            !g_str_has_prefix(*line, "Acquire::Changelogs"))
            g_string_append_printf(text, "%s\n", *line);
    *ret_text = g_strdup(text->str);
    return true;
}
