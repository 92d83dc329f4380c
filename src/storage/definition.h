/*
 * Definitions as files: JSON with a format number in front, replaced as a whole. Private to src/storage.
 * Blocks; any thread.
 */
#pragma once
#include "types.h"

enum {
    REPOSITORY_FORMAT = 1,      /* what this version writes, and the newest that it reads */
    DEFINITION_LIMIT = 1 << 20, /* bytes of one file */
};

/* Without runtime and secret fields. Mode 0600. */
bool definition_write(const char *path, const TypeDescriptor *type, const void *object, Error *err);
/* ERROR_NOT_FOUND, ERROR_CORRUPT, ERROR_NEWER_FORMAT; *object is empty then. */
bool definition_read(const char *path, const TypeDescriptor *type, void *object, Error *err);
/* ERROR_NOT_FOUND is no error: *object is empty. For who asks what others need: only a definition that is not
 * there needs nothing. */
bool definition_read_any(const char *path, const TypeDescriptor *type, void *object, Error *err);

/* Whether the first of two is newer: by epoch, in one epoch by revision. */
static inline bool definition_is_newer(
    int64_t epoch, int64_t revision, int64_t than_epoch, int64_t than_revision) {
    return epoch != than_epoch ? epoch > than_epoch : revision > than_revision;
}

/* The file beside a disk: who uses it and what it needs. Members are NULL where they say nothing. */
typedef struct DiskNote {
    char *vm, *template; /* ids of who uses it */
    char *backing;       /* id of the template disk that it is an overlay of */
} DiskNote;
void disk_note_clear(DiskNote *note);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(DiskNote, disk_note_clear)
bool disk_note_write(const Repository *repository, const char *disk_id, const DiskNote *note, Error *err);
bool disk_note_read(const Repository *repository, const char *disk_id, DiskNote *ret_note, Error *err);
/* ERROR_NOT_FOUND is no error: a disk without a note lies on no other, and *ret_note stays empty. */
bool disk_note_read_any(const Repository *repository, const char *disk_id, DiskNote *ret_note, Error *err);
/* All notes of the repository by disk id (owned strings, DiskNote *). What a damaged one, or one of a newer
 * format, needs is not known: such files' names are added to `damaged` (owned strings), which only a reader
 * that removes nothing may give; NULL: they fail the call, as does a note that cannot be read. */
bool disk_notes_read(const Repository *repository, GPtrArray *damaged, GHashTable **ret_notes, Error *err);

/* Names in a folder, sorted, without what begins with a dot; ERROR_TOO_LARGE beyond 200,000. */
bool folder_list(const char *path, GPtrArray **ret_names, Error *err);
