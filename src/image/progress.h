/*
 * How far a long action of this floor is. The function is called in the thread that does the work.
 */
#pragma once

typedef struct ImageProgress {
    /* percent 0..100, never falling; `phase` is a short text for people, valid during the call. NULL: nobody
     * asks. */
    void (*report)(int percent, const char *phase, void *data);
    void *data;
} ImageProgress;

/* Accepts NULL. */
static inline void progress_report(const ImageProgress *progress, int percent, const char *phase) {
    if (progress && progress->report)
        progress->report(percent, phase, progress->data);
}
