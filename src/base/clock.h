/*
 * Time, injectable. Code that needs the time takes a `const Clock *`; the daemons pass clock_system(), tests
 * a FakeClock that only moves when told. Nanoseconds everywhere. Any thread (a FakeClock belongs to one).
 */
#pragma once
#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define NS_PER_MS INT64_C(1000000)
#define NS_PER_S INT64_C(1000000000)

typedef struct Clock Clock;
struct Clock {
    int64_t (*realtime_ns)(const Clock *clock);  /* since 1970 UTC; may jump */
    int64_t (*monotonic_ns)(const Clock *clock); /* never goes back; no meaning across reboots */
};

const Clock *clock_system(void);

static inline int64_t clock_realtime_ns(const Clock *clock) {
    return clock->realtime_ns(clock);
}
static inline int64_t clock_monotonic_ns(const Clock *clock) {
    return clock->monotonic_ns(clock);
}

typedef struct FakeClock {
    Clock clock; /* pass &fake.clock */
    int64_t realtime_ns, monotonic_ns;
} FakeClock;
void fake_clock_init(FakeClock *fake, int64_t realtime_ns);
void fake_clock_advance(FakeClock *fake, int64_t by_ns);

/* RFC 3339 in UTC with milliseconds, "2026-05-01T10:00:00.000Z"; newly allocated. */
char *time_to_text(int64_t realtime_ns);
/* Reads RFC 3339 with any offset; false when `text` is not one or lies outside 1970-2262. */
bool time_from_text(const char *text, int64_t *ret_realtime_ns);
