# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What has to hold just before the moves of a wave begin: pure, from what source and target told."""
from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.drbd.resources import names_of
from ansible_collections.xenfold.consolidation.plugins.module_utils.drbd.state import (
    CONNECTED,
    PRIMARY,
    SECONDARY,
    UP_TO_DATE,
    State,
)
from ansible_collections.xenfold.consolidation.plugins.module_utils.guest.full import normalise
from ansible_collections.xenfold.consolidation.plugins.module_utils.moves import judge, offline
from ansible_collections.xenfold.consolidation.plugins.module_utils.moves.listing import Copy
from ansible_collections.xenfold.consolidation.plugins.module_utils.sizing import memory
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl.host import needs_of

SLACK_MIB = 64
"""Free memory that stays: what Xen takes for itself while a guest is built is not known to the MiB."""
_VERSION = re.compile(r"([0-9]+)\.([0-9]+)")


def problems(
    moves: Sequence[Mapping[str, Any]], define: Sequence[Mapping[str, Any]], found: Mapping[str, Mapping[str, Any]],
    guests: Mapping[str, Mapping[str, Any]], later: Iterable[str] = (),
) -> list[str]:
    """Everything that stands against the steps of a wave, one line each.

    later: guests that an earlier step brings to where this one begins; where they are, and whether there is room, is not looked at yet.
    """
    lines: list[str] = []
    ahead = set(later)
    for move in moves:
        guest, definition = move["workload"], normalise(guests[move["workload"]])
        title = f"step {move['step']}: {guest} from {move['from']} to {move['to']}: "
        with_disks = move["method"] == offline.OFFLINE
        if absent := [host for host in (move["from"], move["to"]) if host not in found]:
            lines.append(title + f"{' and '.join(absent)} did not answer this time")
            continue
        told = [] if with_disks else _versions(found[move["from"]], found[move["to"]], move)
        told += _at_target(move, definition, found, offline.needs(move, guests) if with_disks else needs_of(definition))
        if guest not in ahead:
            told += _elsewhere(move, definition, found) + _at_source(move, definition, found, with_disks)
            told += offline.problems(move, definition, found) if with_disks else _replicas(move, definition, found)
        lines += [title + line for line in told]
    if not ahead:
        ends = {step["to"] for step in [*moves, *define]}
        lines += [f"host {host!r}: it did not answer this time" for host in sorted(ends - set(found) - {move["to"] for move in moves})]
        for host in sorted(ends & set(found)):
            lines += _room(host, [step for step in [*moves, *define] if step["to"] == host], found, guests)
            lines += offline.room(host, [move for move in moves if move["to"] == host and move["method"] == offline.OFFLINE], found, guests)
    return lines


def _at_source(move: Mapping[str, Any], definition: Mapping[str, Any], found: Mapping[str, Any], with_disks: bool = False) -> list[str]:
    """with_disks: it is shut down for its move, and need not be such that it could move while it runs."""
    host, guest, source = move["from"], definition["name"], found[move["from"]]
    copies = judge.copies_of(map(Copy.of, source["domains"]), guest, definition["uuid"])
    if [copy.name for copy in copies] != [guest]:
        there = ", ".join(copy.told() for copy in copies) or "nothing"
        return [f"it does not run on {host}, which has {there}"]
    copy = copies[0]
    lines = []
    if copy.uuid != definition["uuid"]:
        lines.append(f"the guest of its name on {host} has the uuid {copy.uuid}, wanted {definition['uuid']}; give it that 'uuid' in the"
                     " definition, or end it")
    if copy.state != "running":
        state = "suspended" if copy.suspended else copy.state
        lines.append(f"it is {state} on {host}, not running (docs/guests.md, States that need a person)")
    if guest in source["moving"]:
        lines.append(f"xl migrate works on it already on {host}")
    if definition["driver_domain"]:
        lines.append(f"it is a driver domain, whose clients on {host} would lose their disks or networks; it stays, or is stopped first")
    if with_disks:
        return lines
    size = source["sizes"].get(guest)
    if size is None:
        return [*lines, f"xl list -l does not show it on {host}, so its configuration cannot be sent; stop it and start it anew"]
    if size["type"] == "pv" and "shadow" not in source["virt_caps"]:
        lines.append("it is of type pv, and Xen was built without shadow paging, which its live move needs (XSA-495); make it pvh")
    if size["pci"]:
        lines.append(f"it has PCI devices of {host} ({', '.join(size['pci'])}), and cannot move with them; xl pci-detach, or keep it there")
    if size["vnuma"]:
        lines.append("it has virtual NUMA nodes, which Xen cannot move; stop it and start it there")
    if move["to"] in source.get("deaf", {}):
        lines.append(f"{host} cannot send to {move['to']}: {source['deaf'][move['to']]}")
    return lines


def _elsewhere(move: Mapping[str, Any], definition: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    lines = []
    for other, told in sorted(found.items()):
        copies = judge.copies_of(map(Copy.of, told["domains"]), definition["name"], definition["uuid"])
        if copies and other != move["from"]:
            lines.append(f"{other} has {', '.join(copy.told() for copy in copies)} already")
    return lines


def _at_target(move: Mapping[str, Any], definition: Mapping[str, Any], found: Mapping[str, Any], needs: Sequence[str]) -> list[str]:
    host, target = move["to"], found[move["to"]]
    if not target["xen"]:
        return [f"Xen does not run on {host}"]
    lines = []
    # Of backends in driver domains, which serve guests of their own host, the listing tells.
    absent = {*target["missing"], *(f"domain {name}" for name in _backends(definition) - {domain["name"] for domain in target["domains"]})}
    lacking = [need for need in needs if need in absent]
    if lacking:
        lines.append(f"{host} has no {', no '.join(lacking)}")
    if definition["type"] != "pv" and "hvm" not in target["virt_caps"]:
        lines.append(f"it is of type {definition['type']}, and {host} has no hardware virtualization (virt_caps: hvm)")
    return lines


def _backends(definition: Mapping[str, Any]) -> set[str]:
    return {need.removeprefix("domain ") for need in needs_of(definition) if need.startswith("domain ")}


def _replicas(move: Mapping[str, Any], definition: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """Whether both hosts see its replicated disks as the same, and the source alone writes them."""
    lines = []
    for name in names_of([definition]):
        for host, role, other in ((move["from"], PRIMARY, SECONDARY), (move["to"], SECONDARY, PRIMARY)):
            told = found[host].get("resources", {}).get(name)
            if told is None:
                lines.append(f"{host} has no copy of its disk {name}, which moves live to its replica alone; site.yml makes it there")
                continue
            state = State.of(told)
            if not state.whole or (state.role, state.peer_role) != (role, other):
                lines.append(f"its disk {name} is {state.told()} on {host}, allowed {CONNECTED}, {role}/{other} and {UP_TO_DATE} on both"
                             " (docs/guests.md, Replicated disks)")
    return lines


def _versions(source: Mapping[str, Any], target: Mapping[str, Any], move: Mapping[str, Any]) -> list[str]:
    """A guest goes to the same minor version of Xen, or to the next one, never back."""
    old, new = (_VERSION.match(host["xen_version"]) for host in (source, target))
    if not (source["xen"] and target["xen"]) or not old or not new:
        return []
    step = int(new[2]) - int(old[2])
    if new[1] == old[1] and step in (0, 1):
        return []
    told = f"{move['from']} runs Xen {source['xen_version']} and {move['to']} Xen {target['xen_version']}"
    return [f"{told}; a guest moves live to the same minor version or to the next one"]


def _room(
    host: str, steps: Sequence[Mapping[str, Any]], found: Mapping[str, Any], guests: Mapping[str, Mapping[str, Any]],
) -> list[str]:
    """All that arrive in a wave, at once, beside what the host has now."""
    target = found[host]
    if not target["xen"]:
        return []
    parts = {}
    for step in steps:
        definition = normalise(guests[step["workload"]])
        size = found[step["from"]]["sizes"].get(step["workload"], definition) if step["from"] else definition
        parts[step["workload"]] = memory.footprint_mib(
            size["memory_mib"] or 0, size["maxmem_mib"] or 0, size["maxvcpus"], size["type"],
            definition["max_grant_frames"] or memory.DEFAULT_GRANT_FRAMES, "hap" in target["virt_caps"], bool(definition["pvshim"]))
    wanted = sum(parts.values())
    if wanted + SLACK_MIB <= target["free_mib"]:
        return []
    each = ", ".join(f"{guest} {mib}" for guest, mib in sorted(parts.items()))
    needed = f"what comes in this wave needs {wanted} MiB ({each}) and {SLACK_MIB} MiB that stay free"
    return [f"host {host!r}: {target['free_mib']} MiB of memory are free, and {needed}"]
