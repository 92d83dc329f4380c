/* Files for targets that read files. */
#include <fcntl.h>
#include <glib.h>
#include <stdlib.h>
#include "base/file.h"
#include "fuzz.h"

static void remove_folder(void) {
    tree_remove(fuzz_folder(), NULL);
}

const char *fuzz_folder(void) {
    static gsize folder; /* the entry point of libFuzzer has no room for a context */
    if (g_once_init_enter(&folder)) {
        char *made = g_dir_make_tmp("lodge-fuzz-XXXXXX", NULL);
        g_assert_nonnull(made);
        atexit(remove_folder);
        g_once_init_leave(&folder, (gsize)made);
    }
    return (const char *)folder;
}

void fuzz_write(const char *name, const void *data, size_t size) {
    g_autofree char *path = g_build_filename(fuzz_folder(), name, NULL);
    g_autofree char *parent = g_path_get_dirname(path);
    g_assert_true(folder_make(parent, 0700, NULL));
    fd_auto int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    g_assert_true(fd >= 0 && fd_write_all(fd, data, size, NULL));
}
