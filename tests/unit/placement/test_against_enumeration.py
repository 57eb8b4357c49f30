# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""On estates small enough to try every placement: the bound holds, and `optimal` is never claimed in vain."""
from __future__ import annotations

import itertools
import os
import random
import subprocess
import sys
from typing import Any

import pytest
from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.plan import place
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.unit.placement.test_promises import problems
from tests.unit.placement.verifier import Estate, _single, _where, amount

SMALL = settings(max_examples=150)


def fewest_hosts(problem: dict[str, Any]) -> int | None:
    """Hosts used by the best of all placements that keep capacity, every hard rule and max_moves; None when there is none."""
    estate = Estate(problem)
    hard = [rule for rule in estate.rules if rule.get("enforce", "hard") == "hard"]
    usable = {(h, r): estate.capacity(h, r, True) for h in estate.hosts for r in estate.resources}
    needs = {
        name: {(r, s): estate.demand(name, r, s) for r in estate.resources for s in range(estate.slots)} for name in estate.workloads
    }
    names = sorted(estate.workloads, key=lambda name: (-max(needs[name].values(), default=0), name))
    limit = estate.policy.get("max_moves")
    used: dict[str, dict[tuple[str, int], Any]] = {h: dict.fromkeys(next(iter(needs.values()), {}), 0) for h in estate.hosts}
    placement: dict[str, str] = {}
    best: list[int | None] = [None]

    def go(index: int, moves: int) -> None:
        if best[0] is not None and len(set(placement.values())) >= best[0]:
            return
        if index == len(names):
            best[0] = len(set(placement.values()))
            return
        name = names[index]
        home = estate.workloads[name].get("current")
        for host in estate.hosts:
            moved = moves + (home not in (None, host))
            if limit is not None and moved > limit:
                continue
            if any(used[host][key] + need > usable[host, key[0]] for key, need in needs[name].items()):
                continue
            placement[name] = host
            # A broken rule stays broken while workloads are added, so such a branch is left at once.
            if not _single(estate, {name: host}) and not any(amount(estate, rule, _where(placement)) for rule in hard):
                for key, need in needs[name].items():
                    used[host][key] += need
                go(index + 1, moved)
                for key, need in needs[name].items():
                    used[host][key] -= need
            del placement[name]

    go(0, 0)
    return best[0]


@SMALL
@given(problems())
def test_bound_and_claims_hold(problem: dict[str, Any]) -> None:
    assume(len(problem["hosts"]) <= 4 and len(problem["workloads"]) <= 7)
    plan = place(problem)
    fewest = fewest_hosts(problem)
    if fewest is None:
        assert plan["status"] == "infeasible"
        return
    assert plan["summary"]["hosts_bound"] <= fewest
    if plan["status"] != "infeasible":
        assert plan["summary"]["hosts_used"] >= fewest
    if plan["status"] == "optimal":
        assert plan["summary"]["hosts_used"] == fewest


@SMALL
@given(problems(), st.sampled_from(["normal", "thorough"]))
def test_small_estates_without_rules_are_solved(problem: dict[str, Any], effort: str) -> None:
    """New workloads alone, so that no order of moves stands in the way."""
    assume(len(problem["hosts"]) <= 4 and 0 < len(problem["workloads"]) <= 7)
    problem = {**problem, "rules": [], "policy": {"effort": effort}}
    for workload in problem["workloads"]:
        workload.pop("current", None)
        workload.pop("movable", None)
    fewest = fewest_hosts(problem)
    plan = place(problem)
    assert (plan["status"] == "infeasible") == (fewest is None)
    if fewest is not None:
        assert plan["summary"]["hosts_used"] == fewest


def fewest_moves(problem: dict[str, Any], hosts_allowed: int) -> int | None:
    """Fewest moves of all placements on at most so many hosts; no rules, one slot."""
    estate = Estate(problem)
    names, best = sorted(estate.workloads), None
    for places in itertools.product(estate.hosts, repeat=len(names)):
        if len(set(places)) > hosts_allowed:
            continue
        where = dict(zip(names, places, strict=True))
        load: dict[tuple[str, str], Any] = {}
        for name, host in where.items():
            for resource in estate.resources:
                load[host, resource] = load.get((host, resource), 0) + estate.demand(name, resource, 0)
        if all(amount <= estate.capacity(host, resource, True) for (host, resource), amount in load.items()):
            moves = sum(1 for name in names if estate.workloads[name].get("current") not in (None, where[name]))
            best = moves if best is None else min(best, moves)
    return best


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(0, 2)), min_size=2, max_size=6))
def test_the_trade_off_is_exact_on_small_estates(sizes: list[tuple[int, int, int]]) -> None:
    hosts = [{"name": f"h{number}", "capacity": {"cpu": 14, "memory_mib": 14}} for number in range(3)]
    workloads = [{"name": f"w{index}", "demand": {"cpu": cpu, "memory_mib": memory}, "current": f"h{host}"}
                 for index, (cpu, memory, host) in enumerate(sizes)]
    problem = {"hosts": hosts, "workloads": workloads, "rules": [], "policy": {"tradeoff": True}}
    plan = place(problem)
    assume(plan["status"] != "infeasible")
    for point in plan["tradeoff"]:
        assert point["moves"] == fewest_moves(problem, point["hosts"])
    assert plan["tradeoff"][-1]["hosts"] == fewest_hosts(problem)


def test_dense_packings_are_found_and_proven() -> None:
    """Threes that fill a host exactly, taken apart and mixed: nothing but the right threes will do."""
    dice = random.Random(3)
    sizes = [size for _ in range(12) for size in _three(dice)]
    dice.shuffle(sizes)
    hosts = [{"name": f"h{number:02}", "capacity": {"memory_mib": 1000}} for number in range(20)]
    plan = place({"hosts": hosts, "rules": [], "policy": {},
                  "workloads": [{"name": f"w{index:02}", "demand": {"memory_mib": size}} for index, size in enumerate(sizes)]})
    assert plan["summary"]["hosts_used"] == plan["summary"]["hosts_bound"] == 12
    assert plan["status"] == "optimal"


def _three(dice: random.Random) -> tuple[int, int, int]:
    first, second = dice.randint(260, 420), dice.randint(260, 380)
    return first, second, 1000 - first - second


def test_a_bound_that_no_sum_can_give() -> None:
    """Any two share a host and no three do, though in each resource three would fit by their sum and none is above half."""
    demands = [{"a": 5, "b": 4, "c": 3}, {"a": 3, "b": 5, "c": 4}, {"a": 4, "b": 3, "c": 5}] * 3
    hosts = [{"name": f"h{number}", "capacity": {"a": 11, "b": 11, "c": 11}} for number in range(9)]
    plan = place({"hosts": hosts, "rules": [], "policy": {},
                  "workloads": [{"name": f"w{index}", "demand": demand} for index, demand in enumerate(demands)]})
    assert -(-sum(demand["a"] for demand in demands) // 11) == 4
    assert plan["summary"]["hosts_used"] == plan["summary"]["hosts_bound"] == 5
    assert plan["status"] == "optimal"


def test_the_solver_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    """Standard output belongs to the module's answer."""
    program = "\n".join([
        "from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.solver import new_solver",
        "new_solver().run()", "print('done')"])
    subprocess.run([sys.executable, "-c", program], check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    assert capfd.readouterr().out == "done\n"
