# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""NUMA nodes: every workload within one where one is as large as it, larger ones on all of them."""
from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.explain import explain
from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.plan import place
from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.schema import ProblemError
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.placement.verifier import violations


def estate(sizes: list[Any], nodes: list[int], hosts: int = 2, **more: Any) -> dict[str, Any]:
    """Workloads of some sizes on hosts that are as large as their nodes together."""
    return {
        "hosts": [{"name": f"xen{number}", "capacity": {"memory_mib": sum(nodes)}, "numa_nodes": [{"memory_mib": n} for n in nodes]}
                  for number in range(hosts)],
        "workloads": [{"name": f"vm{number}", "demand": {"memory_mib": size}} for number, size in enumerate(sizes)], **more,
    }


@pytest.mark.parametrize(("sizes", "nodes", "used"), [
    ([6, 6, 6], [10, 10], 2),                  # two fill the nodes, though all three fit by the sum
    ([6, 4, 6, 4], [10, 10], 1),
    ([4, 4, 3, 3, 3, 3], [10, 10], 1),         # 4 3 3 and 4 3 3: best fit alone puts 4 4 together
    ([15, 2, 2], [10, 10], 1),                 # larger than a node: on both, in equal parts
    ([15, 3, 2], [10, 10], 2),                 # of each node 2.5 are left
    ([12, 2, 2], [15, 5], 1),                  # fits into the large node
    ([16, 1, 3], [15, 5], 1),                  # in the proportion of the nodes: 12 and 4
    ([16, 2, 2], [15, 5], 2),                  # of which 3 and 1 are left
    ([[9, 1], [1, 9], [9, 1], [1, 9]], [10, 10], 1),
    ([[9, 1], [9, 1], [1, 9]], [10, 10], 1),
    ([[9, 2], [9, 2], [2, 9]], [10, 10], 2),
    ([0, 0, 10, 10], [10, 10], 1),
    ([21, 1], [10, 10], 0),                    # larger than all nodes together
])
def test_hosts_that_it_takes(sizes: list[Any], nodes: list[int], used: int) -> None:
    problem = estate(sizes, nodes)
    for host in problem["hosts"]:
        host["capacity"]["memory_mib"] += 5    # what no node has
    plan = place(problem)
    assert plan["status"] in (("optimal", "feasible") if used else ("infeasible",))
    assert violations(problem, plan) == []
    assert not used or plan["summary"]["hosts_used"] == used


def test_the_plan_names_the_nodes() -> None:
    plan = place(estate([15, 2, 2], [10, 10], hosts=1))
    assert plan["hosts"]["xen0"]["numa_nodes"] == {"vm0": None, "vm1": 0, "vm2": 1}
    assert "numa_nodes" not in place({**estate([1], [10]), "hosts": [{"name": "xen0", "capacity": {"memory_mib": 1}}]})["hosts"]["xen0"]


def test_an_affinity_holds_in_nodes_as_well() -> None:
    problem = estate([6, 6, 6, 2, 2], [10, 10], rules=[{"rule": "affinity", "workloads": ["vm0", "vm1", "vm3"]}])
    plan = place(problem)
    assert violations(problem, plan) == []
    assert plan["summary"]["unplaced"] == 0


def test_what_does_not_fit_is_named() -> None:
    problem = estate([6, 6, 6], [10, 10], hosts=1)
    plan = place(problem)
    assert plan["status"] == "infeasible" and plan["summary"]["unplaced"] == 1
    [left] = plan["unplaced"]
    assert left["reasons"] == [{"host": "xen0", "rule": "numa", "explanation": "each workload within one NUMA node of xen0"}]
    assert {"rule": "numa", "workloads": ["vm0", "vm1", "vm2"],
            "explanation": "each workload within one NUMA node of xen0"} in plan["conflict"]


def test_a_crowded_node_is_a_reason_to_move() -> None:
    problem = estate([6, 6, 6], [10, 10])
    for workload in problem["workloads"]:
        workload["current"] = "xen0"
    plan = place(problem)
    assert [move["reason"] for move in plan["moves"]] == ["rule numa: each workload within one NUMA node of xen0, xen1"]
    stays = next(name for name, host in plan["placement"].items() if host == "xen0")
    moved = plan["moves"][0]["workload"]
    found = explain(problem, plan, moved)
    assert "rule numa" in json.dumps(found) and stays in json.dumps(found)


@pytest.mark.parametrize(("nodes", "message"), [
    ([], "host 'xen0': numa_nodes: value [], allowed a list of at least one mapping of resources to numbers"),
    ({"memory_mib": 1}, "host 'xen0': numa_nodes: value {'memory_mib': 1}, allowed a list of at least one mapping"),
    ([{}], "host 'xen0': numa_nodes[0]: value 'no resource', allowed at least one resource"),
    ([{"memory_mib": 1}, {"cpu_cores": 1}],
     "host 'xen0': numa_nodes[1]: value 'cpu_cores', allowed the resources of numa_nodes[0]: memory_mib"),
    ([{"memory_mib": -1}], "host 'xen0': numa_nodes[0].memory_mib: value -1, allowed a number of at least 0"),
    ([{"disk_gib": 5}], "host 'xen0': numa_nodes: value 'disk_gib', allowed resources of its capacity: memory_mib"),
    ([{"memory_mib": 10**12}] * 4, "host 'xen0': sum of numa_nodes of memory_mib: value 4000000000000, allowed at most 2305843009213"),
])
def test_nodes_that_are_not_sound(nodes: Any, message: str) -> None:
    problem = estate([1], [10], hosts=1)
    problem["hosts"][0]["numa_nodes"] = nodes
    with pytest.raises(ProblemError) as raised:
        place(problem)
    assert message in str(raised.value)


@st.composite
def estates(draw: st.DrawFn) -> dict[str, Any]:
    """Small estates in which nodes are tight."""
    slots = draw(st.sampled_from([1, 3]))

    def size(most: int) -> Any:
        return draw(st.lists(st.integers(0, most), min_size=slots, max_size=slots) if draw(st.booleans()) else st.integers(0, most))

    hosts = []
    for number in range(draw(st.integers(1, 4))):
        nodes = [{"cpu_cores": draw(st.integers(2, 8)), "memory_mib": draw(st.integers(4, 10))} for _ in range(draw(st.integers(1, 3)))]
        capacity = {key: sum(node[key] for node in nodes) - draw(st.integers(0, 2)) for key in nodes[0]}
        hosts.append({"name": f"h{number}", "capacity": capacity, **({"numa_nodes": nodes} if draw(st.integers(0, 3)) else {})})
    names = [f"w{number}" for number in range(draw(st.integers(1, 9)))]
    workloads = [{"name": name, "demand": {"cpu_cores": size(5), "memory_mib": size(12)},
                  **({"current": draw(st.sampled_from(hosts))["name"]} if draw(st.booleans()) else {})} for name in names]
    rules = [{"rule": draw(st.sampled_from(["affinity", "anti_affinity", "exclusive"])),
              "workloads": draw(st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True))}
             for _ in range(draw(st.integers(0, 2)))]
    objective = draw(st.sampled_from(["hosts", "hosts", "balance"]))
    return {"hosts": hosts, "workloads": workloads, "rules": rules,
            "policy": {"objective": objective, "headroom": {"memory_mib": draw(st.sampled_from([0, 0.1]))}}}


@settings(max_examples=150)
@given(estates())
def test_plans_keep_within_nodes(problem: dict[str, Any]) -> None:
    assert violations(problem, json.loads(json.dumps(place(problem)))) == []
