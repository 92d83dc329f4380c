/*
 * cloud-init's NoCloud medium: a small ISO 9660 image (volume "cidata", Joliet and Rock Ridge) with
 * meta-data, user-data and network-config, written in this process. Format: cloud-init's documentation,
 * "NoCloud".
 *
 * Every value goes into YAML as a double-quoted JSON string (each is valid YAML), so that no value can become
 * syntax. Pure but for seed_write, which blocks on the disk. Any thread.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include "base/error.h"

enum {
    SEED_HOSTNAME_LIMIT = 63,        /* bytes; letters, digits, inner hyphens (RFC 1123 label) */
    SEED_INSTANCE_ID_LIMIT = 128,    /* bytes; letters, digits, "-", "_", "." */
    SEED_USER_LIMIT = 32,            /* bytes; as useradd(8) accepts */
    SEED_KEYS_LIMIT = 64,            /* keys */
    SEED_KEY_BYTES_LIMIT = 16 * 1024 /* bytes a key */
};

typedef struct SeedSpec {
    const char *hostname;
    const char *instance_id;     /* a new one makes cloud-init run its first-boot steps again */
    const char *user;            /* gets the keys and may use sudo; NULL: the template's default user */
    const char *const *ssh_keys; /* authorized_keys lines, NULL-terminated; may be NULL */
    /* Replaces the whole user-data of ours (then `user` and `ssh_keys` must be absent; host name and network
     * stay). Must begin with a line that cloud-init knows ("#cloud-config", "#!", "## template:",
     * "Content-Type:", "#include" …). May be NULL. */
    const char *user_data;
    /* Replaces DHCP on all NICs: cloud-init's network configuration, version 2 (YAML). May be NULL. */
    const char *network_config;
} SeedSpec;

/* The image in memory, newly allocated. ERROR_INVALID names the field ("/hostname", "/ssh_keys/2"). */
bool seed_make(const SeedSpec *spec, uint8_t **ret_data, size_t *ret_length, Error *err);

/* seed_make into a file, replaced as a whole, mode 0600 (user data may hold secrets). */
bool seed_write(const SeedSpec *spec, const char *path, Error *err);
