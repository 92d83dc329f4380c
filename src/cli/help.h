/* Help from the tables, on standard output. One thread. */
#pragma once
#include "cli/arguments.h"

void help_general(GString *out);
void help_noun(ResourceId resource, GString *out);
void help_verb(MethodId method, GString *out);
void help_command(CliCommandId command, GString *out);
/* What fits what was typed. ERROR_INVALID for `help` of what does not exist. */
bool help_for(const Arguments *arguments, GString *out, Error *err);
