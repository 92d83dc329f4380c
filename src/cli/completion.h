/*
 * Completion: the script of a shell calls the hidden `lodge __complete WORDS`, which writes what could stand
 * in place of the last word, one candidate a line. One thread.
 */
#pragma once
#include "base/error.h"

/* ERROR_INVALID for an unknown shell. */
bool completion_script(const char *shell, GString *out, Error *err);
/* `words` after `lodge`; the last one is being typed and may be empty. Names are asked of the server for at
 * most a second; silent when that fails. */
void completion_candidates(int n_words, const char *const *words, GString *out);
