/*
 * Builds guest templates from the distribution's packages, from nothing but the machine's own package
 * sources. All that is foreign (packages, their scripts, file system tools) runs in the jail; see jail.h.
 * Needs root.
 *
 * template_build blocks for seconds (tiny) to minutes (debian-*): worker pools. Any thread; builds may run
 * side by side.
 */
#pragma once
#include <glib.h>
#include "base/cancel.h"
#include "image/progress.h"
#include "image/template-recipe.h"

typedef enum TemplateRole { TEMPLATE_DISK, TEMPLATE_KERNEL, TEMPLATE_INITRD, TEMPLATE_ROLE_MAX } TemplateRole;

typedef struct TemplateFile {
    TemplateRole role;
    char *name;          /* within the work folder: "disk", "kernel", "initrd"; mode 0644, root's */
    const char *format;  /* of a disk: "raw" (sparse), so that clones are reflinks or overlays; else NULL */
    uint64_t size_bytes; /* as a reader sees it */
    uint64_t virtual_bytes; /* of a disk; else 0 */
    char *sha256;           /* hexadecimal */
} TemplateFile;

typedef struct TemplateResult {
    const Recipe *recipe; /* static: guest OS, firmware, memory, command line, … */
    TemplateFile files[TEMPLATE_ROLE_MAX];
    size_t n_files;
    char **packages; /* "name version", NULL-terminated, sorted; empty where no package is in it */
} TemplateResult;

void template_result_clear(TemplateResult *result);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(TemplateResult, template_result_clear)

typedef struct TemplateOptions {
    uint32_t first_id; /* the jail's id range; 0: default */
    const char *cache; /* a folder for fetched packages, made if missing (root's); NULL: nothing is kept */
} TemplateOptions;

/* Leaves the result's files in `work_folder` (an existing folder of the caller's, not shared with other
 * builds), whatever else it made there it removes. On failure it leaves nothing. ERROR_NOT_FOUND for an
 * unknown recipe, ERROR_UNSUPPORTED when tools or package sources are missing on this host. */
bool template_build(const char *recipe_name, const char *work_folder, const TemplateOptions *options,
    const ImageProgress *progress, const Cancel *cancel, TemplateResult *ret, Error *err);
