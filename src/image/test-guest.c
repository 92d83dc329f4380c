/*
 * Builds templates and boots them in plain QEMU under emulation: what was built is proven by what the guest
 * says on its serial port. Needs root and QEMU; /guest/long builds whole distributions.
 */
#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "base/file.h"
#include "base/process.h"
#include "image/recipe-files.h"
#include "image/seed.h"
#include "image/template-build.h"

enum { ROOT_BYTE = (2048 + 32768) * 512 }; /* behind the gap for GRUB and the EFI partition */

typedef struct Guest {
    const char *folder;
    const char *wanted;      /* a line of the serial port that contains this … */
    const char *qmp_command; /* … is answered with this command, or (NULL) with the end of the machine */
    Cancel *cancel;
    GString *transcript; /* of boot(); the test frees it */
    bool was_seen;
} Guest;

static char *work_folder_new(void) {
    char *folder = g_dir_make_tmp("lodge-guest-XXXXXX", NULL);
    g_assert_nonnull(folder);
    return folder;
}

static void send_qmp(const Guest *guest) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    g_snprintf(address.sun_path, sizeof address.sun_path, "%s/qmp", guest->folder);
    fd_auto int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(connect(fd, (struct sockaddr *)&address, sizeof address), ==, 0);
    const char *const commands[] = {"qmp_capabilities", guest->qmp_command};
    for (size_t i = 0; i < G_N_ELEMENTS(commands); i++) {
        char answer[4096];
        g_autofree char *line = g_strdup_printf("{\"execute\":\"%s\"}\n", commands[i]);
        g_assert_true(read(fd, answer, sizeof answer) > 0);
        g_assert_true(fd_write_all(fd, line, strlen(line), NULL));
    }
    g_usleep(300000); /* an end of the connection before the answer would drop the command */
}

static void take_serial_line(const char *line, void *data) {
    Guest *guest = data;
    g_string_append_printf(guest->transcript, "%s\n", line);
    if (guest->was_seen || !strstr(line, guest->wanted))
        return;
    guest->was_seen = true;
    if (guest->qmp_command)
        send_qmp(guest);
    else
        cancel_trigger(guest->cancel);
}

/* Boots until the wanted line came; with a QMP command until the machine has ended by itself. */
static void boot(Guest *guest, const char *memory_mib, const char *const *arguments, int64_t timeout_ms) {
    g_autofree char *qmp = g_strdup_printf("unix:%s/qmp,server=on,wait=off", guest->folder);
    const char *const common[] = {"qemu-system-x86_64", "-accel", "tcg,tb-size=64", "-machine", "q35", "-m",
        memory_mib, "-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot", "-netdev",
        "user,id=net", "-device", "virtio-net-pci,netdev=net,romfile=", "-device", "virtio-scsi-pci",
        "-device", "virtio-rng-pci", "-qmp", qmp, NULL};
    g_autoptr(GPtrArray) argv = g_ptr_array_new();
    for (const char *const *word = common; *word; word++)
        g_ptr_array_add(argv, (char *)*word);
    for (const char *const *word = arguments; *word; word++)
        g_ptr_array_add(argv, (char *)*word);
    g_ptr_array_add(argv, NULL);

    g_autoptr(Cancel) cancel = cancel_new();
    guest->cancel = cancel;
    guest->transcript = g_string_new(NULL);
    const ProcessSpec qemu = {.argv = (const char *const *)argv->pdata,
        .timeout_ms = timeout_ms,
        .cancel = cancel,
        .output_limit = 4 * 1024 * 1024,
        .on_line = take_serial_line,
        .on_line_data = guest};
    g_auto(Error) err = {0};
    bool ok = process_run(&qemu, NULL, &err);
    if (!guest->was_seen || (guest->qmp_command && !ok)) {
        g_autofree char *text = ok ? g_strdup("the machine ended") : error_text(&err);
        g_error("no \"%s\" or no end: %s\n%s", guest->wanted, text, guest->transcript->str);
    }
}

static void log_progress(int percent, const char *phase, void *data G_GNUC_UNUSED) {
    g_test_message("%d %% %s", percent, phase);
}

static void build(const char *name, const char *folder, TemplateResult *ret) {
    const ImageProgress progress = {.report = log_progress};
    const TemplateOptions options = {.cache = "/var/cache/lodge-dev"};
    g_auto(Error) err = {0};
    bool ok = template_build(name, folder, &options, &progress, NULL, ret, &err);
    g_autofree char *text = ok ? NULL : error_text(&err);
    g_assert_cmpstr(text, ==, NULL);
}

static void test_bench_boot_says_so_on_the_serial_port(void) {
    g_autofree char *folder = work_folder_new();
    g_auto(TemplateResult) result = {0};
    build("bench-boot", folder, &result);
    g_assert_cmpuint(result.files[0].virtual_bytes, ==, 1024 * 1024);
    g_autofree char *drive = g_strdup_printf("file=%s/disk,format=raw,if=virtio,snapshot=on", folder);
    Guest guest = {.folder = folder, .wanted = "bench-boot ok"};
    boot(&guest, "16", (const char *const[]){"-drive", drive, NULL}, 20000);
    g_string_free(guest.transcript, TRUE);
    g_assert_true(tree_remove(folder, NULL));
}

static void test_tiny_boots_and_obeys_the_power_button(void) {
    g_autofree char *folder = work_folder_new();
    g_auto(TemplateResult) result = {0};
    build("tiny", folder, &result);
    g_assert_cmpuint(result.n_files, ==, 2);
    g_assert_cmpint(g_strv_length(result.packages), ==, 2);
    g_autofree char *kernel = g_build_filename(folder, "kernel", NULL),
                    *initrd = g_build_filename(folder, "initrd", NULL);
    g_autofree char *cmdline = g_strconcat(result.recipe->cmdline, " lodge.hostname=web-3", NULL);
    const char *const arguments[] = {"-kernel", kernel, "-initrd", initrd, "-append", cmdline, NULL};
    Guest guest = {.folder = folder, .wanted = "as web-3"};
    boot(&guest, "96", arguments, 90000);
    g_string_free(guest.transcript, TRUE);
    Guest addressed = {
        .folder = folder, .wanted = "tiny: address 10.0.2.15", .qmp_command = "system_powerdown"};
    boot(&addressed, "96", arguments, 90000);
    g_string_free(addressed.transcript, TRUE);
    g_assert_true(tree_remove(folder, NULL));
}

static void cancel_in_the_middle(int percent, const char *phase G_GNUC_UNUSED, void *data) {
    if (percent >= 5)
        cancel_trigger(data);
}

static void test_a_cancelled_build_leaves_nothing(const void *data) {
    g_autofree char *folder = work_folder_new();
    g_autoptr(Cancel) cancel = cancel_new();
    const ImageProgress progress = {.report = cancel_in_the_middle, .data = cancel};
    TemplateResult result;
    g_auto(Error) err = {0};
    g_assert_false(template_build(data, folder, NULL, &progress, cancel, &result, &err));
    g_assert_cmpint(err.code, ==, ERROR_CANCELLED);
    g_assert_cmpint(g_rmdir(folder), ==, 0); /* empty */
}

static void test_an_unknown_recipe_is_not_found(void) {
    TemplateResult result;
    g_auto(Error) err = {0};
    g_assert_false(template_build("windows-95", "/nonexistent", NULL, NULL, NULL, &result, &err));
    g_assert_cmpint(err.code, ==, ERROR_NOT_FOUND);
}

/* What the guest says of itself, line by line, on the serial port that it also asks for a name on. */
static const char proof_user_data[] =
    "#cloud-config\n"
    "runcmd:\n"
    " - [sh, -c, 'echo \"proof $(hostname) $(id -un lodge) $(df -m --output=size / | tail -n 1)\" "
    ">/dev/ttyS0']\n"
    " - [sh, -c, 'n=60; until systemctl is-active -q serial-getty@ttyS0 || [ $n = 0 ]; do n=$((n-1)); sleep "
    "1; "
    "done']\n"
    " - [sh, -c, 'echo \"getty $(systemctl is-active serial-getty@ttyS0)\" >/dev/ttyS0']\n"
    /* For the root disk of a Xen host and of QEMU, before the root file system is there; for the NIC, after
       that. */
    " - [sh, -c, 'echo \"drivers $(zstd -dc </initrd.img | grep -a -o -e xen-blkfront[.]ko -e "
    "virtio_blk[.]ko "
    "| sort -u | "
    "wc -l) $(modinfo -n xen-netfront | wc -l)\" >/dev/ttyS0']\n";

/* Boots a copy-on-write clone of a built disk with a seed; passes when cloud-init has finished with that seed
 * and the machine ended by its power button. */
static void boot_clone(const char *folder, const char *name, const char *const *firmware) {
    g_autofree char *overlay = g_strdup_printf("%s/%s.qcow2", folder, name),
                    *disk = g_build_filename(folder, "disk", NULL);
    g_autofree char *seed = g_strdup_printf("%s/%s.iso", folder, name);
    g_auto(Error) err = {0};
    const ProcessSpec create = {.argv = (const char *const[]){"qemu-img", "create", "-q", "-f", "qcow2", "-b",
                                    disk, "-F", "raw", overlay, "4G", NULL}};
    g_assert_true(process_run(&create, NULL, &err));
    const SeedSpec spec = {.hostname = name, .instance_id = name, .user_data = proof_user_data};
    g_assert_true(seed_write(&spec, seed, &err));
    g_autofree char *drive = g_strdup_printf("file=%s,format=qcow2,if=virtio,cache=unsafe", overlay);
    g_autofree char *medium = g_strdup_printf("if=none,id=seed,file=%s,format=raw,readonly=on", seed);
    const char *arguments[16] = {"-drive", drive, "-drive", medium, "-device", "scsi-cd,drive=seed"};
    for (size_t i = 0; firmware[i]; i++)
        arguments[6 + i] = firmware[i];
    Guest guest = {
        .folder = folder, .wanted = "Datasource DataSourceNoCloud", .qmp_command = "system_powerdown"};
    boot(&guest, "512", arguments, INT64_C(900000));
    g_autofree char *proof = g_strdup_printf("proof %s lodge ", name);
    const char *found = strstr(guest.transcript->str, proof);
    g_assert_nonnull(found);
    g_assert_cmpint(
        g_ascii_strtoll(found + strlen(proof), NULL, 10), >, 3500); /* MiB: the root file system has grown */
    static const char *const lines[] = {"getty active", "drivers 2 1"};
    for (size_t i = 0; i < G_N_ELEMENTS(lines); i++)
        if (!strstr(guest.transcript->str, lines[i]))
            g_error("no \"%s\":\n%s", lines[i], guest.transcript->str);
    g_string_free(guest.transcript, TRUE);
}

/* GRUB of a Xen host reads it before anything of the disk runs: it cannot be booted here. */
static void check_grub_configuration(const char *folder) {
    g_autofree char *root = g_strdup_printf("%s/disk?offset=%d", folder, ROOT_BYTE);
    const ProcessSpec cat = {
        .argv = (const char *const[]){"debugfs", "-R", "cat /boot/grub/grub.cfg", root, NULL}};
    g_autofree char *text = NULL;
    g_auto(Error) err = {0};
    g_assert_true(process_run(&cat, &text, &err));
    g_assert_cmpstr(text, ==, recipe_debian_grub_cfg);
}

static void test_debian_boots_by_both_firmwares(const void *data) {
    g_autofree char *folder = work_folder_new();
    g_auto(TemplateResult) result = {0};
    build(data, folder, &result);
    g_assert_cmpuint(g_strv_length(result.packages), >, 100);
    check_grub_configuration(folder);
    boot_clone(folder, "web-bios", (const char *const[]){NULL});
    g_autofree char *variables = g_build_filename(folder, "variables", NULL), *store = NULL;
    store = g_strdup_printf("if=pflash,format=raw,file=%s", variables);
    const ProcessSpec copy = {
        .argv = (const char *const[]){"cp", "/usr/share/OVMF/OVMF_VARS_4M.fd", variables, NULL}};
    g_assert_true(process_run(&copy, NULL, NULL));
    boot_clone(folder, "web-uefi",
        (const char *const[]){"-drive",
            "if=pflash,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd", "-drive", store, NULL});
    g_assert_true(tree_remove(folder, NULL));
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    g_autofree char *program = g_find_program_in_path("qemu-system-x86_64");
    if (geteuid() != 0 || !program) {
        g_print("1..0 # SKIP building templates needs root and QEMU\n");
        return 77;
    }
    g_test_add_func("/guest/quick/unknown", test_an_unknown_recipe_is_not_found);
    g_test_add_data_func("/guest/quick/cancel-tiny", "tiny", test_a_cancelled_build_leaves_nothing);
    g_test_add_data_func("/guest/quick/cancel-debian", "debian-12", test_a_cancelled_build_leaves_nothing);
    g_test_add_func("/guest/quick/bench-boot", test_bench_boot_says_so_on_the_serial_port);
    g_test_add_func("/guest/quick/tiny", test_tiny_boots_and_obeys_the_power_button);
    g_test_add_data_func("/guest/long/debian-12", "debian-12", test_debian_boots_by_both_firmwares);
    g_test_add_data_func("/guest/long/debian-13", "debian-13", test_debian_boots_by_both_firmwares);
    return g_test_run();
}
