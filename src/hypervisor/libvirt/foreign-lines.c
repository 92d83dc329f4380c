/* What is told to people of another tool's VM: plain lines, each once. */
#include <string.h>
#include "hypervisor/libvirt/foreign-xml.h"

enum { MOST_LINES = 64, LONGEST_LINE = 500 };

void foreign_extra_clear(ForeignExtra *extra) {
    g_clear_pointer(&extra->loader, g_free);
    g_clear_pointer(&extra->nvram, g_free);
}

/* ---- lines for people ---- */

static bool has_line(char **items, size_t n, const char *line) {
    for (size_t i = 0; i < n; i++)
        if (!strcmp(items[i], line))
            return true;
    return n >= MOST_LINES;
}

static bool is_control(char c) {
    return (unsigned char)c < ' ' || c == 127;
}

char *foreign_line(const char *text, size_t limit) {
    char *valid = g_utf8_make_valid(text, -1);
    if (strlen(valid) > limit)
        *g_utf8_find_prev_char(valid, valid + limit) = '\0';
    for (char *c = valid; *c; c++)
        if (is_control(*c))
            *c = '?';
    return valid;
}

G_GNUC_PRINTF(1, 0)
static char *line_of(const char *format, va_list arguments) {
    g_autofree char *text = g_strdup_vprintf(format, arguments);
    return foreign_line(text, LONGEST_LINE);
}

void foreign_add_obstacle(ForeignVm *vm, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    g_autofree char *line = line_of(format, arguments);
    va_end(arguments);
    if (!has_line(vm->obstacles.items, vm->obstacles.n, line))
        foreign_vm_add_obstacles(vm, line);
}

void foreign_add_warning(ForeignVm *vm, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    g_autofree char *line = line_of(format, arguments);
    va_end(arguments);
    if (!has_line(vm->warnings.items, vm->warnings.n, line))
        foreign_vm_add_warnings(vm, line);
}
