# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From volumes and what they are filled with to the steps that make them: one pure function.

A volume is filled under another name and with a tag, and gets its own name when its content is whole and on the disk. So a guest never
starts from half an image, whoever starts it; and what a run that was cut off has left is told from what is anybody else's by both.
"""
from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.actions import Action
from ansible_collections.xenfold.consolidation.plugins.module_utils.lvm import tags
from ansible_collections.xenfold.consolidation.plugins.module_utils.lvm import volumes as lvm
from ansible_collections.xenfold.consolidation.plugins.module_utils.moves.volume_receive import SUFFIX
from ansible_collections.xenfold.consolidation.plugins.module_utils.moves.volume_send import MOVED_SUFFIX


@dataclass(frozen=True)
class Filling:
    """One volume to be filled, with an image by its name or with a seed of files. size_bytes: the room that it has."""

    volume_group: str
    name: str
    size_bytes: int
    image: str | None = None
    files: Mapping[str, str] | None = None

    @property
    def volume(self) -> str:
        return f"{self.volume_group}/{self.name}"

    def action(self) -> Action:
        return Action("fill", f"volume {self.volume}", f"with the image {self.image}" if self.image else "with the seed of a first boot")


@dataclass
class Steps:
    """errors, not_yet, notes: as of lvm.Plan; commands: before volumes are filled; fill: in order; whole: volumes (group/name) with
    all of their content that have the tag still."""

    errors: list[str] = field(default_factory=list)
    not_yet: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    making: list[Action] = field(default_factory=list)
    commands: list[list[str]] = field(default_factory=list)
    fill: list[Filling] = field(default_factory=list)
    whole: list[str] = field(default_factory=list)
    volumes: list[dict[str, Any]] = field(default_factory=list)

    def actions(self) -> list[Action]:
        return [*self.making, *(filling.action() for filling in self.fill),
                *(Action("finish", f"volume {volume}", "it is filled, a run was cut off before it said so") for volume in self.whole)]


def steps(
    volumes: Sequence[Mapping[str, Any]], fill: Sequence[Mapping[str, Any]], present: lvm.Present, there: Mapping[str, tags.Volume],
) -> Steps:
    """volumes: all of the call, as lvm.plan takes them; fill: those of them that have a content; there: group/name -> volume."""
    found = Steps()
    filled = {f"{entry['volume_group']}/{entry['name']}": entry for entry in fill}
    wanted = {f"{volume['volume_group']}/{volume['name']}": volume for volume in volumes}
    for name in sorted(set(filled) - set(wanted)):
        found.errors.append(f"fill: value {name!r}, allowed volumes of this call: {', '.join(sorted(wanted)) or 'there are none'}")
    units = {group: unit for group, (_free, unit) in present.groups.items()}
    making: list[Mapping[str, Any]] = []
    kept: dict[str, int] = {}
    for name, volume in wanted.items():
        if name not in filled or name in there:
            making.append(volume)
            if name in filled and lvm.FILLING_TAG in there[name].tags:
                found.whole.append(name)
            if name in filled and name + lvm.FILLING in there:
                found.notes.append(f"volume '{name}{lvm.FILLING}': is there beside {name}, which is never written; look what it is")
        # Beside a guest that moves, lvm.plan tells why nothing is made.
        elif not any(name + suffix in there for suffix in (MOVED_SUFFIX, SUFFIX)) and _goes_on(
                name, volume, there.get(name + lvm.FILLING), units, found):
            making.append(volume)
            kept[name] = _size(volume, units)
        else:
            making.append({**volume, "fill": True})
    after = _without(present, found.commands, there)
    plan = lvm.plan([], making, dataclasses.replace(after, volumes={**after.volumes, **kept}), {}, {})
    found.errors += plan.errors
    found.not_yet += plan.not_yet
    found.notes += plan.notes
    found.making += plan.actions
    found.commands += plan.commands
    found.volumes = plan.volumes
    new = {*kept, *(f"{volume['volume_group']}/{volume['name']}" for volume in making if volume.get("fill"))}
    for name in sorted(new):
        entry = filled[name]
        size = _size(wanted[name], units)
        found.fill.append(Filling(entry["volume_group"], entry["name"], size, entry.get("image"), entry.get("files")))
    return found


def _size(volume: Mapping[str, Any], units: Mapping[str, int]) -> int:
    unit = units.get(volume["volume_group"], lvm.EXTENT_BYTES)
    return lvm.extents(volume["size_gib"], unit) * unit


def _goes_on(
    name: str, volume: Mapping[str, Any], left: tags.Volume | None, units: Mapping[str, int], found: Steps,
) -> bool:
    """Whether a volume that a run has left half filled is filled from the beginning as it is; one of another size is made anew."""
    if left is None:
        return False
    under_way = name + lvm.FILLING
    if lvm.FILLING_TAG not in left.tags:
        found.errors.append(f"volume '{under_way}': has that name and not the tag {lvm.FILLING_TAG}, so it is nothing that this collection"
                            " has left; give it another name")
        return True
    if _size(volume, units) == left.size_bytes:
        return True
    found.making.append(Action("remove", f"volume {under_way}", "a run was cut off in filling it, and it is to have another size"))
    found.commands.append(["lvremove", "--yes", under_way])
    return False


def _without(present: lvm.Present, commands: Sequence[Sequence[str]], there: Mapping[str, tags.Volume]) -> lvm.Present:
    """What is there once the volumes that the commands remove are gone."""
    groups = dict(present.groups)
    for command in commands:
        group = command[-1].partition("/")[0]
        groups[group] = (groups[group][0] + there[command[-1]].size_bytes, groups[group][1])
    return dataclasses.replace(present, groups=groups)
