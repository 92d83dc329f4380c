/* A disk that lies on others, without them: qemu-img is told the whole chain, and follows no name in a file.
 */
#include <string.h>
#include "base/process.h"
#include "storage/repository-kind.h"

static const char *driver_of(DiskFormat format) {
    return format == DISK_FORMAT_QCOW2 ? "qcow2" : "raw";
}

/* As --image-opts wants it: a comma in a name is doubled. */
static void add_image(GString *options, const char *prefix, DiskFormat format, const char *path) {
    g_auto(GStrv) parts = g_strsplit(path, ",", -1);
    g_autofree char *escaped = g_strjoinv(",,", parts);
    g_string_append_printf(options, "%s%sdriver=%s,%sfile.driver=file,%sfile.filename=%s",
        options->len ? "," : "", prefix, driver_of(format), prefix, prefix, escaped);
}

static bool add_chain(GString *options, const Repository *repository, const Disk *disk, Error *err) {
    g_autofree char *id = g_strdup(disk->id);
    g_autoptr(GString) prefix = g_string_new(NULL);
    DiskFormat format = disk->format;
    for (;;) {
        g_auto(RepositoryBacking) below = {0};
        if (!repository_backing(repository, id, format, &below, err))
            return false;
        if (!below.path)
            return true;
        g_string_append(prefix, "backing.");
        add_image(options, prefix->str, below.format, below.path);
        g_free(id);
        id = g_strdup(below.disk_id);
        format = below.format;
    }
}

bool repository_flatten(const Repository *repository, const Disk *disk, const char *destination,
    const Cancel *cancel, Error *err) {
    g_autoptr(GString) options = g_string_new(NULL);
    g_autofree char *path = repository_disk_path(repository, disk);
    add_image(options, "", disk->format, path);
    if (!add_chain(options, repository, disk, err))
        return false;
    const char *const argv[] = {"qemu-img", "convert", "-q", "--image-opts", "-O", driver_of(disk->format),
        options->str, destination, NULL};
    const ProcessSpec spec = {.argv = argv, .cancel = cancel};
    return process_run(&spec, NULL, err);
}
