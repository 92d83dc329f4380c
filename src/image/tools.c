/* One table and one walk over it. */
#include "image/tools.h"
#include <string.h>
#include <unistd.h>

const ImageTool image_required_tools[] = {
    {"/usr/bin/apt-get", "apt", "fetches packages for templates"},
    {"/usr/bin/bwrap", "bubblewrap", "the jail"},
    {"/usr/bin/nsenter", "util-linux", "the jail's user namespace"},
    {"/usr/bin/setpriv", "util-linux", "the jail's identity"},
    {"/usr/bin/qemu-img", "qemu-utils", "reads and converts disk images"},
    {"/usr/bin/mmdebstrap", "mmdebstrap", "builds Debian templates"},
    {"/usr/sbin/mke2fs", "e2fsprogs", "file systems of templates"},
    {"/usr/sbin/mkfs.vfat", "dosfstools", "EFI partition of templates"},
    {"/usr/bin/mcopy", "mtools", "EFI partition of templates"},
    {"/usr/bin/grub-mkimage", "grub-common", "boot loader of templates"},
    {"/usr/lib/grub/i386-pc/boot.img", "grub-pc-bin", "boot loader for BIOS"},
    {"/usr/lib/grub/x86_64-efi/kernel.img", "grub-efi-amd64-bin", "boot loader for UEFI"},
    {"/usr/bin/cpio", "cpio", "initial file system of the tiny template"},
    {"/usr/bin/xz", "xz-utils", "kernel modules of the tiny template"},
    {"/usr/bin/zstd", "zstd", "kernel modules of the tiny template"},
    {"/usr/share/keyrings/debian-archive-keyring.gpg", "debian-archive-keyring",
        "checks packages for templates"},
    {"/usr/bin/gpgv", "gpgv", "checks packages for templates"},
};
const size_t n_image_required_tools = G_N_ELEMENTS(image_required_tools);

bool image_tools_check(Error *err) {
    g_autoptr(GString) missing = g_string_new(NULL);
    for (size_t i = 0; i < n_image_required_tools; i++)
        if (access(image_required_tools[i].path, R_OK) < 0 &&
            !strstr(missing->str, image_required_tools[i].package))
            g_string_append_printf(missing, " %s", image_required_tools[i].package);
    if (missing->len > 0)
        return error_set(err, ERROR_UNSUPPORTED, NULL, "packages are missing on this host:%s", missing->str);
    return true;
}
