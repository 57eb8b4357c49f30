# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether the workloads of any k used hosts find room on the others."""
from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from .problem import Bools, Ints, Problem
from .rules import Rule
from .state import State, able

LARGEST_CHECK = 20_000


def failover_mask(problem: Problem, rules: Sequence[Rule]) -> Bools:
    """bool[workloads, hosts]: where a workload may restart: active hosts that offer what it requires, fences and bans kept.

    A fence to the hosts with the copies of a replicated workload is none here: where disks are is no more looked at than with local ones,
    else nothing would ever survive the failure of both.
    """
    allowed = able(problem) & np.array([host.state == "active" for host in problem.hosts], dtype=bool)
    for rule in rules:
        if rule.spec.hard and rule.spec.kind in ("fence", "ban"):
            mask = rule.static()
            assert mask is not None
            allowed[rule.members] &= mask | _to_copies(problem, rule, mask)
    return allowed


def _to_copies(problem: Problem, rule: Rule, mask: Bools) -> Bools:
    """bool[members, 1]: whether a fence leaves a replicated member no other hosts than those with its copies."""
    found = np.zeros((len(rule.members), 1), dtype=bool)
    for index, member in enumerate(rule.members.tolist()):
        workload = problem.workloads[member]
        if rule.spec.kind == "fence" and workload.storage == "replicated":
            found[index] = set(np.nonzero(mask[index])[0].tolist()) <= {workload.current, workload.replica}
    return found


def weak_hosts(problem: Problem, rules: Sequence[Rule], host_of: Ints) -> tuple[int, ...] | None:
    """The first set of policy.failover used hosts whose workloads find no room elsewhere, or None.

    Room: capacity x overcommit without headroom, in every slot, nothing else moving, hard anti_affinity of scope host
    kept. Best fit, largest first, in two orders: a set that only a cleverer packing could save counts as weak. Sets
    are checked one by one; more than LARGEST_CHECK of them are refused (the answer is then the empty tuple).
    """
    k = problem.policy.failover
    used = sorted(set(host_of[host_of >= 0].tolist()))
    if not k or not used:
        return None
    k = min(k, len(used))
    apart = [rule for rule in rules if rule.spec.hard and rule.spec.kind == "anti_affinity" and rule.spec.scope == "host"]
    if math.comb(len(used), k) > LARGEST_CHECK:
        return ()
    base = State(problem, apart, failover_mask(problem, rules), usable=problem.capacity)
    for workload in np.nonzero(host_of >= 0)[0].tolist():
        base.place((workload,), int(host_of[workload]))
    for failed in itertools.combinations(used, k):
        if not _survives(base, host_of, failed):
            return failed
    return None


def _survives(base: State, host_of: Ints, failed: tuple[int, ...]) -> bool:
    problem = base.problem
    lost = np.nonzero(np.isin(host_of, failed))[0]
    shares = problem.demand[lost].max(axis=2) / np.maximum(problem.capacity.max(axis=0), 1)
    for sizes in (shares.max(axis=1), shares.sum(axis=1)):
        state = base.copy()
        for workload in lost.tolist():
            state.remove((workload,))
        if all(_restart(state, int(lost[position]), failed) for position in np.lexsort((lost, -sizes)).tolist()):
            return True
    return False


def _restart(state: State, workload: int, failed: tuple[int, ...]) -> bool:
    """Place a workload where least room stays; False when it fits nowhere."""
    options = state.options((workload,))
    options[list(failed)] = False
    hosts = np.nonzero(options)[0]
    if not len(hosts):
        return False
    rest = (state.free[hosts] - state.problem.demand[workload]).min(axis=2) / np.maximum(state.problem.capacity.max(axis=0), 1)
    state.place((workload,), int(hosts[np.lexsort((hosts, rest.sum(axis=1)))[0]]))
    return True
