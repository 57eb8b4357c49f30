# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From an array that runs to the steps that put a new disk in the place of another; pure, and refusing what could cost redundancy."""
from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.actions import Action
from ansible_collections.xenfold.consolidation.plugins.module_utils.block.look import Disk
from ansible_collections.xenfold.consolidation.plugins.module_utils.md.arrays import SIZE_SHARE, wrong_level
from ansible_collections.xenfold.consolidation.plugins.module_utils.md.model import Live, Member, Step, kernel_name, may_be_written, wakes
from ansible_collections.xenfold.consolidation.plugins.module_utils.storage_spec import LEVELS, disks_of

Array = Mapping[str, Any]
# What the kernel does when it fills a disk; the other kinds (`check`, `repair`) only read and compare.
FILLING = ("recover", "recovery", "resync", "reshape")


@dataclass
class Plan:
    """errors: why nothing may be done; steps: what can be done now; later: what follows once the kernel has filled the new disk;
    done: the new disk is in its place and holds everything; waits: the kernel still has to fill it."""

    errors: list[str] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    later: list[Step] = field(default_factory=list)
    done: bool = False
    waits: bool = False


def find_array(arrays: Sequence[Array], serial: str, new_serial: str) -> tuple[Array | None, list[str]]:
    """The array that the inventory gives the old disk, or the new one once the inventory names that; else why there is none."""
    owners = {value: [array for array in arrays if any(disk["serial"] == value for disk in disks_of(array))]
              for value in (serial, new_serial)}
    if serial == new_serial:
        return None, [f"new_serial: value {new_serial!r}, allowed the serial of another disk than serial"]
    found = owners[serial] or owners[new_serial]
    if not found:
        there = "; ".join(f"{array['name']}: {', '.join(disk['serial'] for disk in disks_of(array))}" for array in arrays)
        return None, [f"serial: value {serial!r}, allowed the serial of a disk in storage_arrays: {there or 'there are none'}"]
    if owners[serial] and owners[new_serial]:
        named = owners[new_serial][0]
        spare = any(item["serial"] == new_serial for item in named.get("spares") or [])
        hint = ", a spare, and the kernel takes a spare by itself; name the disk that comes into the host" if spare else ""
        rule = f"new_serial: value {new_serial!r}, allowed a disk that storage_arrays does not name yet"
        return None, [f"{rule}; it is one of {named['name']}{hint}"]
    return found[0], []


def member_with(now: Live, serials: Mapping[str, str], serial: str) -> Member | None:
    """The member whose disk is there and has the serial. serials: kernel device -> serial of the disks that are there."""
    return next((member for member in now.members if member.attached and serials.get(member.path) == serial), None)


def plan(
    array: Array, now: Live, serials: Mapping[str, str], serial: str, new_serial: str, new: Disk | None, consents: frozenset[str],
) -> Plan:
    """What is left to do, from any state that an earlier run or the kernel left.

    serial, new_serial: of the old and the new disk; new: what was found on the new disk, None once it is a member.
    """
    result, device = Plan(), f"/dev/md/{array['name']}"
    old, fresh = member_with(now, serials, serial), member_with(now, serials, new_serial)
    result.errors = _unfit(array, now, serials, new)
    if fresh and "faulty" in fresh.states:
        result.errors.append(f"the new disk {fresh.path} (serial {new_serial}) has failed in {device}. Take it out (mdadm --manage {device}"
                             f" --remove {fresh.path}) and run this again with another one")
    # The inventory was rewritten already, or the serial is a wrong one; which disk goes cannot be told then.
    unknown = not old and all(item["serial"] != serial for item in disks_of(array))
    if unknown and not result.errors:
        result.errors += _unknown(array, now, serials, serial, new_serial, fresh)
    if result.errors:
        return result
    if not unknown:
        _exchange(result, array, now, serials, serial, new, old, fresh, consents)
    if result.errors:
        result.steps, result.later = [], []
    _judge(result, now, fresh)
    first = wakes(device, now)
    if result.waits and first:
        # A rebuild that was begun before the boot.
        result.steps, result.waits = [Step(Action("start", f"array {device}", "it waits for the first write"), device, tuple(first))], False
    return result


def _exchange(
    result: Plan, array: Array, now: Live, serials: Mapping[str, str], serial: str, new: Disk | None, old: Member | None,
    fresh: Member | None, consents: frozenset[str],
) -> None:
    """The steps for an old disk that the inventory or the array knows."""
    device = f"/dev/md/{array['name']}"
    add = [] if fresh else [_add(device, now, new, consents, result.errors)]
    steps = [step for step in add if step]
    # A new disk that has a place took the one of the old disk; who has a place beside it and is gone is another.
    gone = [member for member in now.members
            if not member.attached and (member.slot is None or not fresh or fresh.slot is None)]
    works = old and "faulty" not in old.states and (old.slot is not None or "in_sync" in old.states)
    if old and works:
        _keep_redundancy(result, device, now, old, fresh, serials, steps, new.path if new else fresh.path if fresh else "")
    elif old:
        result.steps = [_remove(device, old.path, serial, "it has failed" if "faulty" in old.states else "it is a spare"), *steps]
    elif gone:
        result.steps = [*_remove_gone(device, gone, serial), *steps]
    elif fresh or now.missing or len([m for m in now.members if m.slot is None]) < len(array.get("spares") or []):
        result.steps = steps
    else:
        result.errors.append(f"{device} is whole on {_named(now, serials)}; the disk {serial} is not among them, so nothing is replaced")


def _unknown(
    array: Array, now: Live, serials: Mapping[str, str], serial: str, new_serial: str, fresh: Member | None,
) -> list[str]:
    """Why it is not done, nor waited for, when neither the inventory nor the array knows the old disk, and the inventory the new one."""
    device = f"/dev/md/{array['name']}"
    wrong = []
    for member in now.members:
        if not member.attached:
            wrong.append(f"{kernel_name(member.path)} is gone from the host")
        elif "faulty" in member.states:
            wrong.append(f"{member.path} (serial {serials.get(member.path) or 'none'}) has failed")
    filling = fresh is not None and "in_sync" not in fresh.states
    lacks = now.missing - (1 if filling and now.missing else 0)
    if not fresh:
        wrong.append(f"the disk {new_serial}, which storage_arrays names, is no member of it")
    elif fresh.slot is None and not now.missing and any(item["serial"] == new_serial for item in array["members"]):
        wrong.append(f"{fresh.path} (serial {new_serial}), which storage_arrays names as a member, is a spare")
    if lacks and not wrong:
        wrong.append(f"it lacks {lacks} of its members")
    if not wrong:
        return []
    rule = f"serial: value {serial!r}, allowed a disk that storage_arrays names or that is a member of {device}"
    return [f"{rule}; {'; '.join(wrong)}", f"{device} runs on {_named(now, serials)}",
            "To replace a disk that is gone or has failed, let storage_arrays name it, and not yet the one that comes"]


def _remove_gone(device: str, gone: Sequence[Member], serial: str) -> list[Step]:
    """Each by its own name: mdadm's word `detached` means all, and none when a new disk took the number of one.

    A disk that is gone has no serial, so of several nobody knows which is the old one, and each is called by its name.
    """
    steps = []
    for member in gone:
        name = kernel_name(member.path)
        command = ("mdadm", "--manage", device, "--fail", name, "--remove", name)
        target = f"disk {serial if len(gone) == 1 else name} of array {device}"
        steps.append(Step(Action("remove", target, f"it was {name} and is gone from the host"), device, (command,)))
    return steps


def _named(now: Live, serials: Mapping[str, str]) -> str:
    return ", ".join(serials.get(path) or path for path in now.there()) or "no disk"


def _unfit(array: Array, now: Live, serials: Mapping[str, str], new: Disk | None) -> list[str]:
    """Why the array is none in which a disk can be replaced, or the new disk none for it."""
    device, level = f"/dev/md/{array['name']}", array["level"]
    if not LEVELS[level][1]:
        return [f"level {level} has no redundancy: without one of its disks its data is lost, and no disk of it can be replaced"]
    if now.level and now.level.removeprefix("raid") != str(level):
        return [wrong_level(now.level.removeprefix("raid"), level)]
    if not now.members or now.state in ("", "clear", "inactive", "broken", "readonly"):
        return [f"{device} is {now.state or 'not there'}, and a disk is replaced in an array that runs: {_named(now, serials)}"]
    if now.reshaping:
        return [f"{device} is being reshaped, and no disk is replaced until that is over"]
    if new and now.least_bytes and new.size_bytes < now.least_bytes:
        least = f"{now.least_bytes / 2**30:.2f} GiB"
        has = f"{'room for ' if new.on else ''}{new.size_bytes / 2**30:.2f} GiB"
        return [f"the new disk {new.whole()} (serial {new.serial}) has {has}; {device} needs {least} or more"]
    return []


def _add(device: str, now: Live, new: Disk | None, consents: frozenset[str], errors: list[str]) -> Step | None:
    if not new:
        errors.append("the new disk is not there")
        return None
    refused = may_be_written(new, consents)
    if refused:
        errors.append(refused)
        return None
    commands = (*wakes(device, now), ("mdadm", "--manage", device, "--add", new.path))
    detail = f"as {new.path}" + (", wiped by consent" if new.uses else "")
    wipe = (new,) if new.first_written() else ()
    return Step(Action("add", f"disk {new.serial} to array {device}", detail), device, commands, wipe)


def _remove(device: str, path: str, serial: str, why: str) -> Step:
    command = ("mdadm", "--manage", device, "--remove", path)
    return Step(Action("remove", f"disk {serial} of array {device}", why), device, (command,))


def _keep_redundancy(
    result: Plan, device: str, now: Live, old: Member, fresh: Member | None, serials: Mapping[str, str], add: list[Step], new_path: str,
) -> None:
    """The old disk works: it stays until the new one holds everything."""
    serial = serials[old.path]
    # A disk that was pulled counts as a member until md next writes to it.
    lost = now.missing + len([member for member in now.members
                              if not member.attached and member.slot is not None and "faulty" not in member.states])
    begun = [member for member in now.members if "replacement" in member.states and member.slot == old.slot]
    if fresh and "in_sync" in fresh.states and "replacement" not in fresh.states:
        result.errors.append(f"the new disk {fresh.path} is a member of {device} already, beside the old one; allowed is one of no array")
    elif begun and fresh not in begun:
        result.errors.append(f"the disk {serial} is being replaced by {serials.get(begun[0].path) or begun[0].path} already; wait for that")
    elif not begun and lost:
        result.errors.append(f"{device} lacks {lost} of its members already, so the disk {serial}, which works, stays in it."
                             f" It runs on {_named(now, serials)}. Replace the disk that is gone or failed first")
    else:
        # The kernel asks for it by itself where a disk begins to fail, and takes the next spare.
        asked = "want_replacement" in old.states
        if asked and not fresh:
            result.steps = add
        elif not begun and not asked:
            command = ("mdadm", "--manage", device, "--replace", old.path, "--with", new_path)
            action = Action("replace", f"disk {serial} of array {device}", "it works, and stays until the new one holds everything")
            result.steps = [*add, Step(action, device, (command,))]
        result.later = [_remove(device, old.path, serial, "the new one holds everything")]


def _judge(result: Plan, now: Live, fresh: Member | None) -> None:
    """Whether it is done, or what is waited for."""
    if result.errors or result.steps or not fresh:
        return
    filling = bool(now.sync and now.sync["action"] in FILLING)
    spare = fresh.slot is None and not now.missing and not filling
    result.done = not result.later and ("in_sync" in fresh.states or spare)
    result.waits = not result.done


def percent_of(now: Live, done: bool) -> float:
    """How many percent of the new disk are filled; a scrub's progress is none of it."""
    if done:
        return 100.0
    return float(now.sync["percent"]) if now.sync and now.sync["action"] in FILLING else 0.0


def _flow(value: Any) -> str:
    """A value in one line of YAML, in quotes where it would not be read as a text."""
    if isinstance(value, str):
        words = ("yes", "no", "on", "off", "true", "false", "null", "y", "n")
        plain = re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]*", value) and value.lower() not in words
        return value if plain else json.dumps(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def line_of(item: Mapping[str, Any]) -> str:
    """A disk as a line of storage_arrays."""
    return "- {" + ", ".join(f"{key}: {_flow(value)}" for key, value in item.items() if value is not None) + "}"


def inventory_lines(
    host: str, array: Array, serial: str, new: Mapping[str, Any], now: Live, serials: Mapping[str, str],
) -> list[str]:
    """What a person has to change in storage_arrays; nothing when it says so already.

    new: id, serial and size_gib of the new disk. A hot spare that took the old disk's place becomes a member, the new disk the spare.
    """
    old = next((item for item in disks_of(array) if item["serial"] == serial), None)
    if not old:
        return []
    item = {**new, "iops": old.get("iops")}
    if old.get("size_gib") and new["size_gib"] >= SIZE_SHARE * old["size_gib"]:
        item["size_gib"] = old["size_gib"]
    fresh = member_with(now, serials, new["serial"])
    filled = [spare for spare in array.get("spares") or []
              if (member := member_with(now, serials, spare["serial"])) and member.slot is not None]
    changes = [("members" if old in array["members"] else "spares", old, item)]
    if filled and old in array["members"] and fresh and fresh.slot is None:
        changes = [("members", old, filled[0]), ("spares", filled[0], item)]
    lines = [f"In the inventory of {host}, storage_arrays, array {array['name']}:"]
    for key, before, after in changes:
        lines += [f"  {key}: instead of", f"    {line_of(before)}", "  write", f"    {line_of(after)}"]
    return lines
