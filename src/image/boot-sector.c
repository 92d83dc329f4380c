/* Sixteen-bit code for 0x7c00, one row per instruction. */
#include "image/boot-sector.h"
#include <glib.h>
#include <string.h>

enum { TABLE = 446, ENTRY = 16, MAX_PARTITIONS = 4, LOAD_ADDRESS = 0x7c00 };

static void put32(uint8_t *at, uint32_t value) {
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

void boot_sector_partitions(
    uint8_t sector[static SECTOR_SIZE], const Partition *partitions, size_t n_partitions) {
    g_assert(n_partitions <= MAX_PARTITIONS);
    memset(sector + TABLE, 0, SECTOR_SIZE - TABLE);
    for (size_t i = 0; i < n_partitions; i++) {
        uint8_t *entry = sector + TABLE + i * ENTRY;
        entry[0] = partitions[i].is_active ? 0x80 : 0;
        memset(entry + 1, 0xff, 3); /* cylinder, head, sector: "see the 32-bit fields" */
        entry[4] = partitions[i].type;
        memset(entry + 5, 0xff, 3);
        put32(entry + 8, partitions[i].first);
        put32(entry + 12, partitions[i].count);
    }
    sector[510] = 0x55;
    sector[511] = 0xaa;
}

/* clang-format off */
static const uint8_t bench_code[] = {
    0xfa,                   /*  0: cli              */
    0x31, 0xc0,             /*  1: xor ax, ax       */
    0x8e, 0xd8,             /*  3: mov ds, ax       */
    0x8e, 0xd0,             /*  5: mov ss, ax       */
    0xbc, 0x00, 0x7c,       /*  7: mov sp, 0x7c00   */
    0xfc,                   /* 10: cld              */
    0xba, 0xfb, 0x03,       /* 11: mov dx, 0x3fb    line control: divisor latch */
    0xb0, 0x80, 0xee,       /* 14: mov al, 0x80; out dx, al */
    0xba, 0xf8, 0x03,       /* 17: mov dx, 0x3f8    divisor 1: 115200 baud */
    0xb0, 0x01, 0xee,       /* 20: mov al, 1; out dx, al */
    0x42,                   /* 23: inc dx           */
    0x30, 0xc0, 0xee,       /* 24: xor al, al; out dx, al */
    0xba, 0xfb, 0x03,       /* 27: mov dx, 0x3fb    8 bits, no parity, 1 stop bit */
    0xb0, 0x03, 0xee,       /* 30: mov al, 3; out dx, al */
    0xbe, 0x3e, 0x7c,       /* 33: mov si, text     */
    0xac,                   /* 36: next: lodsb      */
    0x84, 0xc0,             /* 37: test al, al      */
    0x74, 0x11,             /* 39: jz halt          */
    0x88, 0xc4,             /* 41: mov ah, al       */
    0xba, 0xfd, 0x03,       /* 43: mov dx, 0x3fd    line status: wait until it takes a byte */
    0xec,                   /* 46: wait: in al, dx  */
    0xa8, 0x20,             /* 47: test al, 0x20    */
    0x74, 0xfb,             /* 49: jz wait          */
    0x88, 0xe0,             /* 51: mov al, ah       */
    0xb2, 0xf8,             /* 53: mov dl, 0xf8     */
    0xee,                   /* 55: out dx, al       */
    0xeb, 0xea,             /* 56: jmp next         */
    0xfb,                   /* 58: halt: sti        */
    0xf4,                   /* 59: again: hlt       */
    0xeb, 0xfd,             /* 60: jmp again        */
    /*                         62: text             */
};
/* clang-format on */

void boot_sector_bench(uint8_t ret_sector[static SECTOR_SIZE]) {
    static const char text[] = "bench-boot ok\r\n";
    memset(ret_sector, 0, SECTOR_SIZE);
    memcpy(ret_sector, bench_code, sizeof bench_code);
    memcpy(ret_sector + sizeof bench_code, text, sizeof text);
    boot_sector_partitions(ret_sector, NULL, 0);
}
