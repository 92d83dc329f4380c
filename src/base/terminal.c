#include "base/terminal.h"
#include <unistd.h>

bool terminal_make_raw(struct termios *ret_before) {
    if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, ret_before) < 0)
        return false;
    struct termios raw = *ret_before;
    cfmakeraw(&raw);
    return tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
}
