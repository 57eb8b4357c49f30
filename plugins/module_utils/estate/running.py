# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A problem as the hosts found it: guests that are there already count as running there."""
from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.moves.volume_receive import SUFFIX
from ansible_collections.xenfold.consolidation.plugins.module_utils.moves.volume_send import MOVED_SUFFIX
from ansible_collections.xenfold.consolidation.plugins.module_utils.moves.volumes import disks_of


@dataclass(frozen=True)
class Hosts:
    """What hosts told, and what is known of those that told nothing.

    found: host -> {guest: state}, of what runs or starts with it, from every host that answered; stored: host -> what it has stored, as
    `configured` (guests), `volumes` and `arriving` (group/name); unknown: hosts that told nothing, and may have guests' disks; new: guests
    that are new although there are such hosts.
    """

    found: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    stored: Mapping[str, Mapping[str, Collection[str]]] = field(default_factory=dict)
    unknown: Collection[str] = ()
    new: Collection[str] = ()


@dataclass(frozen=True)
class _Left:
    """Why a guest is not planned; waits: for a host, and no person has to look."""

    why: str
    waits: bool = True


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

    Raises ValueError when two hosts have one guest.
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
    return {**without({**problem, "workloads": workloads}, left), "hosts": closed, "policy": {**problem["policy"], "max_moves": 0}}


def without(problem: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """The problem without some of its workloads, and without rules that have none left."""
    rules = [{**rule, "workloads": [name for name in rule["workloads"] if name not in names]} for rule in problem.get("rules") or ()]
    return {**problem, "workloads": [workload for workload in problem["workloads"] if workload["name"] not in names],
            "rules": [rule for rule in rules if rule["workloads"]]}


def left_out(problem: Mapping[str, Any], hosts: Hosts, guests: Mapping[str, Mapping[str, Any]] | None = None) -> dict[str, dict[str, Any]]:
    """Guest -> `why` it is not planned, and whether it `waits` for a host, or a person has to look. Raises ValueError."""
    return {name: {"why": left.why, "waits": left.waits} for name, left in _judged(problem, hosts, guests or {})[1].items()}


def _drained(problem: Mapping[str, Any]) -> set[str]:
    return {host["name"] for host in problem.get("hosts") or () if host.get("state") == "drain"}


def _judged(problem: Mapping[str, Any], hosts: Hosts, guests: Mapping[str, Mapping[str, Any]]) -> tuple[dict[str, str], dict[str, _Left]]:
    """Guest -> the host that has it; guest -> why it is left out."""
    homes: dict[str, str] = {}
    for host in sorted(hosts.found):
        for guest in hosts.found[host]:
            if guest in homes:
                raise ValueError(f"guest '{guest}': {homes[guest]} and {host} both have it (running, or starting with the host); "
                                 "decide which one is right, and stop it or remove its autostart link on the other")
            homes[guest] = host
    left: dict[str, _Left] = {}
    drained = _drained(problem)
    for given in problem["workloads"]:
        name, current = given["name"], given.get("current")
        if name in homes:
            continue
        home: str | _Left | None = None
        if (given.get("storage") or "local") == "local" and has_disks(guests.get(name, {})):
            home = _stopped_on(guests[name], current, hosts)
        if isinstance(home, _Left):
            left[name] = home
        elif home:
            homes[name] = home
            if home in drained:
                left[name] = _Left(f"it is stopped on {home}, which drains")
        elif current in drained and _bound(given, drained):
            left[name] = _Left(f"its disks are on {current}, which drains")
    return homes, left


def _bound(workload: Mapping[str, Any], drained: Collection[str]) -> bool:
    """Whether a guest that no host has can start nowhere but on its host."""
    replica = workload.get("replica") if workload.get("storage") == "replicated" else None
    return workload.get("movable") is False or (workload.get("storage") != "shared" and replica in (None, *drained))


def has_disks(guest: Mapping[str, Any]) -> bool:
    return any(not disk.get("cdrom") for disk in guest.get("disks") or ())


def _stopped_on(guest: Mapping[str, Any], current: str | None, hosts: Hosts) -> str | _Left | None:
    """The host that has the disks of a guest with disks on one host, which runs nowhere; or why it is left out; None when it is new.

    Volumes count more than a configuration, which may be old; without any volume it tells where they should be.
    """
    name, unknown = guest["name"], sorted(hosts.unknown)
    volumes = set(map("/".join, disks_of(guest)))

    def where(wanted: Collection[str], key: str = "volumes") -> list[str]:
        return [host for host, there in sorted(hosts.stored.items()) if set(wanted) & set(there.get(key, ()))]

    homes, taken = where(volumes), where(volumes, "arriving")
    if taken or (not homes and (halves := where([volume + suffix for volume in volumes for suffix in (SUFFIX, MOVED_SUFFIX)]))):
        where_to = ", ".join(taken or halves)
        return _Left(f"its disks are in the middle of a move ({where_to}); playbooks/apply.yml goes on with that", waits=False)
    configured = [host for host, there in sorted(hosts.stored.items()) if name in there["configured"]]
    # A host that tells nothing may have more than that.
    if not homes and (name in hosts.new or not unknown or (not volumes and current not in unknown)):
        homes = configured
    if len(homes) > 1:
        return _Left(f"{' and '.join(homes)} have disks or a configuration of it, and it runs on none of them; find out which has its data,"
                     " and remove or rename what the other has", waits=False)
    if homes:
        if current in (None, *homes):
            return homes[0]
        return _Left(f"current: value {current!r}, allowed {homes[0]}, which has its disks or its configuration", waits=False)
    if unknown and name not in hosts.new and current not in unknown:
        return _Left(f"its disks may be on {', '.join(unknown)}; one that is new is named by -e new_guests={name}")
    return None
