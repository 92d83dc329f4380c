/* An atomic flag with an eventfd beside it. */
#include "base/cancel.h"
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct Cancel {
    gatomicrefcount references;
    int cancelled;
    int fd;
};

Cancel *cancel_new(void) {
    Cancel *cancel = g_new0(Cancel, 1);
    g_atomic_ref_count_init(&cancel->references);
    cancel->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    g_assert(cancel->fd >= 0);
    return cancel;
}

Cancel *cancel_ref(Cancel *cancel) {
    if (cancel)
        g_atomic_ref_count_inc(&cancel->references);
    return cancel;
}

void cancel_unref(Cancel *cancel) {
    if (!cancel || !g_atomic_ref_count_dec(&cancel->references))
        return;
    close(cancel->fd);
    g_free(cancel);
}

void cancel_trigger(Cancel *cancel) {
    uint64_t one = 1;
    if (g_atomic_int_exchange(&cancel->cancelled, 1) == 0)
        while (write(cancel->fd, &one, sizeof one) < 0)
            ;
}

bool is_cancelled(const Cancel *cancel) {
    return cancel && g_atomic_int_get(&cancel->cancelled);
}

int cancel_fd(const Cancel *cancel) {
    return cancel ? cancel->fd : -1;
}

bool cancel_check(const Cancel *cancel, Error *err) {
    return is_cancelled(cancel) ? error_set(err, ERROR_CANCELLED, NULL, "cancelled") : true;
}
