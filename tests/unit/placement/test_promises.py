# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whatever the problem, the plan keeps what the contract promises."""
from __future__ import annotations

import copy
import json
import random
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.plan import place
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.placement.verifier import violations


@st.composite
def problems(draw: st.DrawFn) -> dict[str, Any]:
    """Small estates with every key of the contract, many of them impossible."""
    slots = draw(st.sampled_from([1, 1, 3]))
    host_names = [f"h{index}" for index in range(draw(st.integers(1, 5)))]
    names = [f"w{index}" for index in range(draw(st.integers(0, 9)))]

    def maybe(item: dict[str, Any], key: str, strategy: Any, chance: int = 4) -> None:
        if draw(st.integers(0, chance)) == 0:
            item[key] = draw(strategy)

    def size(most: int) -> Any:
        whole = st.integers(0, most * 10).map(lambda tenths: tenths / 10)
        return draw(st.lists(whole, min_size=slots, max_size=slots) if slots > 1 and draw(st.booleans()) else whole)

    hosts = []
    for name in host_names:
        host: dict[str, Any] = {"name": name, "capacity": {"cpu_cores": draw(st.integers(2, 8)), "memory_mib": draw(st.integers(4, 16))}}
        maybe(host, "zone", st.sampled_from(["z1", "z2", "h1"]), 1)
        maybe(host, "pool", st.sampled_from(["a", "b"]))
        maybe(host, "state", st.sampled_from(["active", "drain", "closed"]))
        maybe(host, "features", st.just(["hvm"]), 1)
        maybe(host, "limits", st.fixed_dictionaries({"vcpus": st.integers(1, 4), "moves_in": st.integers(1, 2)}))
        host["watts"] = {"idle": draw(st.integers(10, 90)), "busy": 100}
        hosts.append(host)
    workloads = []
    for name in names:
        workload: dict[str, Any] = {"name": name, "demand": {"cpu_cores": size(3), "memory_mib": size(5)}}
        maybe(workload, "current", st.sampled_from(host_names), 0 if draw(st.booleans()) else 2)
        if "current" in workload:
            maybe(workload, "movable", st.just(False), 8)
        maybe(workload, "storage", st.sampled_from(["local", "shared"]), 0)
        maybe(workload, "live", st.just(False))
        maybe(workload, "vcpus", st.integers(1, 4), 2)
        maybe(workload, "requires", st.just(["hvm"]), 6)
        workloads.append(workload)
    rules = []
    for _ in range(draw(st.integers(0, 3)) if names else 0):
        kind = draw(st.sampled_from(["affinity", "anti_affinity", "ban", "exclusive", "fence", "limit_hosts", "root", "spread"]))
        members = draw(st.lists(st.sampled_from(names), min_size=1, max_size=4, unique=True))
        rule: dict[str, Any] = {"rule": kind, "workloads": members}
        if kind in ("ban", "fence"):
            rule["hosts"] = draw(st.lists(st.sampled_from(host_names), min_size=1, max_size=3, unique=True))
        if kind in ("spread", "limit_hosts"):
            rule["at_most"] = draw(st.integers(1, 3))
        if kind in ("spread", "affinity", "anti_affinity"):
            maybe(rule, "scope", st.sampled_from(["host", "zone"]), 1)
        maybe(rule, "during", st.just("always"), 2)
        maybe(rule, "enforce", st.just("soft"), 2)
        rules.append(rule)
    policy: dict[str, Any] = {}
    maybe(policy, "objective", st.sampled_from(["hosts", "watts", "balance"]), 1)
    maybe(policy, "headroom", st.just({"cpu_cores": 0.1}), 2)
    maybe(policy, "overcommit", st.just({"cpu_cores": 1.5}), 2)
    maybe(policy, "failover", st.just(1))
    maybe(policy, "max_moves", st.integers(0, 3))
    maybe(policy, "effort", st.sampled_from(["quick", "thorough"]))
    return {"hosts": hosts, "workloads": workloads, "rules": rules, "policy": policy}


@settings(max_examples=250, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(problems())
def test_plan_keeps_its_promises(problem: dict[str, Any]) -> None:
    before = copy.deepcopy(problem)
    plan = place(problem)
    assert problem == before
    assert violations(problem, json.loads(json.dumps(plan))) == []


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(problems(), st.integers(0, 99))
def test_order_of_input_does_not_matter(problem: dict[str, Any], seed: int) -> None:
    shuffled = copy.deepcopy(problem)
    for key in ("hosts", "workloads", "rules"):
        random.Random(seed).shuffle(shuffled[key])
    for rule in shuffled["rules"]:
        rule["workloads"].reverse()
    assert json.dumps(place(shuffled), sort_keys=True) == json.dumps(place(problem), sort_keys=True)


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(problems())
def test_a_plan_carried_out_leaves_no_more_hosts_and_no_forced_move(problem: dict[str, Any]) -> None:
    plan = place(problem)
    if plan["status"] == "infeasible":
        return
    done = copy.deepcopy(problem)
    for workload in done["workloads"]:
        workload["current"] = plan["placement"][workload["name"]]
    again = place(done)
    assert again["status"] != "infeasible"
    if problem["policy"].get("objective", "hosts") == "hosts":
        assert again["summary"]["hosts_used"] <= plan["summary"]["hosts_used"]
