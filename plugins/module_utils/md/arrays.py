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
from ansible_collections.xenfold.consolidation.plugins.module_utils.files import find_block, with_block
from ansible_collections.xenfold.consolidation.plugins.module_utils.storage_spec import LEVELS

CONFIGURATION = "/etc/mdadm/mdadm.conf"
OWNER = "arrays of xenfold.consolidation, role storage"
_SPACE = uuid.UUID("b3a1a7a2-6f0e-5c57-9d6f-2c9a4c1f7d55")
# A disk sold as 2 TB has 1863 GiB; less than this share of what the inventory says is another disk.
_SIZE_SHARE = 0.93


def array_uuid(host: str, name: str) -> str:
    """The UUID of an array of that host, in mdadm's form: known before the array is made, so no run can take another for it."""
    digits = uuid.uuid5(_SPACE, f"{host}/{name}").hex
    return ":".join(digits[start:start + 8] for start in range(0, 32, 8))


@dataclass(frozen=True)
class Running:
    """An array that the kernel knows. device: as mdadm names it; active: False when it waits for disks."""

    device: str
    active: bool


@dataclass(frozen=True)
class Step:
    """One array's change: the action that a person is shown, the disks to wipe first (by consent), and the commands."""

    action: Action
    device: str
    commands: tuple[tuple[str, ...], ...]
    wipe: tuple[Disk, ...] = ()


@dataclass
class Plan:
    """errors: why nothing may be done at all; steps: in order; uuids: of every wanted array; lacking: name -> what a person should
    know of an array that runs without some of its members, and is left alone."""

    errors: list[str] = field(default_factory=list)
    lacking: dict[str, str] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    uuids: dict[str, str] = field(default_factory=dict)


def known_arrays(scan: str) -> dict[str, Running]:
    """UUID -> array, from `mdadm --detail --scan`."""
    found = {}
    for line in scan.splitlines():
        match = re.match(r"(INACTIVE-)?ARRAY (\S+) .*UUID=([0-9a-f:]+)", line)
        if match:
            found[match.group(3)] = Running(match.group(2), not match.group(1))
    return found


def plan(
    host: str, homehost: str, arrays: Sequence[Mapping[str, Any]], disks: Mapping[str, Disk | None],
    known: Mapping[str, Running], consents: frozenset[str],
) -> Plan:
    """Plan all arrays of a host before the first change.

    host: name in the inventory; homehost: name that the machine has itself; disks: member id -> what was found there
    (None: no such disk); known: UUID -> array of the kernel; consents: serials of disks whose data may be lost.
    """
    result = Plan()
    for array in arrays:
        wanted = array.get("uuid") or array_uuid(host, array["name"])
        result.uuids[array["name"]] = wanted
        running = known.get(wanted)
        gone = _gone(array, wanted, disks) if running and running.active else []
        errors, members = _members({**array, "members": [member for member in array["members"] if member not in gone]}, disks)
        if gone and not members and not errors:
            errors = [f"it runs as {known[wanted].device} on other disks than the inventory names"]
        elif gone:
            # Nothing is made or assembled of an array that works, so what it lacks is told and keeps nobody from the rest.
            result.lacking[array["name"]] = _lacks(array, disks, gone)
        if not errors:
            outcome = _decide(array, wanted, members, known, consents, homehost)
            if isinstance(outcome, Step):
                result.steps.append(outcome)
            else:
                errors = outcome
        result.errors += [f"array '{array['name']}': {error}" for error in errors]
    if len(set(result.uuids.values())) < len(result.uuids):
        result.errors.append("arrays: uuid: two arrays have the same; allowed is one of its own for each, or none to derive it")
    return result


def _gone(array: Mapping[str, Any], wanted: str, disks: Mapping[str, Disk | None]) -> list[Mapping[str, Any]]:
    """The members whose disk is not there or does not belong to the array."""
    found = {member["id"]: disks.get(member["id"]) for member in array["members"]}
    return [member for member in array["members"] if (disk := found[member["id"]]) is None or disk.md.get("MD_UUID") != wanted]


def _lacks(array: Mapping[str, Any], disks: Mapping[str, Disk | None], gone: Sequence[Mapping[str, Any]]) -> str:
    lines = []
    for member in gone:
        disk = disks.get(member["id"])
        state = f"/dev/disk/by-id/{member['id']} does not exist"
        if disk:
            state = f"{disk.path}, with the serial {disk.serial or 'none'}, is there and holds {'; '.join(disk.uses) or 'nothing'}"
        lines.append(f"disk {member['id']} (serial {member['serial']}): {state}")
    device = f"/dev/md/{array['name']}"
    return (f"array '{array['name']}': {device} runs without {len(gone)} of the {len(array['members'])} disks that the inventory names."
            f" {'. '.join(lines)}. Nothing is written to it. Replace the disk, add the new one by hand"
            f" (mdadm --manage {device} --add DISK), and write its id and serial into storage_arrays")


def lacks_unseen(name: str, missing: int, rebuild: Mapping[str, Any] | None, members: Sequence[Mapping[str, Any]]) -> str:
    """What to say of a running array that lacks members although every disk of the inventory carries its superblock."""
    device = f"/dev/md/{name}"
    named = ", ".join(f"{member['id']} (serial {member['serial']})" for member in members)
    if rebuild and rebuild["action"] == "recover":
        return (f"array '{name}': {device} lacks {missing} of its members and is being rebuilt ({rebuild['percent']} %): wait."
                f" Disks: {named}")
    return (f"array '{name}': {device} lacks {missing} of its members although all its disks are there: {named}. Nothing is written to it."
            f" See which is 'removed' or 'faulty' (mdadm --detail {device}) and why (the kernel's log), and put it back by hand"
            f" (mdadm --manage {device} --re-add DISK)")


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
        if size and disk.size_bytes < size * 2**30 * _SIZE_SHARE:
            has = f"{disk.size_bytes / 2**30:.2f} GiB"
            errors.append(f"disk {member['id']} (serial {member['serial']}) has {has}; the inventory says {size:g}")
        found.append(disk)
    return errors, found


def _decide(
    array: Mapping[str, Any], wanted: str, disks: Sequence[Disk], known: Mapping[str, Running], consents: frozenset[str], homehost: str,
) -> list[str] | Step:
    """The one step that the array needs, or errors; an empty list when nothing is to do."""
    device = f"/dev/md/{array['name']}"
    others = [value for value, running in known.items() if running.device == device and value != wanted]
    if others:
        return [f"{device} is another array, with the UUID {others[0]}; stop that one, or give this one another name"]
    owned = [disk for disk in disks if disk.md.get("MD_UUID") == wanted]
    if len(owned) == len(disks):
        return _existing(array, wanted, disks, known.get(wanted))
    if owned:
        strange = [f"{disk.path} (serial {disk.serial}) holds {'; '.join(disk.uses) or 'nothing'}"
                   for disk in disks if disk not in owned]
        part = f"{len(owned)} of its {len(disks)} disks belong to it, but {', '.join(strange)}"
        return [f"it is degraded or foreign, and is not touched: {part}. A new disk is added by: mdadm --manage {device} --add DISK"]
    if wanted in known:
        return [f"it waits as {known[wanted].device} for other disks than the inventory names"]
    return _new(array, wanted, disks, consents, homehost)


def _existing(array: Mapping[str, Any], wanted: str, disks: Sequence[Disk], running: Running | None) -> list[str] | Step:
    device = f"/dev/md/{array['name']}"
    # Read by blkid, on a host without mdadm, a superblock shows neither; mdadm is asked again once it is installed.
    level, count = (disks[0].md.get(key) for key in ("MD_LEVEL", "MD_DEVICES"))
    if level and level.removeprefix("raid") != str(array["level"]):
        return [f"it exists with level {level.removeprefix('raid')}; the inventory says {array['level']}, and a level is not changed"]
    if count and int(count) != len(array["members"]):
        return [f"it exists with {count} members; the inventory says {len(array['members'])}, and their number is not changed"]
    if not running or not running.active:
        why = "the kernel waits for disks that are there" if running else "it exists on its disks but does not run"
        command = ("mdadm", "--assemble", device, f"--uuid={wanted}", *(disk.path for disk in disks))
        # An array that waits holds its disks; mdadm would skip them as busy.
        first = (("mdadm", "--stop", running.device),) if running else ()
        return Step(Action("assemble", f"array {device}", why), device, (*first, command))
    if running.device != device:
        # Makes mdadm read its names from mdadm.conf again; udev then sets the link, also while the array is in use.
        command = ("mdadm", "--incremental", "--rebuild-map")
        return Step(Action("name", f"array {device}", f"it runs as {running.device}"), device, (command,))
    return []


def _new(
    array: Mapping[str, Any], wanted: str, disks: Sequence[Disk], consents: frozenset[str], homehost: str,
) -> list[str] | Step:
    device = f"/dev/md/{array['name']}"
    full = [disk for disk in disks if disk.uses]
    errors = []
    for disk in full:
        if disk.work:
            errors.append(f"{disk.path} (serial {disk.serial}) is in use and is never wiped: {'; '.join(disk.uses)}")
        elif disk.serial not in consents:
            errors.append(f"{disk.path} (serial {disk.serial}) is not empty: {'; '.join(disk.uses)}. It is not touched. If its data may be"
                          f" lost, say so: storage_wipe: [{{serial: {disk.serial}, confirm: {disk.serial}}}]")
    if errors:
        return errors
    level = array["level"]
    create = ["mdadm", "--create", device, f"--level={level}", f"--raid-devices={len(disks)}", "--metadata=1.2",
              f"--name={array['name']}", f"--homehost={homehost}", f"--uuid={wanted}"]
    if level != 1:
        create.append(f"--chunk={array.get('chunk_kib') or 512}")
    if level == 10:
        create.append("--layout=n2")
    if LEVELS[level][1]:
        create.append("--bitmap=internal")
    # --run answers mdadm's questions (a level 1 array cannot be booted from, and the like). It is given only here, after every
    # member has passed the empty test or has its own consent in this very run.
    create += ["--run", *(disk.path for disk in disks)]
    detail = f"level {level} on " + ", ".join(disk.serial for disk in disks)
    detail += ", wiping " + ", ".join(disk.serial for disk in full) + " by consent" if full else ""
    return Step(Action("create", f"array {device}", detail), device, (tuple(create),), tuple(full))


def configuration(text: str, uuids: Mapping[str, str]) -> str:
    """mdadm.conf with the wanted arrays in a block of our own; everything else stays.

    By UUID, so that an array never comes up as md127. An entry elsewhere that names one of them is dropped: it would be a second.
    An entry goes on in every line that starts with white space (mdadm.conf(5)). Raises BrokenBlock.
    """
    # Asked of the file as it is: its lines are those that a person sees.
    find_block(text, OWNER)

    def double(entry: str) -> bool:
        return entry.upper().startswith("ARRAY") and any(value in entry.lower() for value in uuids.values())

    others = "\n".join(entry for entry in re.split(r"\n(?![ \t]+\S)", text) if not double(entry))
    lines = [f"ARRAY /dev/md/{name} metadata=1.2 UUID={value}" for name, value in sorted(uuids.items())]
    return with_block(others, OWNER, lines)
