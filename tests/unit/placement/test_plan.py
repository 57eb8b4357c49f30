# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Plans whose right answer is known."""
from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.files import destination
from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.plan import place

from tests.unit.placement.verifier import violations


def hosts(count: int, cores: float = 4, **keys: Any) -> list[dict[str, Any]]:
    return [{"name": f"h{index}", "capacity": {"cpu_cores": cores, "memory_mib": 16384}, **keys} for index in range(count)]


def work(cores: Any = 1, memory_mib: Any = 1024, **of: Any) -> list[dict[str, Any]]:
    """One workload per keyword: its current host or None."""
    return [{"name": name, "demand": {"cpu_cores": cores, "memory_mib": memory_mib}, "storage": "shared",
             **({"current": current} if current else {})} for name, current in of.items()]


def planned(problem: dict[str, Any]) -> dict[str, Any]:
    plan = place(problem)
    assert violations(problem, plan) == []
    return plan


def test_series_that_complement_each_other_share_a_host() -> None:
    workloads = work([4, 0], a=None) + work([0, 4], b=None)
    plan = planned({"hosts": hosts(2), "workloads": workloads})
    assert (plan["status"], plan["summary"]["hosts_used"]) == ("optimal", 1)
    assert plan["hosts"]["h0"]["used"]["cpu_cores"] == 4


def test_exact_to_the_sixth_decimal() -> None:
    policy = {"headroom": {"cpu_cores": 0.1}, "overcommit": {"cpu_cores": 3}}
    fits = planned({"hosts": hosts(1, 1), "workloads": work(0.9, a=None, b=None, c=None), "policy": policy})
    assert fits["status"] == "optimal"
    over = planned({"hosts": hosts(1, 1), "workloads": work(0.900001, a=None, b=None, c=None), "policy": policy})
    assert over["status"] == "infeasible"
    assert over["unplaced"][0]["reasons"] == [{"host": "h0", "resource": "cpu_cores", "short_by": 0.000003}]


def test_exchange_of_two_takes_a_parking_stop() -> None:
    rules = [{"rule": "fence", "workloads": ["a"], "hosts": ["h1"]}, {"rule": "fence", "workloads": ["b"], "hosts": ["h0"]}]
    plan = planned({"hosts": hosts(3), "workloads": work(3, a="h0", b="h1"), "rules": rules})
    assert [(m["workload"], m["from"], m["to"], m.get("parking", False)) for m in plan["moves"]] == [
        ("a", "h0", "h2", True), ("b", "h1", "h0", False), ("a", "h2", "h1", False)]
    assert plan["summary"]["moves"] == 2


def test_exchange_without_room_to_park_is_refused_with_its_reason() -> None:
    rules = [{"rule": "fence", "workloads": ["a"], "hosts": ["h1"]}, {"rule": "fence", "workloads": ["b"], "hosts": ["h0"]}]
    plan = planned({"hosts": hosts(2), "workloads": work(3, a="h0", b="h1"), "rules": rules})
    assert plan["status"] == "infeasible"
    assert plan["conflict"][0]["moves"] == ["a", "b"]


def test_drain_empties_and_root_on_it_is_a_conflict() -> None:
    problem: dict[str, Any] = {"hosts": hosts(3), "workloads": work(1, a="h0", b="h1")}
    problem["hosts"][0]["state"] = "drain"
    assert planned(problem)["placement"] == {"a": "h1", "b": "h1"}
    problem["rules"] = [{"rule": "root", "workloads": ["a"]}]
    plan = planned(problem)
    assert (plan["status"], plan["unplaced"][0]["workload"]) == ("infeasible", "a")
    assert plan["conflict"][0]["rule"] == "root"


def test_closed_keeps_what_it_has_and_takes_nothing() -> None:
    problem = {"hosts": hosts(2, state="closed"), "workloads": work(1, a="h0", b="h1")}
    assert planned(problem)["status"] == "nothing_to_do"


RULES = [
    ({"rule": "anti_affinity", "workloads": ["a", "b"]}, 2),
    ({"rule": "anti_affinity", "workloads": ["a", "b", "c"], "scope": "zone"}, None),
    ({"rule": "spread", "workloads": ["a", "b", "c"], "at_most": 2}, 2),
    ({"rule": "exclusive", "workloads": ["a"]}, 2),
    ({"rule": "limit_hosts", "workloads": ["a", "b", "c"], "at_most": 1}, 1),
    ({"rule": "ban", "workloads": ["a"], "hosts": ["h0", "h1", "h2"]}, 1),
    ({"rule": "affinity", "workloads": ["a", "b", "c"], "scope": "zone"}, 1),
]


@pytest.mark.parametrize(("rule", "used"), RULES, ids=[rule["rule"] for rule, _ in RULES])
def test_each_rule_costs_the_hosts_it_must(rule: dict[str, Any], used: int | None) -> None:
    estate = hosts(4)
    for index, host in enumerate(estate):
        host["zone"] = f"z{index % 2}"
    plan = planned({"hosts": estate, "workloads": work(1, a=None, b=None, c=None), "rules": [rule]})
    assert plan["status"] == ("infeasible" if used is None else plan["status"])
    if used is not None:
        assert (plan["summary"]["unplaced"], plan["summary"]["hosts_used"]) == (0, used)
    else:
        assert len(plan["unplaced"]) == 1
        assert plan["conflict"][0]["rule"] == rule["rule"]


def test_soft_rule_is_kept_where_it_costs_no_host_and_given_up_where_it_would() -> None:
    soft = [{"rule": "anti_affinity", "workloads": ["a", "b"], "enforce": "soft", "weight": 5}]
    alone = planned({"hosts": hosts(2), "workloads": work(1, a=None, b=None), "rules": soft})
    assert alone["summary"]["hosts_used"] == 1
    full = planned({"hosts": hosts(2), "workloads": work(2, a=None, b=None, c=None), "rules": soft})
    assert full["placement"]["a"] != full["placement"]["b"]


def test_max_moves_is_kept() -> None:
    workloads = work(1, a="h0", b="h1", c="h2", d="h3")
    assert [planned({"hosts": hosts(4), "workloads": workloads, "policy": {"max_moves": most}})["summary"]["hosts_used"]
            for most in (0, 1, 2, 3)] == [4, 3, 2, 1]


def test_failover_leaves_room_or_says_so() -> None:
    policy = {"failover": 1}
    assert planned({"hosts": hosts(2), "workloads": work(2, a=None, b=None), "policy": policy})["status"] == "optimal"
    plan = planned({"hosts": hosts(2), "workloads": work(2, a=None, b=None, c=None), "policy": policy})
    assert (plan["status"], plan["conflict"][0]["policy"]) == ("infeasible", "failover")


def test_watts_prefers_the_frugal_host_and_balance_levels() -> None:
    estate = hosts(2)
    estate[0]["watts"], estate[1]["watts"] = {"idle": 200, "busy": 400}, {"idle": 50, "busy": 100}
    problem = {"hosts": estate, "workloads": work(1, a="h0", b="h0")}
    assert set(planned({**problem, "policy": {"objective": "watts"}})["placement"].values()) == {"h1"}
    assert set(planned({**problem, "policy": {"objective": "balance"}})["placement"].values()) == {"h0", "h1"}


def test_tradeoff_gives_the_fewest_moves_for_each_number_of_hosts() -> None:
    workloads = work(1, a="h0", b="h0", c="h1", d="h2")
    plan = planned({"hosts": hosts(3), "workloads": workloads, "policy": {"tradeoff": True}})
    assert plan["tradeoff"] == [{"hosts": 3, "moves": 0}, {"hosts": 2, "moves": 1}, {"hosts": 1, "moves": 2}]


def test_downtime_follows_pre_copy() -> None:
    problem: dict[str, Any] = {"hosts": hosts(2), "workloads": work(1, 8192, a="h0", b="h1")}
    problem["workloads"][0]["move_cost"] = 1
    move = planned(problem)["moves"][0]
    assert (move["method"], move["seconds"], move["downtime_seconds"]) == ("live", 69.0, 0.3)
    problem["workloads"][0]["dirty_mbps"] = 2000
    assert planned(problem)["moves"][0]["downtime_seconds"] == 69.0


def test_an_infeasible_plan_never_replaces_a_plan() -> None:
    assert destination("build/plan.json", {"status": "infeasible"}) == "build/plan.infeasible.json"
    assert destination("build/plan.json", {"status": "feasible"}) == "build/plan.json"


BREAKS = [
    ("not enough room", lambda plan: plan["placement"].update(a="h1", b="h1", c="h1")),
    ("a move too many", lambda plan: plan["moves"].append({**plan["moves"][0], "step": 99})),
    ("a wrong method", lambda plan: plan["moves"][0].update(method="offline")),
    ("a wrong count", lambda plan: plan["summary"].update(moves=7)),
    ("a lost workload", lambda plan: plan["placement"].pop("a")),
    ("a broken rule", lambda plan: plan["placement"].update(c=plan["placement"]["a"])),
]


@pytest.mark.parametrize("spoil", [spoil for _, spoil in BREAKS], ids=[name for name, _ in BREAKS])
def test_the_verifier_sees_a_spoilt_plan(spoil: Any) -> None:
    problem = {"hosts": hosts(3, 3), "workloads": work(1.5, a="h0", b="h1", c="h2"),
               "rules": [{"rule": "anti_affinity", "workloads": ["a", "c"]}]}
    plan = json.loads(json.dumps(planned(problem)))
    assert plan["moves"]
    spoil(plan)
    assert violations(problem, plan)


def test_the_fingerprint_is_that_of_the_normalised_problem() -> None:
    written = {"hosts": hosts(2, state="active", watts={"idle": 5}), "workloads": work(1, a="h0", b=None), "policy": {"objective": "hosts"},
               "rules": [{"rule": "root", "workloads": ["a"], "enforce": "soft", "weight": 1.0, "during": "end"}]}
    short = {"hosts": hosts(2, watts={"idle": 5, "busy": 5.0}), "workloads": work(1, b=None, a="h0"),
             "rules": [{"rule": "root", "workloads": ["a"], "enforce": "soft"}], "policy": {"headroom": {"cpu_cores": 0}}}
    assert place(written) == place(short)
    short["hosts"][0]["watts"]["busy"] = 6
    assert place(written)["inputs_sha256"] != place(short)["inputs_sha256"]


def test_a_soft_rule_written_twice_weighs_twice() -> None:
    once = [{"rule": "ban", "workloads": ["a"], "hosts": ["h1"], "enforce": "soft", "weight": 1.5}]
    twice = [{"rule": "ban", "workloads": ["a"], "hosts": ["h0"], "enforce": "soft", "weight": 1}] * 2
    problem = {"hosts": hosts(2), "workloads": work(1, a=None), "rules": once + twice}
    assert planned(problem)["placement"] == {"a": "h1"}
    assert planned({**problem, "rules": once + twice[:1]})["placement"] == {"a": "h0"}


def test_more_sets_of_hosts_than_can_be_checked_are_named() -> None:
    problem = {"hosts": hosts(66), "workloads": work(4, **{f"w{number:02}": None for number in range(60)}), "policy": {"failover": 3}}
    assert place(problem)["conflict"] == [
        {"policy": "failover", "value": 3, "hosts": [], "explanation": "too many sets of hosts to check, more than 20000"}]


def test_few_hosts_of_unlike_shape_are_found() -> None:
    shapes, sizes = [(4, 10), (7, 4), (5, 6), (6, 8)], [(0, 1), (5, 1), (3, 5), (0, 4), (3, 3)]
    plan = planned({
        "hosts": [{"name": f"h{number}", "capacity": {"cpu_cores": cpu, "memory_mib": memory}}
                  for number, (cpu, memory) in enumerate(shapes)],
        "workloads": [{"name": f"w{number}", "demand": {"cpu_cores": cpu, "memory_mib": memory}}
                      for number, (cpu, memory) in enumerate(sizes)],
    })
    assert plan["summary"]["hosts_used"] == 2


def test_what_may_not_leave_a_host_that_drains_is_the_conflict() -> None:
    pinned = [{**work(1, a="h0")[0], "movable": False}]
    plan = planned({"hosts": [{**hosts(1)[0], "state": "drain"}, *hosts(2)[1:]], "workloads": pinned})
    assert plan["conflict"] == [{"workload": "a", "movable": False, "host": "h0", "state": "drain",
                                 "explanation": "a stays on h0 since movable is false, and h0 drains"}]
