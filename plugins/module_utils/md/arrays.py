# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From wanted arrays and what the disks hold to the steps that make them; pure, and refusing what could cost data."""
from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.actions import Action
from ansible_collections.xenfold.consolidation.plugins.module_utils.block.look import Disk
from ansible_collections.xenfold.consolidation.plugins.module_utils.files import with_block
from ansible_collections.xenfold.consolidation.plugins.module_utils.storage_spec import LEVELS

CONFIGURATION = "/etc/mdadm/mdadm.conf"
_SPACE = uuid.UUID("b3a1a7a2-6f0e-5c57-9d6f-2c9a4c1f7d55")
OWNER = "arrays of xenfold.consolidation, role storage"


def array_uuid(host: str, name: str) -> str:
    """The UUID of an array of that host, in mdadm's form: known before the array is made, so no run can take another for it."""
    digits = uuid.uuid5(_SPACE, f"{host}/{name}").hex
    return ":".join(digits[start:start + 8] for start in range(0, 32, 8))


@dataclass(frozen=True)
class Step:
    """One command, or several that belong together, with the action that a person is shown."""

    action: Action
    commands: tuple[tuple[str, ...], ...]


@dataclass
class Plan:
    """errors: why nothing may be done at all; steps: in order; uuids: of every wanted array."""

    errors: list[str] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    uuids: dict[str, str] = field(default_factory=dict)


def running_arrays(scan: str) -> dict[str, str]:
    """UUID -> device of the running arrays, from `mdadm --detail --scan`."""
    found = {}
    for line in scan.splitlines():
        match = re.match(r"ARRAY (\S+) .*UUID=([0-9a-f:]+)", line)
        if match:
            found[match.group(2)] = match.group(1)
    return found


def plan(
    host: str, arrays: Sequence[Mapping[str, Any]], disks: Mapping[str, Disk | None], running: Mapping[str, str],
    consents: Mapping[str, str],
) -> Plan:
    """Plan all arrays of a host before the first change.

    disks: member id -> what was found there (None: no such disk); running: UUID -> device; consents: serial -> its confirmation.
    """
    result = Plan()
    for array in arrays:
        wanted = array.get("uuid") or array_uuid(host, array["name"])
        result.uuids[array["name"]] = wanted
        errors, members = _members(array, disks)
        if not errors:
            errors, step = _decide(array, wanted, members, running, consents)
            if step:
                result.steps.append(step)
        result.errors += [f"array '{array['name']}': {error}" for error in errors]
    return result


def _members(array: Mapping[str, Any], disks: Mapping[str, Disk | None]) -> tuple[list[str], list[Disk]]:
    errors: list[str] = []
    found: list[Disk] = []
    for member in array["members"]:
        disk = disks.get(member["id"])
        if disk is None:
            errors.append(f"disk {member['id']} (serial {member['serial']}) is not there: /dev/disk/by-id/{member['id']} does not exist")
            continue
        if disk.serial != member["serial"]:
            errors.append(f"disk {member['id']} has the serial {disk.serial or 'none'}; the inventory says {member['serial']}")
        size = member.get("size_gib")
        if size and disk.size_bytes < size * 2**30 * 0.93:
            has = f"{disk.size_bytes / 2**30:.2f} GiB"
            errors.append(f"disk {member['id']} (serial {member['serial']}) has {has}; the inventory says {size:g}")
        found.append(disk)
    return errors, found


def _decide(
    array: Mapping[str, Any], wanted: str, disks: Sequence[Disk], running: Mapping[str, str], consents: Mapping[str, str],
) -> tuple[list[str], Step | None]:
    target = f"array /dev/md/{array['name']}"
    found = [disk.md.get("MD_UUID", "") for disk in disks]
    if all(value == wanted for value in found):
        level = disks[0].md.get("MD_LEVEL", "").removeprefix("raid")
        if level != str(array["level"]):
            return [f"it exists with level {level}; the inventory says {array['level']}, and a level is not changed"], None
        if wanted in running:
            return [], None
        command = ("mdadm", "--assemble", f"/dev/md/{array['name']}", f"--uuid={wanted}", *(disk.path for disk in disks))
        return [], Step(Action("assemble", target, "it exists on its disks but does not run"), (command,))
    if wanted in found:
        strange = [f"{disk.path} (serial {disk.serial}) holds {'; '.join(disk.uses) or 'nothing'}"
                   for disk in disks if disk.md.get("MD_UUID") != wanted]
        return [f"only a part of its disks belongs to it, and it is not touched: {', '.join(strange)}"], None
    if wanted in running:
        return [f"it runs as {running[wanted]} on other disks than the inventory names"], None
    errors: list[str] = []
    cleaning: list[tuple[str, ...]] = []
    for disk in disks:
        if not disk.uses:
            continue
        if disk.serial not in consents:
            errors.append(f"{disk.path} (serial {disk.serial}) is not empty: {'; '.join(disk.uses)}. It is not touched. If its data may be"
                          f" lost, say so: storage_wipe: [{{serial: {disk.serial}, confirm: {disk.serial}}}]")
        elif any(use.startswith(("mounted", "held by", "swap", "disk of a running", "opened")) for use in disk.uses):
            errors.append(f"{disk.path} (serial {disk.serial}) is in use and is not wiped: {'; '.join(disk.uses)}")
        else:
            cleaning += _wipe_commands(disk)
    if errors:
        return errors, None
    level, chunk = array["level"], array.get("chunk_kib") or 512
    create = ["mdadm", "--create", f"/dev/md/{array['name']}", f"--level={level}", f"--raid-devices={len(disks)}", "--metadata=1.2",
               f"--name={array['name']}", f"--uuid={wanted}"]
    if level != 1:
        create.append(f"--chunk={chunk}")
    if level == 10:
        create.append("--layout=n2")
    if LEVELS[level][1]:
        create.append("--bitmap=internal")
    # --run answers mdadm's questions (a level 1 array cannot be booted from, and the like). It is given only here, after every
    # member has passed the empty test or has its own consent in this very run.
    create += ["--run", *(disk.path for disk in disks)]
    wiped = ", ".join(disk.serial for disk in disks if disk.uses)
    detail = f"level {level} on " + ", ".join(disk.serial for disk in disks) + (f", wiping {wiped} by consent" if wiped else "")
    return [], Step(Action("create", target, detail), (*cleaning, tuple(create)))


def _wipe_commands(disk: Disk) -> list[tuple[str, ...]]:
    commands: list[tuple[str, ...]] = []
    if disk.md.get("MD_UUID"):
        commands.append(("mdadm", "--zero-superblock", disk.path))
    commands.append(("wipefs", "--all", "--force", disk.path))
    end = disk.size_bytes // 2**20 - 1
    for seek in (0, end):
        commands.append(("dd", "if=/dev/zero", f"of={disk.path}", "bs=1M", "count=1", f"seek={seek}", "conv=fsync"))
    return commands


def configuration(text: str, uuids: Mapping[str, str]) -> str:
    """mdadm.conf with the wanted arrays in a block of our own; everything else stays.

    By UUID, so that an array never comes up as md127. A line elsewhere that names one of them is dropped: it would be a second.
    """
    def double(line: str) -> bool:
        return line.startswith("ARRAY ") and any(value in line for value in uuids.values())

    others = "\n".join(line for line in text.splitlines() if not double(line))
    lines = [f"ARRAY /dev/md/{name} metadata=1.2 UUID={value}" for name, value in sorted(uuids.items())]
    return with_block(others, OWNER, lines)
