/*
 * A request to stop, passed down into blocking work. Reference-counted; any thread. Code that blocks polls
 * cancel_fd() beside its own descriptors, or asks is_cancelled() between steps; both accept NULL ("cannot be
 * cancelled").
 */
#pragma once
#include "base/error.h"

typedef struct Cancel Cancel;

Cancel *cancel_new(void);
Cancel *cancel_ref(Cancel *cancel);
void cancel_unref(Cancel *cancel); /* accepts NULL */
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Cancel, cancel_unref)

void cancel_trigger(Cancel *cancel); /* may be called more than once */
bool is_cancelled(const Cancel *cancel);
int cancel_fd(const Cancel *cancel); /* readable once cancelled; -1 for NULL; owned by the Cancel */
/* False with ERROR_CANCELLED once cancelled. */
bool cancel_check(const Cancel *cancel, Error *err);
