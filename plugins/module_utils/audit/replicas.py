# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Replicated disks as the hosts have them against the estate; pure."""
from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.audit.finding import Finding
from ansible_collections.xenfold.consolidation.plugins.module_utils.drbd.resources import names_of
from ansible_collections.xenfold.consolidation.plugins.module_utils.drbd.state import CONNECTED, PRIMARY, UP_TO_DATE, State

_WHOLE = f"{CONNECTED}, {UP_TO_DATE}/{UP_TO_DATE}"


def findings(
    told: Mapping[str, Mapping[str, Any]], guests: Mapping[str, Mapping[str, Any]], workloads: Mapping[str, Collection[str]],
) -> Iterator[Finding]:
    """told: host -> answer of xl_guest_info with details; guests: definitions by name; workloads: all names, with the hosts that are to
    have copies of their disks."""
    resources = {host: info.get("resources") or {} for host, info in told.items()}
    for host, there in resources.items():
        for name, resource in sorted(there.items()):
            yield from _resource(host, name, resource, resource["guest"] in workloads)
    for guest, definition in sorted(guests.items()):
        for name in names_of([definition]):
            # One that nobody could ask may have its copy.
            for host in sorted(host for host in workloads.get(guest, ()) if host in resources and name not in resources[host]):
                yield Finding(host, "replica", name, "no copy", "a copy",
                              f"disk {name} of guest {guest} has no copy on {host}; site.yml makes it")
            for host in sorted(host for host, there in resources.items() if name in there and host not in workloads.get(guest, ())):
                yield Finding(host, "replica", name, "a copy", "no copy",
                              f"disk {name} of guest {guest} has a copy on {host}, which is neither its current host nor its replica")


def _resource(host: str, name: str, resource: Mapping[str, Any], known: bool) -> Iterator[Finding]:
    state, guest = State.of(resource), resource["guest"]
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
