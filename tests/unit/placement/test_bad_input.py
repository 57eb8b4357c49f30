# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Bad input: one line per finding with item, key, value and what is allowed."""
from __future__ import annotations

import copy
import json
import time
import warnings
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.normalise import normalise
from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.plan import place
from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.problem import exact, product
from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.schema import ProblemError
from ansible_collections.xenfold.consolidation.plugins.modules import placement as module

from tests.unit.placement.verifier import violations

GOOD: dict[str, Any] = {
    "hosts": [{"name": "h1", "capacity": {"cpu_cores": 4}}, {"name": "h2", "capacity": {"cpu_cores": 4}}],
    "workloads": [{"name": "a", "demand": {"cpu_cores": [1, 2]}}, {"name": "b", "demand": {"cpu_cores": 1}, "current": "h1"}],
    "rules": [{"rule": "fence", "workloads": ["a"], "hosts": ["h1"]}],
    "policy": {},
}
HOST, WORKLOAD, RULE, POLICY = ("hosts", 0), ("workloads", 0), ("rules", 0), ("policy",)
LONG = "n" * 100_000
BOMB: Any = "x"
for _ in range(40):
    BOMB = [BOMB] * 10
DEEP: Any = []
for _ in range(100_000):
    DEEP = [DEEP]
CYCLE: list[Any] = []
CYCLE.append(CYCLE)
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
    (HOST, {"reserved": {"cpu_cores": -1}}, "host 'h1': reserved.cpu_cores: value -1, allowed a number of at least 0"),
    (HOST, {"reserved": {"gpu": 1}}, "host 'h1': reserved.gpu: value 1, allowed resources of its capacity: cpu_cores"),
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
    (HOST, {"limits": {"link_mbps": 5e-324}}, "host 'h1': limits.link_mbps: value 5e-324, allowed a number above 0 to six decimals"),
    (HOST, {LONG: 1}, "host 'h1': unknown key '" + "n" * 57 + "...': value 1, allowed capacity"),
    (HOST, {"a\nb\x00": 1}, "host 'h1': unknown key 'a\\nb\\x00': value 1, allowed capacity"),
    (HOST, {16**5000: 1}, "host 'h1': unknown key 'of type int that is too large to be shown': value 1, allowed capacity"),
    (HOST, {None: 1}, "host 'h1': unknown key 'None': value 1, allowed capacity"),
    (HOST, {"capacity": {LONG: -1}}, "host 'h1': capacity." + "n" * 57 + "...: value -1, allowed a number"),
    (HOST, {"capacity": {"cpu_cores": None}}, "host 'h1': capacity.cpu_cores: value None, allowed a number"),
    (HOST, {"name": LONG, "state": "off"}, "host '" + "n" * 57 + "...': state: value 'off', allowed active"),
    (HOST, {"name": "h\n1\x1b", "state": "off"}, "host 'h\\n1\\x1b': state: value 'off', allowed active"),
    (HOST, {"name": BOMB}, "hosts[0]: name: value [[[[["),
    (HOST, {"pool": " \t"}, "host 'h1': pool: value ' \\t', allowed a non-empty string"),
    (WORKLOAD, {"demand": {"cpu_cores": [[1]]}}, "workload 'a': demand.cpu_cores[0]: value [1], allowed a number of at least 0"),
    (WORKLOAD, {"demand": {"cpu_cores": [True]}}, "workload 'a': demand.cpu_cores[0]: value True, allowed a number of at least 0"),
    (WORKLOAD, {"demand": {"cpu_cores": [None, 1]}}, "workload 'a': demand.cpu_cores[0]: value None, allowed a number of at least 0"),
    (WORKLOAD, {"demand": {"cpu_cores": BOMB}}, "workload 'a': demand.cpu_cores[0]: value [[[[["),
    (WORKLOAD, {"demand": {"cpu_cores": DEEP}}, "workload 'a': demand.cpu_cores[0]: value [[[[[...]]]]], allowed a number"),
    (WORKLOAD, {"demand": {"cpu_cores": CYCLE}}, "workload 'a': demand.cpu_cores[0]: value [[[[[...]]]]], allowed a number"),
    (WORKLOAD, {"demand": {"cpu_cores": b"1"}}, "workload 'a': demand.cpu_cores: value b'1', allowed a number from 0"),
    (WORKLOAD, {"demand": {"cpu_cores": 1e308}}, "workload 'a': demand.cpu_cores: value 1e+308, allowed a number from 0"),
    (WORKLOAD, {"demand": {"cpu_cores": 10**400}}, "workload 'a': demand.cpu_cores: value 1" + "0" * 56 + "..., allowed a number from 0"),
    (WORKLOAD, {"demand": {"cpu_cores": -1e-9}}, "workload 'a': demand.cpu_cores: value -1e-09, allowed a number from 0"),
    (WORKLOAD, {"current": "H1"}, "workload 'a': current: value 'H1', allowed a host of the problem: h1, h2"),
    (WORKLOAD, {"current": "q\n"}, "workload 'a': current: value 'q\\n', allowed a host of the problem: h1, h2"),
    (WORKLOAD, {"name": {"a": LONG}}, "workloads[0]: name: value {'a': 'nnnn"),
    (RULE, {"rule": DEEP}, "rules[0]: rule: value [[[[[...]]]]], allowed affinity"),
    (RULE, {"workloads": ["a", None]}, "rules[0] (fence): workloads: value ['a', None], allowed a list of names"),
    (RULE, {"workloads": "a"}, "rules[0] (fence): workloads: value 'a', allowed a list of names"),
    (POLICY, {"headroom": {"cpu_cores": 0.9999999}},
     "policy: headroom.cpu_cores: value 0.9999999, allowed a number of at least 0 and below 1 to six decimals"),
    (POLICY, {"overcommit": {"cpu_cores": 1e-7}}, "policy: overcommit.cpu_cores: value 1e-07, allowed a number above 0 to six decimals"),
    (POLICY, {"seed": True}, "policy: seed: value True, allowed a whole number"),
    (POLICY, {"seed": 0.0}, "policy: seed: value 0.0, allowed a whole number"),
    ((), {"policy": []}, "problem: policy: value [], allowed a mapping with effort"),
    ((), {"rules": [None]}, "problem: rules[0]: value None, allowed a mapping with rule, workloads"),
    ((), {"hosts": [[]]}, "problem: hosts[0]: value [], allowed a mapping with capacity"),
    ((), {LONG: 1}, "problem: unknown key '" + "n" * 57 + "...': value 1, allowed hosts"),
    ((), {16**5000: 1}, "problem: unknown key 'of type int that is too large to be shown': value 1, allowed hosts"),
    ((), {"host": []}, "problem: unknown key 'host': value [], allowed hosts, policy, rules, workloads"),
    ((), {"hosts": []}, "problem: hosts: value [], allowed a list of at least one host"),
    ((), {"workloads": {"a": 1}}, "problem: workloads: value {'a': 1}, allowed a list of workloads"),
]


@pytest.mark.parametrize(("path", "change", "expected"), CASES, ids=[ascii(f"{case[0]}-{case[2]}") for case in CASES])
def test_one_clear_finding(path: tuple[Any, ...], change: dict[str, Any], expected: str) -> None:
    problem = copy.deepcopy(GOOD)
    item = problem
    for step in path:
        item = item[step]
    item.update(change)
    with pytest.raises(ProblemError) as caught:
        normalise(problem)
    assert [line for line in caught.value.errors if line.startswith(expected)], caught.value.errors
    assert all(line.isprintable() and len(line) < 1000 for line in caught.value.errors)


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


def hosts(count: int, cores: Any = 4, **keys: Any) -> list[dict[str, Any]]:
    """Hosts h0, h1 ... cores: None for a host without any capacity."""
    return [{"name": f"h{index}", "capacity": {} if cores is None else {"cpu_cores": cores}, **keys} for index in range(count)]


def work(count: int, cores: Any = 1, **keys: Any) -> list[dict[str, Any]]:
    """Workloads w0, w1 ... cores: None for a workload without any demand."""
    return [{"name": f"w{index}", "demand": {} if cores is None else {"cpu_cores": cores}, **keys} for index in range(count)]


def everyone(count: int) -> list[str]:
    return [f"w{index}" for index in range(count)]


SUMS = [
    ("demand", {"workloads": work(3, 10**12)}, "sum of demand of cpu_cores: value 3000000000000, allowed at most 2305843009213"),
    ("many", {"workloads": work(5_000, 10**9)}, "sum of demand of cpu_cores: value 5000000000000"),
    ("peaks", {"workloads": work(3, [0, 10**12])}, "sum of demand of cpu_cores"),
    ("capacity", {"hosts": hosts(2, 1e12), "policy": {"overcommit": {"cpu_cores": 1e12}}},
     "sum of capacity of cpu_cores: value 2" + "0" * 24 + ", allowed"),
    ("move_cost", {"hosts": hosts(3, 9), "workloads": work(20, 1, current="h0", move_cost=1e12)},
     "sum of move_cost: value 20000000000000, allowed at most"),
    ("weights", {"rules": [{"rule": "ban", "workloads": ["w0"], "hosts": ["h0"], "enforce": "soft", "weight": 10**12 - number}
                           for number in range(10)]}, "sum of weight of soft rules: value 9999999999955, allowed at most"),
    ("power", {"hosts": hosts(2, 1e12, watts={"idle": 1, "busy": 2}), "workloads": work(1, [9e11] * 11), "policy": {"objective": "watts"}},
     "sum of demand of cpu_cores over 11 slots: value 9900000000000, allowed at most"),
]


@pytest.mark.parametrize(("change", "expected"), [case[1:] for case in SUMS], ids=[case[0] for case in SUMS])
def test_sums_of_every_kind_are_refused_beyond_64_bits(change: dict[str, Any], expected: str) -> None:
    with pytest.raises(ProblemError) as caught:
        place({"hosts": hosts(2), "workloads": work(2), **change})
    assert len(caught.value.errors) == 1 and caught.value.errors[0].startswith(f"problem: {expected}"), caught.value.errors


def test_usable_is_rounded_down_however_many_digits_it_has() -> None:
    factors = exact(1.999999), exact(0.999999)
    for value in (0.000001, 1.5, 123456.789012, 999999999999, 1e12):
        assert product(value, *factors) == int(exact(value) * 10**6) * 1999999 * 999999 // 10**12
    # 999999500000.000001 x 1.000001 x 0.999999: beyond 28 digits, just below a whole number.
    assert product(500000000001, exact(0.999999), exact(1.999999)) == 500000000001 * 10**6 * 999999 * 1999999 // 10**12


COUNT = 100_000
MANY = [
    ("one workload 100,000 times", {"workloads": [work(1)[0]] * COUNT},
     "workload 'w0': name: value 'w0', allowed a name that no other workload has", 1),
    ("50,000 workloads twice", {"workloads": work(COUNT // 2) * 2}, "workload 'w0': name: value 'w0', allowed a name", 51),
    ("one long name 1,000 times", {"hosts": [{"name": LONG, "capacity": {}}] * 1_000},
     "host '" + "n" * 57 + "...': name: value 'nnn", 1),
    ("an unknown key each", {"workloads": work(COUNT, colour=1)}, "workload 'w0': unknown key 'colour': value 1, allowed current", 51),
    ("unknown keys of one", {"workloads": work(1, **{f"key{i}": 1 for i in range(COUNT)})}, "workload 'w0': unknown key 'key0'", 51),
    ("bad numbers in a series", {"workloads": work(1, [-1] * COUNT)}, "workload 'w0': demand.cpu_cores[0]: value -1, allowed", 51),
    ("series of other lengths", {"workloads": [{"name": f"w{i}", "demand": {"cpu_cores": [0] * (1 + i)}} for i in range(500)]},
     "workload 'w1': demand.cpu_cores: value 'a series of 2 slots', allowed 1 slots", 51),
    ("unknown members", {"workloads": work(20_000), "rules": [{"rule": "root", "workloads": [f"x{i}" for i in range(50_000)]}]},
     "rules[0] (root): workloads: value 'x0', allowed a workload of the problem: w0, w1, w10", 51),
    ("unknown hosts", {"rules": [{"rule": "ban", "workloads": ["w0"], "hosts": [f"x{i}" for i in range(50_000)]}]},
     "rules[0] (ban): hosts: value 'x0', allowed a host of the problem: h0, h1", 51),
    ("members named twice", {"rules": [{"rule": "root", "workloads": everyone(50_000) * 2}]},
     "rules[0] (root): workloads: value 'w0', allowed each name once", 51),
    ("unknown resources", {"hosts": [{"name": "h", "capacity": {f"r{i}": 1 for i in range(5_000)}}], "workloads": [],
                           "policy": {"headroom": {f"x{i}": 0 for i in range(5_000)}}},
     "policy: headroom.x0: value 0, allowed resources of the problem: r0, r1, r10", 51),
    ("unknown currents, long hosts", {"hosts": [{"name": f"{i}{LONG}", "capacity": {}} for i in range(9)],
                                      "workloads": work(2_000, current="x")},
     "workload 'w0': current: value 'x', allowed a host of the problem: 0nnn", 51),
]


@pytest.mark.parametrize(("change", "expected", "lines"), [case[1:] for case in MANY], ids=[case[0] for case in MANY])
def test_a_great_many_findings_are_told_quickly_and_in_few_lines(change: dict[str, Any], expected: str, lines: int) -> None:
    began = time.process_time()
    with pytest.raises(ProblemError) as caught:
        place({"hosts": hosts(2), "workloads": work(2), **change})
    assert time.process_time() - began < 3
    assert [line for line in caught.value.errors if line.startswith(expected)], caught.value.errors[:3]
    assert len(caught.value.errors) == len(str(caught.value).splitlines()) == lines and len(str(caught.value)) < 50_000


def odd() -> dict[str, tuple[dict[str, Any], str, int]]:
    """Odd, but sound: a problem, the status of its plan and how many workloads find no host."""
    drained = [*hosts(1, state="drain"), {"name": "z", "capacity": {"cpu_cores": 100}}]
    lookalikes = ("a", "A", "\N{CYRILLIC SMALL LETTER A}", "\N{LATIN SMALL LETTER A WITH ACUTE}", "a\N{COMBINING ACUTE ACCENT}")
    cases: dict[str, tuple[dict[str, Any], str, int]] = {
        "nothing to place": ({"hosts": hosts(2)}, "nothing_to_do", 0),
        "only null": ({"hosts": hosts(1), "workloads": None, "rules": None, "policy": None}, "nothing_to_do", 0),
        "null for what is optional": ({
            "hosts": hosts(1, pool=None, zone=None, features=None, limits={"vcpus": None, "link_mbps": None}, watts=None, state=None),
            "workloads": work(1, current=None, movable=None, storage=None, live=None, vcpus=None, move_cost=None, requires=None),
            "rules": [{"rule": "root", "workloads": ["w0"], "enforce": None, "during": None, "weight": None}],
            "policy": {"objective": None, "headroom": None, "overcommit": None, "failover": None, "seed": None}}, "optimal", 0),
        "series of zeros": ({"hosts": hosts(2), "workloads": work(3, [0, 0, 0])}, "optimal", 0),
        "no demand": ({"hosts": hosts(2), "workloads": work(3, None)}, "optimal", 0),
        "rounds to nothing": ({"hosts": hosts(1, 1e-7), "workloads": work(3, 1e-7)}, "optimal", 0),
        "minus zero": ({"hosts": hosts(1), "workloads": work(2, [-0.0, 1])}, "optimal", 0),
        "tuples": ({"hosts": tuple(hosts(1)), "workloads": tuple(work(2, (1, 2)))}, "optimal", 0),
        "a number beside series": ({"hosts": hosts(2), "workloads": [*work(2, [1, 3]), {"name": "x", "demand": {"cpu_cores": 1}}]},
                                   "optimal", 0),
        "10,000 slots": ({"hosts": hosts(3), "workloads": [
            {"name": f"w{i}", "demand": {"cpu_cores": [(i * slot) % 7 / 10 for slot in range(10_000)]}} for i in range(8)]}, "optimal", 0),
        "larger than any host": ({"hosts": hosts(2), "workloads": [*work(1, 9), {"name": "x", "demand": {"cpu_cores": 1}}]},
                                 "infeasible", 1),
        "too large for its host": ({"hosts": hosts(2), "workloads": work(1, 9, current="h0")}, "infeasible", 1),
        "too large for its host, not for another": (
            {"hosts": [*hosts(1), {"name": "z", "capacity": {"cpu_cores": 10}}], "workloads": work(1, 9, current="h0")}, "optimal", 0),
        "no resource of the hosts": ({"hosts": hosts(2), "workloads": [{"name": "w", "demand": {"tapes": 1}}]}, "infeasible", 1),
        "all drain": ({"hosts": hosts(3, state="drain"), "workloads": work(2, current="h0")}, "infeasible", 2),
        "all closed": ({"hosts": hosts(3, state="closed"), "workloads": work(2)}, "infeasible", 2),
        "more failures than hosts": ({"hosts": hosts(3), "workloads": work(3), "policy": {"failover": 10**12}}, "optimal", 0),
        "no moves from a draining host": ({"hosts": drained, "workloads": work(4, current="h0"), "policy": {"max_moves": 0}},
                                          "infeasible", 4),
        "largest seed": ({"hosts": hosts(3), "workloads": work(6), "policy": {"seed": 10**12}}, "optimal", 0),
        "largest headroom": ({"hosts": hosts(2), "workloads": work(4, 1e-6), "policy": {"headroom": {"cpu_cores": 0.999999}}},
                             "optimal", 0),
        "largest overcommit": ({"hosts": hosts(2, 1e-6), "workloads": work(2, 1e6 / 2), "policy": {"overcommit": {"cpu_cores": 1e12}}},
                               "optimal", 0),
        "largest numbers": ({"hosts": hosts(2, 1e12), "workloads": work(2, 1e12, current="h0")}, "optimal", 0),
        "large capacity, little overcommit": (
            {"hosts": hosts(30, 10**12, watts={"idle": 10**12, "busy": 10**12}), "workloads": work(40, 10**4),
             "policy": {"overcommit": {"cpu_cores": 1e-6}, "objective": "watts"}}, "feasible", 0),
        "dearest moves": ({"hosts": hosts(2), "workloads": [{**item, "move_cost": 10**12, "current": f"h{i}"}
                                                            for i, item in enumerate(work(2))]}, "optimal", 0),
        "dirtier than any link": ({
            "hosts": [{"name": f"h{i}", "capacity": {"memory_mib": 10**12}, "limits": {"link_mbps": 1e-6}} for i in (0, 1)],
            "workloads": [{"name": f"w{i}", "demand": {"memory_mib": 10**9}, "current": f"h{i}", "storage": "shared",
                           "dirty_mbps": 1e12} for i in (0, 1)]}, "optimal", 0),
        "lookalikes": ({"hosts": [{"name": name, "capacity": {"cpu_cores": 1}} for name in lookalikes],
                        "workloads": [{"name": name, "demand": {"cpu_cores": 1}} for name in lookalikes]}, "optimal", 0),
        "names no file system takes": ({"hosts": [{"name": "../h\n\x00\x1b[31m", "capacity": {"cpu_cores": 3}}],
                                        "workloads": [{"name": "w\u2028\ud7ff\U0010ffff", "demand": {"cpu_cores": 1}}]}, "optimal", 0),
        "long names": ({"hosts": [{"name": LONG, "capacity": {"cpu_cores": 3}}],
                        "workloads": [{"name": LONG, "demand": {"cpu_cores": 1}}]}, "optimal", 0),
        "keys of no resource": ({"hosts": [{"name": "h", "capacity": {"a\nb": 1, LONG: 1}}],
                                 "workloads": [{"name": "w", "demand": {"a\nb": 1, LONG: 1}}]}, "optimal", 0),
        "rules that contradict": ({"hosts": hosts(2), "workloads": work(2, current="h0"), "rules": [
            {"rule": "affinity", "workloads": ["w0", "w1"]}, {"rule": "anti_affinity", "workloads": ["w0", "w1"]}]}, "infeasible", 1),
        "fence and ban": ({"hosts": hosts(2), "workloads": work(1), "rules": [
            {"rule": "fence", "workloads": ["w0"], "hosts": ["h0"]}, {"rule": "ban", "workloads": ["w0"], "hosts": ["h0"]}]},
            "infeasible", 1),
        "root and fence": ({"hosts": hosts(2), "workloads": work(1, current="h0"), "rules": [
            {"rule": "root", "workloads": ["w0"]}, {"rule": "fence", "workloads": ["w0"], "hosts": ["h1"]}]}, "infeasible", 1),
    }
    for objective in ("hosts", "watts", "balance"):
        for effort in ("quick", "thorough"):
            policy = {"objective": objective, "effort": effort, "failover": 1}
            for name, cores, wanted, status in (("no resource", None, None, "nothing_to_do"), ("no capacity", 0, 0, "nothing_to_do"),
                                                ("demand without capacity", 0, 1, "infeasible"), ("empty hosts", None, 1, "infeasible")):
                cases[f"{name}, {objective}, {effort}"] = (
                    {"hosts": hosts(3, cores, watts={"idle": 0, "busy": 0}), "workloads": work(4, wanted, current="h0"), "policy": policy},
                    status, 4 if status == "infeasible" else 0)
    return cases


ODD = odd()


@pytest.mark.parametrize("name", ODD)
def test_odd_but_sound_problems_are_planned(name: str) -> None:
    problem, status, unplaced = ODD[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        plan = place(problem)
    assert (plan["status"], plan["summary"]["unplaced"]) == (status, unplaced)
    assert bool(plan["conflict"]) == (status == "infeasible")
    # Numbers that JSON does not know, and characters that no file holds, end here.
    again = json.loads(json.dumps(plan, allow_nan=False, ensure_ascii=False).encode())
    assert name == "10,000 slots" or violations(json.loads(json.dumps(problem)), again) == []


def test_what_is_larger_than_any_host_is_named_with_what_is_short_on_each() -> None:
    estate = [*hosts(1), {"name": "z", "capacity": {"cpu_cores": 8.5}}]
    plan = place({"hosts": estate, "workloads": work(1, [1, 9])})
    assert plan["unplaced"] == [{"workload": "w0", "reasons": [
        {"host": "h0", "resource": "cpu_cores", "short_by": 5}, {"host": "z", "resource": "cpu_cores", "short_by": 0.5}]}]
    assert plan["conflict"] == [{"workload": "w0", "demand": {"cpu_cores": 9}}] and plan["placement"] == {}


@pytest.mark.parametrize("name", ["rules that contradict", "fence and ban", "root and fence"])
def test_rules_that_contradict_are_named(name: str) -> None:
    problem = ODD[name][0]
    named = {entry["rule"] for entry in place(problem)["conflict"] if "rule" in entry}
    assert named == {rule["rule"] for rule in problem["rules"]}


@pytest.mark.parametrize("current", [{}, {"current": "h0"}], ids=["new", "there"])
def test_far_too_many_for_one_small_host_end_soon_with_a_conflict(current: dict[str, Any]) -> None:
    began = time.process_time()
    plan = place({"hosts": hosts(1), "workloads": work(500, **current)})
    assert (plan["status"], plan["summary"]["unplaced"]) == ("infeasible", 496)
    assert len(plan["conflict"]) >= 5 and all("workload" in entry for entry in plan["conflict"])
    assert time.process_time() - began < 10


def test_rules_with_50_000_members() -> None:
    kinds: list[dict[str, Any]] = [{"rule": "fence", "hosts": ["h0"]}, {"rule": "ban", "hosts": ["h1"]}, {"rule": "root"},
                                   {"rule": "spread", "at_most": 10**12}, {"rule": "exclusive"}]
    began = time.process_time()
    problem = normalise({"hosts": hosts(2), "workloads": work(50_000, 0, current="h0"),
                         "rules": [{**rule, "workloads": everyone(50_000)} for rule in kinds]})
    assert [len(rule.workloads) for rule in problem.rules] == [50_000] * len(kinds) and time.process_time() - began < 10


BAD_OPTIONS = [
    ({"hosts": hosts(1), "workloads": work(1, "much")}, "workload 'w0': demand.cpu_cores: value 'much', allowed a number"),
    ({"hosts": hosts(1), "workloads": work(1, colour="red")}, "workload 'w0': unknown key 'colour'"),
    ({"hosts": hosts(2) * 2}, "host 'h1': name: value 'h1', allowed a name that no other host has"),
    ({"hosts": []}, "problem: hosts: value [], allowed a list of at least one host"),
    ({"hosts": [{}]}, "hosts[0]: name: missing (value null)"),
    ({"hosts": hosts(1), "policy": {"seed": -1}}, "policy: seed: value -1"),
    ({"hosts": hosts(1), "workloads": work(9, 10**12)}, "problem: sum of demand of cpu_cores"),
]


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize(("options", "expected"), BAD_OPTIONS, ids=[case[1] for case in BAD_OPTIONS])
def test_the_module_names_bad_input_and_writes_nothing(
    tmp_path: Any, capsys: pytest.CaptureFixture[str], options: dict[str, Any], expected: str, check: bool
) -> None:
    with patch_module_args({**options, "dest": str(tmp_path / "plan.json"), "_ansible_check_mode": check}), pytest.raises(SystemExit):
        module.main()
    failed = json.loads(capsys.readouterr().out)
    assert failed["failed"] and expected in failed["msg"] and failed["errors"] and "exception" not in failed
    assert list(tmp_path.iterdir()) == []
