/* One line per event on standard error. */
#include "base/log.h"
#include <stdio.h>
#include <unistd.h>

enum { MAX_LINE = 4096 };

static struct {
    const char *program;
    LogLevel level;
    bool to_journal;
} log_state = {.program = "lodge", .level = LOG_LEVEL_INFO};

void log_init(const char *program, LogLevel level) {
    log_state.program = program;
    log_state.level = level;
    log_state.to_journal = g_getenv("JOURNAL_STREAM") != NULL;
}

/* A newline inside a message would forge a second line. */
static void fold_line(char *text) {
    for (char *c = text; *c; c++)
        if ((unsigned char)*c < ' ')
            *c = ' ';
}

void log_write(LogLevel level, const char *format, ...) {
    static const struct {
        int syslog_priority;
        const char *name;
    } levels[] = {{3, "error"}, {4, "warning"}, {6, "info"}, {7, "debug"}};
    if (level > log_state.level)
        return;
    char message[MAX_LINE];
    va_list arguments;
    va_start(arguments, format);
    g_vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    fold_line(message);
    g_autofree char *line = NULL;
    if (log_state.to_journal) {
        line = g_strdup_printf("<%d>%s\n", levels[level].syslog_priority, message);
    } else {
        g_autoptr(GDateTime) now = g_date_time_new_now_utc();
        g_autofree char *time = g_date_time_format(now, "%Y-%m-%dT%H:%M:%S");
        line = g_strdup_printf("%s.%03dZ %s[%d] %s: %s\n", time, g_date_time_get_microsecond(now) / 1000,
            log_state.program, (int)getpid(), levels[level].name, message);
    }
    fputs(line, stderr);
}
