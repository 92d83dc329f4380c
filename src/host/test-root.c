/* Texts as Debian 12 has them. */
#include "host/test-root.h"
#include <elf.h>
#include <string.h>
#include <unistd.h>
#include "base/file.h"

#define KERNEL "lib/modules/" TEST_KERNEL "/"

char *test_root_path(const TestRoot *root, const char *name) {
    return g_build_filename(root->folder, name, NULL);
}

static char *make_way(const TestRoot *root, const char *name) {
    char *path = test_root_path(root, name);
    g_autofree char *folder = g_path_get_dirname(path);
    g_assert_true(folder_make(folder, 0755, NULL));
    return path;
}

void test_root_put_bytes(const TestRoot *root, const char *name, const void *data, size_t length) {
    g_autofree char *path = make_way(root, name);
    g_assert_true(g_file_set_contents(path, data, (gssize)length, NULL));
}

void test_root_put(const TestRoot *root, const char *name, const char *text) {
    test_root_put_bytes(root, name, text, strlen(text));
}

void test_root_link(const TestRoot *root, const char *name, const char *target) {
    g_autofree char *path = make_way(root, name);
    unlink(path);
    g_assert_cmpint(symlink(target, path), ==, 0);
}

static void fill_used(const TestRoot *root) {
    test_root_put(root, "proc/modules",
        "ext4 1085440 1 - Live 0x0000000000000000\n"
        "jbd2 200704 1 ext4, Live 0x0000000000000000\n"
        "crc16 16384 1 ext4, Live 0x0000000000000000\n"
        "e1000e 327680 0 - Live 0x0000000000000000\n"
        "bridge 380928 0 - Live 0x0000000000000000\n"
        "stp 16384 1 bridge, Live 0x0000000000000000\n"
        "floppy 90112 0 - Live 0x0000000000000000 (E)\n");
    test_root_link(root, "sys/module/e1000e/drivers/pci:e1000e", "../../../bus/pci/drivers/e1000e");
    test_root_link(root, "sys/bus/pci/drivers/e1000e/module", "../../../../module/e1000e");
    test_root_link(root, "sys/bus/pci/drivers/e1000e/0000:00:19.0", "../../../../devices/0000:00:19.0");
    test_root_link(root, "sys/module/floppy/drivers/platform:floppy", "../../../bus/platform/drivers/floppy");
    test_root_link(root, "sys/bus/platform/drivers/floppy/module", "../../../../module/floppy");
    test_root_put(root, "sys/bus/platform/drivers/floppy/bind", "");
    test_root_put(root, "sys/class/net/br0/uevent", "DEVTYPE=bridge\nINTERFACE=br0\nIFINDEX=3\n");
    test_root_put(root, "sys/class/net/lo/uevent", "INTERFACE=lo\nIFINDEX=1\n");
}

void test_root_fill(TestRoot *root) {
    root->folder = g_dir_make_tmp("lodge-root-XXXXXX", NULL);
    test_root_put(root, "proc/sys/kernel/osrelease", TEST_KERNEL "\n");
    test_root_put(root, KERNEL "modules.dep",
        "kernel/fs/ext4/ext4.ko.xz: kernel/fs/jbd2/jbd2.ko.xz kernel/lib/crc16.ko.xz\n"
        "kernel/fs/jbd2/jbd2.ko.xz:\n"
        "kernel/lib/crc16.ko.xz:\n"
        "kernel/crypto/crc32c_generic.ko.xz:\n"
        "kernel/drivers/net/ethernet/intel/e1000e/e1000e.ko:\n"
        "kernel/drivers/block/floppy.ko:\n"
        "kernel/sound/pci/hda/snd-hda-intel.ko: kernel/sound/core/snd.ko\n"
        "kernel/sound/core/snd.ko:\n"
        "kernel/net/bridge/bridge.ko: kernel/net/802/stp.ko\n"
        "kernel/net/802/stp.ko:\n"
        "updates/dkms/lodge-fake.ko:\n");
    test_root_put(root, KERNEL "modules.builtin", "kernel/drivers/tty/serial/8250/8250.ko\n");
    test_root_put(root, KERNEL "modules.softdep", "# Soft dependencies\nsoftdep ext4 pre: crc32c-generic\n");
    fill_used(root);
}

void test_root_clear(TestRoot *root) {
    g_assert_true(tree_remove(root->folder, NULL));
    g_clear_pointer(&root->folder, g_free);
}

GByteArray *test_module_file(const char *info, size_t length) {
    static const char names[] = "\0.modinfo\0.shstrtab";
    Elf64_Ehdr header = {.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64,
                             G_BYTE_ORDER == G_LITTLE_ENDIAN ? ELFDATA2LSB : ELFDATA2MSB, EV_CURRENT},
        .e_type = ET_REL,
        .e_shoff = sizeof header + length + sizeof names,
        .e_shentsize = sizeof(Elf64_Shdr),
        .e_shnum = 3,
        .e_shstrndx = 2};
    const Elf64_Shdr sections[] = {{0},
        {.sh_name = 1, .sh_type = SHT_PROGBITS, .sh_offset = sizeof header, .sh_size = length},
        {.sh_name = 10, .sh_type = SHT_STRTAB, .sh_offset = sizeof header + length, .sh_size = sizeof names}};
    GByteArray *bytes = g_byte_array_new();
    g_byte_array_append(bytes, (const guint8 *)&header, sizeof header);
    g_byte_array_append(bytes, (const guint8 *)info, (guint)length);
    g_byte_array_append(bytes, (const guint8 *)names, sizeof names);
    g_byte_array_append(bytes, (const guint8 *)sections, sizeof sections);
    return bytes;
}
