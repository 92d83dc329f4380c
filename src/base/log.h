/*
 * The log: one line per event on standard error, for journald (with "<N>" priorities when it listens) or a
 * file (with a UTC time). Any thread. Secrets never go here. Only `main`, the job runner and the dispatcher
 * log errors; other code returns them.
 */
#pragma once
#include <glib.h>
#include <stdbool.h>

typedef enum LogLevel { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG } LogLevel;

/* `program` must outlive the process. Call once, before threads start. */
void log_init(const char *program, LogLevel level);
void log_write(LogLevel level, const char *format, ...) G_GNUC_PRINTF(2, 3);

#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...) log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)
