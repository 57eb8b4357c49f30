# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The md arrays of the host that this runs on: reading their state, carrying out a plan's steps."""
from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.block import look, parse, partition
from ansible_collections.xenfold.consolidation.plugins.module_utils.md.model import Live, Member, Running, Step
from ansible_collections.xenfold.consolidation.plugins.module_utils.runner import Runner
from ansible_collections.xenfold.consolidation.plugins.module_utils.storage_spec import disks_of


def find_disks(
    runner: Runner, arrays: Iterable[Mapping[str, Any]],
) -> tuple[dict[str, look.Disk | None], dict[str, list[str]]]:
    """Id -> its disk, of all members and spares, None where there is no such disk; and UUID -> devices of the host with the superblock of
    that array."""
    paths = {member["id"]: look.resolve(f"{look.BY_ID}/{member['id']}") for array in arrays for member in disks_of(array)}
    there = [path for path in paths.values() if path]
    if not there:
        return dict.fromkeys(paths), {}
    listed = look.listing(runner, there)
    disks = look.look(runner, there, listed)
    return {name: disks[path] if path else None for name, path in paths.items()}, parse.carriers(listed)


def old_images(boot: Path, written: Path) -> list[str]:
    """The initramfs images made before the file was written: the run that wrote it was cut off before it renewed them.

    Only images whose kernel is there, since update-initramfs renews no others.
    """
    if not written.exists():
        return []
    since = written.stat().st_mtime
    return sorted(
        image.name for image in boot.glob("initrd.img-*")
        if image.stat().st_mtime < since and any(boot.glob(f"vmlinu?-{image.name.removeprefix('initrd.img-')}"))
    )


def sync_of(action: str, completed: str) -> dict[str, Any] | None:
    """What runs of an array's synchronisation, from `sync_action` and `sync_completed` of sysfs: its kind and percent."""
    if action in ("", "idle", "frozen"):
        return None
    done, _, whole = completed.partition(" / ")
    percent = round(100 * int(done) / int(whole), 1) if done.isdigit() and whole.isdigit() and int(whole) else 0.0
    return {"action": action, "percent": percent}


def _value(folder: Path, file: str) -> str:
    try:
        return (folder / file).read_text().strip()
    except OSError:
        return ""


def _number(text: str) -> int:
    first = text.partition(" ")[0]
    return int(first) if first.isdigit() else 0


def read_live(device: str) -> Live | None:
    """What the kernel tells of an array, given by any of its names; None when there is none."""
    kernel = look.resolve(device)
    if not kernel:
        return None
    name = os.path.basename(kernel)
    folder = Path("/sys/block") / name / "md"
    members, offsets = [], [0]
    for entry in sorted(folder.glob("dev-*")):
        disk, slot = entry.name.removeprefix("dev-"), _value(entry, "slot")
        # A new disk may get the name of one that was pulled; md holds the old one only.
        holds = (Path("/sys/class/block") / disk / "holders" / name).exists()
        states = frozenset(_value(entry, "state").split(",")) - {""}
        offsets.append(_number(_value(entry, "offset")))
        room = 512 * (_number(_value(Path("/sys/class/block") / disk, "size")) - offsets[-1])
        members.append(Member(f"/dev/{disk.replace('!', '/')}", int(slot) if slot.isdigit() else None, states, holds, max(0, room)))
    size, action = _value(folder, "component_size"), _value(folder, "sync_action")
    return Live(
        kernel, _value(folder, "level"), _value(folder, "array_state"), _number(_value(folder, "degraded")),
        _value(folder, "consistency_policy"),
        {file: text for file in ("sync_speed_min", "sync_speed_max") if (text := _value(folder, file))},
        sync_of(action, _value(folder, "sync_completed")),
        int(size) * 1024 + max(offsets) * 512 if size.isdigit() else 0, tuple(members),
        # While it is reshaped: the new number, then the old one in brackets.
        _number(_value(folder, "raid_disks")), _number(size) * 1024,
        action == "reshape" or _value(folder, "reshape_position") not in ("", "none"),
        action == "frozen",
    )


def read_all(known: Mapping[str, Running]) -> dict[str, Live]:
    """UUID -> what the kernel tells, of the arrays that run."""
    found = {uuid: read_live(running.device) for uuid, running in known.items() if running.active}
    return {uuid: live for uuid, live in found.items() if live}


def describe(arrays: Iterable[Mapping[str, Any]], uuids: Mapping[str, str]) -> list[dict[str, Any]]:
    """The arrays as they are now, for the module's return value; state `absent` where there is none."""
    found = []
    for array in arrays:
        device = f"/dev/md/{array['name']}"
        kernel = look.resolve(device)
        sysfs = Path("/sys/block") / os.path.basename(kernel or "none") / "md"
        found.append({
            "name": array["name"],
            "device": device,
            "kernel_device": kernel,
            "uuid": uuids[array["name"]],
            "state": _value(sysfs, "array_state") or "absent",
            "missing_members": _number(_value(sysfs, "degraded")),
            "members": [member["serial"] for member in array["members"]],
            "resync": sync_of(_value(sysfs, "sync_action"), _value(sysfs, "sync_completed")),
        })
    return found


def _clear(runner: Runner, path: str, front: int, ends: Iterable[int] = ()) -> None:
    # Opens the device exclusively, as wipefs does, so a device that came into use since it was looked at ends the run here.
    look.zero_edges(path, front, ends)
    runner.change(["wipefs", "--all", path])
    runner.change(["udevadm", "settle"])
    # The table is zeroed but the kernel may still show its partitions. A device that can have none refuses this.
    runner.change(["blockdev", "--rereadpt", path], ok=())
    runner.change(["udevadm", "settle"])


def _ends(disks: Sequence[look.Disk], chunk_bytes: int) -> list[int]:
    """Where MiB end on members in which the last MiB of a new array may lie: it ends less than a chunk (64 KiB without
    chunks, Create.c) before the end of its smallest member, or of another one when it uses all of each (level 0)."""
    tail = look.EDGE + max(chunk_bytes, 65536)
    return [end - back for end in sorted({disk.size_bytes for disk in disks}) for back in range(0, tail, look.EDGE)]


def _cut(runner: Runner, cut: partition.Cut, ends: Iterable[int]) -> None:
    # Both edges of the partition are zeroed before it is there: a run that is cut off after sfdisk leaves one that is provably empty.
    # As much of its front as of a whole disk: by those zeros an array is known that was never started.
    _clear(runner, cut.disk, cut.start_bytes + look.ARRAY_FRONT, [cut.start_bytes + end for end in ends if end <= cut.size_bytes])
    runner.change(partition.command(cut), data=partition.script(cut))
    runner.change(["udevadm", "settle"])


def carry_out(runner: Runner, steps: Sequence[Step]) -> None:
    """Carry out the steps of a plan without errors."""
    for step in steps:
        for command in step.first:
            runner.change(command)
        if step.first:
            runner.change(["udevadm", "settle"])
        # Before the array is there, too: a run that is cut off right after it is made would leave one whose edges hold old data.
        ends = _ends(step.wipe, step.chunk_bytes)
        for disk in step.wipe:
            if disk.cut:
                _cut(runner, disk.cut, ends)
            else:
                _clear(runner, disk.path, look.ARRAY_FRONT, [end for end in ends if end <= disk.size_bytes])
        for command in step.commands:
            runner.change(command)
        runner.change(["udevadm", "settle"])
        kernel = os.path.basename(look.resolve(step.device) or step.device)
        for file, text in step.attributes:
            (Path("/sys/block") / kernel / "md" / file).write_text(f"{text}\n")
        if step.action.verb == "create":
            # What the disks held further in would show at the edges of the new array, also when an earlier run wiped them.
            _clear(runner, step.device, look.EDGE)
