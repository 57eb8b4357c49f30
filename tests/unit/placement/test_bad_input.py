# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Bad input: one line per finding with item, key, value and what is allowed."""
from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.normalise import normalise
from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.schema import ProblemError

GOOD: dict[str, Any] = {
    "hosts": [{"name": "h1", "capacity": {"cpu_cores": 4}}, {"name": "h2", "capacity": {"cpu_cores": 4}}],
    "workloads": [{"name": "a", "demand": {"cpu_cores": [1, 2]}}, {"name": "b", "demand": {"cpu_cores": 1}, "current": "h1"}],
    "rules": [{"rule": "fence", "workloads": ["a"], "hosts": ["h1"]}],
    "policy": {},
}
HOST, WORKLOAD, RULE, POLICY = ("hosts", 0), ("workloads", 0), ("rules", 0), ("policy",)
CASES = [
    (HOST, {"colour": "red"}, "host 'h1': unknown key 'colour': value 'red', allowed capacity, features"),
    (HOST, {"name": "h2"}, "host 'h2': name: value 'h2', allowed a name that no other host has"),
    (HOST, {"name": ""}, "hosts[0]: name: value '', allowed a non-empty string"),
    (HOST, {"name": None}, "hosts[0]: name: missing (value null), allowed a non-empty string"),
    (HOST, {"capacity": None}, "host 'h1': capacity: missing (value null), allowed a mapping"),
    (HOST, {"capacity": {"cpu_cores": -1}}, "host 'h1': capacity.cpu_cores: value -1, allowed a number of at least 0"),
    (HOST, {"capacity": {"cpu_cores": "4"}}, "host 'h1': capacity.cpu_cores: value '4', allowed a number"),
    (HOST, {"capacity": {"cpu_cores": True}}, "host 'h1': capacity.cpu_cores: value True, allowed a number"),
    (HOST, {"capacity": {"cpu_cores": 1e13}}, "host 'h1': capacity.cpu_cores: value 10000000000000.0, allowed a number"),
    (HOST, {"state": "off"}, "host 'h1': state: value 'off', allowed active, closed, drain"),
    (HOST, {"limits": {"cpus": 1}}, "host 'h1': unknown key 'limits.cpus': value 1, allowed link_mbps, moves_in, moves_out, vcpus"),
    (HOST, {"limits": {"moves_in": 0}}, "host 'h1': limits.moves_in: value 0, allowed a whole number of at least 1"),
    (HOST, {"limits": {"link_mbps": 0}}, "host 'h1': limits.link_mbps: value 0, allowed a number above 0"),
    (HOST, {"watts": {"idle": 9, "busy": 5}}, "host 'h1': watts.busy: value 5, allowed a number of at least watts.idle (9)"),
    (HOST, {"features": ["hvm", "hvm"]}, "host 'h1': features: value 'hvm', allowed each name once"),
    (WORKLOAD, {"demand": {"cpu_cores": float("nan")}}, "workload 'a': demand.cpu_cores: value nan, allowed a number from 0"),
    (WORKLOAD, {"demand": {"cpu_cores": float("inf")}}, "workload 'a': demand.cpu_cores: value inf, allowed a number from 0"),
    (WORKLOAD, {"demand": {"cpu_cores": [1, -2]}}, "workload 'a': demand.cpu_cores[1]: value -2, allowed a number of at least 0"),
    (WORKLOAD, {"demand": {"cpu_cores": []}}, "workload 'a': demand.cpu_cores: value [], allowed a number, or a list of at least one"),
    (WORKLOAD, {"demand": {"cpu_cores": [1, 2], "memory_mib": [1]}},
     "workload 'a': demand.memory_mib: value 'a series of 1 slots', allowed 2 slots"),
    (WORKLOAD, {"demand": 4}, "workload 'a': demand: value 4, allowed a mapping"),
    (WORKLOAD, {"current": "h9"}, "workload 'a': current: value 'h9', allowed a host of the problem: h1, h2"),
    (WORKLOAD, {"movable": False}, "workload 'a': movable: value 'false', allowed true, or a 'current' host to stay on"),
    (WORKLOAD, {"movable": "no"}, "workload 'a': movable: value 'no', allowed true or false"),
    (WORKLOAD, {"storage": "nfs"}, "workload 'a': storage: value 'nfs', allowed local, replicated, shared"),
    (WORKLOAD, {"replica": "h2"}, "workload 'a': replica: value 'h2', allowed only with storage: replicated"),
    (WORKLOAD, {"replica": "h2", "current": "h2", "storage": "replicated"},
     "workload 'a': replica: value 'h2', allowed another host than 'current'"),
    (WORKLOAD, {"vcpus": 1.5}, "workload 'a': vcpus: value 1.5, allowed a whole number of at least 0"),
    (WORKLOAD, {"move_cost": -1}, "workload 'a': move_cost: value -1, allowed a number of at least 0"),
    (WORKLOAD, {"requires": "hvm"}, "workload 'a': requires: value 'hvm', allowed a list of names"),
    (RULE, {"rule": "near"}, "rules[0]: rule: value 'near', allowed affinity, anti_affinity"),
    (RULE, {"hosts": []}, "rules[0] (fence): hosts: value [], allowed a list of at least one name"),
    (RULE, {"hosts": ["h9"]}, "rules[0] (fence): hosts: value 'h9', allowed a host of the problem: h1, h2"),
    (RULE, {"workloads": ["z"]}, "rules[0] (fence): workloads: value 'z', allowed a workload of the problem: a, b"),
    (RULE, {"workloads": []}, "rules[0] (fence): workloads: value [], allowed a list of at least one name"),
    (RULE, {"scope": "host"}, "rules[0] (fence): unknown key 'scope': value 'host', allowed during, enforce, hosts"),
    (RULE, {"weight": -1, "enforce": "soft"}, "rules[0] (fence): weight: value -1, allowed a number of at least 0"),
    (RULE, {"during": "now"}, "rules[0] (fence): during: value 'now', allowed always, end"),
    (POLICY, {"objective": "cost"}, "policy: objective: value 'cost', allowed balance, hosts, watts"),
    (POLICY, {"objective": "watts"}, "host 'h1': watts: value None, allowed idle and busy, since policy.objective is watts"),
    (POLICY, {"headroom": {"cpu_cores": 1}}, "policy: headroom.cpu_cores: value 1, allowed a number of at least 0 and below 1"),
    (POLICY, {"headroom": {"cpus": 0.1}}, "policy: headroom.cpus: value 0.1, allowed resources of the problem: cpu_cores"),
    (POLICY, {"overcommit": {"cpu_cores": 0}}, "policy: overcommit.cpu_cores: value 0, allowed a number above 0"),
    (POLICY, {"failover": -1}, "policy: failover: value -1, allowed a whole number of at least 0"),
    (POLICY, {"max_moves": 1.5}, "policy: max_moves: value 1.5, allowed a whole number of at least 0"),
    (POLICY, {"seed": -1}, "policy: seed: value -1, allowed a whole number of at least 0 and at most 1000000000000"),
    (POLICY, {"max_moves": 10**13},
     "policy: max_moves: value 10000000000000, allowed a whole number of at least 0 and at most 1000000000000"),
    (HOST, {"name": "h\ud800"}, "host 'h\\ud800': name: value 'h\\ud800', allowed a non-empty string of characters"),
    (HOST, {"zone": "\udfff"}, "host 'h1': zone: value '\\udfff', allowed a non-empty string of characters that UTF-8 can hold"),
    (HOST, {"\ud800": 1}, "host 'h1': unknown key '\\ud800': value 1, allowed capacity"),
    (HOST, {"capacity": {"\ud800": 1}}, "host 'h1': capacity: value '\\ud800', allowed a non-empty string of characters"),
    (WORKLOAD, {"requires": ["\ud800"]}, "workload 'a': requires: value ['\\ud800'], allowed a list of names"),
    (WORKLOAD, {"move_cost": 10**400}, "workload 'a': move_cost: value 1" + "0" * 56 + "..., allowed a number of at least 0"),
    (WORKLOAD, {"demand": {"cpu_cores": 16**5000}},
     "workload 'a': demand.cpu_cores: value of type int that is too large to be shown, allowed"),
    (POLICY, {"effort": "max"}, "policy: effort: value 'max', allowed normal, quick, thorough"),
    ((), {"host": []}, "problem: unknown key 'host': value [], allowed hosts, policy, rules, workloads"),
    ((), {"hosts": []}, "problem: hosts: value [], allowed a list of at least one host"),
    ((), {"workloads": {"a": 1}}, "problem: workloads: value {'a': 1}, allowed a list of workloads"),
]


@pytest.mark.parametrize(("path", "change", "expected"), CASES, ids=[f"{case[0]}-{case[2]}" for case in CASES])
def test_one_clear_finding(path: tuple[Any, ...], change: dict[str, Any], expected: str) -> None:
    problem = copy.deepcopy(GOOD)
    item = problem
    for step in path:
        item = item[step]
    item.update(change)
    with pytest.raises(ProblemError) as caught:
        normalise(problem)
    assert [line for line in caught.value.errors if line.startswith(expected)], caught.value.errors


def test_all_findings_at_once_sorted() -> None:
    problem = copy.deepcopy(GOOD)
    problem["policy"] = {"effort": "max"}
    problem["hosts"][0]["state"] = "off"
    problem["workloads"][0]["vcpus"] = -1
    with pytest.raises(ProblemError) as caught:
        normalise(problem)
    assert [line.split(":")[0] for line in caught.value.errors] == ["host 'h1'", "policy", "workload 'a'"]


def test_good_problem_and_nothing_at_all() -> None:
    assert normalise(GOOD).slots == 2
    with pytest.raises(ProblemError, match="problem: value 3, allowed a mapping"):
        normalise(3)


def test_sums_beyond_64_bits_are_refused() -> None:
    problem = copy.deepcopy(GOOD)
    problem["workloads"] = [{"name": f"w{i}", "demand": {"bytes": 10**12}} for i in range(3)]
    with pytest.raises(ProblemError, match=r"sum of demand of bytes.*use a larger unit"):
        normalise(problem)
