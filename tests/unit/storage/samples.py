# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Disks and arrays as the tests of the plans use them."""
from __future__ import annotations

from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.block import look
from ansible_collections.xenfold.consolidation.plugins.module_utils.md import arrays as md

GIB = 2**30
ARRAY: dict[str, Any] = {
    "name": "guests", "level": 10, "chunk_kib": 512, "uuid": None,
    "members": [{"id": f"virtio-D{n}", "serial": f"D{n}", "size_gib": 2} for n in range(1, 5)],
}
WANTED = md.array_uuid("xen01", "guests")


def disk(
    number: int, uses: tuple[str, ...] = (), uuid: str = "", work: tuple[str, ...] = (), serial: str = "", size: int = 2 * GIB,
    **superblock: str,
) -> look.Disk:
    """One of four disks. superblock: further fields of the superblock, beside its UUID."""
    fields = {"MD_UUID": uuid, "MD_LEVEL": "raid10", "MD_DEVICES": "4", "MD_NAME": "xen01:guests"} | superblock if uuid else {}
    return look.Disk(f"/dev/vd{'_bcde'[number]}", serial or f"D{number}", size, uses + work, work, fields)


def disks(**changes: look.Disk | None) -> dict[str, look.Disk | None]:
    """Four empty disks, or what is given in the place of one."""
    found: dict[str, look.Disk | None] = {f"virtio-D{n}": disk(n) for n in range(1, 5)}
    return found | {f"virtio-{name}": value for name, value in changes.items()}


def owned(uuid: str = WANTED, **superblock: str) -> dict[str, look.Disk]:
    """The four disks as members of one array."""
    return {f"D{n}": disk(n, ("member of array",), uuid, **superblock) for n in range(1, 5)}
