# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Dual feasible functions: a bound on hosts that sums alone do not give.

Each function here is 0 at 0, never falls and is superadditive: f(x) + f(y) <= f(x + y). So what a host of capacity c holds is worth at
most f(c), and no fewer hosts do than those with the largest f(c) whose sum reaches the sum of f over the demands. Unlike hosts
keep their own f(c). The functions are the maximal ones of Clautiaux, Alves and Valerio de Carvalho (2010), all in whole numbers; they
are defined on 0..size, burdett_johnson also beyond.
"""
from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np

from .problem import Bools, Ints

_THRESHOLDS = 64
_WORK = 200_000
_PARTS = 20
_COLUMNS = 8
_MOST_LARGE = 1000
_FINEST = 2**20
_LARGEST_WEIGHED = 2**36


def martello_toth(x: Ints, size: int, low: int) -> Ints:
    """U of Fekete and Schepers (2001), the bound L2 of Martello and Toth (1990): drops what is below `low`, at most size / 2."""
    return np.where(x > size - low, size, np.where(x < low, 0, x))


def fekete_schepers(x: Ints, size: int, parts: int) -> Ints:
    """u of Fekete and Schepers for k = parts - 1, times k (k + 1)."""
    steps = [-(-part * size // parts) for part in range(1, parts + 1)]
    whole = [part * size // parts for part in range(1, parts + 1) if part * size % parts == 0]
    return np.searchsorted(steps, x, side="right") * np.where(np.isin(x, whole), parts - 1, parts)


def carlier(x: Ints, size: int, width: int) -> Ints:
    """f of Carlier, Clautiaux and Moukrim (2007), at least as good as phi of Fekete and Schepers; width from 1 to size // 2 + 1."""
    return np.where(2 * x < size, 2 * (x // width),
                    np.where(2 * x == size, size // width, 2 * (size // width - (size - x) // width)))


def burdett_johnson(x: Ints, size: int, width: int) -> Ints:
    """f of Burdett and Johnson (1977), times width less the rest of size / width."""
    rest = size % width
    return x // width * (width - rest) + np.maximum(x % width - rest, 0)


def dual_bound(usable: Ints, demand: Ints) -> int:
    """Hosts that any placement needs: usable[h, r], demand[w, r, slot], each demand at most the largest usable capacity.

    Per resource at the slot of the largest sum and that of the largest demand; for these in pairs and all together, each taken as one
    resource whose sizes are sums of shares; and the most workloads found of which no two share a host.
    """
    columns = _columns(usable, demand)
    if not columns:
        return 0
    bound = max(_best(hosts, sizes) for hosts, sizes in columns)
    few = sorted(columns, key=lambda column: -int(column[1].sum()) / int(column[0].max()))[:_COLUMNS]
    joined = list(itertools.combinations(few, 2)) + ([few] if len(few) > 2 else [])
    for group in joined:
        weighed = _weighed(group)
        if weighed is not None:
            bound = max(bound, _best(*weighed))
    return min(max(bound, _clique(columns)), len(usable))


def _columns(usable: Ints, demand: Ints) -> list[tuple[Ints, Ints]]:
    """Capacities and demands of the resources and slots that are looked at, divided by what divides all demands."""
    columns: dict[bytes, tuple[Ints, Ints]] = {}
    for resource in range(usable.shape[1]):
        own = demand[:, resource]
        for slot in (int(np.argmax(own.sum(axis=0))), int(np.argmax(own.max(axis=0)))):
            unit = int(np.gcd.reduce(own[:, slot]))
            if unit:
                hosts, sizes = usable[:, resource] // unit, own[:, slot] // unit
                columns.setdefault(hosts.tobytes() + sizes.tobytes(), (hosts, sizes))
    return list(columns.values())


def _weighed(columns: list[tuple[Ints, Ints]] | tuple[tuple[Ints, Ints], ...]) -> tuple[Ints, Ints] | None:
    """One resource out of several, each with the same weight; None where sums could leave 64 bits.

    Demands and capacities are rounded down by the same factor, so whatever fits still does.
    """
    if sum(len(hosts) + len(sizes) for hosts, sizes in columns) >= 2**24:
        return None
    coarse = []
    for hosts, sizes in columns:
        shift = max(0, (int(hosts.max()) // _FINEST).bit_length())
        coarse.append((hosts >> shift, sizes >> shift))
    largest = [int(hosts.max()) for hosts, _ in coarse]
    common = math.lcm(*largest)
    weights = [min(common, _LARGEST_WEIGHED) // size for size in largest]
    factors = np.array(weights, dtype=np.int64)
    hosts = np.stack([hosts for hosts, _ in coarse], axis=1) @ factors
    sizes = np.stack([sizes for _, sizes in coarse], axis=1) @ factors
    unit = max(1, int(np.gcd.reduce(sizes)))
    return hosts // unit, sizes // unit


def _best(hosts: Ints, sizes: Ints) -> int:
    """The best bound of all functions for one resource."""
    rooms, times = np.unique(-hosts, return_counts=True)
    sizes, counts = np.unique(sizes[sizes > 0], return_counts=True)
    both, bound = np.concatenate([sizes, -rooms]), 0
    for values in _values(both, sizes, -rooms):
        worth = int((values[:len(sizes)] * counts).sum())
        reached = np.cumsum(np.repeat(values[len(sizes):], times))
        bound = max(bound, min(int(np.searchsorted(reached, worth, side="left")) + 1, len(hosts)) if worth else 0)
    return bound


def _values(x: Ints, sizes: Ints, rooms: Ints) -> Iterator[Ints]:
    """Values of x under every function; parameters are taken from the sizes, where the functions change."""
    size = int(rooms[0])
    small, large = sizes[2 * sizes <= size], sizes[2 * sizes > size]
    less = max(4, min(_THRESHOLDS, _WORK // len(x)))
    for low in [0, *_some(small, _THRESHOLDS)]:
        yield martello_toth(x, size, low)
    for parts in range(2, _PARTS + 1):
        yield fekete_schepers(x, size, parts)
    ends = {size // parts + 1 for parts in range(2, _PARTS + 1)}
    for width in sorted({*_some(small, less), *_some(size - large + 1, less), *ends}):
        # Beyond so many steps it is next to the sum, and its own sums could leave 64 bits.
        if size // _FINEST < width <= size // 2 + 1:
            yield carlier(x, size, width)
    for width in sorted({*_some(sizes, less), *ends}):
        for room in rooms[:2].tolist():
            yield burdett_johnson(x, room, width)


def _some(values: Ints, most: int) -> list[int]:
    """About so many of sorted values, evenly."""
    return list(values[::max(1, len(values) // most)].tolist())


def _clique(columns: list[tuple[Ints, Ints]]) -> int:
    """Workloads of which no two share a host, found greedily from those above half in each resource."""
    limits = np.array([int(hosts.max()) for hosts, _ in columns], dtype=np.int64)
    sizes = np.stack([sizes for _, sizes in columns], axis=1)
    sizes = sizes[(2 * sizes > limits).any(axis=1)]
    if not 1 < len(sizes) <= _MOST_LARGE or len(columns) < 2:
        return 0
    apart: Bools = np.zeros((len(sizes), len(sizes)), dtype=bool)
    for column, limit in enumerate(limits):
        apart |= sizes[:, None, column] > limit - sizes[None, :, column]
    np.fill_diagonal(apart, False)
    best, neighbours = 0, apart.sum(axis=1)
    for seed in (2 * sizes > limits).T:
        open_to, found = np.asarray(apart[seed].all(axis=0)) & ~seed, int(seed.sum())
        while open_to.any():
            open_to = open_to & apart[int(np.argmax(np.where(open_to, neighbours, -1)))]
            found += 1
        best = max(best, found)
    return best
