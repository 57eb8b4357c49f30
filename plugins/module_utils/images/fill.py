# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Fills volumes: under their names to be filled by, each under a lock that whatever writes it holds, and named as wanted at the end."""
from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.images import first_boot
from ansible_collections.xenfold.consolidation.plugins.module_utils.images.plan import Filling
from ansible_collections.xenfold.consolidation.plugins.module_utils.images.source import ImageError
from ansible_collections.xenfold.consolidation.plugins.module_utils.lvm import tags
from ansible_collections.xenfold.consolidation.plugins.module_utils.lvm import volumes as lvm
from ansible_collections.xenfold.consolidation.plugins.module_utils.runner import Runner

DEVICES = "/dev"
LOCKS = "/run/xenfold/filling"
TAKEN = 75
"""A return code that none of the tools has."""
MOUNT_POINT = "/run/xenfold/filling"
"""Any folder does: the file system is mounted for the one command alone."""
MAKE = {"ext4": ["mkfs.ext4", "-q", "-F"], "xfs": ["mkfs.xfs", "-q", "-f"]}
PACKAGES = {"qcow2": "qemu-utils", "ext4": "e2fsprogs", "xfs": "xfsprogs"}
"""Of the tools that are needed, by format and by file system."""
UNPACK = """
kind=$1 device=$2 folder=$3 archive=$4
shift 4
"$@" "$device"
mount -t "$kind" "$device" "$folder"
tar --extract --file "$archive" --directory "$folder" --numeric-owner --same-owner --preserve-permissions --acls '--xattrs-include=*'
umount "$folder"
"""

Image = Mapping[str, Any]


def file_system(image: Image) -> str:
    return str(image.get("filesystem") or "ext4")


def packages_for(images: Mapping[str, Image]) -> list[str]:
    """Packages of the tools that these images need, sorted."""
    needs = {file_system(image) if image["format"] == "tar" else image["format"] for image in images.values()}
    return sorted(PACKAGES[need] for need in needs if need in PACKAGES)


def command(image: Image, source: str, device: str) -> list[str]:
    """The command that writes an image to a device.

    None makes a device that is not there: it would be a file in the host's memory. qemu-img writes zeros where the image has none of its
    own, since the device has the content of whatever was there before. The mount is
    seen by the processes of one command alone (unshare) and ends with the last of them, however that ends.
    """
    if image["format"] == "qcow2":
        return ["qemu-img", "convert", "-n", "-f", "qcow2", "-O", "raw", "-t", "writeback", source, device]
    if image["format"] == "raw":
        return ["dd", f"if={source}", f"of={device}", "bs=4M", "iflag=fullblock", "conv=notrunc,nocreat", "status=none"]
    kind = file_system(image)
    return ["unshare", "--mount", "--propagation", "private", "sh", "-ec", UNPACK, "sh", kind, device, MOUNT_POINT, source, *MAKE[kind]]


def fill(runner: Runner, filling: Filling, image: Image | None, source: str) -> None:
    """Write one volume, make sure that it is on the disk, and give it its name. Raises ImageError.

    The lock is held by the command and all that it starts: one that outlives a killed run keeps the next from writing beside it.
    """
    device = f"{DEVICES}/{filling.volume}{lvm.FILLING}"
    if image is None:
        _write(device, first_boot.seed(filling.files or {}))
    else:
        os.makedirs(LOCKS, mode=0o700, exist_ok=True)
        lock = f"{LOCKS}/{filling.volume_group}-{filling.name}"
        result = runner.change(["flock", "-n", "-E", str(TAKEN), lock, *command(image, source, device)], ok=(0, TAKEN))
        if result.rc == TAKEN:
            raise ImageError(f"volume {filling.volume!r}: another run is just filling it; run again when that has ended")
        _write(device, b"")
    runner.change(tags.rename(filling.volume + lvm.FILLING, filling.name))
    finish(runner, filling.volume)


def finish(runner: Runner, volume: str) -> None:
    """Say of a volume (group/name) that its content is whole."""
    runner.change(tags.change(volume, remove=lvm.FILLING_TAG))


def _write(device: str, content: bytes) -> None:
    """Write to the beginning of a device, which has to be there, and wait until all that was written to it is on the disk."""
    descriptor = os.open(device, os.O_WRONLY)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view):]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
