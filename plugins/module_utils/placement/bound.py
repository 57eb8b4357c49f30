# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How few hosts could possibly do: bounds that hold for every placement."""
from __future__ import annotations

import numpy as np

from .dual import dual_bound
from .problem import Bools, Ints, Problem


def hosts_bound(problem: Problem, allowed: Bools) -> int:
    """A number of hosts below which no placement exists.

    allowed: bool[workloads, hosts], where each could run on its own. Workloads that can run nowhere are left out.
    The largest of: per resource and slot the sum of the demands on the hosts with the most usable capacity; dual feasible
    functions of single resources and of several together (dual.py), which include L2 of Martello and Toth (1990); the largest group
    that must be spread; the hosts that are used whatever happens.
    """
    placeable = np.nonzero(allowed.any(axis=1))[0]
    if not len(placeable):
        return 0
    open_hosts = np.nonzero(allowed[placeable].any(axis=0))[0]
    usable, demand = problem.usable[open_hosts], problem.demand[placeable]
    best = max(1, _sum_bound(usable, demand), dual_bound(usable, demand), _spread_bound(problem, allowed))
    single = allowed[placeable].sum(axis=1) == 1
    return max(best, len(set(np.argmax(allowed[placeable][single], axis=1).tolist())))


def _sum_bound(usable: Ints, demand: Ints) -> int:
    """Hosts until the usable capacities, largest first, reach the sum of the demands, in the worst resource and slot."""
    bound = 0
    totals = demand.sum(axis=0)
    for resource in range(usable.shape[1]):
        reached = np.cumsum(np.sort(usable[:, resource])[::-1])
        need = int(totals[resource].max())
        if need > 0:
            bound = max(bound, min(int(np.searchsorted(reached, need, side="left")) + 1, len(reached)))
    return bound


def _spread_bound(problem: Problem, allowed: Bools) -> int:
    """Members that must not share a host need so many hosts."""
    bound = 0
    for rule in problem.rules:
        if rule.hard and rule.kind in ("anti_affinity", "spread"):
            members = sum(1 for index in rule.workloads if allowed[index].any())
            bound = max(bound, -(-members // rule.at_most))
    return bound
