# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From wanted volume groups and volumes and what LVM shows to the commands that make them. Nothing is removed or shrunk."""
from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.actions import Action
from ansible_collections.xenfold.consolidation.plugins.module_utils.block.look import Disk
from ansible_collections.xenfold.consolidation.plugins.module_utils.files import with_block
from ansible_collections.xenfold.consolidation.plugins.module_utils.moves.volume_receive import SUFFIX
from ansible_collections.xenfold.consolidation.plugins.module_utils.moves.volume_send import MOVED_SUFFIX
from ansible_collections.xenfold.consolidation.plugins.module_utils.storage_spec import grow_words

MAIN_FILE = "/etc/lvm/lvm.conf"
FILTER_FILE = "/etc/lvm/lvmlocal.conf"
OWNER = "filter of xenfold.consolidation, role storage"
EXTENT_BYTES = 4 * 2**20
_START_BYTES = 2**20
MD_FOLDER = "/dev/md/"
FILLING = ".filling"
"""What the name of a volume ends in until its content is whole, so that nothing can take it for that."""
FILLING_TAG = "xenfold.filling"
"""On a volume from its creation until its content is whole: what proves that nobody else has made it."""
_GLOBAL_FILTER = re.compile(r'\bglobal_filter\s*=\s*(\[(?:\s*"(?:[^"\\]|\\.)*"\s*,?)*\s*\]|"(?:[^"\\]|\\.)*")')


@dataclass(frozen=True)
class Present:
    """What LVM shows. groups: name -> (free bytes, extent bytes); owners: kernel device -> group or ""; volumes: group/name -> bytes;
    unused: kernel device -> bytes of it beyond the physical volume on it."""

    groups: Mapping[str, tuple[int, int]]
    owners: Mapping[str, str]
    volumes: Mapping[str, int]
    unused: Mapping[str, int] = field(default_factory=dict)


@dataclass
class Plan:
    """errors: why nothing may be done; not_yet: the same, but what an earlier step of a run may still bring; notes: what was not done,
    for people; actions and commands: in order, as many commands as actions; volumes: as they will be."""

    errors: list[str] = field(default_factory=list)
    not_yet: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    actions: list[Action] = field(default_factory=list)
    commands: list[list[str]] = field(default_factory=list)
    volumes: list[dict[str, Any]] = field(default_factory=list)

    def add(self, action: Action, command: list[str]) -> None:
        self.actions.append(action)
        self.commands.append(command)


REPORT = ["--reportformat", "json", "--units", "b", "--nosuffix", "-o"]
"""After `vgs`, `pvs` or `lvs` and before the columns: what `rows` reads."""


def rows(report: str, kind: str) -> list[dict[str, str]]:
    """The rows of `vgs`, `pvs` or `lvs` (kind `vg`, `pv`, `lv`) with --reportformat json."""
    found: list[dict[str, str]] = json.loads(report)["report"][0][kind]
    return found


def extents(size_gib: float, extent_bytes: int) -> int:
    """Extents that hold the size; a fraction is rounded up."""
    return max(1, math.ceil(round(size_gib * 2**30, 3) / extent_bytes))


def plan(
    groups: Sequence[Mapping[str, Any]], volumes: Sequence[Mapping[str, Any]], present: Present,
    devices: Mapping[str, str | None], disks: Mapping[str, Disk], stripes: Mapping[str, int] | None = None,
    grow: frozenset[str] = frozenset(),
) -> Plan:
    """Plan all groups and volumes of a host.

    volumes: one with a true `fill` is created under a name to be filled by, and with a tag; devices: wanted device -> kernel device,
    None while it does not exist (its array is made in the same run);
    disks: kernel device -> what was found there, for devices that are in no volume group yet; stripes: kernel device -> bytes of a
    full stripe, 0 where there is none; grow: names of arrays whose growth may be used.
    """
    result = Plan()
    for real in sorted({real for real in devices.values() if real}):
        names = sorted(device for device, other in devices.items() if other == real)
        if len(names) > 1:
            result.errors.append(f"volume groups: {' and '.join(names)} are the same device; allowed is once")
    # What each group has left; None when its devices do not exist yet, so that nobody can know.
    free: dict[str, int | None] = {name: value[0] for name, value in present.groups.items()}
    for group in groups:
        _use_growth(group, present, devices, grow, free, result)
        _plan_group(group, present, devices, disks, stripes or {}, free, result)
    for volume in volumes:
        _plan_volume(volume, present, free, result)
    for name, left in sorted(free.items()):
        if left is not None and left < 0:
            # An array below that is grown by consent may bring it, which nobody sees in check mode.
            grows = any(device.removeprefix(MD_FOLDER) in grow for group in groups if group["name"] == name for device in group["devices"])
            told = result.not_yet if grows else result.errors
            told.append(f"volume group '{name}': the volumes need {-left / 2**30:.2f} GiB more than is free")
    return result


def _plan_group(
    group: Mapping[str, Any], present: Present, devices: Mapping[str, str | None], disks: Mapping[str, Disk], stripes: Mapping[str, int],
    free: dict[str, int | None], result: Plan,
) -> None:
    """Create or extend a group by those of its devices that it does not lie on yet."""
    name = group["name"]
    new = [device for device in group["devices"] if present.owners.get(devices.get(device) or "") != name]
    for device in new:
        error = _device_error(device, devices.get(device), present, disks)
        if error:
            result.errors.append(f"volume group '{name}': {error}")
    if not new:
        return
    strange = sorted(real for real, owner in present.owners.items() if owner == name and real not in devices.values())
    if strange:
        # Another group of this name, or one that somebody extended: a device more would tie both together.
        result.errors.append(f"volume group '{name}': it lies on {', '.join(strange)}, which its devices do not name, and is not"
                             " extended. Name all of them, or give this group another name")
    start = _alignment([stripes.get(devices.get(device) or "", 0) for device in new])
    sizes = [_room(disks.get(devices.get(device) or ""), present.groups.get(name, (0, EXTENT_BYTES))[1], start) for device in new]
    aligned = [] if start == _START_BYTES else ["--dataalignment", f"{start // 1024}k"]
    have = free.get(name, 0)
    free[name] = None if have is None or None in sizes else have + sum(size or 0 for size in sizes)
    if name in present.groups:
        result.add(Action("extend", f"volume group {name}", "by " + ", ".join(new)), ["vgextend", "--yes", *aligned, name, *new])
    else:
        # The extents are told, as lvm.conf may set others, and the volumes' sizes are counted in them.
        command = ["vgcreate", "--yes", "--physicalextentsize", f"{EXTENT_BYTES}b", *aligned, name, *new]
        result.add(Action("create", f"volume group {name}", "on " + ", ".join(new)), command)


def _use_growth(
    group: Mapping[str, Any], present: Present, devices: Mapping[str, str | None], grow: frozenset[str], free: dict[str, int | None],
    result: Plan,
) -> None:
    """Make the physical volumes as large as the arrays below, which have grown."""
    name = group["name"]
    for device in group["devices"]:
        real, array = devices.get(device) or "", device.removeprefix(MD_FOLDER)
        unit = present.groups.get(name, (0, EXTENT_BYTES))[1]
        unused = present.unused.get(real, 0) // unit * unit
        # A second copy of LVM's metadata, at the end, takes less than an extent.
        if present.owners.get(real) != name or unused < 2 * unit or not device.startswith(MD_FOLDER):
            continue
        told = f"{unused / 2**30:.2f} GiB of {device}"
        if array not in grow:
            result.notes.append(f"volume group '{name}': {told} are unused, as the array has grown. The group gets them by consent:"
                                f" {grow_words(array)}")
            continue
        result.add(Action("grow", f"volume group {name}", f"by {told}, which has grown"), ["pvresize", device])
        _take(free, name, -unused)


def _device_error(device: str, real: str | None, present: Present, disks: Mapping[str, Disk]) -> str | None:
    """Why a device may not join a group; None when it may: it is empty, or a physical volume that no group has yet."""
    owner, disk = present.owners.get(real or ""), disks.get(real or "")
    if owner:
        return f"{device} belongs to the volume group {owner} and is not touched"
    # A run that was cut off leaves a physical volume without a group; it holds nothing but its label.
    if disk and (disk.work if owner == "" else disk.uses):
        return f"{device} is not empty and is not touched: {'; '.join(disk.uses)}"
    return None


def _alignment(stripes: Sequence[int]) -> int:
    """Where the data of new physical volumes begins: at whole MiB, as LVM does by itself, and at whole stripes."""
    return math.lcm(_START_BYTES, *(stripe for stripe in stripes if stripe > 0 and stripe % 1024 == 0))


def _room(disk: Disk | None, extent_bytes: int, start_bytes: int) -> int | None:
    """The most bytes that a device can bring: LVM keeps what lies before its data, or more, for itself."""
    return (disk.size_bytes - start_bytes) // extent_bytes * extent_bytes if disk else None


def _plan_volume(
    volume: Mapping[str, Any], present: Present, free: dict[str, int | None], result: Plan,
) -> None:
    group, name = volume["volume_group"], volume["name"]
    if group not in free:
        there = ", ".join(sorted(free)) or "none"
        result.not_yet.append(f"volume '{name}': volume_group: {group} is not on this host; there are {there}")
    unit = present.groups.get(group, (0, EXTENT_BYTES))[1]
    count = extents(volume["size_gib"], unit)
    have = present.volumes.get(f"{group}/{name}")
    target = f"volume {group}/{name}"
    result.volumes.append({
        "name": name, "volume_group": group, "device": f"/dev/{group}/{name}", "size_mib": count * unit // 2**20,
    })
    aside = [f"{name}{suffix}" for suffix in (MOVED_SUFFIX, SUFFIX) if f"{group}/{name}{suffix}" in present.volumes]
    if have is None and aside:
        # An empty volume under this name would be taken for the guest's disk.
        result.errors.append(f"volume '{name}': volume group {group} has {' and '.join(aside)} of a guest that has moved, or does so"
                             " now: playbooks/apply.yml finishes that, and removes what is left by consent (moves_forget)")
    elif have is None:
        # -W y wipes what an earlier volume left in these extents; the volume itself is new.
        tag, first_name = (["--addtag", FILLING_TAG], name + FILLING) if volume.get("fill") else ([], name)
        command = ["lvcreate", "--yes", "-W", "y", *tag, "-l", str(count), "-n", first_name, group]
        result.add(Action("create", target, f"{volume['size_gib']:g} GiB"), command)
        _take(free, group, count * unit)
    elif count * unit > have:
        detail = f"{have / 2**30:g} to {volume['size_gib']:g} GiB"
        result.add(Action("grow", target, detail), ["lvextend", "-l", str(count), f"{group}/{name}"])
        _take(free, group, count * unit - have)
    elif count * unit < have:
        result.errors.append(f"volume '{name}': size_gib: {volume['size_gib']:g} is less than the {have / 2**30:g} GiB it has; a volume"
                             " is never shrunk")


def _take(free: dict[str, int | None], group: str, size_bytes: int) -> None:
    left = free.get(group)
    if left is not None:
        free[group] = left - size_bytes


def filter_patterns(groups: Sequence[str], targets: Sequence[str] = ()) -> list[str]:
    """Patterns that reject every volume of the groups, and every disk of the iSCSI targets, under each of its names.

    A device is rejected when each of its names that matches a pattern matches one that rejects; names that match none, such as
    /dev/dm-3, do not count (lvm.conf(5), devices/filter). So no pattern here accepts anything.
    """
    patterns = []
    for name in sorted(groups):
        escaped = name.replace("+", "[+]").replace(".", "[.]")
        mapped = escaped.replace("-", "--")
        patterns += [f"r|^/dev/{escaped}/.*|", f"r|^/dev/mapper/{mapped}-[^-].*|"]
    # A disk of an iSCSI target is a guest's as a whole.
    patterns += [f"r|^/dev/disk/by-path/.*-iscsi-{name.replace('.', '[.]')}-lun-.*|" for name in sorted(targets)]
    # A replicated disk shows its guest's volume once more.
    return [*patterns, "r|^/dev/drbd.*|"]


def _without_comments(text: str) -> str:
    return re.sub(r'("(?:[^"\\]|\\.)*")|#[^\n]*', lambda match: match.group(1) or "", text)


def patterns_in(text: str) -> list[str] | None:
    """The value of global_filter in a configuration of LVM or in the output of `lvmconfig`; None when it is not set there."""
    match = _GLOBAL_FILTER.search(_without_comments(text))
    return re.findall(r'"((?:[^"\\]|\\.)*)"', match.group(1)) if match else None


@dataclass(frozen=True)
class Filter:
    """The filter of a host. content: lvmlocal.conf as it must be; patterns: what `lvmconfig` must answer then; errors: why not."""

    content: str
    patterns: list[str]
    errors: list[str]


def host_filter(lvm_conf: str, lvmlocal_conf: str, groups: Sequence[str], targets: Sequence[str] = ()) -> Filter:
    """A filter that keeps the host's LVM out of the guests' volumes: it must never activate what lies inside a guest's disk.

    Patterns of the administrator in lvm.conf are kept behind ours as long as they reject only: one that accepts would let the
    volumes in again by another of their names.
    """
    own = with_block(lvmlocal_conf, OWNER, [])
    errors = []
    if "global_filter" in _without_comments(own):
        errors.append(f"{FILTER_FILE}: global_filter: is set outside the block of this role; allowed is to set it in {MAIN_FILE}")
    theirs = patterns_in(lvm_conf)
    if theirs is None and "global_filter" in _without_comments(lvm_conf):
        errors.append(f"{MAIN_FILE}: global_filter: cannot be understood; allowed is a list of patterns in double quotes")
    theirs = theirs or []
    if any(not pattern.startswith("r") for pattern in theirs) and theirs != ["a|.*|"]:
        errors.append(f"{MAIN_FILE}: global_filter: {', '.join(theirs)}; allowed are patterns that reject (r), as one that accepts"
                      " lets the host into the guests' volumes")
    patterns = filter_patterns(groups, targets) + [pattern for pattern in theirs if pattern.startswith("r")]
    value = ", ".join(f'"{pattern}"' for pattern in patterns)
    return Filter(with_block(lvmlocal_conf, OWNER, ["devices {", f"    global_filter = [ {value} ]", "}"]), patterns, errors)
