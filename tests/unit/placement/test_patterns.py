# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""No bound is above what a known packing needs, however fine the numbers are."""
from __future__ import annotations

import random
from typing import Any

import pytest
from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.plan import place

from tests.unit.placement.verifier import violations


def cut(seed: int, hosts: int, parts: int, unit: float, headroom: float = 0) -> dict[str, Any]:
    """Full hosts cut into so many workloads each, in sizes of a unit; one host more than it takes."""
    dice = random.Random(seed)
    room = {"memory_mib": dice.randint(3_000_000, 3_300_000), "cpu_cores": dice.randint(3_000_000, 3_300_000)}
    usable = {name: int(size * (1 - headroom)) for name, size in room.items()}
    sizes: list[dict[str, float]] = []
    for _ in range(hosts):
        left, some = dict(usable), []
        for number in range(parts, 1, -1):
            part = {name: int(size / number * dice.uniform(0.6, 1.4)) for name, size in left.items()}
            left = {name: left[name] - part[name] for name in left}
            some.append(part)
        sizes += [*some, left]
    dice.shuffle(sizes)
    return {
        "hosts": [{"name": f"h{number}", "capacity": {name: round(size * unit, 6) for name, size in room.items()}}
                  for number in range(hosts + 1)],
        "workloads": [{"name": f"w{number:02}", "demand": {name: round(size * unit, 6) for name, size in demand.items()}}
                      for number, demand in enumerate(sizes)],
        "policy": {"headroom": {"memory_mib": headroom, "cpu_cores": headroom}},
    }


@pytest.mark.parametrize("headroom", [0, 0.1])
@pytest.mark.parametrize("unit", [1, 1e-6, 1e-3])
@pytest.mark.parametrize(("hosts", "parts"), [(2, 3), (3, 3), (4, 2)])
def test_bounds_of_fine_numbers(hosts: int, parts: int, unit: float, headroom: float) -> None:
    for seed in range(4):
        problem = cut(seed, hosts, parts, unit, headroom)
        plan = place(problem)
        assert violations(problem, plan) == []
        assert plan["summary"]["hosts_bound"] <= hosts, seed


def test_ordinary_memory_with_headroom() -> None:
    sizes = [(74018, 8), (74756, 9), (72171, 9), (79055, 9), (72279, 8), (85208, 11), (63405, 10), (81017, 10), (94820, 10)]
    plan = place({
        "hosts": [{"name": f"h{number}", "capacity": {"memory_mib": 258048, "cpu_cores": 28}} for number in range(4)],
        "workloads": [{"name": f"w{number}", "demand": {"memory_mib": memory, "cpu_cores": cores}}
                      for number, (memory, cores) in enumerate(sizes)],
        "policy": {"headroom": {"memory_mib": 0.1}},
    })
    assert (plan["summary"]["hosts_bound"], plan["summary"]["hosts_used"], plan["status"]) == (3, 3, "optimal")
