# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which device of a disk an array has or will have: the disk itself, or the one partition of an array with a margin; pure."""
from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.block import partition
from ansible_collections.xenfold.consolidation.plugins.module_utils.block.look import Disk
from ansible_collections.xenfold.consolidation.plugins.module_utils.md.model import Live, Running
from ansible_collections.xenfold.consolidation.plugins.module_utils.storage_spec import LEVELS, disks_of

Array = Mapping[str, Any]
SPACE = uuid.UUID("b3a1a7a2-6f0e-5c57-9d6f-2c9a4c1f7d55")
# Below this nothing of a partition is left for data.
_LEAST_BYTES = 16 * partition.MIB


def part_uuid(wanted: str, serial: str) -> str:
    """The UUID of the partition of that disk for that array: a partition that a run made before it was cut off is known by it."""
    return str(uuid.uuid5(SPACE, f"{wanted}/{serial}"))


def device_of(array: Array, wanted: str, disk: Disk, least_bytes: int = 0) -> Disk:
    """What the array has of a disk. wanted: its UUID; least_bytes: what a member of it needs, 0 for an array that is not there yet."""
    margin, part, own = array.get("margin_mib"), disk.part, part_uuid(wanted, disk.serial)
    if part and part.md.get("MD_UUID") == wanted:
        return _on_partition(disk, part)
    if not margin or disk.md.get("MD_UUID") == wanted:
        return disk
    if part and not part.uses and part.part_uuid == own:
        return _on_partition(disk, part)
    names, path = (array["name"], disk.serial), partition.path_of(disk.path)
    cut = partition.plan(disk.path, disk.size_bytes, disk.sector_bytes, margin, least_bytes, own, names)
    uses = (*disk.uses, *_inside(disk))
    return replace(disk, path=path, size_bytes=cut.size_bytes, uses=uses, md={}, on=disk.path, on_bytes=disk.size_bytes, cut=cut)


def _inside(disk: Disk) -> list[str]:
    """What its one partition holds beyond what the disk itself shows: why that partition is not taken as it is."""
    if not disk.part:
        return []
    return [f"{disk.part.path.removeprefix('/dev/')}: {use}" for use in disk.part.uses if use not in (*disk.uses, *disk.part.work)]


def _on_partition(disk: Disk, part: Disk) -> Disk:
    work = tuple(dict.fromkeys([*part.work, *disk.work]))
    uses = tuple(dict.fromkeys([*part.uses, *work]))
    return replace(part, serial=disk.serial, uses=uses, work=work, on=disk.path, on_bytes=disk.size_bytes)


def devices_of(array: Array, wanted: str, disks: Mapping[str, Disk | None], now: Live | None) -> dict[str, Disk | None]:
    """Id -> device, of all members and spares. now: the array when it runs; what was about to join it then and never did is empty."""
    found: dict[str, Disk | None] = {}
    for item in disks_of(array):
        disk = disks.get(item["id"])
        device = device_of(array, wanted, disk, now.least_bytes if now else 0) if disk else None
        if device and now and now.members and device.path not in now.there():
            device = without_superblock(array, wanted, device)
        found[item["id"]] = device
    return found


def without_superblock(array: Array, wanted: str, device: Disk) -> Disk:
    """The device as an empty one when it holds nothing but a superblock that mdadm wrote for this array and the kernel never took over."""
    unused = _never_counted(array, wanted, device) and not device.work
    return replace(device, uses=(), md={}, clear=True) if unused else device


def _never_counted(array: Array, wanted: str, device: Disk) -> bool:
    """mdadm writes a new superblock with 0 events (super1.c, write_init_super1). The kernel counts one with each superblock that it
    writes, and never returns to 0 (md.c, md_update_sb); of a level with redundancy it writes one before the first data
    (md_write_start), as it marks the array as not clean. Of level 0 it does not, so there 0 events say nothing.
    """
    told = [use for use in device.uses if use not in device.work and f"{use} runs on it" not in device.work
            and not use.startswith(("linux_raid_member ", "member of array "))]
    ours = device.md.get("MD_UUID") == wanted and device.md.get("MD_LEVEL") == f"raid{array['level']}"
    return bool(LEVELS[array["level"]][1]) and ours and device.md.get("MD_EVENTS") == "0" and not told


def never_started(
    array: Array, wanted: str, devices: Sequence[Disk], running: Running | None, carriers: Sequence[str],
) -> dict[str, Disk]:
    """Path -> device as an empty one, of those with superblocks from a `mdadm --create` that was cut off; empty when that is not certain.

    It is when no superblock of the array counts an event, wherever it lies, and behind each there are the zeros that a run writes first:
    an array that somebody rescues by hand, read-only, has data there. carriers: all devices of the host with the array's superblock; a
    list without those that are known to have it does not tell of others either.
    """
    owned = [device for device in devices if device.md.get("MD_UUID") == wanted]
    # The kernel tells no level of an array that waits, so lsblk says `md`.
    waits = r"\S+ is held by md\S+|(?:raid\d+|md) \S+ runs on it|the kernel has it in use" if running else r"\Z\A"
    if (running and running.active) or set(carriers) != {device.path for device in owned}:
        return {}
    if not all(_never_counted(array, wanted, device) and device.bare and all(re.fullmatch(waits, use) for use in device.work)
               for device in owned):
        return {}
    return {device.path: replace(device, uses=(), work=(), md={}, clear=True) for device in owned}


def kind_error(array: Array, on_partition: Sequence[bool]) -> tuple[str, bool]:
    """What to say when the array has other devices than margin_mib asks for, and whether all of them are so, which is refused.

    on_partition: of each disk of the array, whether the array has a partition of it.
    """
    margin = array.get("margin_mib")
    wrong = [here for here in on_partition if here != bool(margin)]
    if not wrong:
        return "", False
    if margin:
        told = f"on whole disks; margin_mib: value {margin}, allowed none: an array is never moved onto partitions"
    else:
        told = "on partitions; margin_mib: missing, allowed what it was made with: an array is never moved onto whole disks"
    return f"it exists {told}", len(wrong) == len(on_partition)


def too_small(array: Array, device: Disk) -> str:
    """Why the margin leaves too little of a disk; empty when it does not."""
    if not device.cut or device.size_bytes >= _LEAST_BYTES:
        return ""
    has = f"disk {device.on} (serial {device.serial}) has {device.on_bytes // partition.MIB} MiB"
    return f"{has}; margin_mib: value {array['margin_mib']} leaves nothing of it"
