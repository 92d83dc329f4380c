/*
 * Reads along in libvirt's RPC stream (https://libvirt.org/kbase/internals/rpc.html: length with itself,
 * program, version, procedure, type, serial, status; all 32 bits, big-endian) for the one message that says
 * that the target of a migration has all of it: the good reply to REMOTE_PROC_DOMAIN_MIGRATE_FINISH3_PARAMS.
 * Pure.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct LibvirtTap {
    uint8_t head[28]; /* of the message that is under way */
    uint32_t n_head, n_left;
    bool is_finish, is_lost; /* the stream is not understood: nothing is told any more */
} LibvirtTap;

/* All zero at first. True once, when the last byte of that reply is among these. */
bool libvirt_tap_feed(LibvirtTap *tap, const uint8_t *bytes, size_t length);
