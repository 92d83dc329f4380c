/* Three kinds of recipes, each a short chain: prepare a folder, run scripts in the jail, take the files out,
 * hash them. */
#include "image/template-build.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/file.h"
#include "image/apt-sources.h"
#include "image/boot-sector.h"
#include "image/file-hash.h"
#include "image/jail.h"
#include "image/recipe-files.h"
#include "image/tools.h"

#define MIB (UINT64_C(1) << 20)

enum { BUILD_TIMEOUT_MS = 60 * 60 * 1000, DISK_TIMEOUT_MS = 20 * 60 * 1000, PACKAGES_LIMIT = 1024 * 1024 };
enum { TYPICAL_PACKAGES = 220 };              /* of a Debian template; only the progress depends on it */
enum { EFI_FIRST = 2048, EFI_COUNT = 32768 }; /* sectors: at 1 MiB, 16 MiB long */

typedef struct Build {
    const Recipe *recipe;
    const char *work_folder;
    TemplateOptions options;
    const ImageProgress *progress;
    const Cancel *cancel;
    JailKind kind;
    char *folder; /* the jail's, inside the work folder */
    char *cache;  /* the jail's */
    int percent, n_unpacked, n_set_up;
    TemplateResult result;
} Build;

static void build_clear(Build *build) {
    jail_folder_free(build->folder);
    g_free(build->cache);
    template_result_clear(&build->result);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Build, build_clear)

void template_result_clear(TemplateResult *result) {
    for (size_t i = 0; i < result->n_files; i++) {
        g_free(result->files[i].name);
        g_free(result->files[i].sha256);
    }
    g_strfreev(result->packages);
    *result = (TemplateResult){0};
}

/* --- progress
 * ------------------------------------------------------------------------------------------------- */

static void report(Build *build, int percent, const char *phase) {
    build->percent = MAX(build->percent, percent);
    progress_report(build->progress, build->percent, phase);
}

/* What mmdebstrap says, and what that means for people. */
static const struct {
    const char *line;
    int percent;
    const char *phase;
} milestones[] = {
    {"I: running apt-get update", 2, "reading package lists"},
    {"I: downloading packages", 6, "fetching essential packages"},
    {"I: extracting archives", 15, "unpacking essential packages"},
    {"I: installing essential packages", 20, "installing essential packages"},
    {"I: installing remaining packages", 35, "installing packages"},
    {"I: cleaning package lists", 85, "cleaning up"},
    {"I: success", 87, "installed"},
};

/* Our own scripts say "step PERCENT PHASE". */
static void take_step(Build *build, const char *line) {
    char *phase = NULL;
    guint64 percent = g_ascii_strtoull(line, &phase, 10);
    if (*phase == ' ' && percent <= 99)
        report(build, (int)percent, phase + 1);
}

static void take_line(const char *line, void *data) {
    Build *build = data;
    if (g_str_has_prefix(line, "step "))
        take_step(build, line + strlen("step "));
    for (size_t i = 0; i < G_N_ELEMENTS(milestones); i++)
        if (g_str_has_prefix(line, milestones[i].line))
            report(build, milestones[i].percent, milestones[i].phase);
    build->n_unpacked += g_str_has_prefix(line, "Unpacking ");
    build->n_set_up += g_str_has_prefix(line, "Setting up ");
    /* Essential packages are unpacked another way and set up first. */
    int percent = 20 + 25 * build->n_unpacked / TYPICAL_PACKAGES + 40 * build->n_set_up / TYPICAL_PACKAGES;
    if (build->percent >= 20 && percent > build->percent && percent < 85)
        report(build, percent,
            build->n_set_up > build->n_unpacked ? "setting up packages" : "installing packages");
}

/* --- steps that all kinds share
 * --------------------------------------------------------------------------------- */

typedef struct Script {
    const char *name, *text;
} Script;

static bool prepare_cache(Build *build, Error *err) {
    uint32_t first = build->options.first_id ? build->options.first_id : JAIL_DEFAULT_FIRST_ID;
    uint32_t id = build->kind == JAIL_BUILD ? first : first + JAIL_MAP_COUNT;
    if (!build->options.cache) {
        build->cache = g_build_filename(build->folder, "cache", NULL);
    } else {
        /* A folder per identity: what one jail wrote is not the other's to change. And one per suite, so that
         * old packages can go. */
        g_autofree char *name =
            g_strdup_printf("%u-%s", id, build->recipe->suite ? build->recipe->suite : "host");
        build->cache = g_build_filename(build->options.cache, name, NULL);
    }
    if (!folder_make(build->cache, 0700, err))
        return false;
    if (lchown(build->cache, id, id) < 0)
        return error_set_errno(err, errno, "giving %s to the jail", build->cache);
    return true;
}

static bool put_text(Build *build, const char *name, const char *text, Error *err) {
    return jail_folder_put(build->folder, name, text, strlen(text), 0644, err);
}

/* The jail's folder with the scripts and what they need to fetch packages. */
static bool prepare(Build *build, const Script *scripts, size_t n_scripts, Error *err) {
    g_autofree char *sources = NULL, *settings = NULL;
    if (!jail_range_check(build->options.first_id, err) || !image_tools_check(err) ||
        !apt_sources_for_suite("/etc", build->recipe->suite, &sources, err) ||
        !apt_settings(build->cancel, &settings, err) ||
        !jail_folder_new(build->work_folder, build->kind, build->options.first_id, &build->folder, err) ||
        !prepare_cache(build, err) || !put_text(build, "debian.sources", sources, err))
        return false;
    g_autofree char *configuration =
        build->recipe->kind == RECIPE_KERNEL
            ? g_strconcat("Dir \"/work/apt\";\nDir::State \"/work/apt/var/lib/apt\";\nDir::State::status "
                          "\"/work/apt/var/lib/dpkg/status\";\nDir::Bin::methods \"/usr/lib/apt/methods\";\n",
                  settings, NULL)
            : g_strdup(settings);
    if (!put_text(build, "apt.conf", configuration, err))
        return false;
    for (size_t i = 0; i < n_scripts; i++)
        if (!put_text(build, scripts[i].name, scripts[i].text, err))
            return false;
    return true;
}

static bool run(Build *build, const char *const *argv, bool has_network, int64_t timeout_ms, Error *err) {
    const JailBind binds[] = {
        {build->folder, "/work", .is_writable = true},
        {build->cache, "/cache", .is_writable = true},
        {"/etc/passwd", "/etc/passwd"},
        {"/etc/group", "/etc/group"},
        {"/etc/dpkg", "/etc/dpkg"},
        {"/etc/apt/auth.conf.d", "/etc/apt/auth.conf.d", .is_optional = true},
        {"/etc/mke2fs.conf", "/etc/mke2fs.conf", .is_optional = true},
    };
    const JailSpec spec = {.kind = build->kind,
        .first_id = build->options.first_id,
        .argv = argv,
        .binds = binds,
        .n_binds = G_N_ELEMENTS(binds),
        .folder = "/work",
        .has_network = has_network,
        .limits = {.file_bytes = 16 * 1024 * MIB, .processes = 1024, .cpu_s = 3600},
        .timeout_ms = timeout_ms,
        .output_limit = 16 * MIB,
        .cancel = build->cancel,
        .on_line = take_line,
        .on_line_data = build};
    return jail_run(&spec, NULL, err);
}

/* Describes work_folder/name, which is already root's. */
static bool add_file(Build *build, TemplateRole role, const char *name, Error *err) {
    g_autofree char *path = g_build_filename(build->work_folder, name, NULL), *sha256 = NULL;
    fd_auto int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    struct stat status;
    if (fd < 0 || fstat(fd, &status) < 0)
        return error_set_errno(err, errno, "opening %s", path);
    if (!file_hash(fd, 0, NULL, build->cancel, &sha256, err))
        return false;
    uint64_t size = (uint64_t)status.st_size;
    bool is_disk = role == TEMPLATE_DISK;
    build->result.files[build->result.n_files++] = (TemplateFile){.role = role,
        .name = g_strdup(name),
        .format = is_disk ? "raw" : NULL,
        .size_bytes = size,
        .virtual_bytes = is_disk ? size : 0,
        .sha256 = g_steal_pointer(&sha256)};
    return true;
}

static bool take_out(Build *build, TemplateRole role, const char *name, Error *err) {
    g_autofree char *path = g_build_filename(build->work_folder, name, NULL);
    return jail_folder_take(build->folder, name, path, 0644, err) && add_file(build, role, name, err);
}

static int compare_lines(const void *first, const void *second) {
    return strcmp(*(char *const *)first, *(char *const *)second);
}

static bool take_packages(Build *build, Error *err) {
    g_autofree char *path = g_build_filename(build->work_folder, "packages", NULL), *text = NULL;
    if (!jail_folder_take(build->folder, "packages", path, 0600, err))
        return false;
    bool ok = file_read(path, PACKAGES_LIMIT, &text, NULL, err);
    unlink(path);
    if (!ok)
        return false;
    if (!g_utf8_validate(text, -1, NULL))
        return error_set(err, ERROR_CORRUPT, NULL, "the list of packages is not text");
    build->result.packages = g_strsplit(g_strchomp(text), "\n", -1);
    qsort(build->result.packages, g_strv_length(build->result.packages), sizeof(char *), compare_lines);
    return true;
}

/* --- the kinds
 * -------------------------------------------------------------------------------------------------- */

static bool build_kernel(Build *build, Error *err) {
    static const Script scripts[] = {{"tiny.sh", recipe_tiny_sh}, {"tiny-init.sh", recipe_tiny_init_sh},
        {"tiny-udhcpc.sh", recipe_tiny_udhcpc_sh}, {"xen-addresses.sh", recipe_xen_addresses_sh}};
    build->kind = JAIL_SINGLE;
    if (!prepare(build, scripts, G_N_ELEMENTS(scripts), err))
        return false;
    const char *const argv[] = {"sh", "/work/tiny.sh", NULL};
    return run(build, argv, true, BUILD_TIMEOUT_MS, err) && take_packages(build, err) &&
           take_out(build, TEMPLATE_KERNEL, "kernel", err) && take_out(build, TEMPLATE_INITRD, "initrd", err);
}

static bool put_partition_table(Build *build, const Partition *partitions, size_t n, Error *err) {
    uint8_t sector[SECTOR_SIZE] = {0};
    /* Bytes 440..443 are the disk's signature: any number but 0 is good. */
    guint32 signature = g_random_int() | 1;
    memcpy(sector + 440, &signature, sizeof signature);
    boot_sector_partitions(sector, partitions, n);
    return jail_folder_put(build->folder, "mbr", sector, sizeof sector, 0644, err);
}

static bool build_disk(Build *build, Error *err) {
    static const Script scripts[] = {{"debian-tree.sh", recipe_debian_tree_sh},
        {"debian-customize.sh", recipe_debian_customize_sh}, {"debian-disk.sh", recipe_debian_disk_sh},
        {"debian-grub.cfg", recipe_debian_grub_cfg}, {"xen-addresses.sh", recipe_xen_addresses_sh}};
    build->kind = JAIL_BUILD;
    if (!prepare(build, scripts, G_N_ELEMENTS(scripts), err))
        return false;
    g_autofree char *packages = g_strjoinv(",", (char **)build->recipe->packages);
    const char *const tree[] = {"sh", "/work/debian-tree.sh", build->recipe->suite, packages, NULL};
    if (!run(build, tree, true, BUILD_TIMEOUT_MS, err))
        return error_wrap(err, ERROR_NONE, "installing %s failed", build->recipe->title);

    uint32_t sectors = (uint32_t)(build->recipe->disk_bytes / SECTOR_SIZE),
             root_first = EFI_FIRST + EFI_COUNT;
    const Partition partitions[] = {{.type = 0xef, .first = EFI_FIRST, .count = EFI_COUNT},
        {.type = 0x83, .is_active = true, .first = root_first, .count = sectors - root_first}};
    if (!put_partition_table(build, partitions, G_N_ELEMENTS(partitions), err))
        return false;
    const uint32_t numbers[] = {sectors, EFI_FIRST, EFI_COUNT, root_first, sectors - root_first};
    g_autoptr(GPtrArray) disk = g_ptr_array_new_with_free_func(g_free);
    g_ptr_array_add(disk, g_strdup("sh"));
    g_ptr_array_add(disk, g_strdup("/work/debian-disk.sh"));
    for (size_t i = 0; i < G_N_ELEMENTS(numbers); i++)
        g_ptr_array_add(disk, g_strdup_printf("%u", numbers[i]));
    g_ptr_array_add(disk, NULL);
    if (!run(build, (const char *const *)disk->pdata, false, DISK_TIMEOUT_MS, err))
        return error_wrap(err, ERROR_NONE, "writing the disk of %s failed", build->recipe->title);
    report(build, 96, "checking");
    return take_packages(build, err) && take_out(build, TEMPLATE_DISK, "disk", err);
}

static bool build_sector(Build *build, Error *err) {
    g_autofree char *path = g_build_filename(build->work_folder, "disk", NULL);
    uint8_t sector[SECTOR_SIZE];
    boot_sector_bench(sector);
    if (!file_replace(path, sector, sizeof sector, 0644, err))
        return false;
    if (truncate(path, (off_t)build->recipe->disk_bytes) < 0)
        return error_set_errno(err, errno, "sizing %s", path);
    build->result.packages = g_new0(char *, 1);
    return add_file(build, TEMPLATE_DISK, "disk", err);
}

static void remove_results(const char *work_folder) {
    static const char *const names[] = {"disk", "kernel", "initrd", "packages"};
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *path = g_build_filename(work_folder, names[i], NULL);
        unlink(path);
    }
}

bool template_build(const char *recipe_name, const char *work_folder, const TemplateOptions *options,
    const ImageProgress *progress, const Cancel *cancel, TemplateResult *ret, Error *err) {
    static bool (*const kinds[])(Build *, Error *) = {
        [RECIPE_SECTOR] = build_sector, [RECIPE_KERNEL] = build_kernel, [RECIPE_DISK] = build_disk};
    const Recipe *recipe = recipe_find(recipe_name);
    if (!recipe)
        return error_set(err, ERROR_NOT_FOUND, NULL, "there is no recipe %s", recipe_name);
    g_auto(Build) build = {.recipe = recipe,
        .work_folder = work_folder,
        .progress = progress,
        .cancel = cancel,
        .options = options ? *options : (TemplateOptions){0}};
    report(&build, 0, "preparing");
    if (!kinds[recipe->kind](&build, err)) {
        jail_folder_free(g_steal_pointer(&build.folder));
        remove_results(work_folder);
        return false;
    }
    report(&build, 100, "built");
    build.result.recipe = recipe;
    *ret = build.result;
    build.result = (TemplateResult){0};
    return true;
}
