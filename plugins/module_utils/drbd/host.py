# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Looks at the replicated disks of the host this runs on, and carries out their plan; every wait is bounded."""
from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from ansible_collections.xenfold.consolidation.plugins.module_utils.drbd import state as drbd
from ansible_collections.xenfold.consolidation.plugins.module_utils.drbd.plan import (
    ABSENT,
    FRESH,
    MADE,
    STRANGE,
    Local,
    Plan,
    neither_written,
)
from ansible_collections.xenfold.consolidation.plugins.module_utils.drbd.resources import Resource, file_of
from ansible_collections.xenfold.consolidation.plugins.module_utils.files import write_atomically
from ansible_collections.xenfold.consolidation.plugins.module_utils.lvm import tags
from ansible_collections.xenfold.consolidation.plugins.module_utils.runner import Runner

SYS_BLOCK = "/sys/class/block"
_FRONT_BYTES = 4096
"""What lvcreate fills with zeros at the front of a new volume."""
_SECTOR_BYTES = 512
_LOOK_SECONDS = 1.0
_MEETING_SECONDS = 5.0
_NO_METADATA = "No valid meta data found"
_EVERY_CODE: tuple[int, ...] = ()


def look(runner: Runner, wanted: Sequence[Resource], found: drbd.Found) -> dict[str, Local]:
    """What the host has of each resource beside its state."""
    volumes = tags.read(runner) if not all(found.state(resource.minor).up for resource in wanted) else {}
    return {resource.name: _look_at(runner, resource, found, volumes) for resource in wanted}


def _look_at(runner: Runner, resource: Resource, found: drbd.Found, volumes: Mapping[str, tags.Volume]) -> Local:
    state = found.state(resource.minor)
    if not state.up:
        there = volumes.get(resource.volumes[0])
        return Local(_meta(runner, resource), bool(there and there.in_use), _holds(runner, resource.volume) if there else "")
    # With another file than that it was made from, drbdadm would answer for that one. A guest with two primaries moves now, or playbooks/
    # apply.yml takes that back.
    asked = found.texts.get(file_of(resource).path) == file_of(resource).content and resource.name not in found.two_primaries
    adjust = runner.read(["drbdadm", "--dry-run", "adjust", resource.name]).out.strip() if asked else ""
    bare = state.disk in drbd.NO_DATA
    # The metadata of a volume that has failed cannot be read.
    told = runner.read(["drbdadm", "get-gi", resource.name], ok=_EVERY_CODE) if bare else None
    generation = told.out.partition(":")[0].strip() if told and told.rc == 0 else ""
    return Local(MADE, holds=_holds(runner, resource.volume) if bare else "", volume_bytes=_bytes(os.path.realpath(resource.volume)),
                 device_bytes=_bytes(f"drbd{resource.minor}"), adjust=adjust, generation=generation)


def _bytes(device: str) -> int:
    try:
        return int((Path(SYS_BLOCK) / os.path.basename(device) / "size").read_text(encoding="ascii")) * _SECTOR_BYTES
    except (OSError, ValueError):
        return 0


def _meta(runner: Runner, resource: Resource) -> str:
    try:
        front = _front(resource.meta)
    except OSError:
        return ABSENT
    if not any(front):
        return FRESH
    asked = runner.read(["drbdmeta", str(resource.minor), "v08", resource.meta, "flex-external", "dump-md"], ok=_EVERY_CODE)
    # It is also no answer while an unclean log has yet to be applied, which drbdadm does when it starts the resource.
    return STRANGE if _NO_METADATA in asked.out + asked.err else MADE


def _front(path: str) -> bytes:
    with open(path, "rb") as device:
        return device.read(_FRONT_BYTES)


def _holds(runner: Runner, path: str) -> str:
    """What is on a volume, in words; "" for a new one, whose first block lvcreate has filled with zeros."""
    # 2: nothing that blkid knows, or nothing that can be read.
    asked = runner.read(["blkid", "-p", "-o", "value", "-s", "TYPE", "-s", "PTTYPE", path], ok=(0, 2))
    kinds = asked.out.split()
    try:
        return f"data ({', '.join(kinds)})" if kinds else "data" if any(_front(path)) else ""
    except OSError:
        return ""


def carry_out(runner: Runner, plan: Plan, wait_seconds: int) -> set[tuple[str, str]]:
    """All steps of a plan without errors. Returns (verb, resource) of those that wait for the other host: a new disk that does not begin,
    as it has not answered, and one that does not grow, as the other copy is smaller."""
    for file in plan.files:
        write_atomically(file)
    for resource in plan.create:
        runner.change(["drbdadm", "--", "--force", "create-md", resource.name])
    for resource in plan.first:
        _begin(runner, resource)
    for resource in plan.up:
        # A copy whose volume has failed cannot be attached; what came of it is seen by its state.
        runner.change(["drbdadm", "adjust", resource.name], ok=_EVERY_CODE)
    # A host whose peer is not there waits for it; one whose copy has parted from the other stops a moment after they have met.
    _wait(runner, plan.up, wait_seconds if plan.blank else _MEETING_SECONDS)
    waiting = set()
    for resource in plan.blank:
        found = drbd.read(runner)
        if neither_written(found.state(resource.minor), look(runner, [resource], found)[resource.name]):
            _take(runner, resource)
        else:
            waiting.add(("begin", resource.name))
    for resource in plan.grow:
        before = _bytes(f"drbd{resource.minor}")
        runner.change(["drbdadm", "resize", resource.name])
        if _bytes(f"drbd{resource.minor}") == before:
            waiting.add(("grow", resource.name))
    return waiting


def _begin(runner: Runner, resource: Resource) -> None:
    """Let what the volume has be the first data, before the other host hears of it: one that has data already then refuses to become a
    copy of it, instead of making this one a copy of its own."""
    state = drbd.read(runner).state(resource.minor)
    steps = [] if state.up else ["new-resource", "new-minor"]
    for step in [*steps, *(["attach"] if state.disk != drbd.INCONSISTENT else [])]:
        runner.change(["drbdadm", step, resource.name])
    _take(runner, resource)


def _take(runner: Runner, resource: Resource) -> None:
    """In one command: a run that was cut off between the two would leave a primary that no guest has."""
    runner.change(["sh", "-c", f"drbdadm primary --force {resource.name} && drbdadm secondary {resource.name}"])


def _wait(runner: Runner, resources: Sequence[Resource], seconds: float) -> None:
    """Until each has met the other copy, or the time is up."""
    end = time.monotonic() + seconds
    while resources and time.monotonic() < end:
        found = drbd.read(runner)
        if all(found.state(resource.minor).peer_role != drbd.UNKNOWN for resource in resources):
            return
        time.sleep(_LOOK_SECONDS)
