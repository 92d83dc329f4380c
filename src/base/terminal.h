/* The terminal that a person sits at. Any thread. */
#pragma once
#include <stdbool.h>
#include <termios.h>

/* Standard input passes on each key as it is; *ret_before puts it back (tcsetattr). False when it is no
 * terminal. */
bool terminal_make_raw(struct termios *ret_before);
