#!/bin/sh
# root_to_array.sh ID ID: makes an array of a partition on each of the two disks (names of /dev/disk/by-id), copies the running root file
# system to it, and puts a GRUB that boots it on them and on the disk that has booted now. BIOS and MBR.
set -eu
members=""
disks="/dev/vda"
for id in "$@"; do
    disk=/dev/disk/by-id/$id
    printf 'label: dos\nstart=2048, type=fd\n' | sfdisk -q "$disk"
    udevadm settle
    members="$members $disk-part1"
    disks="$disks $disk"
done
# shellcheck disable=SC2086
mdadm --create /dev/md/system --run --quiet --level 1 --metadata 1.2 --homehost xen01 --bitmap none --raid-devices 2 $members
udevadm settle
mkfs.ext4 -q -L system /dev/md/system
mkdir -p /run/system
mount /dev/md/system /run/system
rsync -aHAXx --exclude /root-to-array / /run/system
for folder in dev proc sys run; do mkdir -p /run/system/$folder; mount --rbind /$folder /run/system/$folder; done
uuid=$(blkid -s UUID -o value /dev/md/system)
printf 'UUID=%s / ext4 errors=remount-ro 0 1\n' "$uuid" > /run/system/etc/fstab
mdadm --detail --brief /dev/md/system >> /run/system/etc/mdadm/mdadm.conf
touch /run/system/etc/root-is-an-array
chroot /run/system update-initramfs -u
for disk in $disks; do chroot /run/system grub-install --target i386-pc "$disk"; done
chroot /run/system update-grub
sync
