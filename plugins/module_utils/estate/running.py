# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A problem as the hosts found it: guests that are there already count as running there."""
from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.guest.full import volume_name
from ansible_collections.xenfold.consolidation.plugins.module_utils.moves.volume_receive import SUFFIX


@dataclass(frozen=True)
class Hosts:
    """What hosts told, and what is known of those that told nothing.

    found: host -> {guest: state}, of what runs or starts with it, from every host that answered; stored: host -> what it has stored, as
    `configured` (guests) and `volumes` (group/name); unknown: hosts that told nothing, and may have guests' disks; new: guests that are new
    although there are such hosts.
    """

    found: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    stored: Mapping[str, Mapping[str, Collection[str]]] = field(default_factory=dict)
    unknown: Collection[str] = ()
    new: Collection[str] = ()


def placed(given: Mapping[str, Any], home: str) -> dict[str, Any]:
    """A workload on a host. Where that is its replica, the two copies have exchanged their parts."""
    workload = {**given, "current": home}
    if workload.get("replica") == home:
        del workload["replica"]
        if given.get("current") not in (None, home):
            workload["replica"] = given["current"]
    return workload


def keep_running(problem: Mapping[str, Any], hosts: Hosts, guests: Mapping[str, Mapping[str, Any]] | None = None) -> dict[str, Any]:
    """The problem with `current` of every guest that a host has, and no move allowed for any of them.

    A host that drains is closed: it keeps what runs there, since nothing moves, and gets nothing. What the inventory has there and no host
    has is started elsewhere when it can reach its disks from there.

    What has its disks on one host never begins elsewhere with empty ones: a guest that is stopped stays where they are. Without its
    definition in `guests` (name -> definition) a workload has none. Those of `left_out` are not in the problem.

    Raises ValueError when it is not clear which host has a guest.
    """
    homes, left = _judged(problem, hosts, guests or {})
    drained = _drained(problem)
    workloads = []
    for given in problem["workloads"]:
        if given["name"] in left:
            continue
        home = homes.get(given["name"])
        workload = placed(given, home) if home else dict(given)
        if workload.get("current") in drained and not home:
            replica = workload.get("replica") if workload.get("storage") == "replicated" else None
            if replica:
                workload = placed(given, replica)
            else:
                del workload["current"]
        workloads.append(workload)
    closed = [{**host, "state": "closed"} if host["name"] in drained else host for host in problem.get("hosts") or ()]
    names = {workload["name"] for workload in workloads}
    rules = [{**rule, "workloads": [name for name in rule["workloads"] if name in names]} for rule in problem.get("rules") or ()]
    return {**problem, "hosts": closed, "workloads": workloads, "rules": [rule for rule in rules if rule["workloads"]],
            "policy": {**problem["policy"], "max_moves": 0}}


def left_out(problem: Mapping[str, Any], hosts: Hosts, guests: Mapping[str, Mapping[str, Any]] | None = None) -> dict[str, str]:
    """Guest -> why it is not planned. Raises ValueError as `keep_running` does."""
    return _judged(problem, hosts, guests or {})[1]


def _drained(problem: Mapping[str, Any]) -> set[str]:
    return {host["name"] for host in problem.get("hosts") or () if host.get("state") == "drain"}


def _judged(problem: Mapping[str, Any], hosts: Hosts, guests: Mapping[str, Mapping[str, Any]]) -> tuple[dict[str, str], dict[str, str]]:
    """Guest -> the host that has it; guest -> why it is left out."""
    homes: dict[str, str] = {}
    for host in sorted(hosts.found):
        for guest in hosts.found[host]:
            if guest in homes:
                raise ValueError(f"guest '{guest}': {homes[guest]} and {host} both have it (running, or starting with the host); "
                                 "decide which one is right, and stop it or remove its autostart link on the other")
            homes[guest] = host
    left: dict[str, str] = {}
    drained, unknown = _drained(problem), sorted(hosts.unknown)
    for given in problem["workloads"]:
        name, storage, current = given["name"], given.get("storage") or "local", given.get("current")
        if name in homes:
            continue
        local = storage == "local" and any(not disk.get("cdrom") for disk in guests.get(name, {}).get("disks") or ())
        if local and (home := _stopped_on(guests[name], hosts.stored)):
            if current not in (None, home):
                raise ValueError(f"guest '{name}': current: value '{current}', allowed {home}, where it is stopped, with its disks or its"
                                 " configuration")
            homes[name] = home
            if home in drained:
                left[name] = f"it is stopped on {home}, which drains"
        elif current in drained and _bound(given, drained):
            left[name] = f"its disks are on {current}, which drains"
        elif local and unknown and name not in hosts.new and current not in unknown:
            left[name] = f"its disks may be on {', '.join(unknown)}; one that is new is named by -e new_guests={name}"
    return homes, left


def _bound(workload: Mapping[str, Any], drained: Collection[str]) -> bool:
    """Whether a guest that no host has can start nowhere but on its host."""
    replica = workload.get("replica") if workload.get("storage") == "replicated" else None
    return workload.get("movable") is False or (workload.get("storage") != "shared" and replica in (None, *drained))


def _stopped_on(guest: Mapping[str, Any], stored: Mapping[str, Mapping[str, Collection[str]]]) -> str | None:
    """The host that has the disks or the configuration of a guest that runs nowhere, if any has."""
    volumes = {f"{disk['volume_group']}/{volume_name(guest['name'], disk['name'])}"
               for disk in guest["disks"] if disk.get("volume_group")}
    # In the middle of a move with its disks neither host may have them under their own names.
    for wanted in (volumes, {f"{volume}{SUFFIX}" for volume in volumes}):
        homes = [host for host, there in sorted(stored.items())
                 if wanted & set(there["volumes"]) or (wanted is volumes and guest["name"] in there["configured"])]
        if len(homes) > 1:
            raise ValueError(f"guest '{guest['name']}': {' and '.join(homes)} have disks or a configuration of it, and it runs on none of"
                             " them; find out which has its data, and remove or rename what the other has")
        if homes:
            return homes[0]
    return None
