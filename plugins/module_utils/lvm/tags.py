# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Tags of volumes, and which are in use: what a run that was cut off has left to the next one."""
from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.xenfold.consolidation.plugins.module_utils.lvm import volumes as lvm
from ansible_collections.xenfold.consolidation.plugins.module_utils.runner import Runner


@dataclass(frozen=True)
class Volume:
    """size_bytes; tags; in_use: whether anything of this host has its device open; origin: of a snapshot, the name of the volume in its
    group that it is of."""

    size_bytes: int = 0
    tags: frozenset[str] = frozenset()
    in_use: bool = False
    origin: str = ""


def read(runner: Runner) -> dict[str, Volume]:
    """group/name -> what LVM tells of each volume; nothing on a host without LVM."""
    if not runner.tool("lvs"):
        return {}
    columns = "vg_name,lv_name,lv_size,lv_tags,lv_device_open,origin"
    answer = runner.read(["lvs", *lvm.REPORT, columns])
    return {
        f"{row['vg_name']}/{row['lv_name']}": Volume(
            int(row["lv_size"]), frozenset(tag for tag in row["lv_tags"].split(",") if tag), row["lv_device_open"] in ("open", "1"),
            row["origin"])
        for row in lvm.rows(answer.out, "lv")
    }


def change(volume: str, add: str = "", remove: str = "") -> list[str]:
    """The command that gives a volume (group/name) a tag and takes another from it."""
    return ["lvchange", *(["--addtag", add] if add else []), *(["--deltag", remove] if remove else []), volume]


def rename(volume: str, name: str) -> list[str]:
    """The command that gives a volume (group/name) another name, in one step of LVM's metadata."""
    group, _slash, old = volume.partition("/")
    return ["lvrename", group, old, name]
