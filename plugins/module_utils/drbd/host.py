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
    never_written,
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
_UNKNOWN = "Unknown"
_NO_METADATA = "No valid meta data found"
_EVERY_CODE: tuple[int, ...] = ()


class DrbdError(Exception):
    """What could not be done; the text says what and why."""


def look(runner: Runner, wanted: Sequence[Resource], found: drbd.Found) -> dict[str, Local]:
    """What the host has of each resource beside its state."""
    volumes = tags.read(runner) if any(found.state(resource.minor).connection == drbd.UNCONFIGURED for resource in wanted) else {}
    return {resource.name: _look_at(runner, resource, found, volumes) for resource in wanted}


def _look_at(runner: Runner, resource: Resource, found: drbd.Found, volumes: Mapping[str, tags.Volume]) -> Local:
    state = found.state(resource.minor)
    if state.connection == drbd.UNCONFIGURED:
        there = volumes.get(f"{resource.volume_group}/{resource.name}")
        return Local(_meta(runner, resource), bool(there and there.in_use), _holds(runner, resource.volume) if there else "")
    # With another file than that it was made from, drbdadm would answer for that one. A guest with two primaries moves now, or playbooks/
    # apply.yml takes that back.
    asked = found.texts.get(file_of(resource).path) == file_of(resource).content and resource.name not in found.two_primaries
    adjust = runner.read(["drbdadm", "--dry-run", "adjust", resource.name]).out.strip() if asked else ""
    bare = state.disk in drbd.NO_DATA
    generation = runner.read(["drbdadm", "get-gi", resource.name]).out.partition(":")[0].strip() if bare else ""
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
    # 2: nothing that blkid knows.
    asked = runner.read(["blkid", "-p", "-o", "value", "-s", "TYPE", "-s", "PTTYPE", path], ok=(0, 2))
    kinds = asked.out.split()
    return f"data ({', '.join(kinds)})" if kinds else "data" if any(_front(path)) else ""


def carry_out(runner: Runner, plan: Plan, host: str, wait_seconds: int) -> None:
    """All steps of a plan without errors. Raises DrbdError."""
    for file in plan.files:
        write_atomically(file)
    for resource in plan.create:
        runner.change(["drbdadm", "--", "--force", "create-md", resource.name])
    for resource in plan.first:
        _begin(runner, resource)
    for resource in plan.up:
        runner.change(["drbdadm", "adjust", resource.name])
    _see_together(runner, plan.up)
    for resource in plan.blank:
        _begin_blank(runner, resource, host, wait_seconds)
    for resource in plan.grow:
        runner.change(["drbdadm", "resize", resource.name])


def _begin(runner: Runner, resource: Resource) -> None:
    """Let what the volume has be the first data, before the other host hears of it: one that has data already then refuses to become a
    copy of it, instead of making this one a copy of its own."""
    state = drbd.read(runner).state(resource.minor)
    steps = ["new-resource", "new-minor"] if state.connection == drbd.UNCONFIGURED else []
    for step in [*steps, *(["attach"] if state.disk != drbd.INCONSISTENT else [])]:
        runner.change(["drbdadm", step, resource.name])
    _take(runner, resource)


def _take(runner: Runner, resource: Resource) -> None:
    runner.change(["drbdadm", "primary", "--force", resource.name])
    runner.change(["drbdadm", "secondary", resource.name])


def _see_together(runner: Runner, resources: Sequence[Resource]) -> None:
    """A host whose peer is not there waits for it; one whose copy has parted from the other stops a moment after they have met."""
    end = time.monotonic() + _MEETING_SECONDS
    while resources:
        states = {resource.name: drbd.read(runner).state(resource.minor) for resource in resources}
        parted = [name for name, state in states.items() if state.connection == drbd.STANDALONE]
        if parted:
            raise DrbdError(f"resource {', '.join(parted)}: is {drbd.STANDALONE}: its copies have parted, and a person decides which counts"
                            " (docs/guests.md, Replicated disks)")
        if time.monotonic() >= end or all(state.peer_role != _UNKNOWN for state in states.values()):
            return
        time.sleep(_LOOK_SECONDS)


def _begin_blank(runner: Runner, resource: Resource, host: str, wait_seconds: int) -> None:
    """Let an empty volume be the first data, only when the other host says as well that it never had any."""
    peer = next(name for name in resource.hosts if name != host)
    end = time.monotonic() + wait_seconds
    while True:
        found = drbd.read(runner)
        state = found.state(resource.minor)
        if state.connection == drbd.CONNECTED or state.disk not in (drbd.INCONSISTENT, ""):
            break
        if time.monotonic() >= end:
            raise DrbdError(
                f"resource {resource.name!r}: has no data yet, and the copy of {peer} does not answer at {resource.hosts[peer]}, port"
                f" {resource.port}, within {wait_seconds} s ({state.told()}). Both hosts are made in one run; a packet filter lets the port"
                " in by dom0_firewall.allow")
        time.sleep(_LOOK_SECONDS)
    if never_written(state, look(runner, [resource], found)[resource.name]):
        _take(runner, resource)
