/*
 * The clone step alone, as a repository does it: clone-once METHOD SOURCE STEM, with the method reflink,
 * overlay or full. Prints the seconds that it took.
 */
#include <stdio.h>
#include <sys/stat.h>
#include "storage/disk-file.h"

int main(int argc, char **argv) {
    int method = argc == 4 ? model_enum_value(&clone_method_enum, argv[1]) : -1;
    struct stat status;
    if (method < 0 || stat(argv[2], &status) < 0) {
        fprintf(stderr, "usage: clone-once reflink|overlay|full SOURCE STEM (a raw file that exists)\n");
        return 2;
    }
    const DiskSource source = {
        .path = argv[2], .format = DISK_FORMAT_RAW, .size_bytes = (uint64_t)status.st_size, .can_back = true};
    DiskFormat format;
    CloneMethod used;
    g_auto(Error) err = {0};
    gint64 start = g_get_monotonic_time();
    if (!disk_file_clone(
            &source, argv[3], source.size_bytes, (CloneMethod)method, NULL, NULL, &format, &used, &err)) {
        g_autofree char *text = error_text(&err);
        fprintf(stderr, "clone-once: %s\n", text);
        return 1;
    }
    printf("%.6f\n", (double)(g_get_monotonic_time() - start) / G_USEC_PER_SEC);
    return 0;
}
