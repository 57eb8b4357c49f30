# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Debian releases the lab can build: data, not code."""

from __future__ import annotations

import dataclasses

from lab.errors import LabError


@dataclasses.dataclass(frozen=True)
class Release:
    """One Debian release. Package names as in its archive; module names as in its kernel."""

    name: str
    version: str
    xen_version: str
    proven: bool
    # In both images.
    packages: tuple[str, ...]
    # Only in the `xen` image; on the others these are downloaded but not installed.
    xen_packages: tuple[str, ...]
    # Where the running system finds its root disk.
    boot_modules: tuple[str, ...] = ("virtio_pci", "virtio_blk", "crc32c_generic", "ext4")
    guest_modules: tuple[str, ...] = ("xen-blkfront", "xen-netfront", "crc32c_generic", "ext4")
    # Of a guest that has the spare device of a host with an IOMMU.
    guest_pci_modules: tuple[str, ...] = ("xen-pcifront", "virtio_pci", "virtio-rng")

    def packages_of(self, kind: str) -> tuple[str, ...]:
        """What the image of a kind has. GRUB's packages for BIOS and for UEFI exclude each other."""
        packages = self.packages + (self.xen_packages if kind == "xen" else ())
        return tuple("grub-efi-amd64" if kind == "uefi" and name == "grub-pc" else name for name in packages)

    @property
    def xen_binary(self) -> str:
        return f"boot/xen-{self.xen_version}-amd64.gz"


_COMMON = (
    # Never the cloud kernel: it cannot be a dom0.
    "linux-image-amd64",
    "systemd-sysv",
    "udev",
    "dbus",
    "openssh-server",
    "python3",
    "python3-apt",
    "kmod",
    "procps",
    "netbase",
    "iproute2",
    "iputils-ping",
    "ethtool",
    "rsync",
    "socat",
    "initramfs-tools",
    "busybox-static",
    "zstd",
    "e2fsprogs",
    "ca-certificates",
    "grub-pc",
    # On every host that has ever had an array or a volume; each of them makes the initial file system anew when it is installed.
    "mdadm",
    "fdisk",
    "lvm2",
)
_XEN = (
    "xen-system-amd64",
    "grub-xen-host",
    # What roles would install on a host that reaches an archive, as these do not.
    "drbd-utils",
    "open-iscsi",
    "bridge-utils",
    "ifupdown",
    "ifenslave",
)

RELEASES = {
    release.name: release
    for release in (
        Release("bookworm", "12", "4.17", True, _COMMON, _XEN),
        Release("trixie", "13", "4.20", False, _COMMON, _XEN),
    )
}


def release_of(name: str) -> Release:
    try:
        return RELEASES[name]
    except KeyError:
        raise LabError(f"--release {name}: unknown release; allowed: {', '.join(sorted(RELEASES))}") from None
