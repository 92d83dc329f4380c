/*
 * What a dry run found, in words: the steps, what would be made, what would be held and waited for. Names are
 * asked of the server. One thread.
 */
#pragma once
#include "cli/session.h"
#include "model/method.h"

/* Appends to `out`. `plan` is the server's answer; what cannot be asked is left out or told by its id. */
void plan_text(Session *session, const MethodDescriptor *method, const json_t *plan, int width, GString *out);
