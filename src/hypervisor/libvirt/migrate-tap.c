/* A header at a time; what follows it is skipped. */
#include "hypervisor/libvirt/migrate-tap.h"
#include <glib.h>
#include <string.h>

enum {
    LONGEST_MESSAGE = 32 * 1024 * 1024 + 4, /* VIR_NET_MESSAGE_MAX and the length */
    PROGRAM = 0x20008086,                   /* REMOTE_PROGRAM */
    VERSION = 1,
    FINISH3_PARAMS = 306, /* REMOTE_PROC_DOMAIN_MIGRATE_FINISH3_PARAMS */
    REPLY = 1,
    OK = 0
};

static uint32_t word(const uint8_t *head, size_t number) {
    uint32_t value;
    memcpy(&value, head + 4 * number, sizeof value);
    return GUINT32_FROM_BE(value);
}

static void take_head(LibvirtTap *tap) {
    uint32_t length = word(tap->head, 0);
    tap->is_lost = length < sizeof tap->head || length > LONGEST_MESSAGE;
    if (tap->is_lost)
        return;
    tap->n_left = length - (uint32_t)sizeof tap->head;
    tap->is_finish = word(tap->head, 1) == PROGRAM && word(tap->head, 2) == VERSION &&
                     word(tap->head, 3) == FINISH3_PARAMS && word(tap->head, 4) == REPLY &&
                     word(tap->head, 6) == OK;
}

bool libvirt_tap_feed(LibvirtTap *tap, const uint8_t *bytes, size_t length) {
    bool is_finished = false;
    while (length > 0 && !tap->is_lost) {
        bool is_in_head = tap->n_head < sizeof tap->head;
        size_t wanted = is_in_head ? sizeof tap->head - tap->n_head : tap->n_left;
        size_t n = MIN(wanted, length);
        if (is_in_head)
            memcpy(tap->head + tap->n_head, bytes, n);
        bytes += n;
        length -= n;
        if (is_in_head) {
            tap->n_head += (uint32_t)n;
            if (tap->n_head < sizeof tap->head)
                break;
            take_head(tap);
        } else {
            tap->n_left -= (uint32_t)n;
        }
        if (tap->is_lost || tap->n_left > 0)
            continue;
        is_finished |= tap->is_finish;
        tap->n_head = 0;
        tap->is_finish = false;
    }
    return is_finished;
}
