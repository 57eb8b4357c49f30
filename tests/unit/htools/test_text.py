# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The text format of Ganeti's htools: what is read of it, what is written after a plan, what is refused."""
from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.xenfold.consolidation.plugins.filter.from_htools import _from_htools
from ansible_collections.xenfold.consolidation.plugins.filter.to_htools import _to_htools
from ansible_collections.xenfold.consolidation.plugins.module_utils.htools.text import STATUSES, TextError, parse, render
from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.plan import place

GOOD = """front|u1|preferred||
back|u2|allocable|a,b|

n1|10000|1000|6900|10240|6144|8|M|u1|64||N|0|1|1.0
n2|10000|1000|8500|10240|8192|8|N|u1|64||Y|60|1|1.0
n3|10000|1000|9000|10240|10240|8|Y|u2|64
n4|?|?|?|?|?|?|N|u2

web|2000|51200|2|running|Y|n1||ext|svc:web,svc:web,blue|1|-
api|100|2048|1|ERROR_up|Y|n1|n2|drbd|svc:web|1|2
old|4000|2048|1|ADMIN_down|N|n1||plain||1
log|500|0|1|running|Y|n2||rbd|other:web|1

htools:iextags:svc
htools:iextags:
colour|blue

|1024,1,1024,1,1,1|128,1,128,1,1,1;131072,64,4194304,16,8,12|plain,ext,drbd|4.0|32.0
back|1024,1,1024,1,1,1|128,1,128,1,1,1;131072,64,4194304,16,8,12|plain,ext,drbd|2.0|32.0
"""
HOME = {"web": "n1", "api": "n1", "old": "n1", "log": "n2"}
# What is replaced in GOOD, by what, and every line of the message.
BAD: list[tuple[str, str, list[str]]] = [
    ("front|u1|preferred||", "front|u1", [
        "line 1: group 'front': 2 fields, allowed at least 3: name|uuid|policy|tags|networks",
        *(f"line {line}: node '{node}': group: value 'u1', allowed u2" for line, node in ((4, "n1"), (5, "n2"))),
    ]),
    ("back|u2|allocable", "back|u1|maybe", [
        "line 2: group 'back': policy: value 'maybe', allowed allocable, preferred, unallocable",
        "line 2: group 'back': uuid: value 'u1', allowed a UUID that no other group has",
        *(f"line {line}: node '{node}': group: value 'u2', allowed u1" for line, node in ((6, "n3"), (7, "n4"))),
    ]),
    ("n1|10000|1000|6900", "n1|ten|1e3|6900.5", [
        "line 4: node 'n1': total memory: value 'ten', allowed a whole number of at most 12 digits, of at least 0",
        "line 4: node 'n1': own memory: value '1e3', allowed a whole number of at most 12 digits, of at least 0",
        "line 4: node 'n1': free memory: value '6900.5', allowed a whole number of at most 12 digits",
    ]),
    ("|8|M|u1|", "|-8|X|u1|", [
        "line 4: node 'n1': CPUs: value '-8', allowed a number of at least 0 and below 1e12",
        "line 4: node 'n1': offline: value 'X', allowed M, N, Y",
    ]),
    ("n1|10000|1000", "n1|900|1000", ["line 4: node 'n1': own memory: value 1000, allowed at most the total memory (900)"]),
    ("|M|u1|64||N|0|1|", "|M|u1|64||N|0|9|", ["line 4: node 'n1': own CPUs: value 9, allowed at most the node's CPUs (8)"]),
    ("||Y|60|", "||yes|many|", ["line 5: node 'n2': exclusive storage: value 'yes', allowed N, Y"]),
    ("||Y|60|", "||Y|many|", ["line 5: node 'n2': free spindles: value 'many', allowed a whole number of at most 12 digits"]),
    ("n3|", "n1|", ["line 6: node 'n1': name: value 'n1', allowed a name that no other node has (line 4)"]),
    ("n3|", "|", ["line 6: node '': name: value '', allowed a name"]),
    ("n4|?|?|?|?|?|?|N|u2", "n4|?|?", [
        "line 7: node 'n4': 3 fields, allowed at least 9: name|total memory|own memory|free memory|total disk|free disk|CPUs|offline|group",
    ]),
    ("web|2000|51200|2|", "web|-1|x||", [
        "line 9: instance 'web': memory: value '-1', allowed a whole number of at most 12 digits, of at least 0",
        "line 9: instance 'web': disk: value 'x', allowed a whole number of at most 12 digits, of at least 0",
        "line 9: instance 'web': vCPUs: value '', allowed a whole number of at most 12 digits, of at least 0",
    ]),
    ("2|running|Y|n1||ext|svc", "2|walking|yes|n9|n8|tape|svc", [
        f"line 9: instance 'web': status: value 'walking', allowed {', '.join(STATUSES)}",
        "line 9: instance 'web': auto balance: value 'yes', allowed N, Y",
        "line 9: instance 'web': primary node: value 'n9', allowed one of n1, n2, n3, n4",
        "line 9: instance 'web': secondary node: value 'n8', allowed one of n1, n2, n3, n4 or nothing",
        "line 9: instance 'web': template: value 'tape', allowed blockdev, diskless, drbd, ext, file, gluster, plain, rbd, sharedfile",
    ]),
    ("n1|n2|drbd", "n1|n1|drbd", ["line 10: instance 'api': secondary node: value 'n1', allowed another node than the primary one"]),
    ("|1|2\n", "|1|two\n", [
        "line 10: instance 'api': spindles: value 'two', allowed a whole number of at most 12 digits, of at least 0 or '-'"]),
    ("log|500", "web|500", ["line 12: instance 'web': name: value 'web', allowed a name that no other instance has (line 9)"]),
    ("|4.0|32.0", "|0|32.0", ["line 18: policy '': vCPU ratio: value '0', allowed a number above 0 and below 1e12"]),
    ("back|1024", "side|1024", ["line 19: policy 'side': owner: value 'side', allowed one of back, front or nothing"]),
    ("|2.0|32.0", "", ["line 19: policy 'back': 4 fields, allowed at least 6: owner|standard|min;max|templates|vCPU ratio|spindle ratio"]),
]


def changed(text: str, *changes: tuple[str, str]) -> str:
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def test_what_is_read() -> None:
    problem = parse(GOOD)
    assert problem["hosts"] == [
        {"name": "n1", "pool": "front", "state": "active", "capacity": {"memory_mib": 9000, "vcpus": 7, "disk_gib": 10}},
        {"name": "n2", "pool": "front", "state": "active", "capacity": {"memory_mib": 9000, "vcpus": 7, "disk_gib": 10}},
        # The group's own ratio is half the cluster's.
        {"name": "n3", "pool": "back", "state": "drain", "capacity": {"memory_mib": 9000, "vcpus": 4, "disk_gib": 10}},
        {"name": "n4", "pool": "back", "state": "drain", "capacity": {"memory_mib": 0, "vcpus": 0, "disk_gib": 0}},
    ]
    assert problem["workloads"] == [
        {"name": "web", "demand": {"memory_mib": 2000, "vcpus": 2}, "current": "n1", "storage": "shared", "move_cost": 2000},
        {"name": "api", "demand": {"memory_mib": 100, "vcpus": 1, "disk_gib": 2}, "current": "n1", "storage": "replicated",
         "move_cost": 100, "replica": "n2"},
        {"name": "old", "demand": {"memory_mib": 4000, "vcpus": 1, "disk_gib": 2}, "current": "n1", "storage": "local", "move_cost": 4000},
        {"name": "log", "demand": {"memory_mib": 500, "vcpus": 1}, "current": "n2", "storage": "shared", "move_cost": 500},
    ]
    assert problem["rules"] == [{"rule": "anti_affinity", "workloads": ["web", "api"]}]
    assert problem["policy"] == {"overcommit": {"vcpus": 4}}
    assert place(problem)["placement"]["web"] != place(problem)["placement"]["api"]


@pytest.mark.parametrize("text", [
    GOOD, GOOD.rstrip("\n"), GOOD.replace("\n", "\r\n"), GOOD + "\n\nmore\n",
    "g|u|preferred\n\nn|9|1|8|0|0|4|N|u\n\n\n",
], ids=["whole", "no newline at the end", "CRLF", "more sections", "four sections"])
def test_without_moves_every_byte_stays(text: str) -> None:
    placement = {workload["name"]: workload["current"] for workload in parse(text)["workloads"]}
    assert render(text, {"placement": placement}) == text


def test_sections_that_a_reader_cut_off_come_back() -> None:
    for end in ("", "\n"):
        text = "g|u|preferred||\n\nn|9|1|3|0|0|4|N|u\n\ni|5|0|1|running|Y|n||ext|" + end
        assert parse(text)["policy"] == {"overcommit": {"vcpus": 4}}
        assert render(text, {"placement": {"i": "n"}}) == text.rstrip("\n") + "\n\n"


@pytest.mark.parametrize(("moves", "changes"), [
    # External storage: memory alone.
    ({"web": "n2"}, [("n1|10000|1000|6900|", "n1|10000|1000|8900|"), ("n2|10000|1000|8500|", "n2|10000|1000|6500|"),
                     ("Y|n1||ext", "Y|n2||ext")]),
    # Down, on a local disk: disk alone.
    ({"old": "n2"}, [("6900|10240|6144|", "6900|10240|8192|"), ("8500|10240|8192|", "8500|10240|6144|"), ("N|n1||plain", "N|n2||plain")]),
    # To its mirror: both change places, spindles go along.
    ({"api": "n2"}, [("n1|10000|1000|6900|", "n1|10000|1000|7000|"), ("n2|10000|1000|8500|", "n2|10000|1000|8400|"),
                     ("||Y|60|", "||Y|58|"), ("n1|n2|drbd", "n2|n1|drbd")]),
    # Off its node, the mirror stays; and what is offline has figures as well.
    ({"api": "n3"}, [("n1|10000|1000|6900|10240|6144|", "n1|10000|1000|7000|10240|8192|"),
                     ("n3|10000|1000|9000|10240|10240|", "n3|10000|1000|8900|10240|8192|"), ("n1|n2|drbd", "n3|n2|drbd")]),
    # A node whose numbers nobody knows keeps its line.
    ({"log": "n4"}, [("n2|10000|1000|8500|", "n2|10000|1000|9000|"), ("Y|n2||rbd", "Y|n4||rbd")]),
])
def test_moves_change_these_fields_alone(moves: dict[str, str], changes: list[tuple[str, str]]) -> None:
    after = render(GOOD, {"placement": HOME | moves})
    assert after == changed(GOOD, *changes)
    assert render(after, {"placement": HOME}) == GOOD or "api" in moves


def test_free_figures_that_do_not_add_up_are_put_right() -> None:
    text = changed(GOOD, ("n1|10000|1000|6900|10240|6144|", "n1|10000|1000|5000|10240|10240|"))
    assert render(text, {"placement": HOME}) == GOOD
    crowded = changed(GOOD, ("web|2000|", "web|9900|"), ("|6900|", "|-1000|"))
    assert render(crowded, {"placement": HOME}) == crowded


@pytest.mark.parametrize(("old", "new", "errors"), BAD, ids=[new or old for old, new, _ in BAD])
def test_bad_texts(old: str, new: str, errors: list[str]) -> None:
    text = changed(GOOD, (old, new)) if GOOD.count(old) == 1 else GOOD.replace(old, new, 1)
    with pytest.raises(TextError) as caught:
        parse(text)
    assert caught.value.errors == errors
    with pytest.raises(AnsibleFilterError, match="from_htools: the text is not sound:\nline "):
        _from_htools(text)


@pytest.mark.parametrize("text", ["", "\n\n\n\n", "g|u|preferred||\n"])
def test_a_text_without_nodes(text: str) -> None:
    with pytest.raises(TextError, match=r"text: section 2 \(nodes\): no line .*, allowed at least one node"):
        parse(text)


def test_many_findings_are_counted() -> None:
    with pytest.raises(TextError) as caught:
        parse("\n" + "".join(f"n{number}|x\n" for number in range(60)))
    assert len(caught.value.errors) == 51
    assert caught.value.errors[-1] == "and 10 more"


@pytest.mark.parametrize(("plan", "message"), [
    ({}, "plan: placement: value None, allowed a mapping of workloads to hosts"),
    ({"placement": ["n1"]}, r"plan: placement: value \['n1'\], allowed a mapping"),
    ({"placement": HOME | {"new": "n1"}}, "plan: placement: workload 'new', allowed an instance of the text: api, log, old, web"),
    ({"placement": HOME | {3: "n1"}}, "plan: placement: workload 3, allowed an instance"),
    ({"placement": HOME | {"web": "n9"}}, "plan: placement.web: value 'n9', allowed a node of the text: n1, n2, n3, n4"),
    ({"placement": HOME | {"web": ["n1"]}}, r"plan: placement.web: value \['n1'\], allowed a node"),
    ({"status": "infeasible", "placement": {"web": "n1", "api": "n1", "old": "n1"}},
     r"plan: placement.log: missing \(value null; status 'infeasible'\), allowed a plan that places every instance of the text"),
])
def test_plans_of_something_else(plan: dict[str, Any], message: str) -> None:
    with pytest.raises(AnsibleFilterError, match=f"to_htools: plan or text is not sound:\n{message}"):
        _to_htools(plan, GOOD)


@pytest.mark.parametrize("value", [None, 3, b"bytes", ["x"]], ids=repr)
def test_values_of_other_types(value: Any) -> None:
    for call, message in ((lambda: _from_htools(value), "from_htools: value of type .*, allowed a string"),
                          (lambda: _to_htools(value, GOOD), "to_htools: plan: value of type .*, allowed a plan"),
                          (lambda: _to_htools({"placement": HOME}, value), "to_htools: text: value of type .*, allowed the string")):
        with pytest.raises(AnsibleFilterError, match=message):
            call()


def test_filters_pass_good_values() -> None:
    assert _from_htools(GOOD) == parse(GOOD)
    assert _to_htools(place(parse(GOOD)), GOOD).count("\n") == GOOD.count("\n")
