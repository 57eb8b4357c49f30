# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How long moves take and why they are made."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .moves import Move
from .objective import loads
from .problem import SCALE, Ints, Problem
from .rules import Rule, occupancy_of

HANDOVER_SECONDS = 0.3
BOOT_SECONDS = 30.0
ROUNDS = 5
_MEGABITS_PER_MIB = 8.388608
_MEGABITS_PER_GIB = 8589.934592


def estimates(problem: Problem, moves: Sequence[Move]) -> list[tuple[float, float]]:
    """(seconds, downtime_seconds) of each move; the moves of one wave share the links of their hosts.

    live: Xen's pre-copy, five rounds, then stop and copy (Clark et al., NSDI 2005; libxl's default of five rounds). Round i
    sends what was dirtied in round i - 1, at most the whole memory, since the writable working set is not known. offline: the disks
    of workloads whose storage is not shared are copied while they are down. define: a boot.
    """
    streams: dict[tuple[int, int], int] = {}
    for move in moves:
        for host in {move.source, move.target} - {-1}:
            streams[move.wave, host] = streams.get((move.wave, host), 0) + 1
    result = []
    for move in moves:
        if move.method == "define":
            result.append((BOOT_SECONDS, 0.0))
            continue
        link = min(problem.hosts[host].link_mbps / streams[move.wave, host] for host in (move.source, move.target))
        if move.method == "live":
            result.append(_live(_peak(problem, move.workload, "memory_mib") * _MEGABITS_PER_MIB,
                                problem.workloads[move.workload].dirty_mbps, link))
        else:
            shared = problem.workloads[move.workload].storage == "shared"
            copied = 0.0 if shared else _peak(problem, move.workload, "disk_gib") * _MEGABITS_PER_GIB
            seconds = round(copied / link + BOOT_SECONDS, 1)
            result.append((seconds, seconds))
    return result


def _live(memory: float, dirty_mbps: float, link: float) -> tuple[float, float]:
    """Pre-copy of so many megabits over a link in Mbit/s."""
    sent, total = memory / link, 0.0
    for _ in range(ROUNDS):
        total += sent
        sent = min(memory, dirty_mbps * sent) / link
    downtime = sent + HANDOVER_SECONDS
    return round(total + downtime, 1), round(downtime, 1)


def _peak(problem: Problem, workload: int, resource: str) -> float:
    if resource not in problem.resources:
        return 0.0
    return float(problem.demand[workload, problem.resources.index(resource)].max()) / SCALE


def reasons(problem: Problem, rules: Sequence[Rule], host_of: Ints, moves: Sequence[Move]) -> list[str]:
    """Why each move is made, in words."""
    used = set(host_of[host_of >= 0].tolist())
    over = loads(problem, problem.current).max(axis=2) > problem.usable
    occupancy = occupancy_of(problem.current, len(problem.hosts))
    broken = [rule for rule in rules if rule.amount(occupancy)]
    return [_reason(problem, move, used, over, broken) for move in moves]


def _reason(problem: Problem, move: Move, used: set[int], over: Ints, broken: Sequence[Rule]) -> str:
    workload, target = problem.workloads[move.workload], problem.hosts[move.target].name
    if move.method == "define":
        return f"new: has no host yet, fits on {target}"
    if move.parking:
        return f"stops on {target} for a while, so that another workload can take its place on {problem.hosts[move.source].name}"
    home = problem.hosts[workload.current]
    if home.state == "drain":
        return f"{home.name} drains"
    if not workload.requires <= home.features:
        return f"requires {', '.join(sorted(workload.requires - home.features))}, which {home.name} does not offer"
    if home.vcpus is not None and workload.vcpus > home.vcpus:
        return f"has {workload.vcpus} vCPUs, {home.name} takes at most {home.vcpus}"
    for rule in broken:
        if rule.concerns(move.workload):
            return f"rule {rule.spec.kind}: {rule.explain()}"
    for rule in broken:
        if rule.spec.kind == "exclusive" and np.isin(problem.current[rule.members], workload.current).any():
            return f"rule {rule.spec.kind}: {rule.explain()}"
    if workload.current not in used:
        return f"empties {home.name}"
    if over[workload.current].any():
        names = [name for name, much in zip(problem.resources, over[workload.current], strict=True) if much]
        return f"{home.name} holds more {', '.join(names)} than is usable"
    return {"hosts": f"makes room on {home.name}, so that fewer hosts do", "watts": f"leaves {home.name} for less power",
            "balance": f"levels {home.name} and {target}"}[problem.policy.objective]
