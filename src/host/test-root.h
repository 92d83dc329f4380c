/* A system's files in a folder of the test's own: one kernel, its modules, what is loaded and used. */
#pragma once
#include <glib.h>

#define TEST_KERNEL "6.1.0-lodge"

typedef struct TestRoot {
    char *folder;
} TestRoot;

/* Loaded: ext4 with jbd2 and crc16, e1000e (drives a device, no uses), bridge with stp (an interface, no
 * uses), floppy (drives nothing). Available: crc32c_generic (soft dependency of ext4), snd_hda_intel, snd,
 * lodge_fake. Built in: 8250. */
void test_root_fill(TestRoot *root);
void test_root_clear(TestRoot *root);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(TestRoot, test_root_clear)
/* A file or a link below it; parents are made, what was there is replaced. */
void test_root_put(const TestRoot *root, const char *name, const char *text);
void test_root_put_bytes(const TestRoot *root, const char *name, const void *data, size_t length);
void test_root_link(const TestRoot *root, const char *name, const char *target);
char *test_root_path(const TestRoot *root, const char *name);
/* The smallest file of a module: an ELF header, the section .modinfo with `info`, and the sections' names. */
GByteArray *test_module_file(const char *info, size_t length);
