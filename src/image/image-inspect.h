/*
 * Foreign disk images: what one is, and turning it into a disk of ours. The format is decided by the user's
 * word or by the file's signature, never by qemu-img's guess; qemu-img runs in the jail (JAIL_SINGLE, no
 * network) and sees only this file.
 *
 * Refused with ERROR_FOREIGN_IMAGE: an image with a backing file, an external data file, extents in other
 * files, encryption or remote names; one that qemu-img cannot read; one whose format nobody knows.
 * ERROR_TOO_LARGE: it claims more than the limit.
 *
 * The file is lent to the jail (jail_lend: its group changes) and must not change meanwhile: give a file of
 * the agent's own staging folder. Both functions block (worker pools); any thread; need root.
 */
#pragma once
#include "base/cancel.h"
#include "image/image-format.h"
#include "image/progress.h"

typedef struct ImageSource {
    const char *path;     /* absolute; a regular file with one link */
    ImageFormat declared; /* the user's word; IMAGE_FORMAT_UNKNOWN: by signature, and then never raw */
    uint64_t virtual_limit_bytes; /* required */
    uint32_t first_id;            /* the jail's id range; 0: default */
} ImageSource;

typedef struct ImageInfo {
    ImageFormat format;
    /* Another signature in what was declared raw: it is still treated as raw, but somebody should be told. */
    ImageFormat looks_like; /* IMAGE_FORMAT_UNKNOWN: nothing unusual */
    uint64_t virtual_bytes; /* > 0 */
    uint64_t file_bytes;    /* length of the file */
} ImageInfo;

bool image_inspect(const ImageSource *source, const Cancel *cancel, ImageInfo *ret, Error *err);

/* Inspects and checks (ERROR_FOREIGN_IMAGE for metadata that leads beyond the file's end), then converts into
 * `destination` (absolute; must not exist; its folder gets a temporary folder meanwhile) as IMAGE_FORMAT_RAW
 * (sparse) or IMAGE_FORMAT_QCOW2, mode 0600, root's. *ret (may be NULL) describes the result, which has the
 * source's virtual size. On failure nothing is left. ERROR_NO_SPACE when the disk is full, or so full that
 * running VMs could not write much more (space-watch.h): it goes on only while a reserve is left. */
bool image_convert(const ImageSource *source, const char *destination, ImageFormat format,
    const ImageProgress *progress, const Cancel *cancel, ImageInfo *ret, Error *err);
