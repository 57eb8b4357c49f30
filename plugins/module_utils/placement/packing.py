# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Greedy packing of the dot-product and best-fit family, in integers only so that every machine decides alike.

Sources: Panigrahy, Talwar, Uyeda, Wieder, Heuristics for Vector Bin Packing (2011) for filling host by host with the
item whose demand points along what is left; the weights are the share of each resource that the demands take in all.
"""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .problem import Ints, Problem
from .state import State

Item = tuple[int, ...]
VARIANTS = ("dot", "distance", "cosine", "size")
_UNIT = 4096
_SCORED_SLOTS = 12
_MISSES = 6
_LOOKED_AT = 4096
_EJECTED = 64


class Scale:
    """Demands and free capacity in units of 1/4096 of the largest host, slots joined to at most 12 by their peaks."""

    def __init__(self, problem: Problem, items: Sequence[Item]) -> None:
        self.items = list(items)
        self.demand = np.stack([problem.demand[list(item)].sum(axis=0) for item in items]) if items else np.zeros(
            (0, len(problem.resources), problem.slots), dtype=np.int64)
        self.flat = self.demand.reshape(len(self.items), len(problem.resources) * problem.slots)
        self.edges = np.unique(np.linspace(0, problem.slots, _SCORED_SLOTS + 1).astype(np.int64))[:-1]
        self.largest = np.maximum(problem.usable.max(axis=0), 1)
        totals = problem.demand.sum(axis=0, dtype=np.int64).max(axis=1) / np.maximum(problem.usable.sum(axis=0), 1)
        top = max(float(totals.max(initial=0)), 1e-9)
        self.weight = np.maximum(np.rint(totals / top * 64).astype(np.int64), 1)
        units = self.units(np.maximum.reduceat(self.demand, self.edges, axis=2))
        weighted = (units * self.weight[:, None]).reshape(len(self.items), len(problem.resources) * len(self.edges))
        self.size = weighted.sum(axis=1)
        # Whole numbers held as floats: their products stay far below 2**53, so that sums are exact, and much quicker.
        self.weighted = weighted.astype(np.float64)
        self.square = (units * units * self.weight[:, None]).sum(axis=(1, 2)).astype(np.float64)

    def units(self, values: Ints) -> Ints:
        """int64[..., r, slot] of values relative to the largest host."""
        return np.rint(np.minimum(values / self.largest[:, None], 4.0) * _UNIT).astype(np.int64)

    def left(self, free: Ints) -> Ints:
        """What is free (lowest in each joined slot), in units, flat in the last axis."""
        joined = self.units(np.maximum(np.minimum.reduceat(free, self.edges, axis=-1), 0))
        return np.asarray(joined.reshape(*joined.shape[:-2], joined.shape[-2] * joined.shape[-1]))

    def order(self) -> list[int]:
        """Positions of items, largest first."""
        return [int(index) for index in np.lexsort((np.arange(len(self.items)), -self.size))]


def fill_hosts(state: State, scale: Scale, todo: Sequence[int], hosts: Sequence[int], variant: str) -> list[int]:
    """Fill hosts one after another; todo: positions of items in `scale`. Returns the positions left over."""
    left = np.array(sorted(todo), dtype=np.int64)
    allowed = np.array([state.allowed[list(item)].all(axis=0) for item in scale.items]).reshape(len(scale.items), len(state.problem.hosts))
    simple = np.array([len(item) == 1 and not state.rules_of[item[0]] for item in scale.items], dtype=bool)
    for host in hosts:
        open_here = left[allowed[left, host]] if len(left) else left
        if len(open_here) > _LOOKED_AT:
            # A host takes some dozens; choosing them among thousands, other ones for each host, is as good as among all.
            step = -(-len(open_here) // _LOOKED_AT)
            open_here = open_here[host % step::step]
        placed: list[int] = []
        misses = _MISSES
        while len(open_here):
            room = state.free[host].reshape(-1)
            if misses >= _MISSES:
                open_here = open_here[(scale.flat[open_here] <= room).all(axis=1)]
                misses = 0
                if not len(open_here):
                    break
            index = int(np.argmax(_scores(scale, open_here, state.free[host], variant)))
            best = int(open_here[index])
            open_here = np.delete(open_here, index)
            if not (scale.flat[best] <= room).all():
                # While the host has room most of the best fit, and looking at all others for each would cost more than all the rest.
                misses += 1
            elif simple[best] or state.may(scale.items[best], host):
                state.place(scale.items[best], host)
                placed.append(best)
        left = np.setdiff1d(left, np.array(placed, dtype=np.int64))
        if not len(left):
            break
    return [int(index) for index in left]


def _scores(scale: Scale, items: Ints, free: Ints, variant: str) -> Ints | NDArray[np.float64]:
    """One whole number per item: larger is better on what is left of a host."""
    if variant == "size":
        return scale.size[items]
    dot = scale.weighted[items] @ scale.left(free).astype(np.float64)
    if variant == "dot":
        return np.asarray(dot)
    if variant == "distance":
        return np.asarray(2 * dot - scale.square[items])
    return np.rint(dot / np.sqrt(np.maximum(scale.square[items], 1)) * 16)


def best_fit(state: State, scale: Scale, todo: Sequence[int], hosts: Sequence[int], level: bool = False) -> list[int]:
    """Place items one by one, in the given order, where least stays free afterwards (level: most).

    hosts: those that may be used, in the order in which empty ones are opened. Prefers the current host, then hosts that
    hold something. Returns the positions left over.
    """
    ranks = np.full(len(state.problem.hosts), len(hosts), dtype=np.int64)
    ranks[list(hosts)] = np.arange(len(hosts))
    left = []
    weight = np.repeat(scale.weight, len(scale.edges))
    for position in todo:
        item = scale.items[position]
        options = state.options(item) & (ranks < len(hosts))
        if not options.any():
            left.append(position)
            continue
        home = int(state.problem.current[item[0]])
        if not level and home >= 0 and options[home] and state.count[home] > 0:
            state.place(item, home)
            continue
        candidates = np.nonzero(options)[0]
        used = candidates[state.count[candidates] > 0]
        if level:
            rest = (scale.left(state.free[candidates]) * weight).min(axis=1)
            state.place(item, int(candidates[np.lexsort((ranks[candidates], -rest))[0]]))
        elif len(used):
            rest = scale.left(state.free[used] - scale.demand[position]) @ weight
            state.place(item, int(used[np.lexsort((ranks[used], rest))[0]]))
        else:
            state.place(item, int(candidates[np.argmin(ranks[candidates])]))
    return left


def eject(state: State, scale: Scale, todo: Sequence[int], hosts: Sequence[int], attempts: int) -> list[int]:
    """Place items that fit nowhere by moving one other item out of the way. Returns the positions left over.

    attempts: for each item, and for all of them together as many as for _EJECTED: where more is left over it is hopeless.
    """
    whole = attempts * _EJECTED
    position_of = {member: position for position, item in enumerate(scale.items) for member in item}
    closed = np.ones(len(state.problem.hosts), dtype=bool)
    closed[list(hosts)] = False
    left = []
    for position in todo:
        item, done, tries = scale.items[position], False, 0
        if (state.options(item) & ~closed).any():
            state.place(item, int(np.nonzero(state.options(item) & ~closed)[0][0]))
            continue
        for host in hosts if whole > 0 else ():
            if not state.allowed[list(item), host].all():
                continue
            short = scale.demand[position] - state.free[host]
            there = sorted({position_of[int(m)] for m in np.nonzero(state.host_of == host)[0] if int(m) in position_of},
                           key=lambda other: (int(scale.size[other]), other))
            for other in there:
                if done or tries >= min(attempts, whole) or not (scale.demand[other] >= short).all():
                    continue
                tries += 1
                state.remove(scale.items[other])
                if state.may(item, host):
                    state.place(item, host)
                    options = state.options(scale.items[other]) & ~closed
                    if options.any():
                        state.place(scale.items[other], int(np.nonzero(options)[0][0]))
                        done = True
                        break
                    state.remove(item)
                state.place(scale.items[other], host)
            if done:
                break
        whole -= tries
        if not done:
            left.append(position)
    return left
