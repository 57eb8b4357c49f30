# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether a host may be shut down. Pure, from what all hosts told and what the inventory says of them; standard library alone."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.estate.running import has_disks
from ansible_collections.xenfold.consolidation.plugins.module_utils.moves.volumes import disks_of, told_volumes
from ansible_collections.xenfold.consolidation.plugins.module_utils.operations.running import STARTS_ONLY, Told, unfinished

SPARES = "power_spares"


def against(
    host: str, found: Told, problem: Mapping[str, Any], guests: Mapping[str, Mapping[str, Any]], least: Any = 1,
) -> list[str]:
    """Everything that stands against it, one line each; empty when nothing does.

    found: host -> the answer of xl_move_info, of those that answered; problem: that of the estate, in which a host that is drained or off
    has the state drain; least: the host's power_spares.
    """
    hosts = {entry["name"]: entry for entry in problem["hosts"]}
    lines = [] if hosts[host]["state"] == "drain" else [f"it is not drained: playbooks/drain.yml -e host={host}"]
    if host in found:
        there = _there(found[host])
        lines += [f"{', '.join(there)}: runs there, or would start there"] if there else []
    else:
        lines.append("it does not answer, so nobody knows what runs there")
    stopped = _stopped(host, found, problem, guests)
    if stopped:
        lines.append(f"{', '.join(stopped)}: stopped there, with disks or configuration; take the host back (return.yml), let site.yml"
                     " start it, and drain again; or remove it (guests_remove)")
    # One that is down in the middle of its move may have its only whole disks there.
    moving = unfinished(found)
    lines += [f"{', '.join(moving)}: on its way; go on with what moves it, playbooks/drain.yml or apply.yml"] if moving else []
    # Two copies may have exchanged their parts since the inventory was written.
    copies = {workload["name"] for workload in problem["workloads"] if workload.get("replica") == host}
    copies |= {resource["guest"] for resource in (found.get(host, {}).get("resources") or {}).values()}
    lines += [f"it keeps the second copy of {', '.join(sorted(copies))} (replica)"] if copies else []
    if isinstance(least, bool) or not str(least).isdecimal():
        return [*lines, f"{SPARES}: value {least!r}, allowed a number, 0 or more"]
    spare = [name for name, entry in sorted(hosts.items()) if name != host and entry["pool"] == hosts[host]["pool"]
             and entry["state"] == "active" and name in found and found[name].get("xen") and not _there(found[name])]
    if len(spare) < int(least):
        lines.append(f"{SPARES}: value {least}, so as many hosts of its pool that could take guests have to stay on without any; there"
                     f" would be {len(spare)}{': ' + ', '.join(spare) if spare else ''}")
    return lines


def _stopped(host: str, found: Told, problem: Mapping[str, Any], guests: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Guests with disks on one host that run nowhere, and of which this host has some or the configuration. site.yml goes by it that a host
    which was shut down has no guest's disks."""
    told = found.get(host, {})
    volumes = told_volumes(told)
    running = {name for answer in found.values() for name in _there(answer)}
    local = [guests[workload["name"]] for workload in problem["workloads"]
             if (workload.get("storage") or "local") == "local" and workload["name"] in guests]
    return sorted(guest["name"] for guest in local if has_disks(guest) and guest["name"] not in running and (
        guest["name"] in (told.get("stored") or ()) or volumes.intersection(disks_of(guest))))


def _there(told: Mapping[str, Any]) -> list[str]:
    """What a host runs, sends, receives or starts by itself."""
    names = {str(domain["name"]) for domain in told["domains"]} | set(map(str, told.get("moving") or ()))
    receiving = ["a guest that arrives"] if told.get("receiving") else []
    starts = {guest for guest, state in (told.get("guests") or {}).items() if state == STARTS_ONLY}
    return [*sorted(names | starts), *receiving]
