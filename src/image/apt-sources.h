/*
 * The machine's own package sources, rewritten for a Debian suite: guests come from where the host's packages
 * come from. Only entries of the Debian archive are taken: those without another key than Debian's, of which
 * only `main` is kept. All functions block (they read files below /etc). Any thread.
 */
#pragma once
#include "base/cancel.h"

/* *ret_text is a deb822 sources file for `suite` ("trixie"; NULL: the host's own), newly allocated.
 * ERROR_UNSUPPORTED when this machine has no Debian sources. `etc` is "/etc", or another folder in tests. */
bool apt_sources_for_suite(const char *etc, const char *suite, char **ret_text, Error *err);

/* The machine's Acquire settings (proxy, checks) as an apt.conf text, newly allocated. */
bool apt_settings(const Cancel *cancel, char **ret_text, Error *err);
