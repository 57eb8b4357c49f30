# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The checker in whole numbers says of a plan, good or spoilt, what the exact verifier says."""
from __future__ import annotations

import copy
import random
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.plan import place
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.benchmarks import check
from tests.unit.placement import verifier
from tests.unit.placement.test_promises import problems

Spoil = Callable[[random.Random, dict[str, Any], list[str]], None]


def elsewhere(rng: random.Random, plan: dict[str, Any], hosts: list[str]) -> None:
    if plan["placement"]:
        plan["placement"][rng.choice(sorted(plan["placement"]))] = rng.choice(hosts)


def crowded(rng: random.Random, plan: dict[str, Any], hosts: list[str]) -> None:
    host = rng.choice(hosts)
    plan["placement"] = dict.fromkeys(plan["placement"], host)
    for move in plan["moves"]:
        move["to"] = host


def forgotten(rng: random.Random, plan: dict[str, Any], hosts: list[str]) -> None:
    if plan["placement"]:
        del plan["placement"][rng.choice(sorted(plan["placement"]))]


def skipped(rng: random.Random, plan: dict[str, Any], hosts: list[str]) -> None:
    if plan["moves"]:
        plan["moves"].pop(rng.randrange(len(plan["moves"])))
        for step, move in enumerate(plan["moves"], 1):
            move["step"] = step


def at_once(rng: random.Random, plan: dict[str, Any], hosts: list[str]) -> None:
    for move in plan["moves"]:
        move["wave"] = 1


def turned(rng: random.Random, plan: dict[str, Any], hosts: list[str]) -> None:
    told = [(move["step"], move["wave"]) for move in plan["moves"]]
    plan["moves"].reverse()
    for move, (step, wave) in zip(plan["moves"], told, strict=True):
        move.update(step=step, wave=wave)


def rerouted(rng: random.Random, plan: dict[str, Any], hosts: list[str]) -> None:
    if plan["moves"]:
        rng.choice(plan["moves"])[rng.choice(["from", "to"])] = rng.choice(hosts)


def other_method(rng: random.Random, plan: dict[str, Any], hosts: list[str]) -> None:
    if plan["moves"]:
        rng.choice(plan["moves"])["method"] = rng.choice(["define", "live", "offline"])


def miscounted(rng: random.Random, plan: dict[str, Any], hosts: list[str]) -> None:
    plan["summary"][rng.choice(["hosts_used", "moves", "unplaced"])] += 1


def untouched(rng: random.Random, plan: dict[str, Any], hosts: list[str]) -> None:
    pass


SPOILS: tuple[Spoil, ...] = (
    untouched, elsewhere, crowded, forgotten, skipped, at_once, turned, rerouted, other_method, miscounted,
)


def checkable(problem: dict[str, Any]) -> dict[str, Any]:
    """Without what the checker refuses."""
    told = copy.deepcopy(problem)
    for host in told["hosts"]:
        host.pop("numa_nodes", None)
    told["policy"].pop("failover", None)
    return told


@settings(max_examples=25)
@given(problems(), st.integers(0, 10**6))
def test_both_agree(written: dict[str, Any], seed: int) -> None:
    problem = checkable(written)
    plan = place(problem)
    for spoil in SPOILS:
        spoilt = copy.deepcopy(plan)
        spoil(random.Random(seed), spoilt, [host["name"] for host in problem["hosts"]])
        fast, exact = check.violations(problem, spoilt), verifier.violations(problem, spoilt)
        assert bool(fast) == bool(exact), (spoil.__name__, fast, exact)


@settings(max_examples=50)
@given(problems(), st.integers(0, 10**6))
def test_both_count_alike_how_far_rules_are_broken(written: dict[str, Any], seed: int) -> None:
    problem, rng = checkable(written), random.Random(seed)
    hosts = [host["name"] for host in problem["hosts"]]
    where = {workload["name"]: set(rng.choices(hosts, k=rng.choice((1, 1, 2)))) for workload in problem["workloads"] if rng.random() < 0.9}
    for rule in problem["rules"]:
        assert check._Estate(problem).excess(rule, where) == verifier.amount(verifier.Estate(problem), rule, where), rule


PROBLEM: dict[str, Any] = {
    "hosts": [{"name": f"xen0{index}", "capacity": {"memory_mib": 8, "cpu_cores": 4}} for index in (1, 2, 3)],
    "workloads": [
        {"name": f"vm{index}", "current": "xen01", "demand": {"memory_mib": 2, "cpu_cores": [1, 0.5]}} for index in (1, 2, 3, 4)
    ],
    "rules": [], "policy": {},
}


def plan_of(moves: list[tuple[int, str, str, str]]) -> dict[str, Any]:
    """A plan of PROBLEM; moves: wave, workload, from, to."""
    at = {workload["name"]: "xen01" for workload in PROBLEM["workloads"]} | {name: target for _, name, _, target in moves}
    changed = [name for name, host in at.items() if host != "xen01"]
    return {
        "status": "feasible", "placement": at, "unplaced": [], "conflict": [],
        "moves": [{"step": step, "wave": wave, "workload": name, "from": source, "to": target, "method": "offline"}
                  for step, (wave, name, source, target) in enumerate(moves, 1)],
        "summary": {"workloads": 4, "hosts_used": len(set(at.values())), "hosts_bound": 1, "moves": len(changed),
                    "moved_mib": 2 * len(changed), "unplaced": 0},
    }


GOOD = plan_of([(1, "vm1", "xen01", "xen02"), (1, "vm2", "xen01", "xen02"), (2, "vm3", "xen01", "xen02")])


def test_a_good_plan() -> None:
    assert check.violations(PROBLEM, GOOD) == []


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (GOOD | {"placement": {**GOOD["placement"], "vm4": "xen09"}}, "vm4 on xen09: the problem does not name both"),
        (GOOD | {"summary": {**GOOD["summary"], "moved_mib": 5}}, "summary: moved_mib 5, counted 6"),
        (plan_of([(1, "vm1", "xen01", "xen02"), (1, "vm2", "xen01", "xen02"), (1, "vm3", "xen01", "xen03")]),
         "wave 1: xen01: moves_out 3, allowed 2"),
        (plan_of([(1, "vm1", "xen01", "xen02"), (2, "vm2", "xen01", "xen02"), (1, "vm3", "xen01", "xen02")]), "waves are not 1, 2, 3 ..."),
        (plan_of([(1, "vm1", "xen01", "xen03"), (1, "vm1", "xen03", "xen02")]), "step 2: vm1 leaves xen03, stands on xen01"),
    ],
)
def test_what_the_verifier_does_not_look_at(plan: dict[str, Any], message: str) -> None:
    assert message in check.violations(PROBLEM, plan)


def test_capacity_counts_in_every_slot_and_while_moves_are_under_way() -> None:
    tight = copy.deepcopy(PROBLEM)
    tight["hosts"][1]["capacity"] = {"memory_mib": 8, "cpu_cores": 2.4}
    assert check.violations(tight, GOOD) == [
        "xen02: cpu_cores in slot 0: 3, usable 2.4", "step 3: vm3: more than xen02 can hold while wave 2 is under way",
    ]


def test_headroom_is_not_needed_in_passing() -> None:
    roomy = copy.deepcopy(PROBLEM) | {"policy": {"headroom": {"memory_mib": 0.5}}}
    by_way_of = [(1, "vm1", "xen01", "xen02"), (1, "vm2", "xen01", "xen02"), (2, "vm3", "xen01", "xen02"), (3, "vm3", "xen02", "xen03")]
    assert check.violations(roomy, plan_of(by_way_of)) == []


def test_null_is_the_default() -> None:
    empty = copy.deepcopy(PROBLEM) | {"policy": None, "rules": [{"rule": "ban", "workloads": ["vm4"], "hosts": ["xen02"], "enforce": None}]}
    for host in empty["hosts"]:
        host.update(dict.fromkeys(("state", "zone", "pool", "features", "limits", "numa_nodes", "reserved")))
    for workload in empty["workloads"]:
        workload.update(dict.fromkeys(("movable", "vcpus", "storage", "live", "requires", "replica")))
    assert check.violations(empty, GOOD) == []


def test_what_is_not_checked_is_refused() -> None:
    with pytest.raises(ValueError, match="policy: failover: value 1, allowed 0"):
        check.violations(PROBLEM | {"policy": {"failover": 1}}, GOOD)
    divided = copy.deepcopy(PROBLEM)
    divided["hosts"][0]["numa_nodes"] = [{"memory_mib": 4}, {"memory_mib": 4}]
    with pytest.raises(ValueError, match=r"host 'xen01': numa_nodes: value .*, allowed none"):
        check.violations(divided, GOOD)
