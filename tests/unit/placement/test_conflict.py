# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Contradictions, and the smallest conflict that each has to be told as."""
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.plan import place
from hypothesis import given, settings

from tests.unit.placement.test_plan import hosts, work
from tests.unit.placement.test_promises import problems
from tests.unit.placement.verifier import violations

ZONES = [{**host, "zone": f"z{index % 2}"} for index, host in enumerate(hosts(4))]
DRAIN = [{**host, "state": "drain"} if host["name"] == "h0" else host for host in hosts(3)]


def rule(kind: str, *workloads: str, **keys: Any) -> dict[str, Any]:
    return {"rule": kind, "workloads": list(workloads), **keys}


FAR = [rule("affinity", "c", "d"), rule("ban", "e", hosts=["h0"]), rule("spread", "c", "d", "e", at_most=3)]
"""Rules that hold whatever happens and belong into no conflict."""
REST = work(0.1, c=None, d=None, e=None)
CASES: list[tuple[str, Any, Any, Any, list[str]]] = [
    ("together and apart", hosts(3), work(1, a=None, b=None), [rule("affinity", "a", "b"), rule("anti_affinity", "a", "b")],
     ["affinity", "anti_affinity", "a", "b"]),
    ("a chain together, its ends apart", hosts(3), work(0.5, a=None, b=None, x=None),
     [rule("affinity", "a", "b"), rule("affinity", "b", "x"), rule("anti_affinity", "a", "x")],
     ["affinity", "affinity", "anti_affinity", "a", "b", "x"]),
    ("fence to a banned host", hosts(3), work(1, a=None), [rule("fence", "a", hosts=["h1"]), rule("ban", "a", hosts=["h1"])],
     ["ban", "fence", "a"]),
    ("two fences that do not meet", hosts(3), work(1, a=None), [rule("fence", "a", hosts=["h1"]), rule("fence", "a", hosts=["h2"])],
     ["fence", "fence", "a"]),
    ("root on a draining host", DRAIN, work(1, a="h0"), [rule("root", "a")], ["root", "a"]),
    ("root and a ban from home", hosts(3), work(1, a="h0"), [rule("root", "a"), rule("ban", "a", hosts=["h0"])], ["ban", "root", "a"]),
    ("two exclusive ones on one host", hosts(3), work(1, a=None, b=None),
     [rule("fence", "a", "b", hosts=["h1"]), rule("exclusive", "a"), rule("exclusive", "b")], ["exclusive", "fence", "a", "b"]),
    ("one host for two hosts' demand", hosts(3), work(2.5, a=None, b=None), [rule("limit_hosts", "a", "b", at_most=1)],
     ["limit_hosts", "a", "b"]),
    ("too few zones", ZONES, work(0.5, a=None, b=None, x=None), [rule("spread", "a", "b", "x", scope="zone", at_most=1)],
     ["spread", "a", "b", "x"]),
    ("together on a host too small", hosts(3), work(2.5, a=None, b=None), [rule("affinity", "a", "b")], ["affinity", "a", "b"]),
    ("too large for any host", hosts(3), work(5, a=None), [], ["a"]),
    ("more than all hosts hold", hosts(2), work(2.5, a=None, b=None, x=None), [], ["a", "b", "x"]),
]


def told(entry: dict[str, Any]) -> str:
    return str(entry.get("rule") or entry.get("workload") or entry.get("policy") or "moves")


@pytest.mark.parametrize(("estate", "workloads", "rules", "wanted"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_smallest_conflict(estate: Any, workloads: Any, rules: Any, wanted: list[str]) -> None:
    for limit in (None, 9):
        problem = {"hosts": estate, "workloads": workloads + REST, "rules": rules + FAR, "policy": {"max_moves": limit}}
        plan = place(problem)
        assert violations(problem, plan) == []
        assert plan["status"] == "infeasible"
        assert sorted(told(entry) for entry in plan["conflict"]) == sorted(wanted)


def test_without_the_contradiction_there_is_none() -> None:
    for name, estate, workloads, rules, _ in CASES:
        if rules:
            plan = place({"hosts": estate, "workloads": workloads + REST, "rules": FAR})
            assert (plan["conflict"], plan["status"] == "infeasible") == ([], False), name


FULL = [rule("fence", "a", hosts=["h1"]), rule("fence", "b", hosts=["h0"])]
LIMITS: list[tuple[str, Any, Any, Any, Any, list[str], list[str]]] = [
    ("moves", DRAIN, work(1, a="h0", b="h0"), [], {"max_moves": 1}, ["max_moves"], ["max_moves"]),
    ("a rule asks for more moves", hosts(3), work(1, a="h0"), [rule("fence", "a", hosts=["h1"])], {"max_moves": 0}, ["max_moves"],
     ["max_moves"]),
    ("no order", hosts(2), work(3, a="h0", b="h1"), FULL, {}, ["moves"], []),
    ("no order, with a limit", hosts(2), work(3, a="h0", b="h1"), FULL, {"max_moves": 2}, ["moves"], []),
    ("failure", hosts(2), work(2, a=None, b=None, c=None), [], {"failover": 1}, ["failover"], []),
]


@pytest.mark.parametrize(("estate", "workloads", "rules", "policy", "wanted", "reasons"), [case[1:] for case in LIMITS],
                         ids=[case[0] for case in LIMITS])
def test_policies_and_moves_are_named(estate: Any, workloads: Any, rules: Any, policy: Any, wanted: list[str], reasons: list[str]) -> None:
    problem = {"hosts": estate, "workloads": workloads, "rules": rules, "policy": policy}
    plan = place(problem)
    assert violations(problem, plan) == []
    assert [told(entry) for entry in plan["conflict"]] == wanted
    given = {reason["policy"] for entry in plan["unplaced"] for reason in entry["reasons"] if "policy" in reason}
    assert sorted(given) == reasons


@settings(max_examples=100)
@given(problems())
def test_no_limit_is_named_that_the_policy_has_not(problem: dict[str, Any]) -> None:
    plan = place(problem)
    named = [entry for entry in plan["conflict"] if "policy" in entry]
    named += [reason for entry in plan["unplaced"] for reason in entry["reasons"] if "policy" in reason]
    assert all(problem["policy"].get(entry["policy"]) is not None for entry in named)
