# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The one partition that a disk carries for an array: from 1 MiB to the disk's end less a margin; pure."""
from __future__ import annotations

import re
from dataclasses import dataclass

MIB = 2**20
# Where the partition begins, and what a GPT needs behind it for its second copy.
START_MIB, BEHIND_MIB = 1, 1
# GPT's type "Linux RAID".
LINUX_RAID = "a19d880f-05fc-4d3b-a006-743f0f84911e"
# From util-linux; Debian's minimal installation is without it.
PACKAGE, TOOL = "fdisk", "sfdisk"
_NAME_LENGTH = 36


@dataclass(frozen=True)
class Cut:
    """A partition to be made: on which disk, where and how large in bytes, the disk's sector in bytes, its own UUID and its name."""

    disk: str
    start_bytes: int
    size_bytes: int
    sector_bytes: int
    uuid: str
    name: str


def path_of(disk: str) -> str:
    """The kernel device of a disk's first partition."""
    return f"{disk}p1" if disk[-1:].isdigit() else f"{disk}1"


def plan(disk: str, disk_bytes: int, sector_bytes: int, margin_mib: int, least_bytes: int, uuid: str, names: tuple[str, str]) -> Cut:
    """The partition that leaves the margin, or as much more as an array needs that exists (least_bytes) as far as the disk has it.

    Whole MiB, so that it begins and ends on every usual boundary of a disk. names: of array and disk, for people.
    """
    whole_mib = disk_bytes // MIB
    size_mib = max(whole_mib - START_MIB - margin_mib, -(-least_bytes // MIB))
    size_mib = max(0, min(size_mib, whole_mib - START_MIB - BEHIND_MIB))
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", "-".join(names))[:_NAME_LENGTH]
    return Cut(disk, START_MIB * MIB, size_mib * MIB, sector_bytes, uuid, name)


def script(cut: Cut) -> str:
    """What sfdisk reads. In sectors: sizes with a unit it would move to boundaries of its own."""
    start, size = cut.start_bytes // cut.sector_bytes, cut.size_bytes // cut.sector_bytes
    return f'label: gpt\nstart={start}, size={size}, type={LINUX_RAID}, uuid={cut.uuid}, name="{cut.name}"\n'


def command(cut: Cut) -> list[str]:
    """sfdisk itself refuses a disk of which something is in use."""
    return [TOOL, "--quiet", "--wipe", "always", "--wipe-partitions", "always", cut.disk]
