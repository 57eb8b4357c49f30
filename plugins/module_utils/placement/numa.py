# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""NUMA nodes as bins inside of hosts: a guest whose memory lies in one node never waits for that of another one.

Holds at the end of a plan, on hosts that name their nodes. A workload that fits into one of them alone has to stand in one; a larger
one stands in all of them, in the proportion of their sizes.
"""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .problem import Bools, Ints, Problem

_VISITS = 30
_PARTS = 4096


@dataclass(frozen=True)
class Seats:
    """node_of: of each member its node, None for all of them; loose: members that found no room."""

    node_of: dict[int, int | None]
    loose: tuple[int, ...]


def seats(problem: Problem, host: int, members: Sequence[int]) -> Seats:
    """Who stands in which node: best fit, the largest first, and a bounded search where that leaves one out.

    Depends on nothing but the set of the members, so that whoever asks again gets the same.
    """
    nodes = problem.nodes[host]
    assert nodes is not None
    slots = problem.slots
    room = np.repeat(nodes.room, slots, axis=1)
    demand = problem.demand[list(members)][:, nodes.columns].reshape(len(members), len(nodes.columns) * slots)
    fits: Bools = np.asarray((demand[:, None] <= room[None]).all(axis=2))
    narrow = np.asarray(fits.any(axis=1))
    node_of: dict[int, int | None] = {}
    for row in np.nonzero(~narrow)[0].tolist():
        node_of[members[row]] = None
        room -= _shares(demand[row], np.repeat(nodes.room, slots, axis=1))
    rows = np.nonzero(narrow)[0]
    too_large = (demand > np.repeat(nodes.room.sum(axis=0), slots)).any()
    if too_large or (room < 0).any() or (demand[rows].sum(axis=0) > room.sum(axis=0)).any():
        return Seats(node_of, tuple(members))
    # Sizes in parts of the largest node, so that resources can be added up.
    parts = np.rint(demand[rows] / np.maximum(np.repeat(nodes.room.max(axis=0), slots), 1) * _PARTS).astype(np.int64)
    order = np.lexsort((rows, -parts.sum(axis=1), -parts.max(axis=1, initial=0)))
    found = _search(demand[rows[order]], parts[order].sum(axis=1).tolist(), room)
    ordered = [members[row] for row in rows[order].tolist()]
    node_of.update(zip(ordered, found, strict=False))
    return Seats(node_of, tuple(ordered[len(found):]))


def _search(demand: Ints, sizes: list[int], room: Ints) -> list[int]:
    """Nodes of the first so many; as many as a depth-first search in best-fit order seats within so many visits."""
    chosen: list[int] = []
    deepest: list[int] = []
    untried: list[list[int]] = []
    filled = [0] * len(room)
    for _ in range(2 * len(demand) + _VISITS):
        if len(chosen) == len(demand):
            return chosen
        if len(untried) == len(chosen):
            untried.append(_options(room, demand[len(chosen)], filled))
        if untried[-1]:
            node = untried[-1].pop()
            room[node] -= demand[len(chosen)]
            filled[node] += sizes[len(chosen)]
            chosen.append(node)
            if len(chosen) > len(deepest):
                deepest = list(chosen)
            continue
        untried.pop()
        if not chosen:
            break
        node = chosen.pop()
        room[node] += demand[len(chosen)]
        filled[node] -= sizes[len(chosen)]
    return deepest


def _options(room: Ints, need: Ints, filled: list[int]) -> list[int]:
    """Nodes with room, the fullest last; of nodes that have exactly the same room one is enough."""
    fits = np.nonzero((room >= need).all(axis=1))[0].tolist()
    different = {room[node].tobytes(): node for node in reversed(fits)} if len(fits) > 1 else dict(enumerate(fits))
    return sorted(different.values(), key=lambda node: (filled[node], -node))


def _shares(demand: Ints, room: Ints) -> Ints:
    """int64[nodes, columns x slots]: a demand in the proportion of the nodes, rounded up; in Python's integers, which never overflow."""
    sizes = room.astype(object)
    totals = np.maximum(sizes.sum(axis=0), 1)
    return np.asarray(-(-demand.astype(object)[None] * sizes // totals)).astype(np.int64)
