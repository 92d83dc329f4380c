/*
 * The VM that another one is copied from. One that runs is held meanwhile, so that all its disks are of one
 * moment: for a moment where blocks can be shared, and as long as bytes are copied only where the call
 * allows it. Functions block; in a thread.
 */
#pragma once
#include "agent/agent-private.h"

typedef struct CopySource {
    Held *held;
    const char *vm_id; /* to be released; NULL: nothing is */
    bool must_share;   /* blocks, because nobody allowed to hold it for longer */
} CopySource;

/* May narrow the way in which disks are made. Nothing to do for a request without a source. */
bool copy_source_take(const AgentCall *call, AgentVm *request, CopySource *ret_source, Error *err);
/* After a success of the above; `err` is that of the copy, NULL when it succeeded. */
void copy_source_release(const CopySource *source, Error *err);
