# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Column generation: a bound that proves, and packings of like hosts out of good patterns.

A pattern is what one host may hold. The linear program of Gilmore and Gomory (1961) covers all workloads with as little of
patterns as possible; its prices make a bound that is often the optimum itself, and its patterns, made whole by an integer program,
often reach it. HiGHS solves both (docs/decisions/0005-highs.md).

The bound is computed anew in whole numbers from the prices, so no rounding of floats can claim too much: when no pattern is worth
more than `top`, the hosts are at least sum(price x count) / top.
"""
from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import highspy
import numpy as np
from numpy.typing import NDArray

from .packing import Item
from .problem import Ints
from .repair import SOLVED_BITS, Units
from .solver import new_solver
from .state import State

Floats = NDArray[np.float64]

MOST_TYPES = {"quick": 0, "normal": 300, "thorough": 1200}
MOST_COLUMNS = 12
MOST_ENTRIES = {"quick": 0, "normal": 250, "thorough": 2500}
"""Types times resources, beyond which the integer programs of pricing take too long to come to a bound."""
_PRICE_UNIT = 10**7
_PRICING_WORK = {"quick": 0, "normal": 3_000, "thorough": 200_000}
_PRICING_NODES = 200
_ROUNDS = 600
_GREEDY = 8
_VARIED = 150
_VARIED_ROUNDS = 4
_COVER_NODES = 3000
_TABLE_ROOM = 20_000


@dataclass(frozen=True)
class Proof:
    """bound: hosts below which nothing exists; groups: positions of items that share a host, None when no packing was made."""

    bound: int
    groups: list[list[int]] | None


def prove(state: State, items: Sequence[Item], used: int, bound: int, seed: int) -> Proof:
    """A better bound than `bound`, and a packing on fewer hosts than `used` where there is one among the patterns.

    state: a complete placement on `used` hosts. The bound holds for every placement; the packing is made only where all hosts are
    alike and no rule relates workloads to one another.
    """
    effort = state.problem.policy.effort
    if used <= bound or not items or not MOST_TYPES[effort]:
        return Proof(bound, None)
    # What was rounded the one way proves, and the other way it packs.
    relaxed = Units(state, items, relaxed=True, bits=SOLVED_BITS)
    made = _master(state, items, relaxed, seed)
    if made is None:
        return Proof(bound, None)
    bound = max(bound, made[0].solve(used))
    if bound >= used or not _alike(state, items, relaxed, np.nonzero(state.allowed.any(axis=0))[0]):
        return Proof(bound, None)
    if not relaxed.exact:
        made = _master(state, items, Units(state, items, bits=SOLVED_BITS), seed)
    if made is None or not made[2]:
        return Proof(bound, None)
    master, kind, _ = made
    if not relaxed.exact:
        master.solve(used)
    cover = master.cover(bound, used)
    return Proof(bound, _groups(cover, kind) if cover is not None else None)


def _master(state: State, items: Sequence[Item], units: Units, seed: int) -> tuple[_Master, Ints, bool] | None:
    """(programs that begin with the patterns of a state, the type of each item, whether all resources are in them); None when too large."""
    effort = state.problem.policy.effort
    room = units.room[state.allowed.any(axis=0)].max(axis=0)
    columns = _columns(units, room)
    demand, kind, counts = _types(units.demand[:, columns])
    if len(demand) > MOST_TYPES[effort] or (len(columns) > 1 and demand.size > MOST_ENTRIES[effort]):
        return None
    master = _Master(demand, room[columns], counts, seed, _PRICING_WORK[effort])
    for host in np.nonzero(state.count > 0)[0]:
        inside = [position for position, item in enumerate(items) if state.host_of[item[0]] == host]
        master.add(np.bincount(kind[inside], minlength=len(demand)))
    return master, kind, len(columns) == units.demand.shape[1]


def _columns(units: Units, room: Floats) -> Ints:
    """The resources and slots that matter most; leaving others out makes a bound smaller, never wrong."""
    different = np.unique(np.concatenate([units.demand, room[None]]), axis=1, return_index=True)[1]
    tension = units.demand.sum(axis=0) / np.maximum(room, 1)
    kept = sorted(different.tolist(), key=lambda column: (-round(float(tension[column]), 9), column))[:MOST_COLUMNS]
    return np.array(sorted(kept), dtype=np.int64)


def _types(demand: Floats) -> tuple[Floats, Ints, Ints]:
    """Different demands, largest first; for each item which one it has; how many have each."""
    kinds, kind, counts = np.unique(-demand, axis=0, return_inverse=True, return_counts=True)
    return -kinds, kind.reshape(-1), counts


def _alike(state: State, items: Sequence[Item], units: Units, hosts: Ints) -> bool:
    """Whether any open host can stand for any other."""
    same_room = bool((units.room[hosts] == units.room[hosts[0]]).all())
    anywhere = bool(np.stack([np.asarray(state.allowed[list(item)].all(axis=0))[hosts] for item in items]).all())
    return same_room and anywhere and not state.between


def _groups(cover: list[Ints], kind: Ints) -> list[list[int]]:
    """Items for each pattern; a cover may offer more places than there are items."""
    waiting = [np.nonzero(kind == number)[0].tolist()[::-1] for number in range(int(kind.max()) + 1)]
    groups = []
    for pattern in cover:
        group = [waiting[number].pop() for number in np.nonzero(pattern)[0] for _ in range(min(int(pattern[number]), len(waiting[number])))]
        if group:
            groups.append(sorted(group))
    return groups


class _Master:
    """Patterns found so far, and their linear and integer programs."""

    def __init__(self, demand: Floats, room: Floats, counts: Ints, seed: int, work: int) -> None:
        self.demand, self.room, self.counts = demand, room, counts
        self.dice = random.Random(seed)
        self.patterns: list[Ints] = []
        self.seen: set[bytes] = set()
        self.solver = new_solver()
        for count in counts:
            self.solver.addRow(float(count), highspy.kHighsInf, 0, np.array([], dtype=np.int32), np.array([]))
        self.pricing = _Table(demand, room, counts) if demand.shape[1] == 1 and room[0] <= _TABLE_ROOM else _Knapsack(
            demand, room, counts, work)
        self.prices = np.zeros(len(demand))

    def add(self, pattern: Ints) -> bool:
        """Take a pattern in; False when it is there already or holds nothing."""
        key = np.asarray(pattern, dtype=np.int64).tobytes()
        held = np.nonzero(pattern)[0].astype(np.int32)
        if key in self.seen or not len(held):
            return False
        self.seen.add(key)
        self.solver.addCol(1.0, 0.0, highspy.kHighsInf, len(held), held, pattern[held].astype(float))
        self.patterns.append(np.asarray(pattern, dtype=np.int64))
        return True

    def solve(self, used: int) -> int:
        """Generate patterns until none helps, the effort is used up, or the bound meets `used`; returns the bound."""
        bound = 0
        for _ in range(_ROUNDS):
            self.solver.run()
            self.prices = np.maximum(np.array(self.solver.getSolution().row_dual), 0)
            found = [self.add(pattern) for pattern in self._greedy()] if isinstance(self.pricing, _Knapsack) else []
            if any(found):
                continue
            whole = np.floor(self.prices * _PRICE_UNIT).astype(np.int64)
            priced = self.pricing.best(whole)
            if priced is None:
                break
            pattern, top = priced
            total = sum(int(price) * int(count) for price, count in zip(whole, self.counts, strict=True))
            bound = max(bound, -(-total // max(top, 1)))
            value = float(pattern @ self.prices)
            if bound >= used or value <= 1 + 1e-7 or not self.add(pattern):
                break
        return bound

    def _greedy(self) -> list[Ints]:
        """Patterns worth more than they cost, filled by price for size under measures that chance varies."""
        found = []
        for _ in range(_GREEDY):
            weight = np.array([0.3 + self.dice.random() for _ in self.room]) / np.maximum(self.room, 1)
            worth = self.prices / (self.demand @ weight + 1e-9)
            worth *= np.array([1 + 0.1 * self.dice.random() for _ in worth])
            pattern, left = np.zeros(len(self.counts), dtype=np.int64), self.room.copy()
            for number in np.lexsort((np.arange(len(worth)), -worth)).tolist():
                if self.prices[number] <= 1e-9 or not (self.demand[number] <= left).all():
                    continue
                needed = self.demand[number] > 0
                fits = int((left[needed] // self.demand[number][needed]).min()) if needed.any() else int(self.counts[number])
                pattern[number] = min(int(self.counts[number]), fits)
                left = left - pattern[number] * self.demand[number]
            if float(pattern @ self.prices) > 1 + 1e-6:
                found.append(pattern)
        return found

    def cover(self, bound: int, used: int) -> list[Ints] | None:
        """Patterns on fewer than `used` hosts that hold everything, or None; with more patterns around the optimal prices."""
        best: list[Ints] | None = None
        for _ in range(_VARIED_ROUNDS):
            if isinstance(self.pricing, _Table):
                for _ in range(_VARIED):
                    varied = self.prices * np.array([1 + 0.15 * (self.dice.random() - 0.5) for _ in self.prices])
                    priced = self.pricing.best(np.floor(varied * _PRICE_UNIT).astype(np.int64))
                    if priced is not None:
                        self.add(priced[0])
            found = self._integers()
            if found is not None and len(found) < used:
                best, used = found, len(found)
            if used <= bound or not isinstance(self.pricing, _Table):
                break
        return best

    def _integers(self) -> list[Ints] | None:
        solver = new_solver(mip_max_nodes=_COVER_NODES, mip_abs_gap=0.999)
        solver.passModel(self.solver.getLp())
        count = len(self.patterns)
        solver.changeColsIntegrality(count, np.arange(count, dtype=np.int32), np.array([highspy.HighsVarType.kInteger] * count))
        solver.run()
        if solver.getInfo().primal_solution_status != highspy.SolutionStatus.kSolutionStatusFeasible:
            return None
        times = np.rint(np.array(solver.getSolution().col_value)).astype(np.int64)
        chosen = [self.patterns[number] for number in np.nonzero(times)[0] for _ in range(int(times[number]))]
        return chosen if (sum(chosen, np.zeros_like(self.counts)) >= self.counts).all() else None


class _Table:
    """The most valuable pattern of one resource, by dynamic programming over the room."""

    def __init__(self, demand: Floats, room: Floats, counts: Ints) -> None:
        self.sizes = demand[:, 0].astype(np.int64)
        self.room = int(room[0])
        self.most = [int(min(count, self.room // size)) if size else int(count) for size, count in zip(self.sizes, counts, strict=True)]

    def best(self, prices: Ints) -> tuple[Ints, int] | None:
        """(pattern, its value), exactly the best in whole prices."""
        value = np.zeros(self.room + 1, dtype=np.int64)
        taken = []
        for size, most, price in zip(self.sizes.tolist(), self.most, prices.tolist(), strict=True):
            better, count = value.copy(), np.zeros(self.room + 1, dtype=np.int64)
            for number in range(1, most + 1):
                with_it = value[:self.room + 1 - number * size] + number * price
                gains = with_it > better[number * size:]
                better[number * size:][gains] = with_it[gains]
                count[number * size:][gains] = number
            value = better
            taken.append(count)
        pattern, left = np.zeros(len(self.sizes), dtype=np.int64), self.room
        for number in range(len(self.sizes) - 1, -1, -1):
            pattern[number] = taken[number][left]
            left -= int(pattern[number]) * int(self.sizes[number])
        return pattern, int(value[self.room])


class _Knapsack:
    """The most valuable pattern of several resources, by an integer program; `top` is its bound where it was not solved out."""

    def __init__(self, demand: Floats, room: Floats, counts: Ints, work: int) -> None:
        self.demand, self.room = demand, room
        self.left = work // max(demand.size, 1)
        self.solver = new_solver(mip_max_nodes=_PRICING_NODES, mip_abs_gap=1e-7)
        for most in room:
            self.solver.addRow(-highspy.kHighsInf, float(most), 0, np.array([], dtype=np.int32), np.array([]))
        for number, count in enumerate(counts):
            held = np.nonzero(demand[number])[0].astype(np.int32)
            self.solver.addCol(0.0, 0.0, float(count), len(held), held, demand[number][held])
        kinds = np.array([highspy.HighsVarType.kInteger] * len(counts))
        self.columns = np.arange(len(counts), dtype=np.int32)
        self.solver.changeColsIntegrality(len(counts), self.columns, kinds)
        self.solver.changeObjectiveSense(highspy.ObjSense.kMaximize)

    def best(self, prices: Ints) -> tuple[Ints, int] | None:
        """(pattern, no pattern is worth more than this), in whole prices; None when the effort is used up or nothing was found."""
        if self.left <= 0:
            return None
        self.left -= 1
        self.solver.changeColsCost(len(self.columns), self.columns, prices / _PRICE_UNIT)
        self.solver.run()
        info = self.solver.getInfo()
        if info.primal_solution_status != highspy.SolutionStatus.kSolutionStatusFeasible:
            return None
        pattern = np.rint(np.array(self.solver.getSolution().col_value)).astype(np.int64)
        if not (pattern @ self.demand <= self.room).all():
            return None
        # HiGHS keeps constraints to 1e-6, so that its optimum can only be larger than the true one; one unit more for the sum.
        return pattern, int(np.floor(info.mip_dual_bound * _PRICE_UNIT * (1 + 1e-9))) + 1
