# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From an array that runs and is wanted larger to the steps that make it so, by consent; pure, and never smaller.

No backup file is needed: an array of metadata 1.2 that gets members moves its data's beginning, or mdadm saves the critical first
stripes on the disk that comes (Grow.c, reshape_array). mdadm and the kernel go on by themselves after a reboot (its unit
mdadm-grow-continue@.service).
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.actions import Action
from ansible_collections.xenfold.consolidation.plugins.module_utils.block.look import Disk
from ansible_collections.xenfold.consolidation.plugins.module_utils.md.model import TAKES, Live, Plan, Step, may_be_written, wakes
from ansible_collections.xenfold.consolidation.plugins.module_utils.storage_spec import LEVELS, grow_words

Array = Mapping[str, Any]
# Less than this, or than two chunks, is not worth the synchronisation, and may be what rounding leaves.
LEAST_BYTES = 64 * 2**20


def wants_members(array: Array, now: Live | None) -> bool:
    """Whether the inventory names more members than the running array has; of the level that it has, else the level is what is told."""
    return bool(now and now.raid_disks and len(array["members"]) > now.raid_disks and now.level == f"raid{array['level']}")


def note_reshape(array: Array, now: Live) -> str:
    """What to say of an array that is being reshaped; nothing else is done to it until that is over."""
    how = f"{now.sync['percent']} %" if now.sync else "it waits for the first write" if now.state == "read-auto" else "it waits"
    return (f"array '{array['name']}': /dev/md/{array['name']} is being reshaped to {now.raid_disks} members ({how}): nothing else is"
            " done to it until that is over. The kernel goes on by itself, also after a reboot")


def plan_members(
    array: Array, now: Live, devices: Sequence[Disk], consents: frozenset[str], consented: bool, result: Plan,
) -> list[str]:
    """Add the disks that it lacks, and give it the members that are named; returns errors. devices: of all members that are named."""
    device, wanted = f"/dev/md/{array['name']}", len(array["members"])
    counts = f"it exists with {now.raid_disks} members; the inventory says {wanted}"
    if not LEVELS[array["level"]][1]:
        return [f"{counts}, and an array of level {array['level']} is not grown: mdadm would turn it into another level meanwhile"]
    if not consented:
        return [f"{counts}. It is grown by consent: {grow_words(array['name'])}"]
    fresh = [disk for disk in devices if disk.path not in now.there()]
    ready = [member for member in now.members if member.attached and member.slot is None and "faulty" not in member.states]
    if len(fresh) > wanted - now.raid_disks:
        told = ", ".join(f"{disk.whole()} (serial {disk.serial})" for disk in fresh)
        return [f"{counts}, and {len(fresh)} of those are not in it: {told}. Name the disks that it has, and those that come"]
    named = {disk.path for disk in devices}
    others = [member.path for member in now.members if member.attached and member.slot is not None and member.path not in named]
    if others:
        return [f"{counts}, and {', '.join(others)}, which it has, is none of those. Replace first, then grow"]
    unfit = _unfit(now)
    if unfit:
        return [f"{counts}, and it is not grown: {unfit}"]
    errors = [refused for disk in fresh if (refused := may_be_written(disk, consents))]
    errors += [f"the new disk {disk.whole()} (serial {disk.serial}) has room for {disk.size_bytes / 2**30:.2f} GiB; {device} needs"
               f" {now.least_bytes / 2**30:.2f} GiB or more" for disk in fresh if disk.size_bytes < now.least_bytes]
    if len(fresh) + len(ready) < wanted - now.raid_disks:
        errors.append(f"{counts}, but only {len(fresh) + len(ready)} disks are there that it could take")
    if errors:
        return errors
    wait = waits_for(now)
    if wait:
        result.notes.append(f"array '{array['name']}': {device} is grown from {now.raid_disks} to {wanted} members in a later run, {wait}")
        return []
    result.steps += _steps(device, now, wanted, fresh)
    return []


def _steps(device: str, now: Live, wanted: int, fresh: Sequence[Disk]) -> list[Step]:
    """Add the disks that come, then take them as members. wanted: number of members."""
    steps: list[Step] = []
    first = wakes(device, now)
    for disk in fresh:
        add = ("mdadm", "--manage", device, "--add", disk.path)
        detail = f"as {disk.path}" + (", wiped by consent" if disk.uses else "")
        action = Action("add", f"disk {disk.serial} to array {device}", detail)
        steps.append(Step(action, device, (*first, add), (disk,) if disk.first_written() else ()))
        first = []
    # The kernel refuses to reshape with a partial parity log (raid5.c, check_reshape); a bitmap it makes larger.
    first += [("mdadm", "--grow", device, "--consistency-policy=resync")] if now.policy == "ppl" else []
    detail = f"from {now.raid_disks} to {wanted} members, in the background"
    detail += "; until that is over without its partial parity log" if now.policy == "ppl" else ""
    command = ("mdadm", "--grow", device, f"--raid-devices={wanted}")
    return [*steps, Step(Action("grow", f"array {device}", detail), device, (*first, command))]


def plan_size(array: Array, now: Live, consented: bool, result: Plan) -> bool:
    """Let it use all of its disks when it uses less; whether that is done or waited for, so that nothing else is changed of it."""
    device, extra = f"/dev/md/{array['name']}", now.extra_bytes()
    least = max(LEAST_BYTES, 2 * 1024 * (array.get("chunk_kib") or 0))
    if not LEVELS[array["level"]][1] or extra < least:
        return False
    unfit = _unfit(now)
    if unfit:
        result.notes += [f"array '{array['name']}': {device} is not grown: {unfit}"] if consented else []
        return False
    told = f"{extra / 2**30:.2f} GiB of each disk"
    if not consented:
        result.notes.append(f"array '{array['name']}': {device} leaves {told} unused, as all of them are larger than it needs. It is grown"
                            f" by consent: {grow_words(array['name'])}")
        return False
    wait = waits_for(now)
    if wait:
        result.notes.append(f"array '{array['name']}': {device} gets {told} in a later run, {wait}")
        return True
    # mdadm(8), SIZE CHANGES: not with an active bitmap. The kernel refuses with a partial parity log. Both come back with a later run.
    first = wakes(device, now)
    first += {"bitmap": [("mdadm", "--grow", device, "--bitmap=none")],
              "ppl": [("mdadm", "--grow", device, "--consistency-policy=resync")]}.get(now.policy, [])
    detail = f"by {told}; the volume group on it gets the room in the same run"
    command = ("mdadm", "--grow", device, "--size=max")
    result.steps.append(Step(Action("grow", f"array {device}", detail), device, (*first, command)))
    return True


def waits_for(now: Live) -> str:
    """What has to be over before mdadm reshapes; empty when nothing is."""
    return f"once its {now.sync['action']} ({now.sync['percent']} %) is over" if now.sync else ""


def _unfit(now: Live) -> str:
    gone = [member.path for member in now.members if not member.attached or "faulty" in member.states]
    if now.missing:
        return f"it lacks {now.missing} of its members"
    if gone:
        return f"{', '.join(gone)} has failed or is gone"
    if now.frozen:
        return "its synchronisation is frozen"
    return "" if now.state in TAKES else f"it is {now.state or 'not there'}"
