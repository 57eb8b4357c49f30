# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is left of a plan after some of its moves."""
from __future__ import annotations

import copy
import json
import re
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.xenfold.consolidation.plugins.filter.after_moves import _after_moves
from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.normalise import normalise
from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.plan import place
from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.progress import ProgressError, after
from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.schema import ProblemError
from ansible_collections.xenfold.consolidation.plugins.module_utils.report.model import conflict_text
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.placement.test_promises import problems, tight_estates
from tests.unit.placement.verifier import violations

PROBLEM: dict[str, Any] = {
    "hosts": [{"name": name, "capacity": {"memory_mib": 64}} for name in ("h1", "h2", "h3", "h4")],
    "workloads": [
        {"name": "app", "demand": {"memory_mib": 4}, "current": "h1"},
        {"name": "db", "demand": {"memory_mib": 4}, "current": "h1"},
        {"name": "new", "demand": {"memory_mib": 4}},
        {"name": "rep", "demand": {"memory_mib": 4}, "current": "h1", "storage": "replicated", "replica": "h2"},
        {"name": "far", "demand": {"memory_mib": 4}, "current": "h1", "storage": "replicated", "replica": "h3"},
        {"name": "idle", "demand": {"memory_mib": 4}, "current": "h2", "replica": None},
    ],
    "rules": [{"rule": "anti_affinity", "workloads": ["app", "new"], "enforce": "soft"}],
    "policy": {"max_moves": 5},
}
MOVES = [("db", "h1", "h3"), ("app", "h1", "h2"), ("new", None, "h2"), ("db", "h3", "h2"), ("rep", "h1", "h2"), ("far", "h1", "h2")]
PLAN: dict[str, Any] = {
    "schema": 1, "status": "feasible", "inputs_sha256": normalise(PROBLEM).sha256,
    "moves": [{"step": step, "workload": workload, "from": source, "to": target, **({"parking": True} if step == 1 else {})}
              for step, (workload, source, target) in enumerate(MOVES, 1)],
}
H2 = {"current": "h2"}
PINNED = {"movable": False}
# done, failed; then what differs from PROBLEM: keys of workloads, bans, max_moves.
CASES: list[Any] = [
    ([], [], {}, [], 5),
    ("none", [], {}, [], 5),
    ([2], [], {"app": H2}, [], 4),
    ([], ["app"], {"app": PINNED}, [], 5),
    ([1], [], {"db": {"current": "h3"}}, [], 5),
    ([1], ["db"], {"db": {"current": "h3", **PINNED}}, [], 4),
    ([], ["db"], {"db": PINNED}, [], 5),
    ([1, 4], [], {"db": H2}, [], 4),
    ([3], [], {"new": H2}, [], 5),
    ([], ["new"], {}, [("new", "h2")], 5),
    ("5", "new,far", {"rep": {"current": "h2", "replica": "h1"}, "far": PINNED}, [("new", "h2")], 4),
    ([6], [], {"far": H2}, [], 4),
    ("1-3, 5", ["db"], {"db": {"current": "h3", **PINNED}, "app": H2, "new": H2, "rep": {"current": "h2", "replica": "h1"}}, [], 2),
    (["1-4", 6, "5"], [], {"db": H2, "app": H2, "new": H2, "far": H2, "rep": {"current": "h2", "replica": "h1"}}, [], 1),
]


@pytest.mark.parametrize(("done", "failed", "changes", "bans", "max_moves"), CASES, ids=repr)
def test_what_is_left(done: Any, failed: Any, changes: dict[str, Any], bans: list[Any], max_moves: int) -> None:
    before = copy.deepcopy([PROBLEM, PLAN])
    left = after(PROBLEM, PLAN, done, failed)
    assert before == [PROBLEM, PLAN]
    assert left["hosts"] == PROBLEM["hosts"]
    assert left["workloads"] == [{**workload, **changes.get(workload["name"], {})} for workload in PROBLEM["workloads"]]
    assert left["rules"] == [*PROBLEM["rules"], *({"rule": "ban", "workloads": [name], "hosts": [host]} for name, host in bans)]
    assert left["policy"] == {"max_moves": max_moves}
    assert place(left)["status"] != "infeasible"
    assert _after_moves(PROBLEM, PLAN, done=done, failed=failed) == _after_moves(PROBLEM, json.dumps(PLAN), done, failed) == left


@pytest.mark.parametrize(("most", "left"), [(None, None), (0, 0), (1, 0), (9, 8)])
def test_max_moves_is_what_is_left_of_it(most: int | None, left: int | None) -> None:
    problem = {**PROBLEM, "policy": {"max_moves": most}}
    plan = {**PLAN, "inputs_sha256": normalise(problem).sha256}
    assert after(problem, plan, [2, 3])["policy"] == {"max_moves": left}
    bare = {key: PROBLEM[key] for key in ("hosts", "workloads")}
    assert after(bare, {**PLAN, "inputs_sha256": normalise(bare).sha256}, [2], ["new"])["policy"] == {}


BAD: list[Any] = [
    ({"done": [0]}, "done: value 0, allowed steps of the plan, from 1 to 6"),
    ({"done": [7]}, "done: value 7, allowed steps of the plan, from 1 to 6"),
    ({"done": "2-7"}, "done: value '2-7', allowed steps of the plan, from 1 to 6"),
    ({"done": "3-2"}, "done: value '3-2', allowed steps of the plan, from 1 to 6"),
    ({"done": "1-999999999999"}, "done: value '1-999999999999', allowed numbers of steps, such as [1, 2, 3] or 1-12,15, or none"),
    *(({"done": value}, "allowed numbers of steps, such as [1, 2, 3] or 1-12,15, or none")
      for value in ("", "all", "1..3", "-1", [True], [1.5], [None], [[1]], {"a": 1}, None, True, 2.0, "1,,2", "none,1", ["none"])),
    ({"done": [10**30]}, "allowed steps of the plan, from 1 to 6"),
    ({"done": [4]}, "done: value 4, allowed only with step 1, which takes db to where that step begins"),
    ({"failed": ["ap"]}, "failed: value 'ap', allowed workloads that the plan moves (did you mean app?)"),
    ({"failed": ["zzz"]}, "failed: value 'zzz', allowed workloads that the plan moves: app, db, far, new, rep"),
    ({"failed": "idle"}, "failed: value 'idle', allowed workloads that the plan moves"),
    *(({"failed": value}, "failed: value ") for value in (3, None, [3], [None], {"a": 1}, [["app"]])),
    ({"done": [2], "failed": ["app"]}, "failed: value 'app', allowed workloads with a step that is not done: done has all of its steps"),
    ({"done": [1, 4], "failed": ["db"]}, "done has all of its steps (1, 4)"),
    *(({"plan": value}, "plan: value ") for value in (None, 3, [], {}, {**PLAN, "schema": 2}, {**PLAN, "moves": 3})),
    ({"plan": {**PLAN, "inputs_sha256": "0123456789abcdef"}}, "plan: inputs_sha256: value '0123456789ab', allowed "),
    ({"plan": {**PLAN, "status": "infeasible"}}, "plan: status: value 'infeasible', allowed a plan that can be carried out"),
    *(({"plan": {**PLAN, "moves": [value, *PLAN["moves"][1:]]}}, "plan: moves[0]: value ")
      for value in (3, {}, {**PLAN["moves"][0], "step": 2}, {**PLAN["moves"][0], "workload": "x"}, {**PLAN["moves"][0], "from": "h2"},
                    {**PLAN["moves"][0], "to": "h9"}, {**PLAN["moves"][0], "to": ["h1"]}, {**PLAN["moves"][0], "workload": []})),
]


@pytest.mark.parametrize(("change", "message"), BAD, ids=[f"{number}-{'-'.join(change)}" for number, (change, _) in enumerate(BAD)])
def test_what_does_not_fit_is_refused(change: dict[str, Any], message: str) -> None:
    asked = {"plan": PLAN, "done": [], "failed": [], **change}
    with pytest.raises(ProgressError, match=re.escape(message)):
        after(PROBLEM, **asked)
    with pytest.raises(AnsibleFilterError, match="after_moves: (?s:.*)" + re.escape(message)):
        _after_moves(PROBLEM, **asked)


def test_one_that_is_defined_on_its_replica_has_none_any_more() -> None:
    new = {"name": "new", "demand": {"memory_mib": 4}, "storage": "replicated", "replica": "h2"}
    problem = {**PROBLEM, "workloads": [new if workload["name"] == "new" else workload for workload in PROBLEM["workloads"]]}
    plan = {**PLAN, "inputs_sha256": normalise(problem).sha256}
    told = {tuple(done): next(w for w in after(problem, plan, done)["workloads"] if w["name"] == "new") for done in ([], [3])}
    assert told[()] == new
    assert told[3,] == {"name": "new", "demand": {"memory_mib": 4}, "storage": "replicated", "current": "h2"}


def test_all_findings_come_at_once() -> None:
    with pytest.raises(ProgressError) as told:
        after(PROBLEM, PLAN, [9, "x"], ["zzz", "idle"])
    assert str(told.value).count("value ") == 4


def test_a_plan_without_moves_has_no_steps() -> None:
    plan = {**PLAN, "moves": []}
    assert after(PROBLEM, plan)["workloads"] == PROBLEM["workloads"]
    with pytest.raises(ProgressError, match="done: value 1, allowed none, since the plan has no moves"):
        after(PROBLEM, plan, [1])
    with pytest.raises(ProgressError, match="failed: value 'app', allowed workloads that the plan moves: none"):
        after(PROBLEM, plan, [], ["app"])


def test_a_problem_that_is_not_sound() -> None:
    with pytest.raises(ProblemError, match="hosts"):
        after({"hosts": []}, PLAN)


def _conflict(problem: dict[str, Any], done: Any, failed: Any) -> dict[str, Any]:
    """The plan of what is left, which must be infeasible."""
    left = after(problem, place(problem), done, failed)
    again = place(left)
    assert again["status"] == "infeasible" and violations(left, again) == []
    return again


def _small(*workloads: dict[str, Any], rules: tuple[Any, ...] = (), state: str = "active") -> dict[str, Any]:
    return {
        "hosts": [{"name": "h1", "capacity": {"memory_mib": 8192}, "state": state}, {"name": "h2", "capacity": {"memory_mib": 8192}}],
        "workloads": list(workloads), "rules": list(rules), "policy": {},
    }


WEB = {"name": "web", "demand": {"memory_mib": 4096}, "current": "h1"}


def test_an_empty_text_names_nobody() -> None:
    problem = _small(WEB)
    assert after(problem, place(problem), [], "") == after(problem, place(problem), [], " , ") == after(problem, place(problem))


def test_pinned_on_a_draining_host_is_a_conflict_that_names_it() -> None:
    again = _conflict(_small(WEB, {**WEB, "name": "app"}, state="drain"), [1], ["web"])
    assert again["unplaced"] == [{"workload": "web", "reasons": [{"host": "h1", "state": "drain"}, {"host": "h2", "movable": False}]}]
    assert [conflict_text(entry) for entry in again["conflict"]] == ["web stays on h1 since movable is false, and h1 drains"]


def test_pinned_against_a_hard_rule_is_a_conflict_that_names_both() -> None:
    fence = {"rule": "fence", "workloads": ["web"], "hosts": ["h2"]}
    again = _conflict(_small(WEB, rules=(fence,)), [], ["web"])
    assert [entry.get("rule") or entry["workload"] for entry in again["conflict"]] == ["fence", "web"]
    assert conflict_text(again["conflict"][0]) == "fence: web only on h2"


def test_one_that_could_not_be_defined_goes_elsewhere_or_nowhere() -> None:
    new = {"name": "web", "demand": {"memory_mib": 4096}}
    problem = _small(new)
    plan = place(problem)
    failed_on = plan["placement"]["web"]
    assert place(after(problem, plan, [], ["web"]))["placement"]["web"] != failed_on
    again = _conflict(_small(new, rules=({"rule": "fence", "workloads": ["web"], "hosts": ["h2"]},)), [], ["web"])
    assert sorted(conflict_text(entry).split(":")[0] for entry in again["conflict"])[:2] == ["ban", "fence"]


SWAP = {
    "hosts": [{"name": name, "capacity": {"memory_mib": 8}} for name in ("h1", "h2", "h3")],
    "workloads": [{"name": "a", "demand": {"memory_mib": 6}, "current": "h1"}, {"name": "b", "demand": {"memory_mib": 6}, "current": "h2"}],
    "rules": [{"rule": "fence", "workloads": ["a"], "hosts": ["h2"]}, {"rule": "fence", "workloads": ["b"], "hosts": ["h1"]}],
    "policy": {"max_moves": 2},
}


@pytest.mark.parametrize(("count", "failed"), [*((count, None) for count in range(4)), (0, "a"), (0, "b"), (1, "a"), (1, "b"), (2, "a")])
def test_a_stop_on_the_way_is_where_it_is_planned_on_from(count: int, failed: str | None) -> None:
    """Two workloads change places over a third host, with no move more than max_moves allows."""
    plan = place(SWAP)
    assert [bool(move.get("parking")) for move in plan["moves"]] == [True, False, False]
    done, rest = plan["moves"][:count], plan["moves"][count:]
    left = after(SWAP, plan, [move["step"] for move in done], [failed] if failed else [])
    again = place(left)
    if failed is None:
        assert violations(left, again) == []
        assert [(move["workload"], move["from"], move["to"]) for move in again["moves"]] == [
            (move["workload"], move["from"], move["to"]) for move in rest]
        assert left["policy"]["max_moves"] == len({move["workload"] for move in rest})
    else:
        # Each is fenced off the host where the other one would have to stay.
        assert again["status"] == "infeasible" and again["conflict"]
        assert failed in [entry["workload"] for entry in again["unplaced"]]


@settings(max_examples=120)
@given(st.one_of(problems(), tight_estates()), st.data())
def test_any_part_of_any_plan_can_be_planned_on(problem: dict[str, Any], data: st.DataObject) -> None:
    """Whatever of a plan is carried out, whatever fails: the next plan keeps its promises and moves nothing that is pinned."""
    plan = place(problem)
    if plan["status"] == "infeasible" or not plan["moves"]:
        return
    done = list(range(1, data.draw(st.integers(0, len(plan["moves"])), label="done") + 1))
    rest = sorted({move["workload"] for move in plan["moves"][len(done):]})
    failed = [data.draw(st.sampled_from(rest), label="failed")] if rest and data.draw(st.booleans(), label="fails") else []
    before = copy.deepcopy(problem)
    left = after(problem, plan, done, failed)
    assert problem == before
    at = {workload["name"]: workload.get("current") for workload in problem["workloads"]}
    at.update({move["workload"]: move["to"] for move in plan["moves"][:len(done)]})
    assert {workload["name"]: workload.get("current") for workload in left["workloads"]} == at
    again = place(left)
    assert again["status"] == "infeasible" or violations(left, again) == []
    assert [move["step"] for move in again["moves"]] == list(range(1, len(again["moves"]) + 1))
    for name in failed:
        if at[name] is not None:
            assert name not in [move["workload"] for move in again["moves"]]
            assert again["placement"].get(name, at[name]) == at[name]
        elif name in again["placement"]:
            assert again["placement"][name] not in [move["to"] for move in plan["moves"] if move["workload"] == name]
    if not failed:
        assert again["status"] != "infeasible"
        if problem["policy"].get("objective", "hosts") == "hosts":
            assert again["summary"]["hosts_used"] <= plan["summary"]["hosts_used"]
