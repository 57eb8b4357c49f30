# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Replicated disks as the hosts have them against the estate; pure."""
from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.audit.finding import Finding
from ansible_collections.xenfold.consolidation.plugins.module_utils.drbd.resources import names_of
from ansible_collections.xenfold.consolidation.plugins.module_utils.drbd.state import CONNECTED, PRIMARY, STATE_KEYS, UP_TO_DATE, State

_WHOLE = f"{CONNECTED}, {UP_TO_DATE}/{UP_TO_DATE}"


def findings(
    told: Mapping[str, Mapping[str, Any]], others: Collection[str], guests: Mapping[str, Mapping[str, Any]], workloads: Collection[str],
) -> Iterator[Finding]:
    """told: host -> answer of xl_guest_info with details; others: hosts of which nothing is known; guests: definitions by name."""
    resources = {host: info.get("resources") or {} for host, info in told.items()}
    for host, there in resources.items():
        for name, resource in sorted(there.items()):
            yield from _resource(host, name, resource, resource["guest"] in workloads)
    for guest, definition in sorted(guests.items()):
        for name in names_of([definition]):
            copies = [host for host, there in resources.items() if name in there]
            # One that nobody could ask may have a copy.
            if told and len(copies) + len(others) < 2:
                where = f"on {copies[0]} alone" if copies else "on no host"
                yield Finding(copies[0] if copies else min(told), "replica", name, where, "copies on two hosts",
                              f"disk {name} of guest {guest} has a copy {where}; site.yml makes the other one")


def _resource(host: str, name: str, resource: Mapping[str, Any], known: bool) -> Iterator[Finding]:
    state, guest = State(*(resource[key] for key in STATE_KEYS)), resource["guest"]
    if not known:
        volumes = ", ".join(resource["volumes"])
        yield Finding(host, "replica", name, f"{state.told()}; volumes {volumes}", "a guest of the estate",
                      f"disk {name} is replicated for guest {guest}, which is not in the estate: {state.told()}, volumes {volumes}")
        return
    if not state.whole:
        yield Finding(host, "replica", name, state.told(), _WHOLE,
                      f"disk {name} of guest {guest} is {state.told()}; it cannot move live, and without this host or the other one a copy"
                      " may be lost")
    both = state.role == state.peer_role == PRIMARY
    if resource["two_primaries"] or both:
        found = "both copies are primary" if both else "both copies may be primary"
        yield Finding(host, "replica", name, found, "one primary, but while the guest moves",
                      f"disk {name} of guest {guest}: {found}; when it does not move right now, playbooks/apply.yml takes that back")
