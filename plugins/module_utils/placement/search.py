# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The search: several deterministic ways to a placement, and the best of what they find.

1. Residents: everyone who may stay on the current host stays; the others float.
2. Emptying: floaters join used hosts, then host after host is emptied into the others.
3. Keep-sets: for fewer and fewer hosts, the residents of the chosen hosts stay and all others are packed around them,
   host by host (packing.fill_hosts) and, where something is left over, by best fit and by one workload making room.
"""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .packing import VARIANTS, Item, Scale, best_fit, eject, fill_hosts
from .problem import Bools, Ints, Problem
from .rules import Rule
from .state import State

ATTEMPTS = {"quick": 0, "normal": 40, "thorough": 400}
_COARSE = 10
_LARGE = 1_000_000
"""Workloads times hosts, beyond which fewer ways are tried and fewer steps are kept: each costs seconds."""


class Search:
    """Finds candidates. placements: host_of arrays in the order found, each different. least: hosts below which nothing exists."""

    def __init__(self, problem: Problem, rules: Sequence[Rule], allowed: Bools, items: Sequence[Item],
                 usable: Ints | None = None, soft: bool = False, least: int = 1) -> None:
        self.problem = problem
        self.least = least
        self.scale = Scale(problem, items)
        self.empty = State(problem, rules, allowed, usable, soft)
        # By workload, for the first member of each item; -1 for the others.
        self.position_of = np.full(len(problem.workloads), -1, dtype=np.int64)
        self.position_of[[item[0] for item in items]] = np.arange(len(items))
        self.size_rank = np.empty(len(items), dtype=np.int64)
        self.size_rank[self.scale.order()] = np.arange(len(items))
        self.attempts = ATTEMPTS[problem.policy.effort]
        self.placements: list[Ints] = []
        self._seen: set[bytes] = set()
        self.limit = problem.policy.max_moves
        self.large = len(problem.workloads) * len(problem.hosts) > _LARGE and problem.policy.effort != "thorough"
        self.variants = VARIANTS[:2] if self.large else VARIANTS
        # Steps on the way to fewer hosts matter for the trade-off, and where not all of them may be taken.
        self.keep_steps = not self.large or problem.policy.tradeoff or self.limit is not None
        early = ("exclusive", "limit_hosts", "affinity")
        self.early = {member for rule in self.empty.between if rule.spec.kind in early for member in rule.spec.workloads}
        choices = allowed.sum(axis=1)
        self.choices = [int(choices[list(item)].min()) for item in self.scale.items]
        # Hosts that some item can be on alone: they are used whatever happens.
        self.musts = {int(host) for item, choice in zip(self.scale.items, self.choices, strict=True) if choice == 1
                      for host in np.nonzero(allowed[list(item)].all(axis=0))[0]}

    def run(self) -> list[Ints]:
        """All candidates."""
        residents = self._residents()
        running, objective = bool((self.problem.current >= 0).any()), self.problem.policy.objective
        if running and self.large and not self.keep_steps and objective == "hosts" and self._fewer(residents):
            # Near the bound with as many residents kept as possible; other ways would cost minutes to get there as well.
            return self.placements
        if running:
            for by in ("cost",) if self.large else ("cost", "load"):
                self._empty(residents.copy(), by)
        if objective == "balance":
            self._level(residents)
        for by in ("cost", "size") if running and objective == "watts" else ("cost",) if running else ("size",):
            for variant in self.variants:
                self._fresh(residents, variant, by)
        self._fewer(residents)
        return self.placements

    def _keep(self, state: State) -> None:
        """Remember a placement, complete or not, that moves no more than it may."""
        key = state.host_of.tobytes()
        if key not in self._seen and (self.limit is None or state.moves() <= self.limit):
            self._seen.add(key)
            self.placements.append(state.host_of.copy())

    def _unplaced(self, state: State) -> list[int]:
        """Positions of items that are placed nowhere, the choosy and restricted ones first, then the largest."""
        todo = [position for position in self.scale.order() if state.host_of[self.scale.items[position][0]] < 0]
        return sorted(todo, key=lambda position: (self.scale.items[position][0] not in self.early, self.choices[position] > 2))

    def _residents(self) -> State:
        """Those who may stay where they are: immovable ones first, then those who cost most to move."""
        state, current = self.empty.copy(), self.problem.current

        def rank(position: int) -> tuple[bool, int, int]:
            item = self.scale.items[position]
            return (self.choices[position] > 1, -int(self.problem.move_cost[list(item)].sum()), position)
        for position in sorted(range(len(self.scale.items)), key=rank):
            item = self.scale.items[position]
            homes = set(current[list(item)].tolist())
            home = homes.pop()
            if not homes and home >= 0 and state.may(item, int(home)):
                state.place(item, int(home))
        return state

    def _order(self, state: State, by: str = "size") -> list[int]:
        """Hosts in the order in which they are opened: used ones first, then large (or frugal) ones."""
        usable = (self.empty.free.min(axis=2) / self.scale.largest * self.scale.weight).sum(axis=1)
        power = np.array([host.watts_idle + host.watts_busy for host in self.problem.hosts])
        rank = -usable if self.problem.policy.objective != "watts" else power / np.maximum(usable, 1e-9)
        held = self._held(state) if by == "cost" else np.zeros(len(usable))
        return [int(index) for index in np.lexsort((np.arange(len(usable)), np.round(rank, 9), -held))]

    def _held(self, state: State) -> Ints:
        """int64[hosts]: what it would cost to move the workloads of each host away."""
        placed = np.nonzero(state.host_of >= 0)[0]
        held = np.zeros(len(self.problem.hosts), dtype=np.int64)
        np.add.at(held, state.host_of[placed], self.problem.move_cost[placed] + 1)
        return held

    def _complete(self, state: State, hosts: Sequence[int], level: bool = False) -> list[int]:
        """Place what floats on some hosts, by best (level: emptiest) fit and then by making room."""
        left = best_fit(state, self.scale, self._unplaced(state), hosts, level)
        if left and self.attempts:
            left = eject(state, self.scale, left, hosts, self.attempts)
        return left

    def _empty(self, state: State, by: str) -> None:
        """Place the floaters, then empty host after host; every step is a candidate."""
        order = self._order(state, "cost")
        if self._within(state, order):
            self._keep(state)
        progress = True
        while progress:
            progress = False
            used = np.nonzero(state.count > 0)[0]
            cost = self._held(state) if by == "cost" else -(state.free.min(axis=2) / self.scale.largest).sum(axis=1)
            for host in used[np.lexsort((used, cost[used]))].tolist():
                trial = self._without(state, host)
                if trial is not None and (self.limit is None or trial.moves() <= self.limit):
                    state, progress = trial, True
                    if self.keep_steps:
                        self._keep(state)
                    break
        self._keep(state)

    def _within(self, state: State, order: Sequence[int]) -> bool:
        """Complete a state without more moves than allowed; what may not move any more is left out."""
        if self.limit is None:
            self._complete(state, order)
            return True
        for position in self._unplaced(state):
            best_fit(state, self.scale, [position], order)
            if state.moves() > self.limit:
                state.remove(self.scale.items[position])
        return True

    def _without(self, state: State, host: int) -> State | None:
        """The placement with one host emptied into the other used ones, or None."""
        others = [int(index) for index in np.nonzero(state.count > 0)[0] if index != host]
        positions = self._inside(state, host)
        if any(not self._leaves(self.scale.items[p], host) for p in positions):
            return None
        room = state.free[others].sum(axis=0) - sum(self.scale.demand[p] for p in positions)
        if not others or (room < 0).any():
            return None
        trial = state.copy()
        for position in positions:
            trial.remove(self.scale.items[position])
        left = best_fit(trial, self.scale, positions, others)
        if left and self.attempts and len(left) <= 3:
            left = eject(trial, self.scale, left, others, self.attempts)
        return None if left else trial

    def _inside(self, state: State, host: int) -> list[int]:
        """Positions of the items whose first member stands on a host, largest first."""
        there = self.position_of[np.nonzero(state.host_of == host)[0]]
        there = there[there >= 0]
        return [int(position) for position in there[np.argsort(self.size_rank[there])]]

    def _leaves(self, item: Item, host: int) -> bool:
        """Whether an item could be anywhere else at all."""
        elsewhere = np.asarray(self.empty.allowed[list(item)].all(axis=0))
        return bool(elsewhere.sum() > int(elsewhere[host]))

    def _fresh(self, residents: State, variant: str, by: str) -> None:
        """Pack as if nobody ran anywhere yet, on hosts in the given order; then empty the last hosts."""
        hosts = self._order(residents, by)
        state = self.empty.copy()
        self._pinned(state)
        self._early(state, hosts)
        fill_hosts(state, self.scale, self._unplaced(state), hosts, variant)
        self._complete(state, hosts)
        self._keep(state)
        for host in reversed([host for host in hosts if state.count[host]]):
            trial = self._without(state, host)
            if trial is None:
                break
            state = trial
            if self.keep_steps:
                self._keep(state)
        self._keep(state)

    def _level(self, residents: State) -> None:
        """Put floaters, and then everyone, where most is left."""
        scratch = self.empty.copy()
        self._pinned(scratch)
        for state in (residents.copy(), scratch):
            self._complete(state, self._order(residents), level=True)
            self._keep(state)

    def _pinned(self, state: State) -> None:
        """Place what has a single host to go to."""
        for position, item in enumerate(self.scale.items):
            if self.choices[position] == 1:
                options = np.nonzero(state.options(item))[0]
                if len(options):
                    state.place(item, int(options[0]))

    def _early(self, state: State, hosts: Sequence[int]) -> None:
        """Place what rules bind most before the rest takes the room."""
        best_fit(state, self.scale, [p for p in self._unplaced(state) if self.scale.items[p][0] in self.early], hosts)

    def _fewer(self, residents: State) -> bool:
        """Keep-sets: as few hosts as possible, from the best found so far down to the bound; returns whether that is done.

        The bound is tried first and then what lies between is halved: packings that fill almost every host succeed or fail by how many
        hosts there are, and each try costs as much as any other. On a large estate a try takes a minute, so there the first that holds
        everyone does, in steps of half a percent from the bound.
        """
        counts = [len(set(found.tolist())) for found in self.placements if (found >= 0).all()]
        best = min(counts, default=len(self.problem.hosts) + 1)
        low = max(1, self.least)
        if self.large:
            step = max(1, low // 200)
            return any(self._reach(residents, target) for target in range(low, min(low + _COARSE * step + 1, best), step))
        if counts and (self.problem.current >= 0).any():
            self._reach(residents, best)
        target = low
        while low < best:
            if self._reach(residents, target):
                best = target
            else:
                low = target + 1
            target = (low + best) // 2
        return best <= self.least

    def _reach(self, residents: State, target: int) -> bool:
        """Whether some keep-set of so many hosts holds everyone."""
        for by in ("cost", "size"):
            order = self._order(residents, by)
            must = [host for host in order if host in self.musts]
            hosts = (must + [host for host in order if host not in must])[:max(target, len(must))]
            if len(hosts) > target or (self.empty.free[hosts].sum(axis=0) < self.scale.demand.sum(axis=0)).any():
                continue
            kept = set(hosts)
            for variant in self.variants[:3]:
                state = self.empty.copy()
                for item in self.scale.items:
                    if int(residents.host_of[item[0]]) in kept and state.may(item, int(residents.host_of[item[0]])):
                        state.place(item, int(residents.host_of[item[0]]))
                self._early(state, hosts)
                left = fill_hosts(state, self.scale, self._unplaced(state), hosts, variant)
                if not left or not eject(state, self.scale, left, hosts, self.attempts):
                    self._keep(state)
                    if self.limit is None or state.moves() <= self.limit:
                        return True
        return False
