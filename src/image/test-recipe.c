/*
 * The configuration that three boot loaders read from a Debian template's disk. GRUB for PVH runs on Xen
 * only, so that it is read here: GRUB 2.06 and 2.12 of Debian's grub-xen-host look for /boot/grub/grub.cfg on
 * all partitions (strings of grub-i386-xen_pvh.bin), and have the commands of `both`, but no serial port.
 */
#include <glib.h>
#include <string.h>
#include "base/process.h"
#include "image/recipe-files.h"

static void test_grub_can_parse_it(void) {
    g_autofree char *program = g_find_program_in_path("grub-script-check");
    if (!program) {
        g_test_skip("grub-script-check (package grub-common) is missing");
        return;
    }
    const ProcessSpec spec = {
        .argv = (const char *const[]){program, NULL}, .stdin_data = recipe_debian_grub_cfg};
    g_auto(Error) err = {0};
    bool ok = process_run(&spec, NULL, &err);
    g_autofree char *text = ok ? NULL : error_text(&err);
    g_assert_cmpstr(text, ==, NULL);
}

static bool is_known(const char *line) {
    static const char *const both[] = {
        "#", "set ", "if [ ", "else", "fi", "menuentry ", "search ", "linux ", "initrd ", "}"};
    for (size_t i = 0; i < G_N_ELEMENTS(both); i++)
        if (g_str_has_prefix(line, both[i]))
            return true;
    return *line == '\0';
}

/* The lines that one platform runs. */
static char *lines_for(bool is_pvh) {
    g_auto(GStrv) lines = g_strsplit(recipe_debian_grub_cfg, "\n", -1);
    GString *text = g_string_new(NULL);
    bool is_ours = true;
    for (char **line = lines; *line; line++) {
        const char *word = g_strchug(*line);
        if (g_str_equal(word, "if [ \"$grub_platform\" = xen_pvh ]; then"))
            is_ours = is_pvh;
        else if (g_str_equal(word, "else"))
            is_ours = !is_pvh;
        else if (g_str_equal(word, "fi"))
            is_ours = true;
        else if (is_ours && *word != '#')
            g_string_append_printf(text, "%s\n", word);
    }
    return g_string_free(text, FALSE);
}

static void test_a_xen_host_starts_it_with_its_own_console(void) {
    g_autofree char *text = lines_for(true);
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++)
        if (!is_known(*line))
            g_error("GRUB for PVH gets \"%s\"", *line);
    g_assert_nonnull(strstr(text, "set consoles=\"console=tty0 console=hvc0\"\n"));
    g_assert_null(strstr(text, "ttyS0"));
}

static void test_a_pc_starts_it_on_its_serial_port(void) {
    g_autofree char *text = lines_for(false);
    g_assert_nonnull(strstr(text, "serial --unit=0 --speed=115200\n"));
    g_assert_nonnull(strstr(text, "set consoles=\"console=tty0 console=ttyS0,115200\"\n"));
    g_assert_null(strstr(text, "hvc0"));
}

static void test_no_device_is_named(void) {
    g_assert_nonnull(
        strstr(recipe_debian_grub_cfg, "linux /vmlinuz root=LABEL=lodge-root ro $consoles no_timer_check\n"));
    g_assert_nonnull(strstr(recipe_debian_grub_cfg, "search --no-floppy --label lodge-root --set=root\n"));
    g_assert_null(strstr(recipe_debian_grub_cfg, "root=/dev/"));
    g_assert_nonnull(strstr(recipe_debian_customize_sh, "\nLABEL=lodge-root / ext4 "));
    g_assert_nonnull(strstr(recipe_debian_customize_sh, " xen_blkfront "));
    g_assert_nonnull(strstr(recipe_debian_customize_sh, " virtio_blk "));
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/recipe/grub/parses", test_grub_can_parse_it);
    g_test_add_func("/recipe/grub/xen", test_a_xen_host_starts_it_with_its_own_console);
    g_test_add_func("/recipe/grub/pc", test_a_pc_starts_it_on_its_serial_port);
    g_test_add_func("/recipe/grub/labels", test_no_device_is_named);
    return g_test_run();
}
