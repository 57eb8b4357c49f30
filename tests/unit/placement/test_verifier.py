# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The verifier finds no fault with good plans, and sees each way in which one can be wrong."""
from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.plan import place

from tests.unit.placement.verifier import violations

Plan = dict[str, Any]


def _hosts(*sizes: float, **keys: Any) -> list[dict[str, Any]]:
    return [{"name": f"h{i}", "capacity": {"cpu_cores": size, "memory_mib": 16}, **keys} for i, size in enumerate(sizes)]


def _work(**of: tuple[Any, str | None]) -> list[dict[str, Any]]:
    """Workloads by name: their cores and their current host."""
    return [{"name": name, "demand": {"cpu_cores": cores, "memory_mib": 2}, "storage": "shared", **({"current": home} if home else {})}
            for name, (cores, home) in of.items()]


def _fence(workload: str, *hosts: str, **keys: Any) -> dict[str, Any]:
    return {"rule": "fence", "workloads": [workload], "hosts": list(hosts), **keys}


PROBLEMS: dict[str, dict[str, Any]] = {
    # a and b exchange h0 and h1 by way of h2.
    "swap": {"hosts": _hosts(4, 4, 4), "workloads": _work(a=(3, "h0"), b=(3, "h1")), "rules": [_fence("a", "h1"), _fence("b", "h0")]},
    # b finds room on h1 only after a has left it; c is new.
    "chain": {"hosts": _hosts(4, 4, 4), "workloads": _work(a=(3, "h1"), b=(3, "h0"), c=(3, None)),
              "rules": [_fence("a", "h2"), _fence("b", "h1"), _fence("c", "h0")]},
    # Three leave h0, at most two at once.
    "wave": {"hosts": _hosts(6, 6, 6), "workloads": _work(a=(1, "h0"), b=(1, "h0"), c=(1, "h0")),
             "rules": [_fence(name, "h1", "h2") for name in "abc"]},
    # A series with its peak in the second slot; one host less; the trade-off.
    "series": {"hosts": _hosts(4, 4, 4), "workloads": _work(a=([1, 3, 2], "h0"), b=([2, 1, 1], "h1"), c=(1, "h2")),
               "policy": {"tradeoff": True, "headroom": {"cpu_cores": 0.01}}},
    # Replicated, the replica elsewhere than the fence: offline.
    "replica": {"hosts": _hosts(4, 4, 4), "workloads": [{**_work(a=(1, "h0"))[0], "storage": "replicated", "replica": "h1"}],
                "rules": [_fence("a", "h2")]},
    # a and b never meet, not even while they move.
    "always": {"hosts": _hosts(9, 9, 9), "workloads": _work(a=(1, "h0"), b=(1, "h1")),
               "rules": [_fence("a", "h1"), _fence("b", "h2"), {"rule": "anti_affinity", "workloads": ["a", "b"], "during": "always"}]},
    "failover": {"hosts": _hosts(3, 3, 3), "workloads": _work(a=(2, "h0"), b=(2, "h1")), "policy": {"failover": 1}},
    "idle": {"hosts": _hosts(4, 4), "workloads": _work(a=(3, "h0"), b=(3, "h1"))},
    "limited": {"hosts": _hosts(4, 4, 4), "workloads": _work(a=(1, "h0"), b=(1, "h1"), c=(1, "h2")), "policy": {"max_moves": 1}},
    "too large": {"hosts": _hosts(4), "workloads": _work(a=(9, None), b=(1, None))},
    "drain": {"hosts": [{**host, "state": state} for host, state in zip(_hosts(4, 4, 9), ("drain", "active", "closed"), strict=True)],
              "workloads": _work(a=(1, "h0"))},
}


def _swap(plan: Plan, first: int, second: int) -> None:
    """Two steps in the other order, each in the other's wave."""
    moves = plan["moves"]
    moves[first], moves[second] = ({**moves[second], "wave": moves[first]["wave"], "step": first + 1},
                                   {**moves[first], "wave": moves[second]["wave"], "step": second + 1})


def _merge(plan: Plan) -> None:
    for move in plan["moves"]:
        move["wave"] = 1


def _drop(plan: Plan, index: int) -> None:
    del plan["moves"][index]
    waves = sorted({move["wave"] for move in plan["moves"]})
    for step, move in enumerate(plan["moves"], 1):
        move.update(step=step, wave=waves.index(move["wave"]) + 1)


def _elsewhere(plan: Plan, workload: str, host: str, hosts: bool = True) -> None:
    """One workload on another host, in all places but one that say so."""
    plan["placement"][workload] = host
    for move in plan["moves"]:
        if move["workload"] == workload and not move.get("parking"):
            move["to"] = host
    if hosts:
        for name, told in plan["hosts"].items():
            told["workloads"] = sorted(w for w, there in plan["placement"].items() if there == name)


def _lose(plan: Plan, workload: str) -> None:
    del plan["placement"][workload]


SPOILT: list[tuple[str, str, Callable[[Plan], Any], str]] = [
    ("two dependent moves the other way round", "chain", lambda p: _swap(p, 0, 1), "holds too much cpu_cores"),
    ("waves merged that must not meet", "chain", _merge, "while moving: h1 holds too much cpu_cores"),
    ("steps not counted", "chain", lambda p: p["moves"][1].update(step=7), "steps are not 1, 2, 3"),
    ("a wave left out", "chain", lambda p: [move.update(wave=move["wave"] + 1) for move in p["moves"]], "waves in the order"),
    ("a define that says where from", "chain", lambda p: p["moves"][-1].update({"from": "h1"}), "c moves from h1, but stands on None"),
    ("a parking step dropped", "swap", lambda p: _drop(p, 0), "holds too much cpu_cores"),
    ("a parking step not marked", "swap", lambda p: p["moves"][0].pop("parking"), "a: stops [False, False]"),
    ("a last move marked as a stop", "swap", lambda p: p["moves"][-1].update(parking=True), "a: stops [True, True]"),
    ("parked and not fetched", "swap", lambda p: _drop(p, 2), "a: stops [True]"),
    ("a parking stop where there is no room", "swap", lambda p: (p["moves"][0].update(to="h1"), p["moves"][2].update({"from": "h1"})),
     "while moving: h1 holds too much cpu_cores"),
    ("a parking stop counted as a move", "swap", lambda p: p["summary"].update(moves=3), "moves 2, summary 3"),
    ("more at once than may leave", "wave", _merge, "h0: more than 2 moves_out"),
    ("one more move", "wave", lambda p: p["moves"].append({**p["moves"][0], "step": 4, "wave": 2}), "but stands on"),
    ("a move from elsewhere", "wave", lambda p: p["moves"][0].update({"from": "h2"}), "moves from h2, but stands on h0"),
    ("a move to elsewhere", "wave", lambda p: p["moves"][0].update(to="h0"), "moves end at"),
    ("a live move told as offline", "wave", lambda p: p["moves"][0].update(method="offline"), "method offline"),
    ("an offline move told as live", "replica", lambda p: p["moves"][0].update(method="live"), "a: method live"),
    ("down for longer than it moves", "wave", lambda p: p["moves"][0].update(downtime_seconds=999), "step 1"),
    ("no reason", "wave", lambda p: p["moves"][0].update(reason=""), "step 1"),
    ("on the wrong host", "wave", lambda p: _elsewhere(p, "a", "h0"), "broken: {'rule': 'fence'"),
    ("a rule broken on the way", "always", _merge, "while moving: broken {'rule': 'anti_affinity'"),
    ("a rule broken in between", "always", lambda p: _swap(p, 0, 1), "while moving: broken {'rule': 'anti_affinity'"),
    ("one workload forgotten", "series", lambda p: _lose(p, "a"), "unplaced says []"),
    ("unplaced off by one", "series", lambda p: p["summary"].update(unplaced=1), "unplaced says []"),
    ("too much on a host", "series", lambda p: [_elsewhere(p, name, "h0") for name in "abc"], "h0 holds too much cpu_cores in slot 1"),
    ("hosts used off by one", "series", lambda p: p["summary"].update(hosts_used=p["summary"]["hosts_used"] + 1), "hosts used 2"),
    ("hosts before off by one", "series", lambda p: p["summary"].update(hosts_before=2), "hosts before 3"),
    ("workloads off by one", "series", lambda p: p["summary"].update(workloads=4), "workloads 3"),
    ("moves off by one", "series", lambda p: p["summary"].update(moves=2), "moves 1, summary 2"),
    ("moved memory off by one", "series", lambda p: p["summary"].update(moved_mib=p["summary"]["moved_mib"] + 1), "moved_mib 2, summary 3"),
    ("a bound above the plan", "series", lambda p: p["summary"].update(hosts_bound=3), "hosts used 2"),
    ("a bound below, yet optimal", "series", lambda p: p["summary"].update(hosts_bound=1), "optimal, yet not at the bound"),
    ("feasible at the bound", "series", lambda p: p.update(status="feasible"), "status feasible, due is optimal"),
    ("nothing to do with moves", "series", lambda p: p.update(status="nothing_to_do"), "status nothing_to_do, due is optimal"),
    ("a conflict in a good plan", "series", lambda p: p["conflict"].append({"moves": []}), "with conflict"),
    ("used off by a millionth", "series", lambda p: p["hosts"]["h0"]["used"].update(cpu_cores=3.000001), "hosts: h0: used cpu_cores"),
    ("used as the sum of peaks", "series", lambda p: p["hosts"]["h0"]["used"].update(memory_mib=99), "hosts: h0: used memory_mib"),
    ("usable without headroom", "series", lambda p: p["hosts"]["h1"]["usable"].update(cpu_cores=4), "hosts: h1: usable cpu_cores"),
    ("a peak in another slot", "series", lambda p: p["hosts"]["h0"]["peak_slot"].update(cpu_cores=0), "hosts: h0: peak_slot cpu_cores"),
    ("a host left out", "series", lambda p: p["hosts"].pop("h2"), "hosts ['h0', 'h1']"),
    ("a workload listed on another host", "series", lambda p: p["hosts"]["h2"]["workloads"].append("a"), "hosts: h2: workloads"),
    ("trade-off left out", "series", lambda p: p.pop("tradeoff"), "tradeoff is None, wanted is True"),
    ("trade-off unasked", "wave", lambda p: p.update(tradeoff=[]), "tradeoff is [], wanted is False"),
    ("trade-off the other way round", "series", lambda p: p["tradeoff"].reverse(), "tradeoff: {'hosts'"),
    ("a point that another beats", "series", lambda p: p["tradeoff"][0].update(moves=2), "tradeoff: {'hosts'"),
    ("a point below the bound", "series", lambda p: p["tradeoff"].append({"hosts": 1, "moves": 3}), "tradeoff: {'hosts': 1"),
    ("the plan beats every point", "series", lambda p: p["tradeoff"].pop(), "tradeoff: nothing as good as the plan"),
    ("no point at all", "series", lambda p: p["tradeoff"].clear(), "tradeoff without any point"),
    ("optimal without a move", "idle", lambda p: p.update(status="optimal"), "status optimal, due is nothing_to_do"),
    ("one move too many", "limited", lambda p: _elsewhere(p, next(n for n in "ab" if p["placement"][n] != "h2"), "h2"), "allowed 1"),
    ("not survived", "failover", lambda p: [_elsewhere(p, name, "h0") for name in "ab"], "h0 holds too much cpu_cores"),
    ("infeasible without a conflict", "too large", lambda p: p["conflict"].clear(), "infeasible without a conflict"),
    ("infeasible told as feasible", "too large", lambda p: p.update(status="feasible"), "status feasible with {'a'} unplaced"),
    ("left on a draining host", "drain", lambda p: _elsewhere(p, "a", "h0"), "a on drain h0"),
    ("on a closed host", "drain", lambda p: _elsewhere(p, "a", "h2"), "a on closed h2"),
]


@pytest.mark.parametrize("name", PROBLEMS)
def test_good_plans_have_no_fault(name: str) -> None:
    assert violations(PROBLEMS[name], json.loads(json.dumps(place(PROBLEMS[name])))) == []


@pytest.mark.parametrize(("name", "spoil", "expected"), [case[1:] for case in SPOILT], ids=[case[0] for case in SPOILT])
def test_each_way_to_be_wrong_is_seen(name: str, spoil: Callable[[Plan], Any], expected: str) -> None:
    plan = json.loads(json.dumps(place(PROBLEMS[name])))
    good = copy.deepcopy(plan)
    spoil(plan)
    assert plan != good
    found = violations(PROBLEMS[name], plan)
    assert [line for line in found if expected in line], (found, plan)


def test_a_failure_that_is_not_survived_is_seen() -> None:
    problem = {**PROBLEMS["failover"], "hosts": _hosts(3, 3), "policy": {}}
    plan = place(problem)
    assert violations(problem, plan) == []
    found = violations({**problem, "policy": {"failover": 1}}, plan)
    assert found == [f"the failure of ({host!r},) is not survived" for host in ("h0", "h1")]


@pytest.mark.parametrize("storage", ["local", "shared"])
def test_a_workload_on_the_move_loads_both_hosts(storage: str) -> None:
    # b would take the place of a in the same wave: a has not left h0 yet.
    problem = {"hosts": _hosts(4, 4, 4), "workloads": [{**item, "storage": storage} for item in _work(a=(3, "h0"), b=(3, "h1"))],
               "rules": [_fence("a", "h2"), _fence("b", "h0")]}
    plan = place(problem)
    assert [move["wave"] for move in plan["moves"]] == [1, 2] and violations(problem, plan) == []
    _merge(plan)
    assert "while moving: h0 holds too much cpu_cores in slot 0" in violations(problem, plan)
