# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A placement under construction: what is free, who is where, and where a workload may go next."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .affinity import bound_together
from .problem import Bools, Ints, Problem
from .rules import Rule

NOWHERE = -1


def static_mask(problem: Problem, rules: Sequence[Rule], soft: bool = False) -> Bools:
    """bool[workloads, hosts]: where each workload could run if it were alone.

    Honours states, features, limits.vcpus, movable, the size of a host, and the hard rules that concern single workloads
    (soft: the soft ones too). An `affinity` with `during: always` that holds now can never be left, so it pins as well.
    """
    hosts, current = problem.hosts, problem.current
    active = np.array([host.state == "active" for host in hosts], dtype=bool)
    closed = np.array([host.state == "closed" for host in hosts], dtype=bool)
    at_home = current[:, None] == np.arange(len(hosts))
    allowed = able(problem) & (active | (closed & at_home))
    stuck = [row for row, workload in enumerate(problem.workloads) if not workload.movable]
    for row in stuck:
        home_only = np.zeros(len(hosts), dtype=bool)
        home_only[current[row]] = True
        allowed[row] &= home_only
    sizes, kinds = np.unique(problem.usable, axis=0, return_inverse=True)
    peaks = problem.demand.max(axis=2)
    fits = np.stack([(peaks <= size).all(axis=1) for size in sizes], axis=1)
    allowed &= fits[:, kinds.reshape(-1)]
    for rule in rules:
        if rule.spec.hard or soft:
            mask = rule.static()
            if mask is not None:
                allowed[rule.members] &= mask
            elif rule.spec.always and rule.spec.kind == "affinity" and (current[rule.members] >= 0).all():
                domains = set(rule.domain[current[rule.members]].tolist())
                if len(domains) == 1:
                    allowed[rule.members] &= rule.domain == domains.pop()
    return allowed


def able(problem: Problem) -> Bools:
    """bool[workloads, hosts]: which hosts offer the features a workload requires and take its number of vCPUs."""
    wanted: dict[tuple[frozenset[str], int], list[int]] = {}
    for row, workload in enumerate(problem.workloads):
        wanted.setdefault((workload.requires, workload.vcpus), []).append(row)
    result = np.zeros((len(problem.workloads), len(problem.hosts)), dtype=bool)
    for (requires, vcpus), rows in wanted.items():
        result[rows] = [requires <= host.features and (host.vcpus is None or vcpus <= host.vcpus) for host in problem.hosts]
    return result


class State:
    """A partial placement. free[h, r, slot] never falls below 0 by `place`."""

    def __init__(self, problem: Problem, rules: Sequence[Rule], allowed: Bools, usable: Ints | None = None,
                 soft: bool = False) -> None:
        self.problem = problem
        self.allowed = allowed
        self.between = [rule for rule in rules if rule.between and (rule.spec.hard or soft)]
        self.rules_of: list[list[Rule]] = [[] for _ in problem.workloads]
        for rule in self.between:
            concerned = range(len(problem.workloads)) if rule.spec.kind == "exclusive" else rule.spec.workloads
            for workload in concerned:
                self.rules_of[workload].append(rule)
        room = problem.usable if usable is None else usable
        self.free = np.repeat(room[:, :, None], problem.slots, axis=2)
        self.host_of = np.full(len(problem.workloads), NOWHERE, dtype=np.int64)
        self.count = np.zeros(len(problem.hosts), dtype=np.int64)

    def copy(self) -> State:
        """The same placement, to be changed on its own."""
        twin = object.__new__(State)
        twin.__dict__.update(self.__dict__)
        twin.free, twin.host_of, twin.count = self.free.copy(), self.host_of.copy(), self.count.copy()
        return twin

    def fits(self, demand: Ints) -> Bools:
        """bool[hosts]: where a demand[r, slot] fits."""
        return np.asarray((self.free >= demand).all(axis=(1, 2)))

    def options(self, members: Sequence[int]) -> Bools:
        """bool[hosts]: where workloads that go together, placed nowhere yet, may go."""
        result: Bools = np.asarray(self.allowed[list(members)].all(axis=0))
        if result.any():
            result = result & self.fits(self.problem.demand[list(members)].sum(axis=0))
        for member in members:
            for rule in self.rules_of[member]:
                if result.any():
                    result = result & rule.mask(member, self.host_of, self.count)
        for host in np.nonzero(result)[0].tolist() if len(members) > 1 else ():
            result[host] = self._may_together(members, host)
        return result

    def may(self, members: Sequence[int], host: int) -> bool:
        """Whether workloads that go together may go to one host."""
        if not self.allowed[list(members), host].all():
            return False
        if not (self.free[host] >= self.problem.demand[list(members)].sum(axis=0)).all():
            return False
        return self._may_together(members, host)

    def _may_together(self, members: Sequence[int], host: int) -> bool:
        """Whether the rules allow workloads, placed nowhere yet, on one host one after another."""
        done = []
        for member in members:
            if not all(rule.allows(member, host, self.host_of, self.count) for rule in self.rules_of[member]):
                break
            self.host_of[member] = host
            self.count[host] += 1
            done.append(member)
        self.host_of[done] = NOWHERE
        self.count[host] -= len(done)
        return len(done) == len(members)

    def place(self, members: Sequence[int], host: int) -> None:
        """Put workloads on a host, unchecked."""
        for member in members:
            self.free[host] -= self.problem.demand[member]
            self.host_of[member] = host
            self.count[host] += 1

    def remove(self, members: Sequence[int]) -> None:
        """Take workloads off their hosts."""
        for member in members:
            host = self.host_of[member]
            self.free[host] += self.problem.demand[member]
            self.host_of[member] = NOWHERE
            self.count[host] -= 1

    def moves(self) -> int:
        """Workloads with a current host that stand on another one."""
        current = self.problem.current
        return int(((current >= 0) & (self.host_of >= 0) & (self.host_of != current)).sum())


def group(problem: Problem, rules: Sequence[Rule], allowed: Bools) -> list[tuple[int, ...]]:
    """Workloads that have to share a host, each group sorted; all others alone.

    Groups whose members cannot share any host, by size or by another rule, are left apart: the search then places what
    it can of them.
    """
    groups = dict.fromkeys(bound_together((rule.spec for rule in rules), len(problem.workloads)))
    result: list[tuple[int, ...]] = []
    empty = State(problem, rules, allowed)
    for members in groups:
        together = len(members) == 1 or bool(empty.options(members).any() and not _apart(rules, members))
        result.extend([members] if together else [(member,) for member in members])
    return sorted(result)


def _apart(rules: Sequence[Rule], members: Sequence[int]) -> bool:
    """Whether a hard rule keeps members of a group off one host."""
    inside = set(members)
    for rule in rules:
        shared = len(inside & set(rule.spec.workloads))
        if rule.spec.hard and rule.spec.kind in ("spread", "anti_affinity") and shared > rule.spec.at_most:
            return True
        if rule.spec.hard and rule.spec.kind == "exclusive" and 0 < shared < len(inside):
            return True
    return False
