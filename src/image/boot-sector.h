/*
 * Boot sectors as bytes: a partition table, and the smallest guest there is. Pure; any thread.
 * Format: the classic MBR (446 bytes of code, four entries of 16 bytes, 0x55 0xaa).
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

enum { SECTOR_SIZE = 512 };

typedef struct Partition {
    uint8_t type;          /* 0xef EFI system, 0x83 Linux */
    uint8_t is_active;     /* what old BIOSes look for */
    uint32_t first, count; /* sectors */
} Partition;

/* Writes the table of at most four partitions and the signature into a sector; leaves the code alone. */
void boot_sector_partitions(
    uint8_t sector[static SECTOR_SIZE], const Partition *partitions, size_t n_partitions);

/* A sector that prints "bench-boot ok" on the first serial port (0x3f8, 115200 8N1) and halts with interrupts
 * on. */
void boot_sector_bench(uint8_t ret_sector[static SECTOR_SIZE]);
