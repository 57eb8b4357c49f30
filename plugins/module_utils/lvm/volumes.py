# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From wanted volume groups and volumes and what LVM shows to the commands that make them. Nothing is removed or shrunk."""
from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.actions import Action
from ansible_collections.xenfold.consolidation.plugins.module_utils.files import with_block

FILTER_FILE = "/etc/lvm/lvmlocal.conf"
OWNER = "filter of xenfold.consolidation, role storage"
_EXTENT_BYTES = 4 * 2**20


@dataclass(frozen=True)
class Present:
    """What LVM shows. groups: name -> (free bytes, extent bytes); owners: kernel device -> group or ""; volumes: group/name -> bytes."""

    groups: Mapping[str, tuple[int, int]]
    owners: Mapping[str, str]
    volumes: Mapping[str, int]


@dataclass
class Plan:
    """errors: why nothing may be done; actions and commands: in order, as many commands as actions."""

    errors: list[str] = field(default_factory=list)
    actions: list[Action] = field(default_factory=list)
    commands: list[list[str]] = field(default_factory=list)

    def add(self, action: Action, command: list[str]) -> None:
        self.actions.append(action)
        self.commands.append(command)


def rows(report: str, kind: str) -> list[dict[str, str]]:
    """The rows of `vgs`, `pvs` or `lvs` (kind `vg`, `pv`, `lv`) with --reportformat json."""
    found: list[dict[str, str]] = json.loads(report)["report"][0][kind]
    return found


def extents(size_gib: float, extent_bytes: int) -> int:
    """Extents that hold the size; a fraction is rounded up."""
    return max(1, math.ceil(round(size_gib * 2**30, 3) / extent_bytes))


def plan(
    groups: Sequence[Mapping[str, Any]], volumes: Sequence[Mapping[str, Any]], present: Present,
    devices: Mapping[str, str | None], uses: Mapping[str, Sequence[str]],
) -> Plan:
    """Plan all groups and volumes of a host.

    devices: wanted device -> kernel device, None while it does not exist (its array is made in the same run);
    uses: kernel device -> what lies on it, for devices that are no physical volumes yet.
    """
    result = Plan()
    free = {name: value[0] for name, value in present.groups.items()}
    coming = set()
    for group in groups:
        name = group["name"]
        new = []
        for device in group["devices"]:
            real = devices.get(device)
            owner = present.owners.get(real or "")
            if owner == name:
                continue
            if owner:
                result.errors.append(f"volume group '{name}': {device} belongs to the volume group {owner} and is not touched")
            elif owner is None and uses.get(real or ""):
                result.errors.append(f"volume group '{name}': {device} is not empty and is not touched: {'; '.join(uses[real or ''])}")
            else:
                new.append(device)
        if new and name not in present.groups:
            coming.add(name)
            result.add(Action("create", f"volume group {name}", "on " + ", ".join(new)), ["vgcreate", "--yes", name, *new])
        elif new:
            coming.add(name)
            result.add(Action("extend", f"volume group {name}", "by " + ", ".join(new)), ["vgextend", "--yes", name, *new])
    for volume in volumes:
        _plan_volume(volume, present, coming, free, result)
    for name, left in free.items():
        # How much a group gains from new devices is known only when they are in it; LVM itself refuses what does not fit.
        if left < 0 and name not in coming:
            result.errors.append(f"volume group '{name}': the volumes need {-left / 2**30:.2f} GiB more than is free")
    return result


def _plan_volume(
    volume: Mapping[str, Any], present: Present, coming: set[str], free: dict[str, int], result: Plan,
) -> None:
    group, name = volume["volume_group"], volume["name"]
    if group not in present.groups and group not in coming:
        there = ", ".join(sorted({*present.groups, *coming})) or "none"
        result.errors.append(f"volume '{name}': volume_group: {group} is not on this host; there are {there}")
        return
    unit = present.groups.get(group, (0, _EXTENT_BYTES))[1]
    count = extents(volume["size_gib"], unit)
    have = present.volumes.get(f"{group}/{name}")
    target = f"volume {group}/{name}"
    if have is None:
        # -W y wipes what an earlier volume left in these extents; the volume itself is new.
        command = ["lvcreate", "--yes", "-W", "y", "-l", str(count), "-n", name, group]
        result.add(Action("create", target, f"{volume['size_gib']:g} GiB"), command)
        free[group] = free.get(group, 0) - count * unit
    elif count * unit > have:
        detail = f"{have / 2**30:g} to {volume['size_gib']:g} GiB"
        result.add(Action("grow", target, detail), ["lvextend", "-l", str(count), f"{group}/{name}"])
        free[group] = free.get(group, 0) - (count * unit - have)
    elif count * unit < have:
        result.errors.append(f"volume '{name}': size_gib: {volume['size_gib']:g} is less than the {have / 2**30:g} GiB it has; a volume"
                             " is never shrunk")


def filter_text(text: str, groups: Sequence[str]) -> str:
    """lvmlocal.conf with a block that keeps dom0 out of the guests' volumes: it must never activate what lies inside a guest's disk.

    No pattern accepts: a device is rejected when every name of it that matches a pattern matches one that rejects (lvm.conf(5)).
    """
    patterns = []
    for name in sorted(groups):
        escaped = name.replace("+", "[+]").replace(".", "[.]")
        mapped = escaped.replace("-", "--")
        patterns += [f'"r|^/dev/{escaped}/.*|"', f'"r|^/dev/mapper/{mapped}-[^-].*|"']
    return with_block(text, OWNER, ["devices {", f"    global_filter = [ {', '.join(patterns)} ]", "}"])
