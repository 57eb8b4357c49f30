# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a placement is worth, as a tuple that is compared from left to right: smaller is better."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .problem import Ints, Problem
from .rules import Rule, occupancy_of

CPU = "cpu_cores"
Floats = NDArray[np.float64]


def loads(problem: Problem, host_of: Ints) -> Ints:
    """int64[h, r, slot]: sums of the demands on each host."""
    result = np.zeros((len(problem.hosts), len(problem.resources), problem.slots), dtype=np.int64)
    placed = np.nonzero(host_of >= 0)[0]
    np.add.at(result, host_of[placed], problem.demand[placed])
    return result


def evaluate(problem: Problem, rules: Sequence[Rule], host_of: Ints) -> tuple[float, ...]:
    """(unplaced, hard rules broken, first criterion, soft weights, cost of moves, moves, hosts used, largest utilisation).

    first criterion: hosts used, watts or largest utilisation, as policy.objective says. Costs in millionths.
    """
    load = loads(problem, host_of)
    occupancy = occupancy_of(host_of, len(problem.hosts))
    hard = sum(1 for rule in rules if rule.spec.hard and rule.amount(occupancy))
    soft = sum(rule.spec.weight for rule in rules if not rule.spec.hard and rule.spec.weight and rule.amount(occupancy))
    moved = (problem.current >= 0) & (host_of >= 0) & (host_of != problem.current)
    used = int((np.bincount(host_of[host_of >= 0], minlength=len(problem.hosts)) > 0).sum())
    balance = utilisation(problem, load)
    first = {"hosts": float(used), "balance": balance}.get(problem.policy.objective)
    if first is None:
        first = round(watts(problem, host_of, load), 6)
    return (int((host_of < 0).sum()), hard, first, soft, int(problem.move_cost[moved].sum()), int(moved.sum()), used, balance)


def utilisation(problem: Problem, load: Ints) -> float:
    """The largest share of usable capacity that any host uses of any resource in any slot."""
    peaks = load.max(axis=2)
    shares = np.where(peaks > 0, peaks / np.maximum(problem.usable, 1), 0.0)
    return round(float(shares.max(initial=0)), 9)


def watts(problem: Problem, host_of: Ints, load: Ints) -> float:
    """Power of the hosts used: idle + share x (busy - idle).

    share: mean over the slots of cpu_cores used over cpu_cores of the host as written, at most 1; where no
    cpu_cores are known, of the resource that is used most.
    """
    used = np.nonzero(np.bincount(host_of[host_of >= 0], minlength=len(problem.hosts)))[0]
    total = 0.0
    for power in powers(problem, used, load[used].sum(axis=2)).tolist():
        total += power
    return total


def powers(problem: Problem, hosts: Ints, totals: Ints) -> Floats:
    """float[...]: power of used hosts[...]; totals[..., r]: the sums over the slots of the demands on each."""
    # Summed as integers: the order of summing floats could differ between machines.
    means = totals / problem.slots / np.maximum(problem.raw[hosts], 1)
    share = means[..., problem.resources.index(CPU)] if CPU in problem.resources else means.max(axis=-1, initial=0)
    idle = np.array([host.watts_idle for host in problem.hosts])
    busy = np.array([host.watts_busy for host in problem.hosts])
    return np.asarray(idle[hosts] + np.minimum(share, 1.0) * (busy[hosts] - idle[hosts]))
