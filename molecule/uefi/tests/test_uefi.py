# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The host was started by UEFI, and Xen knows it."""
from __future__ import annotations


def test_firmware_is_uefi_and_xen_hands_it_to_dom0(host):
    assert host.file("/sys/firmware/efi").is_directory
    assert "EFI" in host.check_output("xl dmesg") or host.file("/sys/firmware/efi/systab").exists


def test_grub_lies_where_firmware_looks_for_it(host):
    kinds = host.check_output("lsblk -n -o PARTTYPENAME,FSTYPE /dev/vda")
    assert "EFI System" in kinds and "vfat" in kinds
