# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A problem as the hosts found it: guests that are there already count as running there."""
from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any


def placed(given: Mapping[str, Any], home: str) -> dict[str, Any]:
    """A workload on a host. Where that is its replica, the two copies have exchanged their parts."""
    workload = {**given, "current": home}
    if workload.get("replica") == home:
        del workload["replica"]
        if given.get("current") not in (None, home):
            workload["replica"] = given["current"]
    return workload


def keep_running(
    problem: Mapping[str, Any], found: Mapping[str, Mapping[str, str]], configured: Mapping[str, Collection[str]] | None = None,
    lost: Collection[str] = (),
) -> dict[str, Any]:
    """The problem with `current` of every guest that a host has, and no move allowed for any of them.

    A host that drains is closed: it keeps what runs there, since nothing moves, and gets nothing. What the inventory has there and no host
    has is started elsewhere when it can reach its disks from there, else it is left out.

    What has its disks on one host never begins elsewhere with empty ones: it stays where it is stopped; and while a host is lost, one that
    no host has and that has no `current` may have its disks there, so it is left out.

    found: host -> {guest: state}, from every host that answered; configured: host -> the guests whose configurations it has stored; lost:
    hosts that have died with what they had. Raises ValueError when two hosts have one guest.
    """
    where: dict[str, str] = {}
    for host in sorted(found):
        for guest in found[host]:
            if guest in where:
                raise ValueError(f"guest '{guest}': {where[guest]} and {host} both have it (running, or starting with the host); "
                                 "decide which one is right, and stop it or remove its autostart link on the other")
            where[guest] = host
    local = {workload["name"] for workload in problem["workloads"] if workload.get("storage", "local") == "local"} - set(where)
    stopped = _stopped(configured or {}, local)
    drained = {host["name"] for host in problem.get("hosts") or () if host.get("state") == "drain"}
    workloads = []
    for given in problem["workloads"]:
        name = given["name"]
        home = where.get(name) or stopped.get(name)
        if name in stopped and given.get("current") not in (None, home):
            raise ValueError(f"guest '{name}': current: value '{given['current']}', allowed {home}, where it is stored and stopped;"
                             f" or remove the configuration on {home}")
        workload = placed(given, home) if home else dict(given)
        if name in local and "current" not in workload and lost:
            continue
        if workload.get("current") in drained and name not in where:
            replica = workload.get("replica") if workload.get("storage") == "replicated" else None
            if workload.get("movable") is False or (workload.get("storage") != "shared" and replica in (None, *drained)):
                continue
            if replica:
                workload = placed(given, replica)
            else:
                del workload["current"]
        workloads.append(workload)
    hosts = [{**host, "state": "closed"} if host["name"] in drained else host for host in problem.get("hosts") or ()]
    names = {workload["name"] for workload in workloads}
    rules = [{**rule, "workloads": [name for name in rule["workloads"] if name in names]} for rule in problem.get("rules") or ()]
    return {**problem, "hosts": hosts, "workloads": workloads, "rules": [rule for rule in rules if rule["workloads"]],
            "policy": {**problem["policy"], "max_moves": 0}}


def _stopped(configured: Mapping[str, Collection[str]], local: Collection[str]) -> dict[str, str]:
    """Guest -> the host that has its configuration stored, of those that have their disks on one host."""
    homes: dict[str, str] = {}
    for host in sorted(configured):
        for guest in sorted(set(configured[host]) & set(local)):
            if guest in homes:
                raise ValueError(f"guest '{guest}': {homes[guest]} and {host} both have its configuration stored, and it runs on neither; "
                                 "find out which one has its disks, and remove the configuration on the other")
            homes[guest] = host
    return homes
