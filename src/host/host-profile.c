/* Files of sysfs: Documentation/ABI of the kernel (class-net, class-dmi, stable/sysfs-block). */
#include "host/host-profile.h"
#include <glib.h>
#include <string.h>
#include <sys/statvfs.h>
#include "base/file.h"

enum { LONGEST_TEXT = 255, LONGEST_NAME = 64, MOST_WARNINGS = 60 };
enum { FACT_LIMIT = 4096, MOST_NICS = 256, MOST_DISKS = 1024, SECTOR = 512, LEAST_FREE_PERCENT = 5 };
#define LEAST_FREE_BYTES (UINT64_C(2) << 30)

/* ---- reading ---- */

/* The trimmed text of a small file; NULL when there is none or it is empty. */
static char *fact(const char *folder, const char *name) {
    g_autofree char *path = g_build_filename(folder, name, NULL), *text = NULL;
    if (!file_read(path, FACT_LIMIT, &text, NULL, NULL))
        return NULL;
    g_strstrip(text);
    return *text && g_utf8_validate(text, -1, NULL) ? g_steal_pointer(&text) : NULL;
}

static bool has(const char *folder, const char *name) {
    g_autofree char *path = g_build_filename(folder, name, NULL);
    return g_file_test(path, G_FILE_TEST_EXISTS);
}

/* NULL when the link is missing. */
static char *link_name(const char *folder, const char *name) {
    g_autofree char *path = g_build_filename(folder, name, NULL);
    g_autofree char *target = g_file_read_link(path, NULL);
    return target ? g_path_get_basename(target) : NULL;
}

/* As long as a field of the schema may be. */
static void shorten(char *text) {
    if (strlen(text) <= LONGEST_TEXT)
        return;
    char *end = g_utf8_find_prev_char(text, text + LONGEST_TEXT + 1);
    *(end ? end : text) = '\0';
}

/* "A B", without what is not known; NULL when nothing is. */
static char *joined(const char *separator, const char *const *words, size_t n) {
    GString *text = g_string_new(NULL);
    for (size_t i = 0; i < n; i++)
        if (words[i])
            g_string_append_printf(text, "%s%s", text->len ? separator : "", words[i]);
    if (text->len == 0) {
        g_string_free(text, TRUE);
        return NULL;
    }
    char *all = g_string_free(text, FALSE);
    shorten(all);
    return all;
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Of the entries that stand for a device, not for something made by software; sorted. */
static GPtrArray *devices_in(const char *folder) {
    GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GDir) all = g_dir_open(folder, 0, NULL);
    const char *name;
    while (all && (name = g_dir_read_name(all))) {
        g_autofree char *entry = g_build_filename(folder, name, NULL);
        if (strlen(name) <= LONGEST_NAME && has(entry, "device"))
            g_ptr_array_add(names, g_strdup(name));
    }
    g_ptr_array_sort(names, compare_names);
    return names;
}

/* ---- parts ---- */

static void fill_machine(const char *root, HostStatus *status) {
    g_autofree char *dmi = g_build_filename(root, "sys/class/dmi/id", NULL);
    g_autofree char *maker = fact(dmi, "sys_vendor"), *product = fact(dmi, "product_name");
    g_autofree char *vendor = fact(dmi, "bios_vendor"), *version = fact(dmi, "bios_version");
    g_autofree char *date = fact(dmi, "bios_date");
    g_autofree char *machine = joined(" ", (const char *const[]){maker, product}, 2);
    if (machine)
        host_status_set_machine(status, machine);
    const char *kind = has(root, "sys/firmware/efi") ? "UEFI" : "BIOS";
    g_autofree char *firmware = joined(", ", (const char *const[]){kind, vendor, version, date}, 4);
    host_status_set_firmware(status, firmware);
}

static void fill_nic(const char *folder, const char *name, HostNic *nic) {
    g_autofree char *place = g_build_filename(folder, name, NULL);
    g_autofree char *mac = fact(place, "address"), *carrier = fact(place, "carrier");
    g_autofree char *speed = fact(place, "speed"), *module = link_name(place, "device/driver/module");
    int64_t number = speed ? g_ascii_strtoll(speed, NULL, 10) : 0;
    host_nic_set_name(nic, name);
    if (mac && strlen(mac) <= LONGEST_NAME)
        host_nic_set_mac(nic, mac);
    /* One that is switched off cannot be asked. */
    host_nic_set_link(nic, carrier && strcmp(carrier, "1") == 0);
    if (number > 0)
        host_nic_set_speed(nic, number);
    if (module && strlen(module) <= LONGEST_NAME)
        host_nic_set_module(nic, module);
}

static void fill_nics(const char *root, HostStatus *status) {
    g_autofree char *folder = g_build_filename(root, "sys/class/net", NULL);
    g_autoptr(GPtrArray) names = devices_in(folder);
    for (guint i = 0; i < MIN(names->len, MOST_NICS); i++)
        fill_nic(folder, names->pdata[i], host_status_add_nics(status));
}

static void fill_disk(const char *folder, const char *name, HostDisk *disk) {
    g_autofree char *place = g_build_filename(folder, name, NULL);
    g_autofree char *size = fact(place, "size"), *vendor = fact(place, "device/vendor");
    g_autofree char *product = fact(place, "device/model"), *turns = fact(place, "queue/rotational");
    /* PCI's and virtio's numbers are no maker's name. */
    const char *maker = vendor && !g_str_has_prefix(vendor, "0x") ? vendor : NULL;
    g_autofree char *model = joined(" ", (const char *const[]){maker, product}, 2);
    host_disk_set_name(disk, name);
    if (size)
        host_disk_set_size(disk, g_ascii_strtoull(size, NULL, 10) * SECTOR);
    if (model)
        host_disk_set_model(disk, model);
    if (turns)
        host_disk_set_rotational(disk, strcmp(turns, "1") == 0);
}

/* Drives for discs and floppies are none. */
static bool is_disk(const char *name) {
    return !g_str_has_prefix(name, "sr") && !g_str_has_prefix(name, "fd");
}

static void fill_disks(const char *root, HostStatus *status) {
    g_autofree char *folder = g_build_filename(root, "sys/block", NULL);
    g_autoptr(GPtrArray) names = devices_in(folder);
    for (guint i = 0; i < names->len && status->disks.n < MOST_DISKS; i++)
        if (is_disk(names->pdata[i]))
            fill_disk(folder, names->pdata[i], host_status_add_disks(status));
}

void host_profile_fill(const char *root, HostStatus *status) {
    fill_machine(root, status);
    fill_nics(root, status);
    fill_disks(root, status);
}

/* ---- warnings ---- */

static void warn(HostStatus *status, const char *format, ...) G_GNUC_PRINTF(2, 3);
static void warn(HostStatus *status, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    g_autofree char *text = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    shorten(text);
    if (status->warnings.n < MOST_WARNINGS)
        host_status_add_warnings(status, text);
}

static void warn_of_space(const char *state_folder, HostStatus *status) {
    struct statvfs space;
    if (statvfs(state_folder, &space) < 0 || space.f_blocks == 0)
        return;
    uint64_t unit = space.f_frsize, free_bytes = space.f_bavail * unit;
    uint64_t percent = (uint64_t)space.f_bavail * 100 / space.f_blocks;
    if (free_bytes < LEAST_FREE_BYTES || percent < LEAST_FREE_PERCENT) {
        g_autofree char *text = g_format_size_full(free_bytes, G_FORMAT_SIZE_IEC_UNITS);
        warn(status, "the file system of %s has %s left", state_folder, text);
    }
}

void host_warnings_fill(const char *state_folder, HostStatus *status) {
    if (g_strcmp0(status->acceleration, "emulation") == 0)
        warn(status, "guests are emulated, and slow: no hardware virtualization was found");
    warn_of_space(state_folder, status);
    for (size_t i = 0; i < status->nics.n; i++)
        if (status->nics.items[i].link && host_nic_has(&status->nics.items[i], HOST_NIC_FIELD_SPEED) &&
            status->nics.items[i].speed < 1000)
            warn(status, "the network card %s runs at %" G_GINT64_FORMAT " Mbit/s only",
                status->nics.items[i].name, status->nics.items[i].speed);
}
