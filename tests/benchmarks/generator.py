# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A synthetic estate of any size: guests of a catalogue with day profiles, spread over hosts that are about half full.

Hosts: three of four with 24 cores, 124 GiB; the fourth with 32 cores, 188 GiB; both 20,000 IOPS and 10 Gbit/s; in eight zones
(fewer when there are fewer hosts). Memory and vCPUs come from a catalogue; CPU, IOPS and network follow one of four profiles of
24 hours (office, night, even, evening), scaled and turned by an hour or so. Each guest starts on a random host with room for it.
One rule for 50 workloads, each with workloads of its own, so that they cannot contradict one another: anti_affinity, spread
over zones, affinity, fence and ban in the shares of RULES. The start obeys none of them on purpose.
"""
from __future__ import annotations

import math
import random
from typing import Any

SLOTS = 24
MEMORY_MIB = ((1024, 10), (2048, 22), (4096, 30), (8192, 22), (12288, 6), (16384, 7), (32768, 3))
RULES = (("anti_affinity", 55), ("spread", 15), ("affinity", 10), ("fence", 10), ("ban", 10))
HOSTS = (
    {"cpu_cores": 24, "memory_mib": 124 * 1024, "disk_iops": 20000, "network_mbps": 10000},
    {"cpu_cores": 32, "memory_mib": 188 * 1024, "disk_iops": 20000, "network_mbps": 10000},
)
TRIES = 400


def generate(hosts: int, workloads: int, seed: int) -> dict[str, Any]:
    """A problem {hosts, workloads, rules, policy}; the same seed gives the same problem."""
    rng = random.Random(seed)
    zones = max(1, min(8, hosts // 2))
    host_list: list[dict[str, Any]] = [
        {"name": f"xen{index:05d}", "capacity": dict(HOSTS[index % 4 == 3]), "zone": f"zone{index % zones}"}
        for index in range(hosts)
    ]
    guests = [_guest(rng, index) for index in range(workloads)]
    _start(rng, host_list, guests)
    return {"hosts": host_list, "workloads": guests, "rules": _rules(rng, host_list, guests, zones), "policy": {}}


def _guest(rng: random.Random, index: int) -> dict[str, Any]:
    memory = rng.choices([size for size, _ in MEMORY_MIB], [share for _, share in MEMORY_MIB])[0]
    vcpus = min(16, max(1, round(memory / 4096 * rng.choice((0.5, 1, 1, 2, 2)))))
    profile = _profile(rng)
    iops, network = rng.choice((20, 50, 100, 400)) * vcpus, rng.choice((5, 20, 50)) * vcpus
    return {
        "name": f"vm{index:06d}",
        "vcpus": vcpus,
        "demand": {
            "cpu_cores": [round(vcpus * share, 3) for share in profile],
            "memory_mib": memory,
            "disk_iops": [round(iops * share, 1) for share in profile],
            "network_mbps": [round(network * share, 1) for share in profile],
        },
    }


def _profile(rng: random.Random) -> list[float]:
    """Share of the vCPUs in use, hour by hour."""
    kind, turn = rng.choice(("office", "office", "night", "even", "evening")), rng.uniform(-1.5, 1.5)
    low, high = rng.uniform(0.02, 0.1), rng.uniform(0.3, 0.8)
    middle, width = {"office": (13, 3.5), "night": (2, 2), "even": (12, 1000), "evening": (20, 2.5)}[kind]
    shares = []
    for hour in range(SLOTS):
        distance = abs(hour + 0.5 - middle - turn) % SLOTS
        distance = min(distance, SLOTS - distance)
        level = 0.4 if kind == "even" else math.exp(-((distance / width) ** 2) / 2)
        shares.append(min(1.0, low + (high - low) * level + rng.uniform(0, 0.05)))
    return shares


def _start(rng: random.Random, hosts: list[dict[str, Any]], guests: list[dict[str, Any]]) -> None:
    """Give each guest a host with room for its peaks; a guest for which a few hundred draws find none starts nowhere."""
    resources = sorted(HOSTS[0])
    room = [[host["capacity"][name] for name in resources] for host in hosts]
    for guest in guests:
        peaks = [max(value) if isinstance(value, list) else value for value in (guest["demand"][name] for name in resources)]
        for _ in range(TRIES):
            index = rng.randrange(len(hosts))
            if all(left >= peak for left, peak in zip(room[index], peaks, strict=True)):
                room[index] = [left - peak for left, peak in zip(room[index], peaks, strict=True)]
                guest["current"] = hosts[index]["name"]
                break


def _rules(
    rng: random.Random, hosts: list[dict[str, Any]], guests: list[dict[str, Any]], zones: int
) -> list[dict[str, Any]]:
    names = [guest["name"] for guest in guests]
    rng.shuffle(names)
    result: list[dict[str, Any]] = []
    for _ in range(len(guests) // 50):
        kind = rng.choices([kind for kind, _ in RULES], [share for _, share in RULES])[0]
        members = sorted(names.pop() for _ in range(2 if kind == "affinity" else min(3, max(2, zones))))
        rule: dict[str, Any] = {"rule": kind, "workloads": members}
        if kind == "spread":
            rule |= {"scope": "zone", "at_most": 2 if zones < 3 else 1}
        elif kind in ("fence", "ban"):
            rule["hosts"] = sorted(rng.sample([host["name"] for host in hosts], max(1, len(hosts) // (5 if kind == "fence" else 20))))
        result.append(rule)
    return result
