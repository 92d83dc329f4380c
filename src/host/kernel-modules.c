/* One table by name, filled from one file after the other. */
#include "host/kernel-modules.h"
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/file.h"
#include "model/format.h"

enum {
    LIST_LIMIT = 32 * 1024 * 1024, /* Debian 12: 0.6 MB for 4,000 modules */
    FILE_LIMIT = 4 * 1024 * 1024,
    FACT_LIMIT = 4096,
    MAX_MODULES = 20000,
    MAX_NAMES = 4096,  /* in one list of a module */
    MAX_ENTRIES = 4096 /* of one folder that are looked at */
};

static void module_free(void *data) {
    KernelModule *module = data;
    g_clear_pointer(&module->needs, g_ptr_array_unref);
    g_clear_pointer(&module->may_need, g_ptr_array_unref);
    g_clear_pointer(&module->used_by, g_ptr_array_unref);
    g_free(module->name);
    g_free(module->path);
    g_free(module);
}

KernelModules *kernel_modules_new(const char *root, const char *release) {
    KernelModules *modules = g_new0(KernelModules, 1);
    modules->root = g_strdup(root);
    modules->release = g_strdup(release);
    modules->by_name = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, module_free);
    return modules;
}

void kernel_modules_free(KernelModules *modules) {
    if (!modules)
        return;
    g_hash_table_unref(modules->by_name);
    g_free(modules->root);
    g_free(modules->release);
    g_free(modules);
}

const KernelModule *kernel_modules_find(const KernelModules *modules, const char *name) {
    return g_hash_table_lookup(modules->by_name, name);
}

static int compare_names(const void *a, const void *b) {
    return strcmp((*(const KernelModule *const *)a)->name, (*(const KernelModule *const *)b)->name);
}

GPtrArray *kernel_modules_sorted(const KernelModules *modules) {
    GPtrArray *sorted = g_ptr_array_new();
    GHashTableIter each;
    void *module;
    g_hash_table_iter_init(&each, modules->by_name);
    while (g_hash_table_iter_next(&each, NULL, &module))
        g_ptr_array_add(sorted, module);
    g_ptr_array_sort(sorted, compare_names);
    return sorted;
}

/* ---- names ---- */

/* The kernel's way of writing it; NULL when it is none. */
static char *normal_name(const char *text) {
    return is_module_name(text) ? g_strdelimit(g_strdup(text), "-", '_') : NULL;
}

/* "ext4" of "kernel/fs/ext4/ext4.ko.xz" */
static char *name_of_path(const char *path) {
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path, *end = strstr(base, ".ko");
    g_autofree char *stem = end ? g_strndup(base, (size_t)(end - base)) : NULL;
    return stem ? normal_name(stem) : NULL;
}

static KernelModule *obtain(KernelModules *modules, char *take_name) {
    g_autofree char *name = take_name;
    KernelModule *module = name ? g_hash_table_lookup(modules->by_name, name) : NULL;
    if (module || !name || g_hash_table_size(modules->by_name) >= MAX_MODULES)
        return module;
    module = g_new0(KernelModule, 1);
    module->name = g_steal_pointer(&name);
    g_hash_table_insert(modules->by_name, module->name, module);
    return module;
}

static void add_name(GPtrArray **names, char *take_name) {
    g_autofree char *name = take_name;
    if (!name || (*names && ((*names)->len >= MAX_NAMES ||
                                g_ptr_array_find_with_equal_func(*names, name, g_str_equal, NULL))))
        return;
    if (!*names)
        *names = g_ptr_array_new_with_free_func(g_free);
    g_ptr_array_add(*names, g_steal_pointer(&name));
}

/* ---- what there is ---- */

static void take_list_line(KernelModules *modules, char *line) {
    char *colon = strchr(line, ':');
    if (!colon)
        return;
    *colon = '\0';
    KernelModule *module = obtain(modules, name_of_path(line));
    if (!module || module->path)
        return;
    module->path = line[0] == '/'
                       ? g_build_filename(modules->root, line, NULL)
                       : g_build_filename(modules->root, "lib/modules", modules->release, line, NULL);
    g_auto(GStrv) needs = g_strsplit(colon + 1, " ", -1);
    for (char **need = needs; *need; need++)
        add_name(&module->needs, name_of_path(*need));
}

void kernel_modules_take_list(KernelModules *modules, const char *text) {
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++)
        take_list_line(modules, *line);
    modules->has_list = true;
}

void kernel_modules_take_builtin(KernelModules *modules, const char *text) {
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++) {
        KernelModule *module = obtain(modules, name_of_path(*line));
        if (module)
            module->is_builtin = true;
    }
}

/* proc(5): name, size, uses or `-`, names with a comma behind each or `-`, and more. */
static void take_loaded_line(KernelModules *modules, const char *line) {
    g_auto(GStrv) words = g_strsplit(line, " ", 5);
    KernelModule *module = g_strv_length(words) >= 4 ? obtain(modules, normal_name(words[0])) : NULL;
    if (!module)
        return;
    module->is_loaded = true;
    guint64 number = 0;
    if (g_ascii_string_to_unsigned(words[1], 10, 0, INT64_MAX, &number, NULL))
        module->size = number;
    if (g_ascii_string_to_unsigned(words[2], 10, 0, INT32_MAX, &number, NULL))
        module->uses = (int64_t)number;
    g_auto(GStrv) users = g_strsplit(words[3], ",", -1);
    for (char **user = users; *user; user++)
        if (strcmp(*user, "-") != 0)
            add_name(&module->used_by, normal_name(*user));
    module->is_in_use = module->uses > (module->used_by ? (int64_t)module->used_by->len : 0);
}

void kernel_modules_take_loaded(KernelModules *modules, const char *text) {
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++)
        take_loaded_line(modules, *line);
}

/* ---- what is blocked ---- */

static void block(KernelModule *module, bool is_own_file) {
    if (is_own_file)
        module->is_blocked_by_file = true;
    else
        module->is_blocked = true;
}

/* `install` takes patterns. */
static void block_all(KernelModules *modules, const char *pattern, bool is_own_file) {
    g_autofree char *normal = g_strdelimit(g_strdup(pattern), "-", '_');
    KernelModule *module = g_hash_table_lookup(modules->by_name, normal);
    if (module)
        block(module, is_own_file);
    if (!strpbrk(normal, "*?") || !g_str_is_ascii(normal)) /* GLib matches UTF-8 only */
        return;
    GHashTableIter each;
    void *name, *value;
    g_hash_table_iter_init(&each, modules->by_name);
    while (g_hash_table_iter_next(&each, &name, &value))
        if (g_pattern_match_simple(normal, name))
            block(value, is_own_file);
}

static bool does_nothing(const char *command) {
    const char *slash = strrchr(command, '/'), *base = slash ? slash + 1 : command;
    return !strcmp(base, "false") || !strcmp(base, "true") || !strcmp(base, ":");
}

/* "softdep NAME pre: a b post: c" */
static void take_soft(KernelModules *modules, char **words) {
    g_autofree char *name = normal_name(words[1]);
    KernelModule *module = name ? g_hash_table_lookup(modules->by_name, name) : NULL;
    for (char **word = words + 2; module && *word; word++)
        add_name(&module->may_need, normal_name(*word)); /* "pre:" is no name */
}

static void take_configuration_line(KernelModules *modules, char *line, bool is_own_file) {
    g_strdelimit(line, "\t\r", ' ');
    g_auto(GStrv) all = g_strsplit(line, " ", -1);
    g_autoptr(GPtrArray) words = g_ptr_array_new();
    for (char **word = all; *word && words->len < MAX_NAMES; word++)
        if (**word)
            g_ptr_array_add(words, *word);
    guint n = words->len;
    g_ptr_array_add(words, NULL);
    char **word = (char **)words->pdata;
    if (n >= 2 && !strcmp(word[0], "blacklist"))
        block_all(modules, word[1], is_own_file);
    else if (n >= 3 && !strcmp(word[0], "install") && does_nothing(word[2]))
        block_all(modules, word[1], is_own_file);
    else if (n >= 3 && !strcmp(word[0], "softdep"))
        take_soft(modules, word);
}

void kernel_modules_take_configuration(KernelModules *modules, const char *text, bool is_own_file) {
    g_auto(GStrv) parts = g_strsplit(text, "\\\n", -1); /* a line goes on behind a backslash */
    g_autofree char *joined = g_strjoinv(" ", parts);
    g_auto(GStrv) lines = g_strsplit(joined, "\n", -1);
    for (char **line = lines; *line; line++)
        take_configuration_line(modules, *line, is_own_file);
}

/* ---- what is used ---- */

typedef bool (*EntryFn)(KernelModules *modules, const char *path, const char *name);

/* Until one of a folder's entries is what `is_it` looks for. */
static bool any_entry(KernelModules *modules, const char *folder, EntryFn is_it) {
    GDir *names = g_dir_open(folder, 0, NULL);
    bool is_found = false;
    if (!names)
        return false;
    const char *name;
    for (int i = 0; i < MAX_ENTRIES && !is_found && (name = g_dir_read_name(names)); i++) {
        g_autofree char *path = g_build_filename(folder, name, NULL);
        is_found = is_it(modules, path, name);
    }
    g_dir_close(names);
    return is_found;
}

/* A driver's folder holds a link to each of its devices, and one to its module. */
static bool is_device(KernelModules *modules G_GNUC_UNUSED, const char *path, const char *name) {
    struct stat status;
    return strcmp(name, "module") != 0 && lstat(path, &status) == 0 && S_ISLNK(status.st_mode);
}

static bool is_driver_with_device(KernelModules *modules, const char *path, const char *name G_GNUC_UNUSED) {
    return any_entry(modules, path, is_device);
}

/* Modules that make network interfaces do not count these as uses. */
static const struct {
    const char *kind, *module;
} interface_kinds[] = {{"DEVTYPE=bridge", "bridge"}, {"DEVTYPE=bond", "bonding"}, {"DEVTYPE=vlan", "8021q"},
    {"DEVTYPE=vxlan", "vxlan"}, {"DEVTYPE=geneve", "geneve"}, {"DEVTYPE=wireguard", "wireguard"}};

static bool note_interface(KernelModules *modules, const char *path, const char *name G_GNUC_UNUSED) {
    g_autofree char *uevent = g_build_filename(path, "uevent", NULL), *text = NULL;
    if (!file_read(uevent, FACT_LIMIT, &text, NULL, NULL))
        return false;
    for (size_t i = 0; i < G_N_ELEMENTS(interface_kinds); i++) {
        KernelModule *module = g_hash_table_lookup(modules->by_name, interface_kinds[i].module);
        if (module && module->is_loaded && strstr(text, interface_kinds[i].kind))
            module->is_in_use = true;
    }
    return false; /* go on with the next */
}

static bool is_needed_by_used(const KernelModules *modules, const KernelModule *module) {
    for (guint i = 0; module->used_by && i < module->used_by->len; i++) {
        const KernelModule *user = kernel_modules_find(modules, module->used_by->pdata[i]);
        if (user && user->is_in_use)
            return true;
    }
    return false;
}

/* Down from what is used for its own sake; a rest that only uses itself is not in use. */
static void spread_uses(KernelModules *modules) {
    g_autoptr(GPtrArray) all = kernel_modules_sorted(modules);
    for (bool goes_on = true; goes_on;) {
        goes_on = false;
        for (guint i = 0; i < all->len; i++) {
            KernelModule *module = all->pdata[i];
            if (!module->is_in_use && is_needed_by_used(modules, module))
                module->is_in_use = goes_on = true;
        }
    }
}

static void note_uses(KernelModules *modules) {
    GHashTableIter each;
    void *value;
    g_hash_table_iter_init(&each, modules->by_name);
    while (g_hash_table_iter_next(&each, NULL, &value)) {
        KernelModule *module = value;
        if (!module->is_loaded || module->is_in_use)
            continue;
        g_autofree char *drivers =
            g_build_filename(modules->root, "sys/module", module->name, "drivers", NULL);
        module->is_in_use = any_entry(modules, drivers, is_driver_with_device);
    }
    g_autofree char *interfaces = g_build_filename(modules->root, "sys/class/net", NULL);
    any_entry(modules, interfaces, note_interface);
    spread_uses(modules);
}

/* ---- reading ---- */

/* NULL without error when there is none. */
static bool read_text(const char *path, size_t limit, char **ret_text, Error *err) {
    g_auto(Error) fault = {0};
    *ret_text = NULL;
    if (file_read(path, limit, ret_text, NULL, &fault) || fault.code == ERROR_NOT_FOUND)
        return true;
    error_move(err, &fault);
    return false;
}

/* Among /etc/modprobe.d and its like a file of an earlier folder replaces those of the same name. */
static const char *const configuration_folders[] = {
    "etc/modprobe.d", "run/modprobe.d", "usr/local/lib/modprobe.d", "usr/lib/modprobe.d", "lib/modprobe.d"};

static bool read_configuration_folder(
    KernelModules *modules, size_t which, const char *own_file, GHashTable *seen, Error *err) {
    g_autofree char *folder = g_build_filename(modules->root, configuration_folders[which], NULL);
    GDir *names = g_dir_open(folder, 0, NULL);
    bool is_good = true;
    if (!names)
        return true;
    const char *name;
    for (int i = 0; i < MAX_ENTRIES && is_good && (name = g_dir_read_name(names)); i++) {
        if (!g_str_has_suffix(name, ".conf") || !g_hash_table_add(seen, g_strdup(name)))
            continue;
        g_autofree char *path = g_build_filename(folder, name, NULL), *text = NULL;
        if (g_file_test(path, G_FILE_TEST_IS_REGULAR)) /* a link to /dev/null hides a file of that name */
            is_good = read_text(path, FILE_LIMIT, &text, err);
        if (text)
            kernel_modules_take_configuration(modules, text, which == 0 && !strcmp(name, own_file));
    }
    g_dir_close(names);
    return is_good;
}

static bool read_configuration(KernelModules *modules, const char *own_file, Error *err) {
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(configuration_folders); i++)
        if (!read_configuration_folder(modules, i, own_file, seen, err))
            return false;
    return true;
}

static bool read_list(KernelModules *modules, const char *name, size_t limit, char **ret_text, Error *err) {
    g_autofree char *path = g_build_filename(modules->root, "lib/modules", modules->release, name, NULL);
    return read_text(path, limit, ret_text, err);
}

static bool read_lists(KernelModules *modules, Error *err) {
    g_autofree char *list = NULL, *builtin = NULL, *soft = NULL, *loaded = NULL;
    g_autofree char *proc = g_build_filename(modules->root, "proc/modules", NULL);
    if (!read_list(modules, "modules.dep", LIST_LIMIT, &list, err) ||
        !read_list(modules, "modules.builtin", FILE_LIMIT, &builtin, err) ||
        !read_list(modules, "modules.softdep", FILE_LIMIT, &soft, err) ||
        !read_text(proc, FILE_LIMIT, &loaded, err))
        return false;
    if (list)
        kernel_modules_take_list(modules, list);
    if (builtin)
        kernel_modules_take_builtin(modules, builtin);
    if (loaded)
        kernel_modules_take_loaded(modules, loaded);
    if (soft)
        kernel_modules_take_configuration(modules, soft, false);
    return true;
}

bool kernel_modules_read(const char *root, const char *own_file, KernelModules **ret_modules, Error *err) {
    g_autofree char *path = g_build_filename(root, "proc/sys/kernel/osrelease", NULL), *release = NULL;
    if (!file_read(path, FACT_LIMIT, &release, NULL, err))
        return error_wrap(err, ERROR_NONE, "cannot tell which kernel runs");
    g_strchomp(release);
    if (!*release || *release == '.' || strchr(release, '/'))
        return error_set(err, ERROR_CORRUPT, NULL, "%s names no kernel", path);
    g_autoptr(KernelModules) modules = kernel_modules_new(root, release);
    if (!read_lists(modules, err) || !read_configuration(modules, own_file, err))
        return false;
    note_uses(modules);
    *ret_modules = g_steal_pointer(&modules);
    return true;
}
