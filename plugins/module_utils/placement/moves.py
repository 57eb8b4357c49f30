# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The order of the moves: every prefix keeps within capacity, and so does every wave while all of it is under way."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .objective import loads
from .problem import Bools, Ints, Problem
from .rules import Rule, occupancy_of
from .state import static_mask


@dataclass(frozen=True)
class Move:
    """One change of host. source is -1 for `define`; parking: the first of the two moves of a parked workload."""

    wave: int
    workload: int
    source: int
    target: int
    method: str
    parking: bool = False


def method_of(problem: Problem, workload: int, source: int, target: int) -> str:
    """define, live or offline."""
    if source < 0:
        return "define"
    item = problem.workloads[workload]
    reachable = item.storage == "shared" or (item.storage == "replicated" and item.replica == target)
    same_pool = problem.hosts[source].pool == problem.hosts[target].pool
    return "live" if item.live and reachable and same_pool else "offline"


class Schedule:
    """Orders the moves from problem.current to a placement.

    moves: in order. stuck: workloads for which no order was found; empty when the whole placement can be reached.
    A workload that is placed nowhere but has a current host goes on loading that host.
    """

    def __init__(self, problem: Problem, rules: Sequence[Rule], host_of: Ints) -> None:
        self.problem = problem
        self.target = np.where(host_of >= 0, host_of, problem.current)
        self.at = problem.current.copy()
        self.load = loads(problem, self.at)
        self.limit = np.maximum(problem.capacity[:, :, None], self.load)
        self.occupancy = occupancy_of(self.at, len(problem.hosts))
        self.always = [rule for rule in rules if rule.spec.hard and rule.spec.always]
        self.tolerated = [rule.amount(self.occupancy) for rule in self.always]
        # A stop on the way has to keep only the rules that hold throughout.
        self.stops = static_mask(problem, self.always) if (self.target != self.at).any() else None
        self.moves: list[Move] = []
        self.wave = 0
        pending = [int(w) for w in np.nonzero(self.target != self.at)[0]]
        self.pending = sorted(pending, key=lambda w: (self.at[w] < 0, int(self.at[w]), -int(problem.move_cost[w]), w))
        self.parked: set[int] = set()
        while self.pending:
            if not self._next_wave() and not self._park():
                break
        self.stuck = tuple(sorted(self.pending))

    def _next_wave(self) -> bool:
        """Add every pending move that can be under way beside the others of its wave; False when none can."""
        room = self.limit - self.load
        union = self.occupancy.copy()
        arriving = np.zeros(len(self.problem.hosts), dtype=np.int64)
        leaving = np.zeros(len(self.problem.hosts), dtype=np.int64)
        chosen = []
        # Targets that can still take something: thousands of workloads for a few full hosts are not looked at one by one.
        open_targets = set(self.target[self.pending].tolist())
        for workload in self.pending:
            if not open_targets:
                break
            source, target = int(self.at[workload]), int(self.target[workload])
            if target not in open_targets:
                continue
            if source >= 0 and leaving[source] >= self.problem.hosts[source].moves_out:
                continue
            if not (room[target] >= self.problem.demand[workload]).all() or not self._rules_hold(union, workload, target):
                continue
            union[workload, target] = True
            room[target] -= self.problem.demand[workload]
            arriving[target] += 1
            if arriving[target] >= self.problem.hosts[target].moves_in:
                open_targets.discard(target)
            if source >= 0:
                leaving[source] += 1
            chosen.append(workload)
        if chosen:
            self.wave += 1
            for workload in chosen:
                self._go(workload, int(self.target[workload]))
            gone = set(chosen)
            self.pending = [workload for workload in self.pending if workload not in gone]
        return bool(chosen)

    def _rules_hold(self, union: Bools, workload: int, target: int) -> bool:
        """Whether the rules that hold throughout still do with a workload on its target as well."""
        before = bool(union[workload, target])
        union[workload, target] = True
        holds = all(rule.amount(union) <= most for rule, most in zip(self.always, self.tolerated, strict=True))
        union[workload, target] = before
        return holds

    def _go(self, workload: int, target: int, parking: bool = False) -> None:
        source = int(self.at[workload])
        method = method_of(self.problem, workload, source, target)
        self.moves.append(Move(self.wave, workload, source, target, method, parking))
        if source >= 0:
            self.load[source] -= self.problem.demand[workload]
            self.occupancy[workload, source] = False
        self.load[target] += self.problem.demand[workload]
        self.occupancy[workload, target] = True
        self.at[workload] = target
        # What was over the limit at the start may come down, but not go up again.
        changed = [target] if source < 0 else [source, target]
        capacity = self.problem.capacity[changed][:, :, None]
        self.limit[changed] = np.minimum(self.limit[changed], np.maximum(capacity, self.load[changed]))
        self.tolerated = [min(most, rule.amount(self.occupancy)) for rule, most in zip(self.always, self.tolerated, strict=True)]

    def _park(self) -> bool:
        """Break a cycle: move one pending workload to a third host so that another one can go where it stood."""
        room = self.limit - self.load
        candidates = [w for w in self.pending if self.at[w] >= 0 and w not in self.parked and self.problem.workloads[w].movable]
        candidates.sort(key=lambda w: (int(self.problem.move_cost[w]), w))
        blocked = [(w, int(self.target[w])) for w in self.pending]
        for unblocks in (True, False):
            for workload in candidates:
                source = int(self.at[workload])
                freed = room[source] + self.problem.demand[workload]
                helps = any(host == source and other != workload and (freed >= self.problem.demand[other]).all()
                            for other, host in blocked)
                if helps or not unblocks:
                    host = self._parking_host(workload, room)
                    if host is not None:
                        self.wave += 1
                        self.parked.add(workload)
                        self._go(workload, host, parking=True)
                        return True
        return False

    def _parking_host(self, workload: int, room: Ints) -> int | None:
        """A third host that can take a workload for a while, one that it can reach live if there is any."""
        assert self.stops is not None
        fits = (room >= self.problem.demand[workload]).all(axis=(1, 2)) & self.stops[workload]
        source = int(self.at[workload])
        hosts = [int(host) for host in np.nonzero(fits)[0] if host not in (source, int(self.target[workload]))]
        hosts = [host for host in hosts if self.problem.hosts[host].state == "active"
                 and self._rules_hold(self.occupancy, workload, host)]
        return min(hosts, key=lambda host: (method_of(self.problem, workload, source, host) != "live", host), default=None)
