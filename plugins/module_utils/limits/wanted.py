# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From the guests' definitions to the wanted limits of a host: pure."""
from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.guest.schema import check_name, is_in_range
from ansible_collections.xenfold.consolidation.plugins.module_utils.limits.kernel import DISK_KEYS
from ansible_collections.xenfold.consolidation.plugins.module_utils.limits.plan import NETWORK_KEYS, Wanted

_VISITORS_KEYS = {"disks": {*DISK_KEYS}, "networks": {"bridge", *NETWORK_KEYS} - {"min_mbps"}}


def wanted_of(guests: Iterable[Mapping[str, Any]]) -> Wanted:
    """What each of the normalised guests may use, as limits/plan.py takes it; guests without limits are in it as well."""
    return {
        guest["name"]: {
            "disks": {disk["vdev"]: dict(disk["limits"]) for disk in guest["disks"] if disk["limits"]},
            "networks": {network["mac"]: {"bridge": network["bridge"]} | {key: network[key] for key in NETWORK_KEYS if network[key]}
                         for network in guest["networks"]},
        }
        for guest in guests
    }


def without_limits(wanted: Wanted) -> Wanted:
    """The same guests, all of them free."""
    return {
        guest: {"disks": {}, "networks": {mac: {"bridge": network["bridge"]} for mac, network in parts["networks"].items()}}
        for guest, parts in wanted.items()
    }


def for_visitors(wanted: Wanted) -> dict[str, Any]:
    """What guests of other hosts may use where they move to: of those that have limits, all but their minimum shares."""
    found: dict[str, Any] = {
        guest: {"disks": dict(parts["disks"]),
                "networks": {mac: {key: value for key, value in network.items() if key != "min_mbps"}
                             for mac, network in parts["networks"].items()}}
        for guest, parts in wanted.items()
    }
    free = without_limits(found)
    return {guest: parts for guest, parts in sorted(found.items()) if parts != free[guest]}


def check_visitors(visitors: Any) -> list[str]:
    """What is wrong with the limits of visitors, one line each."""
    if not isinstance(visitors, Mapping):
        return [f"visitors: value {visitors!r}, allowed a mapping of guests to their limits"]
    errors = []
    for guest, parts in visitors.items():
        key = f"visitors: {guest}"
        if not isinstance(parts, Mapping) or set(parts) != {"disks", "networks"} or not all(
                isinstance(part, Mapping) and all(isinstance(limits, Mapping) for limits in part.values()) for part in parts.values()):
            errors.append(f"{key}: value {parts!r}, allowed disks and networks as the filter limits_of gives them")
            continue
        name_error = check_name(guest)
        errors += [f"{key}: {name_error}"] if name_error else []
        for kind, allowed in _VISITORS_KEYS.items():
            errors += [f"{key}: {kind}: {device}: value {dict(limits)!r}, allowed {', '.join(sorted(allowed))} as the filter limits_of "
                       "gives them" for device, limits in parts[kind].items() if not _can_be_followed(kind, device, limits, allowed)]
    return errors


def _can_be_followed(kind: str, device: Any, limits: Mapping[str, Any], allowed: set[str]) -> bool:
    numbers = {key: value for key, value in limits.items() if key != "bridge"}
    # xenstore's addresses are compared in lower case; a disk without any limit is none that has limits.
    told = isinstance(limits.get("bridge"), str) and device == str(device).lower() if kind == "networks" else bool(limits)
    return told and set(limits) <= allowed and all(type(value) is int and is_in_range(key, value) for key, value in numbers.items())


def text_of(wanted: Wanted) -> str:
    """The file for the watcher: the same bytes for the same limits, however the definitions are ordered."""
    return json.dumps({"guests": wanted}, indent=2, sort_keys=True) + "\n"
