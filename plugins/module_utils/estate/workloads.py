# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Checks workloads: each as a guest and as a demand, then against one another and against the hosts."""
from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.estate import schema
from ansible_collections.xenfold.consolidation.plugins.module_utils.estate.findings import Findings, Path, shown
from ansible_collections.xenfold.consolidation.plugins.module_utils.estate.secrets import (
    Secret,
    alike,
    plain,
    revealed,
    secrets_in,
    veiled,
)
from ansible_collections.xenfold.consolidation.plugins.module_utils.guest.check import check_guest
from ansible_collections.xenfold.consolidation.plugins.module_utils.guest.full import normalise
from ansible_collections.xenfold.consolidation.plugins.module_utils.guest.schema import GUEST_SPEC, check_name, given

Workload = Mapping[str, Any]

ROOT: Path = ("estate", "estate_workloads")
PLANNING_ONLY = {"name", "vcpus", *schema.WORKLOAD}
"""What a workload without `memory_mib` may say: it can be planned with, but not turned into a guest."""

_KEY = re.compile(r"(\w+)(?:\[(\d+)\])?(?:\.(\w+))?")
_LEADING = {"name", "type", "vcpus", "maxvcpus", "memory_mib", "maxmem_mib", "disks"}
"""Keys of a guest that the checks of others rest upon."""
_DEMAND_ALLOWED = "a number, 0 or more, or a list of them, one for each time slot"


def is_guest(workload: Workload) -> bool:
    """Whether a workload can be turned into a guest; else it is for planning only."""
    return workload.get("memory_mib") is not None


def guest_definition(workload: Workload) -> dict[str, Any]:
    """The guest of a sound workload as `xl_guest` takes it, with defaults, derived names and addresses; keys without a value left out.

    Only `boot` stays as it is written: where an image's files are on a host is the business of the host's role.
    """
    full = normalise({key: value for key, value in workload.items() if key in GUEST_SPEC})
    parts = {
        key: [given({option: part[option] for option in GUEST_SPEC[key]["options"]}) for part in full[key]]
        for key in ("disks", "networks")
    }
    return given({key: full[key] for key in GUEST_SPEC}) | parts | {"boot": given(workload.get("boot") or {})}


def complete(workload: Workload) -> dict[str, Any]:
    """A sound workload with the defaults of its guest."""
    if not is_guest(workload):
        return dict(workload)
    # Names and addresses are derived from the texts themselves, also from those out of a vault.
    return {**workload, **veiled(guest_definition(revealed(workload)), secrets_in(workload))}


def required_features(workload: Workload) -> list[str]:
    """What a workload asks of its host: what it names itself, its bridges and its volume groups."""
    own = [plain(name) for name in workload.get("requires") or []]
    bridges = [f"bridge:{plain(net['bridge'])}" for net in workload.get("networks") or [] if net.get("bridge") and not net.get("backend")]
    groups = [f"volume_group:{plain(disk['volume_group'])}" for disk in workload.get("disks") or [] if disk.get("volume_group")]
    return sorted({*own, *bridges, *groups})


def tied_by(workload: Workload) -> str | None:
    """What keeps a workload on the host where it is, if anything: a device of that host, or a driver domain's business."""
    if workload.get("pci"):
        return "pci"
    if workload.get("driver_domain"):
        return "driver_domain"
    served = (f"{key}[{number}].backend" for key in ("disks", "networks") for number, part in enumerate(_items(workload, key))
              if isinstance(part, Mapping) and part.get("backend"))
    return next(served, None)


def check_workload(findings: Findings, path: Path, workload: Any, number: int) -> bool:
    """Check one workload by itself; true when it can take part in checks between workloads."""
    before = len(findings.all)
    if not isinstance(workload, Mapping):
        findings.note(path, f"workload number {number}: value {shown(workload)}, allowed a mapping of keys and values")
        return False
    item = title(workload, number)
    name_error = check_name(workload.get("name"))
    if name_error:
        findings.note((*path, "name"), f"{item}: {name_error}")
    known = {*schema.WORKLOAD, *GUEST_SPEC, "name"}
    for key in workload:
        if key not in known:
            findings.unknown((*path, key), item, str(key), workload[key], known)
    planner = {key: value for key, value in workload.items() if key in schema.WORKLOAD}
    schema.check_keys(findings, path, item, planner, schema.WORKLOAD)
    if is_guest(workload):
        _check_guest(findings, path, item, workload)
    else:
        _check_planning_only(findings, path, item, workload)
    if isinstance(workload.get("demand"), Mapping):
        _check_demand(findings, path, item, workload)
    _check_mobility(findings, path, item, workload)
    _check_replication(findings, path, item, workload)
    return len(findings.all) == before


def title(workload: Workload, number: int) -> str:
    """How messages call a workload; number: its place in the list from 1."""
    name = workload.get("name")
    return f"workload number {number}" if name is None or isinstance(name, Secret) else f"workload {str(name)!r}"


def _check_guest(findings: Findings, path: Path, item: str, workload: Workload) -> None:
    definition = {key: value for key, value in workload.items() if key in GUEST_SPEC}
    for error in _guest_errors(definition):
        if error.startswith("name:"):
            continue  # told already, for workloads of both kinds
        match = _KEY.match(error)
        steps = [] if match is None else [
            int(step) if step.isdigit() else step for step in match.groups() if step is not None
        ]
        findings.note((*path, *steps), f"{item}: {error}")


def _guest_errors(definition: Workload) -> list[str]:
    """Errors of a guest. Those of types and keys end check_guest early: what stands on its own is checked once more."""
    errors = check_guest(definition)
    if not errors:
        # Lengths and names that are put together come from the texts themselves.
        return check_guest(revealed(definition)) if secrets_in(definition) else []
    wrong = {match[1] for error in errors if (match := _KEY.match(error))}
    if not wrong & _LEADING:
        rest = check_guest({key: value for key, value in definition.items() if key not in wrong})
        errors += [error for error in rest if (match := _KEY.match(error)) and match[1] not in wrong]
    return errors


def _check_planning_only(findings: Findings, path: Path, item: str, workload: Workload) -> None:
    for key in workload:
        if key in GUEST_SPEC and key not in PLANNING_ONLY:
            findings.missing(path, item, "memory_mib", f"a whole number of MiB for a guest, and {key} makes it one")
            return
    if workload.get("vcpus") is not None and not schema.whole(1).check(workload["vcpus"]):
        findings.wrong((*path, "vcpus"), item, "vcpus", workload["vcpus"], schema.whole(1).allowed)
    demand = workload.get("demand")
    named = demand if isinstance(demand, Mapping) else {}
    if "memory_mib" not in named:
        findings.missing(path, item, "memory_mib",
                         "a whole number of MiB, or demand.memory_mib for a workload that is for planning only")
    if "cpu_cores" not in named and workload.get("vcpus") is None:
        findings.missing(path, item, "demand.cpu_cores", f"{_DEMAND_ALLOWED} (or vcpus)")


def _check_demand(findings: Findings, path: Path, item: str, workload: Workload) -> None:
    demand, place = workload["demand"], (*path, "demand")
    for name, value in demand.items():
        key = f"demand.{name}"
        if not isinstance(name, str) or not schema.RESOURCE.fullmatch(name):
            findings.wrong((*place, name), item, "demand", name, schema.RESOURCE_ALLOWED)
        elif isinstance(value, list):
            if not value:
                findings.wrong((*place, name), item, key, value, _DEMAND_ALLOWED)
            for slot, number in enumerate(value):
                if not schema.is_number(number) or number < 0:
                    findings.wrong((*place, name, slot), item, f"{key}[{slot}]", number, "a number, 0 or more")
                    break
        elif not schema.is_number(value) or value < 0:
            findings.wrong((*place, name), item, key, value, _DEMAND_ALLOWED)
    sized = any(isinstance(disk, Mapping) and disk.get("volume_group") for disk in _items(workload, "disks"))
    for name, follows, source in (
        ("memory_mib", is_guest(workload), "memory_mib"), ("disk_gib", sized, "the sizes of disks"),
    ):
        if name in demand and follows:
            findings.wrong((*place, name), item, f"demand.{name}", demand[name],
                           f"no value of its own for a guest, it follows from {source}")


def _check_mobility(findings: Findings, path: Path, item: str, workload: Workload) -> None:
    if workload.get("movable") is False and not workload.get("current"):
        findings.wrong((*path, "movable"), item, "movable", False, "true unless current names the host where it stays")
    tie = tied_by(workload)
    if tie and not workload.get("current"):
        findings.missing(path, item, "current", f"the host where the workload stays, for {tie} is of one host")
    if tie and workload.get("movable") is True:
        findings.wrong((*path, "movable"), item, "movable", True, f"false or nothing, for {tie} is of one host")
    if workload.get("replica") is not None and workload.get("storage") != "replicated":
        findings.wrong((*path, "replica"), item, "replica", workload["replica"], "a host with storage: replicated only")
    if workload.get("replica") is not None and workload.get("replica") == workload.get("current"):
        findings.wrong((*path, "replica"), item, "replica", workload["replica"], "another host than current")


def _check_replication(findings: Findings, path: Path, item: str, workload: Workload) -> None:
    """Replicated disks and replicated storage go together; such a guest names both of its hosts."""
    disks = [(number, disk) for number, disk in enumerate(_items(workload, "disks")) if isinstance(disk, Mapping)]
    replicated = [number for number, disk in disks if disk.get("drbd_minor") is not None]
    if workload.get("storage") != "replicated":
        for number in replicated:
            findings.wrong((*path, "disks", number, "drbd_minor"), item, f"disks[{number}].drbd_minor", disks[number][1]["drbd_minor"],
                           "only with storage: replicated")
        return
    if not is_guest(workload):
        return
    for number, disk in disks:
        if disk.get("volume_group") and disk.get("access") == "ro":
            # It would be another volume on each of the two hosts.
            findings.wrong((*path, "disks", number, "access"), item, f"disks[{number}].access", "ro",
                           "rw for a volume with storage: replicated")
        elif disk.get("volume_group") and disk.get("drbd_minor") is None:
            findings.missing((*path, "disks", number), item, f"disks[{number}].drbd_minor",
                             "a number of its own from 0 to 3999 for a volume with storage: replicated")
    for key in ("current", "replica"):
        if replicated and workload.get(key) is None:
            findings.missing(path, item, key, "a host, since disks with drbd_minor are copied between current and replica")


def _items(workload: Workload, key: str) -> Sequence[Any]:
    value = workload.get(key)
    return value if isinstance(value, list) else []


def check_names(findings: Findings, workloads: Sequence[Any]) -> set[int]:
    """Compare the names of all workloads, sound or not; returns the indexes of those that have an earlier one's."""
    owners: dict[str, int] = {}
    twice: set[int] = set()
    for index, workload in enumerate(workloads):
        name = workload.get("name") if isinstance(workload, Mapping) else None
        if not isinstance(name, str) or check_name(name):
            continue
        owner = owners.setdefault(plain(name), index)
        if owner != index:
            twice.add(index)
            findings.wrong((*ROOT, index, "name"), title(workload, index + 1), "name", name,
                           f"a name of its own, workload number {owner + 1} has this one")
    return twice


def check_between_workloads(findings: Findings, workloads: Mapping[int, Workload], macs: dict[str, str]) -> None:
    """UUIDs, disks, hardware addresses and lengths of series over all workloads.

    workloads: those of different names, by their index in estate_workloads; macs: who owns which hardware address already (extended here).
    """
    uuids: dict[str, tuple[int, str]] = {}
    volumes: dict[tuple[str, str], str] = {}
    users: dict[str, list[tuple[Workload, str, bool]]] = {}
    minors: dict[int, str] = {}
    series: tuple[int, str] | None = None
    for index, workload in workloads.items():
        path, item, name = (*ROOT, index), title(workload, index + 1), plain(workload["name"])
        owner = uuids.setdefault(plain(workload["uuid"]), (index, item)) if workload.get("uuid") else (index, item)
        if owner[0] != index:
            findings.wrong((*path, "uuid"), item, "uuid", workload["uuid"], f"a UUID of its own, {owner[1]} has this one")
        _check_paths(findings, path, item, workload, users)
        for number, disk in enumerate(_items(workload, "disks")):
            if not disk.get("volume_group"):
                continue
            minor = disk.get("drbd_minor")
            if minor is not None and minors.setdefault(minor, item) != item:
                findings.wrong((*path, "disks", number, "drbd_minor"), item, f"disks[{number}].drbd_minor", minor,
                               f"a number of its own, {minors[minor]} has this one")
            volume = (plain(disk["volume_group"]), f"{name}-{plain(disk.get('name'))}")
            if volume in volumes:
                findings.wrong((*path, "disks", number, "name"), item, f"disks[{number}].name", disk.get("name"),
                               f"one that gives a volume of its own, {volumes[volume]} has {'/'.join(volume)}")
            volumes.setdefault(volume, item)
        for number, net in enumerate(_items(workload, "networks")):
            mac = alike(net.get("mac"), plain(net.get("mac") or "").lower())
            if mac and mac in macs:
                # Derived addresses have 24 bits of their own, so among some thousands two can meet.
                findings.wrong((*path, "networks", number, "mac"), item, f"networks[{number}].mac", mac,
                               f"an address of its own, {macs[mac]} has this one; type another one here")
            macs.setdefault(mac, item)
        for resource, value in (workload.get("demand") or {}).items():
            if not isinstance(value, list):
                continue
            if series is None:
                series = (len(value), item)
            elif len(value) != series[0]:
                findings.wrong((*path, "demand", resource), item, f"demand.{resource}", f"{len(value)} time slots",
                               f"{series[0]} time slots as in the other series of the estate, the first is that of {series[1]}")


def _check_paths(
    findings: Findings, path: Path, item: str, workload: Workload, users: dict[str, list[tuple[Workload, str, bool]]]
) -> None:
    """Two guests that could meet on a host must not share what either of them writes; volumes are told apart by name.

    users: per path on a host the (workload, its title, whether it writes) that use it (extended here).
    """
    for number, disk in enumerate(_items(workload, "disks")):
        if disk.get("path") and not disk.get("backend"):
            writes = disk.get("access") != "ro" and not disk.get("cdrom")
            earlier = users.setdefault(plain(disk["path"]), [])
            other = next((title for user, title, wrote in earlier if (writes or wrote) and not _apart(workload, user)), None)
            if other:
                findings.wrong((*path, "disks", number, "path"), item, f"disks[{number}].path", disk["path"],
                               f"one of its own, {other} has this one; access: ro for all who share it")
            earlier.append((workload, item, writes))


def _apart(one: Workload, other: Workload) -> bool:
    """Whether two workloads stay on different hosts whatever is planned."""
    return one.get("movable") is False and other.get("movable") is False and one.get("current") != other.get("current")


def check_against_hosts(
    findings: Findings, workloads: Mapping[int, Workload], hosts: Collection[str], features: Mapping[str, Collection[str]]
) -> None:
    """Hosts that workloads name, and whether there is any host with their bridges and volume groups.

    hosts: all names; features: of the hosts whose variables are in order, in full.
    """
    everywhere = {feature for offer in features.values() for feature in offer}
    complete = set(features) == set(hosts)
    for index, workload in workloads.items():
        path, item = (*ROOT, index), title(workload, index + 1)
        for key in ("current", "replica"):
            if workload.get(key) is not None and workload[key] not in hosts:
                findings.wrong((*path, key), item, key, workload[key], f"a host of the estate: {names_text(hosts)}")
        if complete:
            _check_features(findings, path, item, workload, features, everywhere)
        _check_copies(findings, path, item, workload, features)


def _check_copies(findings: Findings, path: Path, item: str, workload: Workload, features: Mapping[str, Collection[str]]) -> None:
    """Whether both hosts of a guest with replicated disks have their volume groups, as far as their variables are in order."""
    for group in sorted({plain(disk["volume_group"]) for disk in _items(workload, "disks") if disk.get("drbd_minor") is not None}):
        able = sorted(name for name, offer in features.items() if f"volume_group:{group}" in offer)
        for key in ("current", "replica"):
            if workload.get(key) in features and plain(workload[key]) not in able:
                findings.wrong((*path, key), item, key, workload[key],
                               f"a host with the volume group {group} of its replicated disks: {names_text(able) or 'there is none'}")


def _check_features(
    findings: Findings, path: Path, item: str, workload: Workload, features: Mapping[str, Collection[str]],
    everywhere: Collection[str],
) -> None:
    fine = True
    for key, name, kind in (("networks", "bridge", "bridge"), ("disks", "volume_group", "volume_group")):
        there = sorted(feature.split(":", 1)[1] for feature in everywhere if feature.startswith(f"{kind}:"))
        for number, part in enumerate(_items(workload, key)):
            if part.get(name) and not part.get("backend") and part[name] not in there:
                findings.wrong((*path, key, number, name), item, f"{key}[{number}].{name}", part[name],
                               f"one that some host has: {', '.join(there) or 'there is none'}")
                fine = False
    for number, feature in enumerate(workload.get("requires") or []):
        if feature not in everywhere:
            findings.wrong((*path, "requires", number), item, "requires", feature,
                           f"features that some host has: {names_text(everywhere)}")
            fine = False
    wanted = set(required_features(workload))
    if fine and wanted and not any(wanted.issubset(offer) for offer in features.values()):
        findings.note(path, f"{item}: requires: value {', '.join(sorted(wanted))}, allowed what some one host has together")


def names_text(names: Collection[str], most: int = 12) -> str:
    """Names for a message: sorted, at most `most` of them."""
    ordered = sorted(names)
    more = f" and {len(ordered) - most} more" if len(ordered) > most else ""
    return (", ".join(map(str, ordered[:most])) or "there is none") + more
