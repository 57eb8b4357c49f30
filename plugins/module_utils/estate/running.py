# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A problem as the hosts found it: guests that are there already count as running there."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def keep_running(problem: Mapping[str, Any], found: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """The problem with `current` of every guest that a host has, and no move allowed for any of them.

    found: host -> {guest: state}, from every host that answered. Raises ValueError when two hosts have one guest.
    """
    where: dict[str, str] = {}
    for host in sorted(found):
        for guest in found[host]:
            if guest in where:
                raise ValueError(f"guest '{guest}': {where[guest]} and {host} both have it (running, or starting with the host); "
                                 "decide which one is right, and stop it or remove its autostart link on the other")
            where[guest] = host
    workloads = [{**workload, "current": where[workload["name"]]} if workload["name"] in where else workload
                 for workload in problem["workloads"]]
    return {**problem, "workloads": workloads, "policy": {**problem["policy"], "max_moves": 0}}
