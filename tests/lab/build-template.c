/*
 * build-template RECIPE FOLDER CACHE: builds a template by its recipe, without any daemon. The folder, which
 * must exist, gets the recipe's files (`disk`, or `kernel` and `initrd`); packages are kept in the cache.
 * Needs root.
 */
#include <stdio.h>
#include "image/template-build.h"

static void say(int percent, const char *phase, void *data G_GNUC_UNUSED) {
    fprintf(stderr, "%d %% %s\n", percent, phase);
}

int main(int argc, char **argv) {
    if (argc != 4) {
        fprintf(stderr, "usage: build-template RECIPE FOLDER CACHE\n");
        return 2;
    }
    const ImageProgress progress = {.report = say};
    const TemplateOptions options = {.cache = argv[3]};
    g_auto(TemplateResult) result = {0};
    g_auto(Error) err = {0};
    if (template_build(argv[1], argv[2], &options, &progress, NULL, &result, &err))
        return 0;
    g_autofree char *text = error_text(&err);
    fprintf(stderr, "build-template: %s\n", text);
    return 1;
}
