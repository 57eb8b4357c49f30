# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""No single step makes the plan of a small estate better, unless no order of moves, max_moves or failover allows it."""
from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.explain import explain
from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.failover import weak_hosts
from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.moves import Schedule
from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.normalise import normalise
from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.objective import evaluate
from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.plan import place
from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.polish import polish
from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.rules import compile_rules
from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.state import group, static_mask
from hypothesis import given, settings

from tests.unit.placement import verifier
from tests.unit.placement.test_plan import hosts, work
from tests.unit.placement.test_promises import problems


def kept(problem: dict[str, Any], placement: dict[str, str]) -> bool:
    """Whether a placement keeps capacity, states and hard rules, as the verifier has it."""
    estate = verifier.Estate(problem)
    hard = [rule for rule in estate.rules if rule.get("enforce", "hard") == "hard"]
    return not (verifier._single(estate, placement) or verifier._capacity(estate, placement)
                or any(verifier.amount(estate, rule, verifier._where(placement)) for rule in hard))


def steps(problem: dict[str, Any], placement: dict[str, str], items: list[list[str]]) -> Iterator[dict[str, str]]:
    """One item elsewhere, two items exchanged, one host with at most three items emptied."""
    names = [host["name"] for host in problem["hosts"]]
    for item, host in itertools.product(items, names):
        yield {**placement, **dict.fromkeys(item, host)}
    for one, two in itertools.combinations(items, 2):
        yield {**placement, **dict.fromkeys(one, placement[two[0]]), **dict.fromkeys(two, placement[one[0]])}
    for host in names:
        there = [item for item in items if placement[item[0]] == host]
        for targets in itertools.product([name for name in names if name != host], repeat=len(there)) if 2 <= len(there) <= 3 else ():
            yield placement | {name: target for item, target in zip(there, targets, strict=True) for name in item}


@settings(max_examples=60)
@given(problems())
def test_no_step_makes_a_plan_better(problem: dict[str, Any]) -> None:
    plan = place(problem)
    if plan["status"] == "infeasible":
        return
    small = normalise(problem)
    rules = compile_rules(small)
    names = [workload.name for workload in small.workloads]
    numbers = {host.name: number for number, host in enumerate(small.hosts)}
    placed = small.current.copy()

    def rows(placement: dict[str, str]) -> Any:
        placed[:] = [numbers[placement[name]] for name in names]
        return placed.copy()
    worth = evaluate(small, rules, rows(plan["placement"]))
    items = [[names[member] for member in item] for item in group(small, rules, static_mask(small, rules))]
    for placement in steps(problem, plan["placement"], items):
        host_of = rows(placement)
        value = evaluate(small, rules, host_of)
        if value < worth and kept(problem, placement):
            limit = small.policy.max_moves
            assert ((limit is not None and value[5] > limit) or Schedule(small, rules, host_of).stuck
                    or weak_hosts(small, rules, host_of) is not None), placement


@settings(max_examples=60)
@given(problems())
def test_nothing_better_is_left_to_explain(problem: dict[str, Any]) -> None:
    plan = place(problem)
    if plan["status"] != "infeasible":
        kinds = {entry["kind"] for workload in problem["workloads"] for entry in explain(problem, plan, workload["name"])["not_on"]}
        assert "better" not in kinds


FRUGAL = [{**host, "watts": {"idle": idle, "busy": 100}} for host, idle in zip(hosts(3), (80, 20, 60), strict=True)]
STEPS: list[tuple[str, Any, Any, Any, dict[str, str], dict[str, str]]] = [
    ("to a frugal host", FRUGAL, work(1, a=None), {"objective": "watts"}, {"a": "h0"}, {"a": "h1"}),
    ("a whole host to a frugal one", FRUGAL, work(1, a=None, b=None), {"objective": "watts"}, {"a": "h0", "b": "h0"},
     {"a": "h1", "b": "h1"}),
    ("home again", hosts(2), work(2, a="h0", b="h1", c="h0", d="h1"), {}, {"a": "h1", "b": "h0", "c": "h0", "d": "h1"},
     {"a": "h0", "b": "h1", "c": "h0", "d": "h1"}),
    ("level", hosts(2), work(1, a=None, b=None), {"objective": "balance"}, {"a": "h0", "b": "h0"}, {"a": "h1", "b": "h0"}),
    ("no more moves than allowed", FRUGAL, work(1, a="h0"), {"objective": "watts", "max_moves": 0}, {"a": "h0"}, {"a": "h0"}),
    ("a host too small", [*hosts(1), *hosts(3, 0.5)[1:]], work(1, a=None), {"objective": "balance"}, {"a": "h0"}, {"a": "h0"}),
]


@pytest.mark.parametrize(("estate", "workloads", "policy", "before", "after"), [case[1:] for case in STEPS],
                         ids=[case[0] for case in STEPS])
def test_steps(estate: Any, workloads: Any, policy: Any, before: dict[str, str], after: dict[str, str]) -> None:
    small = normalise({"hosts": estate, "workloads": workloads, "policy": policy})
    rules = compile_rules(small)
    allowed = static_mask(small, rules)
    host_of = small.current.copy()
    host_of[:] = [int(before[workload.name][1:]) for workload in small.workloads]
    asked = []

    def never(found: Any) -> bool:
        asked.append(found.tolist())
        return False
    items = group(small, rules, allowed)
    better = polish(small, rules, allowed, items, host_of)
    assert {workload.name: f"h{better[row]}" for row, workload in enumerate(small.workloads)} == after
    # What may not be taken is asked about, and left.
    assert polish(small, rules, allowed, items, host_of, never).tolist() == host_of.tolist()
    assert bool(asked) == (before != after)
