# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The bound on hosts: never above the truth, never below the sum and L2, and above both where it can be."""
from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from ansible_collections.xenfold.consolidation.plugins.module_utils.placement import dual
from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.bound import _sum_bound, hosts_bound
from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.normalise import normalise
from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.problem import Ints
from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.rules import compile_rules
from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.state import static_mask
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.unit.placement.test_against_enumeration import fewest_hosts
from tests.unit.placement.test_promises import problems

LARGEST_TOTAL = 2**61 - 1
MANY = settings(max_examples=150)


def fewest(usable: list[list[int]], demand: list[list[list[int]]]) -> int | None:
    """Hosts used by the best placement of all demands, by trying every one; None when there is none."""
    order = sorted(demand, key=lambda item: max(map(max, item)), reverse=True)
    free = [[[room] * len(order[0][0]) for room in host] for host in usable]
    best: list[int | None] = [None]

    def go(index: int, used: frozenset[int]) -> None:
        if best[0] is not None and len(used) >= best[0]:
            return
        if index == len(order):
            best[0] = len(used)
            return
        item = order[index]
        for host, room in enumerate(free):
            if all(need <= left for needs, lefts in zip(item, room, strict=True) for need, left in zip(needs, lefts, strict=True)):
                for sign in (-1, 1):
                    for needs, lefts in zip(item, room, strict=True):
                        lefts[:] = [left + sign * need for need, left in zip(needs, lefts, strict=True)]
                    if sign < 0:
                        go(index + 1, used | {host})

    go(0, frozenset())
    return best[0]


def l2_bound(usable: Ints, demand: Ints) -> int:
    """Martello and Toth's L2 as they wrote it, in Python's integers; per resource at the slot of the largest sum."""
    bound = 0
    for resource in range(usable.shape[1]):
        size = int(usable[:, resource].max())
        sizes = [int(x) for x in demand[:, resource, int(np.argmax(demand[:, resource].sum(axis=0)))] if x]
        for alpha in {0, *(x for x in sizes if 2 * x <= size)} if sizes else ():
            wide = sum(x > size - alpha for x in sizes)
            large = [x for x in sizes if 2 * x > size and x <= size - alpha]
            rest = sum(x for x in sizes if alpha <= x and 2 * x <= size) - (len(large) * size - sum(large))
            bound = max(bound, wide + len(large) + max(0, -(-rest // size)))
    return min(bound, len(usable))


@st.composite
def estates(draw: st.DrawFn) -> tuple[Ints, Ints]:
    """usable[h, r], demand[w, r, slot]: every workload fits on a host, every host takes a workload; all orders of magnitude."""
    resources, slots = draw(st.integers(1, 3)), draw(st.sampled_from([1, 1, 2, 3]))
    count = draw(st.integers(1, 7))
    alike = draw(st.booleans())
    units, tops = [], []
    for _ in range(resources):
        top = draw(st.integers(1, 24))
        tops.append(top)
        units.append(draw(st.sampled_from([1, 10**6, 7, LARGEST_TOTAL // (7 * (top + 1)), 10**17 // (top + 1)])))
    first = [top * unit + draw(st.integers(0, unit - 1)) for top, unit in zip(tops, units, strict=True)]

    def smaller(most: int, unit: int) -> int:
        """Whole units, one more or less than them, or everything."""
        size = draw(st.integers(0, most // unit)) * unit + draw(st.sampled_from([0, 0, 0, -1, 1]))
        return draw(st.sampled_from([min(max(size, 0), most)] * 9 + [most]))

    hosts = [first] + [first if alike else [smaller(most, unit) for most, unit in zip(first, units, strict=True)]
                       for _ in range(draw(st.integers(0, 6 if alike else 4)))]
    demand = []
    for _ in range(count):
        home = hosts[draw(st.integers(0, len(hosts) - 1))]
        item = [[smaller(most, unit) for _ in range(slots)] for most, unit in zip(home, units, strict=True)]
        demand.append(item)
    usable, needs = np.array(hosts, dtype=np.int64), np.array(demand, dtype=np.int64)
    takes = (needs.max(axis=2)[:, None] <= usable[None]).all(axis=2).any(axis=0)
    return usable[takes], needs


@st.composite
def cut_hosts(draw: st.DrawFn) -> tuple[Ints, Ints, int]:
    """usable[h, r], demand[w, r, slot] and how many hosts were cut to pieces, nothing or little of each left over: so many do."""
    resources, slots = draw(st.sampled_from([1, 1, 2, 3])), draw(st.sampled_from([1, 1, 2]))
    tops = [draw(st.integers(2, 12)) for _ in range(resources)]
    units = [draw(st.sampled_from([1, 6, 10**6, LARGEST_TOTAL // (6 * top)])) for top in tops]
    alike, cut = draw(st.booleans()), draw(st.integers(1, 4))
    hosts = [[(top if alike else draw(st.integers(1, top))) * unit for top, unit in zip(tops, units, strict=True)]
             for _ in range(cut + draw(st.integers(0, 2)))]
    demand = []
    for host in hosts[:cut]:
        pieces = draw(st.sampled_from([1, 2, 2, 3, 4]))
        item = np.zeros((pieces, resources, slots), dtype=np.int64)
        for resource, slot in np.ndindex(resources, slots):
            size, unit = host[resource], units[resource]
            ends = [draw(st.sampled_from([0, size, size // 2, size // 3, draw(st.integers(0, size // unit)) * unit]))
                    for _ in range(pieces - 1)]
            item[:, resource, slot] = np.diff([0, *sorted(ends), size])
        demand.append(item[:-1] if pieces > 2 and draw(st.integers(0, 3)) == 0 else item)
    needs = np.concatenate(demand)
    usable = np.array(hosts, dtype=np.int64)
    takes = (needs.max(axis=2)[:, None] <= usable[None]).all(axis=2).any(axis=0)
    return usable[takes], needs, cut


@MANY
@given(cut_hosts())
def test_never_above_the_hosts_that_were_cut(estate: tuple[Ints, Ints, int]) -> None:
    usable, demand, cut = estate
    assert dual.dual_bound(usable, demand) <= cut


@MANY
@given(estates())
def test_never_above_the_fewest_hosts(estate: tuple[Ints, Ints]) -> None:
    usable, demand = estate
    true = fewest(usable.tolist(), demand.tolist())
    bound = dual.dual_bound(usable, demand)
    assert 0 <= bound <= (len(usable) if true is None else true)


@MANY
@given(estates())
def test_never_below_the_sum_and_l2(estate: tuple[Ints, Ints]) -> None:
    usable, demand = estate
    assert max(dual.dual_bound(usable, demand), _sum_bound(usable, demand)) >= l2_bound(usable, demand)


@MANY
@given(problems())
def test_holds_under_rules_and_series(problem: dict[str, Any]) -> None:
    assume(len(problem["hosts"]) <= 4 and len(problem["workloads"]) <= 7)
    true = fewest_hosts(problem)
    assume(true is not None)
    normal = normalise(problem)
    assert true is not None and hosts_bound(normal, static_mask(normal, compile_rules(normal))) <= true


FUNCTIONS = {
    "martello_toth": (dual.martello_toth, lambda size: range(size // 2 + 1)),
    "fekete_schepers": (dual.fekete_schepers, lambda size: range(2, 12)),
    "carlier": (dual.carlier, lambda size: range(1, size // 2 + 2)),
    "burdett_johnson": (dual.burdett_johnson, lambda size: range(1, size + 2)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("unit", [1, 10**6, 2**55])
def test_functions_never_fall_and_are_superadditive(name: str, unit: int) -> None:
    """For every size, parameter, x and y: f(0) = 0, f(x) <= f(x + 1), f(x) + f(y) <= f(x + y), all within 64 bits."""
    function, parameters = FUNCTIONS[name]
    for size in range(1, 26):
        x = np.arange(size + 1, dtype=np.int64) * unit
        for parameter in parameters(size):
            values = function(x, size * unit, parameter if name == "fekete_schepers" else parameter * unit).astype(object)
            assert values[0] == 0 and (np.diff(values) >= 0).all()
            for total in range(size + 1):
                assert (values[:total + 1] + values[:total + 1][::-1] <= values[total]).all(), (size, parameter, total)


@pytest.mark.parametrize("name", ["martello_toth", "fekete_schepers", "carlier"])
def test_functions_are_maximal(name: str) -> None:
    """f(x) + f(size - x) = f(size): no other function that is valid gives more everywhere."""
    function, parameters = FUNCTIONS[name]
    for size, x in ((size, np.arange(size + 1)) for size in range(1, 26)):
        for parameter in parameters(size):
            values = function(x, size, parameter)
            assert (values + values[::-1] == values[-1]).all() or values[-1] == 0, (size, parameter)


def test_burdett_johnson_holds_beyond_its_size() -> None:
    """So that it can be aligned to hosts smaller than the largest."""
    x = np.arange(41)
    for size, width in itertools.product(range(20), range(1, 20)):
        values = dual.burdett_johnson(x, size, width)
        for total in x:
            assert (values[:total + 1] + values[:total + 1][::-1] <= values[total]).all()


CASES: dict[str, tuple[list[list[int]], list[list[int]], int, int]] = {
    # name: hosts, demands, the larger of sum and L2, the bound
    "both hosts would have to be full": ([[15]] * 3, [[2], [5], [7], [7], [9]], 2, 3),
    "hosts too small for two": ([[10], [6], [6], [6]], [[4]] * 4, 2, 3),
    "in each resource three would fit, by all sums together only two": ([[11, 11, 11]] * 9, [[5, 4, 3], [3, 5, 4], [4, 3, 5]] * 3, 4, 5),
    "each pair apart by another resource": ([[10, 10, 10]] * 4, [[6, 1, 5], [6, 1, 5], [1, 6, 6], [1, 6, 6]], 3, 4),
    "opposite hosts": ([[20, 2], [20, 2], [2, 20], [2, 20]], [[10, 1], [10, 1], [1, 10], [1, 10], [1, 1]], 2, 3),
}


@pytest.mark.parametrize("name", CASES)
def test_raises_the_bound(name: str) -> None:
    hosts, items, before, after = CASES[name]
    usable, demand = np.array(hosts, dtype=np.int64), np.array(items, dtype=np.int64)[:, :, None]
    assert max(_sum_bound(usable, demand), l2_bound(usable, demand)) == before
    assert dual.dual_bound(usable, demand) == after


def _bound(hosts: list[int], sizes: list[int], **host: Any) -> int:
    problem = normalise({
        "hosts": [{"name": f"h{number}", "capacity": {"memory_mib": size}, **host} for number, size in enumerate(hosts)],
        "workloads": [{"name": f"w{number}", "demand": {"memory_mib": size}} for number, size in enumerate(sizes)],
    })
    return hosts_bound(problem, static_mask(problem, compile_rules(problem)))


@pytest.mark.parametrize(("hosts", "sizes", "bound"), [
    ([10], [], 0), ([10, 10], [11], 0), ([10], [0, 0], 1), ([0], [0], 1), ([10, 10], [10, 10], 2),
    ([10, 10], [6, 6, 6], 2),
    ([10**12] * 2, [10**12], 1), ([10**12] * 2, [5 * 10**11 + 1, 5 * 10**11 + 1], 2),
], ids=["nobody", "fits nowhere", "nothing needed", "no capacity", "equal to it", "more than there is", "largest", "just above half of it"])
def test_bounds_of_odd_estates(hosts: list[int], sizes: list[int], bound: int) -> None:
    assert _bound(hosts, sizes) == bound


def test_drained_hosts_do_not_count() -> None:
    assert _bound([10, 10], [5], state="drain") == 0
