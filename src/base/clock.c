/* The system's clock, a fake one, and RFC 3339. */
#include "base/clock.h"
#include <time.h>

static int64_t read_clock(clockid_t id) {
    struct timespec now;
    int result = clock_gettime(id, &now);
    g_assert(result == 0);
    return (int64_t)now.tv_sec * NS_PER_S + now.tv_nsec;
}

static int64_t system_realtime(const Clock *clock G_GNUC_UNUSED) {
    return read_clock(CLOCK_REALTIME);
}

static int64_t system_monotonic(const Clock *clock G_GNUC_UNUSED) {
    return read_clock(CLOCK_MONOTONIC);
}

const Clock *clock_system(void) {
    static const Clock system = {.realtime_ns = system_realtime, .monotonic_ns = system_monotonic};
    return &system;
}

static int64_t fake_realtime(const Clock *clock) {
    return ((const FakeClock *)clock)->realtime_ns;
}

static int64_t fake_monotonic(const Clock *clock) {
    return ((const FakeClock *)clock)->monotonic_ns;
}

void fake_clock_init(FakeClock *fake, int64_t realtime_ns) {
    *fake = (FakeClock){
        .clock = {.realtime_ns = fake_realtime, .monotonic_ns = fake_monotonic},
        .realtime_ns = realtime_ns,
    };
}

void fake_clock_advance(FakeClock *fake, int64_t by_ns) {
    fake->realtime_ns += by_ns;
    fake->monotonic_ns += by_ns;
}

char *time_to_text(int64_t realtime_ns) {
    g_autoptr(GDateTime) time = g_date_time_new_from_unix_utc(realtime_ns / NS_PER_S);
    g_autofree char *text = g_date_time_format(time, "%Y-%m-%dT%H:%M:%S");
    return g_strdup_printf("%s.%03dZ", text, (int)(realtime_ns % NS_PER_S / NS_PER_MS));
}

bool time_from_text(const char *text, int64_t *ret_realtime_ns) {
    g_autoptr(GDateTime) time = g_date_time_new_from_iso8601(text, NULL);
    if (!time)
        return false;
    int64_t seconds = g_date_time_to_unix(time);
    if (seconds < 0 || seconds > INT64_MAX / NS_PER_S - 1)
        return false;
    *ret_realtime_ns = seconds * NS_PER_S + (int64_t)g_date_time_get_microsecond(time) * 1000;
    return true;
}
