#!/bin/sh
# shellcheck disable=SC2086 # the list of modules is words
# Jailed, in /work: debian-disk.sh SECTORS EFI_FIRST EFI_COUNT ROOT_FIRST ROOT_COUNT: makes `disk` from `tree` and `mbr`.
# One disk for both firmwares: GRUB for BIOS lies between the partition table and the first partition.
set -eu
sectors=$1 efi_first=$2 efi_count=$3 root_first=$4 root_count=$5

echo "step 88 preparing the boot loader"
cat >early.cfg <<'GRUB'
search --no-floppy --label lodge-root --set=root
set prefix=($root)/boot/grub
configfile ($root)/boot/grub/grub.cfg
GRUB
modules="part_msdos part_gpt ext2 fat search search_label normal linux serial configfile test echo all_video minicmd"
grub-mkimage -O i386-pc -p /boot/grub -c early.cfg -o core.img biosdisk $modules
grub-mkimage -O x86_64-efi -p /boot/grub -c early.cfg -o BOOTX64.EFI efi_gop $modules
[ "$(stat -c %s core.img)" -le $(((efi_first - 1) * 512)) ]

truncate -s $((efi_count * 512)) efi
mkfs.vfat -n LODGE-EFI efi >/dev/null
mmd -i efi ::/EFI ::/EFI/BOOT
mcopy -i efi BOOTX64.EFI ::/EFI/BOOT/

echo "step 90 writing the disk"
truncate -s $((sectors * 512)) disk
dd if=/usr/lib/grub/i386-pc/boot.img of=disk bs=440 count=1 conv=notrunc status=none
dd if=mbr of=disk bs=1 skip=440 seek=440 count=72 conv=notrunc status=none
dd if=core.img of=disk bs=512 seek=1 conv=notrunc status=none
dd if=efi of=disk bs=512 seek="$efi_first" conv=notrunc,sparse status=none
mke2fs -q -F -t ext4 -L lodge-root -m 1 -O ^metadata_csum_seed,^orphan_file \
    -E "offset=$((root_first * 512)),lazy_itable_init=1,lazy_journal_init=1" -d tree disk $((root_count / 2))k
