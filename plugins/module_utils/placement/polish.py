# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Small estates: a placement that no single step makes better."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .improve import restore
from .objective import Floats, evaluate, loads, powers
from .packing import Item
from .problem import Bools, Ints, Problem
from .rules import Rule, occupancy_of
from .state import State

POLISH = {"quick": 1_000_000, "normal": 2_000_000, "thorough": 40_000_000}
"""Elements of arrays that `polish` may look at in all."""

_MOST_PAIRS = 10_000
_MOST_SWAPS = 250_000
_NODES = 100
_CHECK = 20
_PAIR_ELEMENTS = 500_000
# Less than these are the steps in which objective.evaluate rounds watts and shares.
_WATT, _SHARE = 5e-7, 5e-10
Step = tuple[tuple[int, int], ...]


def few_pairs(problem: Problem) -> bool:
    """Whether an estate is small enough for all single steps to be looked at."""
    return len(problem.workloads) * len(problem.hosts) <= _MOST_PAIRS


def polish(problem: Problem, rules: Sequence[Rule], allowed: Bools, items: Sequence[Item], host_of: Ints,
           reachable: Callable[[Ints], bool] = lambda host_of: True) -> Ints:
    """A complete placement that no single step makes better, as objective.evaluate has it, unless the work is used up.

    A step: one item to another host, two items exchanged, or one host emptied. reachable: whether a better placement may be taken;
    asked only about those that keep max_moves. Estates too large for that keep what they have.
    """
    worth = evaluate(problem, rules, host_of)
    if not few_pairs(problem) or not items or worth[0] or worth[1]:
        return host_of
    around = _Around(problem, rules, allowed, items)
    limit, work = problem.policy.max_moves, POLISH[problem.policy.effort]
    one = len(problem.workloads) * (len(problem.hosts) + len(rules)) + around.usable.size
    refused: set[bytes] = set()
    improved = True
    while improved:
        improved = False
        around.look(host_of, worth)
        for step in around.steps():
            work -= one
            if work - around.seen < 0:
                return host_of
            trial = around.after(step)
            key = trial.tobytes()
            value = evaluate(problem, rules, trial)
            if not value < worth or (limit is not None and value[5] > limit) or key in refused:
                continue
            work -= _CHECK * one
            if reachable(trial):
                host_of, worth, improved = trial, value, True
                break
            refused.add(key)
    return host_of


class _Around:
    """The steps around a complete placement that may make it better, each kind in the order of what it promises.

    Criteria are computed for all pairs at once from what changes; rules between workloads are left to objective.evaluate, and
    a soft rule that is broken now counts as kept where an item of it moves. seen: elements looked at.
    """

    def __init__(self, problem: Problem, rules: Sequence[Rule], allowed: Bools, items: Sequence[Item]) -> None:
        self.problem, self.rules, self.allowed = problem, rules, allowed
        self.items = list(items)
        demand = np.stack([problem.demand[list(item)].sum(axis=0) for item in items])
        self.totals = demand.sum(axis=2)
        self.demand = demand.reshape(len(items), -1)
        self.usable = np.repeat(problem.usable, problem.slots, axis=1)
        self.may = np.stack([allowed[list(item)].all(axis=0) for item in items])
        self.sizes = np.array([len(item) for item in items], dtype=np.int64)
        elsewhere = (problem.current[:, None] >= 0) & (problem.current[:, None] != np.arange(len(problem.hosts)))
        self.moves = np.stack([elsewhere[list(item)].sum(axis=0) for item in items])
        cost = elsewhere * problem.move_cost[:, None]
        self.cost = np.stack([cost[list(item)].sum(axis=0) for item in items])
        self.watts = problem.policy.objective == "watts"
        self.seen = 0

    def look(self, host_of: Ints, worth: tuple[float, ...]) -> None:
        """Take another placement as the one to start from."""
        problem = self.problem
        self.host_of, self.worth = host_of, worth
        self.at = np.array([host_of[item[0]] for item in self.items], dtype=np.int64)
        self.load = loads(problem, host_of).reshape(len(problem.hosts), -1)
        self.count = np.bincount(host_of, minlength=len(problem.hosts))
        self.total = loads(problem, host_of).sum(axis=2)
        everywhere = np.arange(len(problem.hosts))
        self.power = np.where(self.count > 0, powers(problem, everywhere, self.total), 0.0) if self.watts else np.zeros(len(everywhere))
        self.share = self._shares(self.load, everywhere)
        self.fullest = np.lexsort((everywhere, -self.share))[:3]
        occupancy = occupancy_of(host_of, len(problem.hosts))
        self.gain = np.zeros(len(self.items), dtype=np.int64)
        position_of = {member: position for position, item in enumerate(self.items) for member in item}
        for rule in self.rules:
            if not rule.spec.hard and rule.spec.weight and rule.amount(occupancy):
                concerned = range(len(host_of)) if rule.spec.kind == "exclusive" else rule.spec.workloads
                self.gain[sorted({position_of[member] for member in concerned})] += rule.spec.weight

    def after(self, step: Step) -> Ints:
        """The placement after a step: pairs of a position and a host."""
        host_of = self.host_of.copy()
        for position, host in step:
            host_of[list(self.items[position])] = host
        return host_of

    def steps(self) -> Iterator[Step]:
        """All steps that may be better."""
        yield from self._singles()
        yield from self._emptied()
        yield from self._swaps()

    def _shares(self, load: Ints, hosts: Ints) -> Floats:
        shares = np.where(load > 0, load / np.maximum(self.usable[hosts], 1), 0.0)
        return np.asarray(shares.max(axis=-1, initial=0.0))

    def _rest(self, first: Ints, second: Ints) -> Floats:
        """The largest share of all hosts but two."""
        rest = np.zeros(np.broadcast(first, second).shape)
        for host in self.fullest[::-1].tolist():
            rest = np.where((first != host) & (second != host), self.share[host], rest)
        return rest

    def _better(self, first: Floats | None, keys: Sequence[NDArray[Any]], share: Floats) -> Bools:
        """Where (first, soft, cost, moves, used, share) is smaller than the worth; first: None for the share."""
        start, tolerance = (share, _SHARE) if first is None else (first, _WATT)
        below = start < self.worth[2] - tolerance
        equal = ~below & (start <= self.worth[2] + tolerance)
        for key, most in zip(keys, self.worth[3:7], strict=True):
            below = below | (equal & (key < most))
            equal = equal & (key == most)
        return np.asarray(below | (equal & (share < self.worth[7] - _SHARE)))

    def _first(self, used: Ints, watts: Floats) -> Floats | None:
        objective = self.problem.policy.objective
        return None if objective == "balance" else watts if objective == "watts" else used.astype(np.float64)

    def _singles(self) -> Iterator[Step]:
        """One item to another host."""
        hosts = np.arange(len(self.problem.hosts))
        at, rows = self.at[:, None], np.arange(len(self.items))
        self.seen += self.may.size * len(self.problem.resources)
        alone = self.count[self.at] == self.sizes
        used = self.worth[6] - alone[:, None] + (self.count == 0)[None]
        cost = self.worth[4] - self.cost[rows, self.at][:, None] + self.cost
        moves = self.worth[5] - self.moves[rows, self.at][:, None] + self.moves
        soft = np.broadcast_to((self.worth[3] - self.gain)[:, None], cost.shape)
        watts = np.zeros(cost.shape)
        if self.watts:
            left = np.where(alone, 0.0, powers(self.problem, self.at, self.total[self.at] - self.totals))
            there = powers(self.problem, np.broadcast_to(hosts, cost.shape), self.total[None] + self.totals[:, None])
            watts = self.power.sum() - self.power[self.at][:, None] - self.power[None] + left[:, None] + there
        first, rest = self._first(used, watts), self._rest(at, hosts[None])
        keys = (soft, cost, moves, used)
        chosen = np.nonzero(self.may & (at != hosts) & self._better(first, keys, rest))
        chosen = self._few(chosen, first, keys, rest)
        item, host = chosen
        over, under = self.load[host] + self.demand[item], self.load[self.at[item]] - self.demand[item]
        share = np.maximum(rest[chosen], np.maximum(self._shares(over, host), self._shares(under, self.at[item])))
        fits = (over <= self.usable[host]).all(axis=1)
        order = self._ranked(fits, None if first is None else first[chosen], [key[chosen] for key in keys], share)
        for index in order:
            yield ((int(item[index]), int(host[index])),)

    def _swaps(self) -> Iterator[Step]:
        """Two items exchanged."""
        if len(self.items) ** 2 > _MOST_SWAPS:
            return
        one, two = np.triu_indices(len(self.items), 1)
        self.seen += len(one) * (1 + len(self.problem.resources) * self.watts)
        here, there = self.at[one], self.at[two]
        fine = (here != there) & self.may[one, there] & self.may[two, here]
        one, two, here, there = one[fine], two[fine], here[fine], there[fine]
        cost = self.worth[4] - self.cost[one, here] - self.cost[two, there] + self.cost[one, there] + self.cost[two, here]
        moves = self.worth[5] - self.moves[one, here] - self.moves[two, there] + self.moves[one, there] + self.moves[two, here]
        used = np.full(len(one), int(self.worth[6]))
        watts = np.zeros(len(one))
        if self.watts:
            change = self.totals[two] - self.totals[one]
            watts = (self.power.sum() - self.power[here] - self.power[there] + powers(self.problem, here, self.total[here] + change)
                     + powers(self.problem, there, self.total[there] - change))
        first, rest = self._first(used, watts), self._rest(here, there)
        keys = (self.worth[3] - self.gain[one] - self.gain[two], cost, moves, used)
        (chosen,) = self._few(np.nonzero(self._better(first, keys, rest)), first, keys, rest)
        one, two, here, there = one[chosen], two[chosen], here[chosen], there[chosen]
        change = self.demand[two] - self.demand[one]
        left, right = self.load[here] + change, self.load[there] - change
        share = np.maximum(rest[chosen], np.maximum(self._shares(left, here), self._shares(right, there)))
        fits = (left <= self.usable[here]).all(axis=1) & (right <= self.usable[there]).all(axis=1)
        order = self._ranked(fits, None if first is None else first[chosen], [key[chosen] for key in keys], share)
        for index in order:
            yield ((int(one[index]), int(there[index])), (int(two[index]), int(here[index])))

    def _few(self, chosen: tuple[Ints, ...], first: Floats | None, keys: Sequence[NDArray[Any]],
             rest: Floats) -> tuple[Ints, ...]:
        """The most promising of the pairs chosen, no more than may be looked at slot by slot."""
        most = max(_PAIR_ELEMENTS // self.demand.shape[1], 1)
        if len(chosen[0]) > most:
            order = self._order(None if first is None else first[chosen], [key[chosen] for key in keys], rest[chosen])[:most]
            chosen = tuple(axis[order] for axis in chosen)
        self.seen += len(chosen[0]) * self.demand.shape[1]
        return chosen

    @staticmethod
    def _order(first: Floats | None, keys: Sequence[NDArray[Any]], share: Floats) -> Ints:
        share = np.round(share, 9)
        return np.asarray(np.lexsort((share, *reversed(keys), share if first is None else np.round(first, 6))))

    def _ranked(self, fits: Bools, first: Floats | None, keys: Sequence[NDArray[Any]], share: Floats) -> list[int]:
        """Indexes of the pairs that fit and are still better, best first."""
        fine = fits & self._better(first, keys, share)
        return [int(index) for index in self._order(first, keys, share) if fine[index]]

    def _emptied(self) -> Iterator[Step]:
        """All items of one host to others; the hosts that hold fewest first."""
        used = np.nonzero(self.count)[0]
        full = restore(self.problem, self.rules, self.allowed, self.items, self.host_of)
        for host in used[np.lexsort((used, self.count[used]))].tolist():
            there = np.nonzero(self.at == host)[0]
            elsewhere = self.may[there].copy()
            elsewhere[:, host] = False
            room = (self.usable - self.load).sum(axis=0) - (self.usable - self.load)[host]
            if len(there) < 2 or not elsewhere.any(axis=1).all() or (self.demand[there].sum(axis=0) > room).any():
                continue
            yield from self._ways(full.copy(), host, there)

    def _ways(self, state: State, host: int, there: Ints) -> Iterator[Step]:
        """Ways to empty a host, item by item from the largest, as long as a part of it promises to be better."""
        sizes = (self.demand[there] / np.maximum(self.usable.max(axis=0), 1)).max(axis=1)
        left = [int(there[index]) for index in np.lexsort((there, -np.round(sizes, 9)))]
        for position in left:
            state.remove(self.items[position])
        nodes = _NODES

        def go(depth: int, done: Step) -> Iterator[Step]:
            nonlocal nodes
            if depth == len(left):
                yield done
                return
            item = self.items[left[depth]]
            home = int(self.problem.current[item[0]])
            options = state.options(item)
            options[host] = False
            for target in sorted(np.nonzero(options)[0].tolist(), key=lambda other: (other != home, state.count[other] == 0, other)):
                nodes -= 1
                if nodes < 0:
                    return
                self.seen += state.host_of.size * len(self.problem.hosts) + self.usable.size
                state.place(item, target)
                # Every criterion only grows while items are placed.
                if evaluate(self.problem, self.rules, state.host_of)[2:] < self.worth[2:]:
                    yield from go(depth + 1, (*done, (left[depth], target)))
                state.remove(item)
        yield from go(0, ())
