/* Templates that the tests start. */
#include "base/file.h"
#include "hypervisor/qemu/test-templates.h"
#include "image/template-build.h"

static bool build(const char *folder, const char *name) {
    g_auto(TemplateResult) result = {0};
    g_auto(Error) err = {0};
    g_autofree char *path = g_build_filename(folder, name, NULL);
    if (folder_make(path, 0755, &err) &&
        template_build(name, path, &(TemplateOptions){0}, NULL, NULL, &result, &err))
        return true;
    g_autofree char *text = error_text(&err);
    g_printerr("%s: %s\n", name, text);
    return false;
}

bool test_templates_build(const char *folder) {
    return build(folder, "bench-boot") && build(folder, "tiny");
}

uint64_t test_template_memory(const char *name) {
    return recipe_find(name)->memory_default_bytes;
}

const char *test_template_command_line(const char *name) {
    return recipe_find(name)->cmdline;
}
