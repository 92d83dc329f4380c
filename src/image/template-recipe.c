/* The table of recipes. */
#include "image/template-recipe.h"
#include <string.h>

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

/* No recommended packages are installed, so that what a guest needs is named here. */
static const char *const debian_packages[] = {"ca-certificates", "cloud-guest-utils", "cloud-init", "dbus",
    "e2fsprogs", "fdisk", "initramfs-tools", "iproute2", "iputils-ping", "kmod", "less",
    "linux-image-cloud-amd64", "netplan.io", "openssh-server", "qemu-guest-agent", "sudo", "systemd-resolved",
    "systemd-sysv", "udev", "zstd", NULL};

#define DEBIAN(version, codename)                                                                      \
    {                                                                                                  \
        .name = "debian-" version, .title = "Debian " version " (" codename ")", .kind = RECIPE_DISK,  \
        .suite = codename, .guest_os = "debian" version, .disk_bytes = 2 * GIB,                        \
        .memory_minimum_bytes = 256 * MIB, .memory_default_bytes = 512 * MIB, .default_user = "lodge", \
        .packages = debian_packages, .boots_bios = true, .boots_uefi = true, .has_cloud_init = true,   \
        .has_guest_agent = true                                                                        \
    }

const Recipe recipes[] = {
    /* swiotlb=noforce: as soon as memory may be hot-added Linux sets 64 MiB aside for old devices, which such
       a guest lacks. */
    {.name = "tiny",
        .title = "Kernel and busybox, up within seconds",
        .kind = RECIPE_KERNEL,
        .guest_os = "linux2022",
        .memory_minimum_bytes = 96 * MIB,
        .memory_default_bytes = 128 * MIB,
        .cmdline = "console=ttyS0 quiet panic=-1 no_timer_check swiotlb=noforce memhp_default_state=online",
        .boots_bios = true,
        .boots_uefi = true},
    DEBIAN("12", "bookworm"),
    DEBIAN("13", "trixie"),
    {.name = "bench-boot",
        .title = "A boot sector that prints and halts",
        .kind = RECIPE_SECTOR,
        .guest_os = "unknown",
        .disk_bytes = MIB,
        .memory_minimum_bytes = 16 * MIB,
        .memory_default_bytes = 64 * MIB,
        .boots_bios = true},
};
const size_t n_recipes = sizeof recipes / sizeof recipes[0];

const Recipe *recipe_find(const char *name) {
    for (size_t i = 0; i < n_recipes; i++)
        if (strcmp(recipes[i].name, name) == 0)
            return &recipes[i];
    return NULL;
}
