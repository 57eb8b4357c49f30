# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From the replicated disks of a host and what it has of them to the steps: one pure function, and one for moves."""
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ansible_collections.xenfold.consolidation.plugins.module_utils.actions import Action
from ansible_collections.xenfold.consolidation.plugins.module_utils.drbd import state as drbd
from ansible_collections.xenfold.consolidation.plugins.module_utils.drbd.resources import Resource, file_of
from ansible_collections.xenfold.consolidation.plugins.module_utils.files import WantedFile

PACKAGE = "drbd-utils"
UNIT = "xenfold-drbd.service"
UNIT_FILE = f"/etc/systemd/system/{UNIT}"
# Debian's drbd.service would do the same for all resources of the host, and is left to who has others.
UNIT_TEXT = """# Written by Xenfold; changes by hand are lost.
[Unit]
Description=Replicated disks of guests
Wants=network-online.target
After=network-online.target
Before=xendomains.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'cd /etc/drbd.d; for file in xenfold-*.res; do name=$${file#xenfold-}; name=$${name%%.res}; \\
  { drbdadm adjust "$$name" && drbdadm wait-connect "$$name"; } & done; wait'
ExecStop=/bin/sh -c 'cd /etc/drbd.d; for file in xenfold-*.res; do name=$${file#xenfold-}; drbdadm down "$${name%%.res}"; done'

[Install]
WantedBy=multi-user.target
"""
ABSENT, FRESH, MADE, STRANGE = "absent", "fresh", "made", "strange"
"""What a volume for DRBD's own data is: not there, empty, in order, or something else."""
JUST_CREATED = "0000000000000004"
"""The generation of a copy that never had data (UUID_JUST_CREATED in drbd.h of Linux)."""
_GROWN_BYTES = 1 << 20


@dataclass(frozen=True)
class Local:
    """What this host has of one resource beside its state.

    meta: see above; in_use: whether something has the volume open, of one that is not up; holds: what is on the volume, "" for a new one,
    where that decides something; bytes: of the volume and of the resource, of one that is up; adjust: what drbdadm would do to make it as
    its file says; generation: of the data, of one that is up and has none.
    """

    meta: str = ABSENT
    in_use: bool = False
    holds: str = ""
    volume_bytes: int = 0
    device_bytes: int = 0
    adjust: str = ""
    generation: str = ""


@dataclass
class Plan:
    """errors: why nothing may be done. The steps in this order: files, metadata (`create`), `first`, `up`, `blank`, `grow`.

    first: copies with data of this host that begin, before they hear of the other one; blank: those without data, which do so once both
    hosts have said that there is none.
    """

    errors: list[str] = field(default_factory=list)
    files: list[WantedFile] = field(default_factory=list)
    create: list[Resource] = field(default_factory=list)
    first: list[Resource] = field(default_factory=list)
    up: list[Resource] = field(default_factory=list)
    blank: list[Resource] = field(default_factory=list)
    grow: list[Resource] = field(default_factory=list)
    actions: list[Action] = field(default_factory=list)


def plan(wanted: Sequence[Resource], host: str, found: drbd.Found, local: Mapping[str, Local]) -> Plan:
    """The steps for a host. local: by name of the resource."""
    result = Plan()
    if found.version and not found.version.startswith(f"{drbd.SUPPORTED}."):
        result.errors.append(f"DRBD: value {found.version}, allowed {drbd.SUPPORTED}, the driver of Linux itself, not that of LINBIT")
        return result
    for resource in wanted:
        _plan_one(resource, host, found, local[resource.name], result)
    return result


def _plan_one(resource: Resource, host: str, found: drbd.Found, local: Local, result: Plan) -> None:
    name, state = f"resource {resource.name}", found.state(resource.minor)
    is_up, file = state.up, file_of(resource)
    errors = _errors(resource, host, found, local)
    result.errors += errors
    if errors:
        return
    differs = found.texts.get(file.path) != file.content
    if differs:
        result.files.append(file)
        result.actions.append(Action("write", f"file {file.path}"))
    makes = not is_up and local.meta in (ABSENT, FRESH)
    if makes:
        result.create.append(resource)
        result.actions.append(Action("create", f"metadata of {name}", f"on {resource.meta}"))
    if host == resource.first and (makes or never_written(state, local)):
        # One that has begun to look for the other copy may hear of data there.
        alone = state.connection in (drbd.UNCONFIGURED, drbd.STANDALONE)
        (result.first if local.holds and alone and not resource.new else result.blank).append(resource)
        result.actions.append(Action("begin", name, f"with what {resource.volume} of {host} has"))
    if not is_up or differs or local.adjust:
        result.up.append(resource)
        peer = next(other for other in resource.hosts if other != host)
        verb, detail = "adjust" if is_up else "start", f"with {peer} at {resource.hosts[peer]}, port {resource.port}"
        result.actions.append(Action(verb, name, detail))
    # In check mode the volume has yet to grow.
    size = max(local.volume_bytes, int(resource.size_gib * 2**30))
    if state.whole and size - local.device_bytes >= _GROWN_BYTES and leads(resource, host, state):
        result.grow.append(resource)
        result.actions.append(Action("grow", name, f"{local.device_bytes / 2**30:g} to {size / 2**30:g} GiB"))


def never_written(state: drbd.State, local: Local) -> bool:
    """Whether the copy of this host never was one of any data, nor has heard of a copy that is."""
    return state.disk in drbd.NO_DATA and state.peer_disk != drbd.UP_TO_DATE and local.generation == JUST_CREATED


def neither_written(state: drbd.State, local: Local) -> bool:
    """Whether the other host has said, too, that its copy never was one of any data."""
    return (state.connection == drbd.CONNECTED and state.disk == state.peer_disk == drbd.INCONSISTENT and local.generation == JUST_CREATED
            and state.role == state.peer_role == drbd.SECONDARY)


def why_held(resource: Resource, host: str, state: drbd.State, asked: Iterable[str], fresh: bool = False) -> str | None:
    """Why a guest that does not run here must not be started with this copy of its disk; None when it may. asked: hosts that answer; fresh:
    whether this copy never was one of any data."""
    peer = next(other for other in resource.hosts if other != host)
    told, at = f"its disk {resource.name} is {state.told()}", f"{resource.hosts[peer]}, port {resource.port}"
    if state.connection == drbd.STANDALONE:
        return f"{told}: its copies have parted, and a person decides which counts"
    if state.disk == drbd.CONSISTENT:
        return f"{told}: this host has started without {peer}, whose copy may be newer"
    if drbd.UP_TO_DATE not in (state.disk, state.peer_disk):
        if state.disk == drbd.INCONSISTENT and fresh:
            return f"{told}: a new disk begins when {peer} has said that it has no data either, at {at}"
        return f"{told}: the copy of {peer} is newer, or was about to be copied here; it is at {at}"
    if state.peer_role == drbd.UNKNOWN and peer in set(asked):
        return f"{told}: {peer} answers, but not to DRBD at {at}, and may have the newer copy"
    return None


def leads(resource: Resource, host: str, state: drbd.State) -> bool:
    """Whether what is done once for both copies is done by this host."""
    return state.role == drbd.PRIMARY or (state.peer_role != drbd.PRIMARY and host == resource.first)


def _errors(resource: Resource, host: str, found: drbd.Found, local: Local) -> list[str]:
    title, state = f"resource {resource.name!r}", found.state(resource.minor)
    other = next((known for known in found.known.values() if known.minor == resource.minor and known.name != resource.name), None)
    ours = resource.name in found.known and found.known[resource.name].minor == resource.minor
    is_up = state.up
    if other or (is_up and not ours):
        whose = f"resource {other.name!r}" if other else "a resource that is not from here"
        return [f"{title}: drbd_minor: value {resource.minor}, allowed a number of its own; {whose} of this host has it"]
    if resource.name in found.known and not ours:
        has = found.known[resource.name].minor
        return [f"{title}: drbd_minor: value {resource.minor}, allowed {has}, which it has (docs/guests.md, Replicated disks)"]
    if is_up:
        there = found.known[resource.name].volumes
        told = (f"{title}: volume_group: value {resource.volume_group}, allowed {there[0].partition('/')[0]}, where its copy is; a disk"
                " that works is not exchanged (docs/guests.md, Replicated disks)")
        return [] if there == resource.volumes else [told]
    if local.meta == STRANGE:
        return [f"{title}: volume {resource.meta} has something else than DRBD's data, and is not touched"]
    if local.in_use:
        return [f"{title}: volume {resource.volume} is in use and cannot become a copy now; shut down the guest {resource.guest!r} first"]
    if host != resource.first and local.meta in (ABSENT, FRESH) and local.holds:
        told = (f"{title}: volume {resource.volume} has {local.holds}, which the copy of {resource.first} would overwrite. When that is"
                f" wanted, remove the volume; when it is the other way round, write current: {host} and replica: {resource.first}")
        return [told]
    return []


def allow(names: Iterable[str], found: drbd.Found) -> tuple[list[str], list[str]]:
    """The resources of which both copies are yet to be allowed to be written at once, and why that may not be."""
    wanted, errors = [], []
    for name in sorted(set(names)):
        known = found.known.get(name)
        state = found.state(known.minor) if known else drbd.State()
        if known is None:
            errors.append(f"resource {name!r}: is not on this host")
        elif not state.whole:
            errors.append(f"resource {name!r}: is {state.told()}, allowed {drbd.CONNECTED} with both copies {drbd.UP_TO_DATE}")
        elif name not in found.two_primaries:
            wanted.append(name)
    return wanted, errors


def forbid(found: drbd.Found, keep: Iterable[str]) -> tuple[list[str], list[str]]:
    """The resources that are given back to one host at a time, and those of which both copies are written now. keep: names left as they
    are."""
    names = sorted(found.two_primaries & set(found.known) - set(keep))
    both = [name for name in names if _both(found.state(found.known[name].minor))]
    return [name for name in names if name not in both], both


def _both(state: drbd.State) -> bool:
    return state.role == state.peer_role == drbd.PRIMARY
