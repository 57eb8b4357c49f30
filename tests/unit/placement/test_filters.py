# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the filters say of values that are not what they take: option, value and what is allowed, never an error of Python."""
from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.xenfold.consolidation.plugins.filter.after_moves import _after_moves
from ansible_collections.xenfold.consolidation.plugins.filter.capacity_of import _capacity_of
from ansible_collections.xenfold.consolidation.plugins.filter.guests_of import _guests_of
from ansible_collections.xenfold.consolidation.plugins.filter.limits_of import _limits_of
from ansible_collections.xenfold.consolidation.plugins.filter.moves_of import _moves_of
from ansible_collections.xenfold.consolidation.plugins.filter.network_files import rendered
from ansible_collections.xenfold.consolidation.plugins.filter.place import _place
from ansible_collections.xenfold.consolidation.plugins.filter.volumes_of import _volumes_of

FILTERS = {
    "guests_of": lambda value: _guests_of(value, "h"), "moves_of": lambda value: _moves_of(value, "w"),
    "network_files": lambda value: rendered(value, "h"), "capacity_of": _capacity_of, "volumes_of": _volumes_of, "place": _place,
    "after_moves": lambda value: _after_moves(value, {}), "limits_of": _limits_of,
}
DEEP: list[Any] = []
for _ in range(10_000):
    DEEP = [DEEP]
SHAPES = [
    ("guests_of", {"hosts": {"h": 3}}), ("guests_of", {"hosts": {"h": {}}}), ("guests_of", {"hosts": {1: 2, "a": 3}}),
    ("guests_of", {"hosts": {"h": {"workloads": 3}}}), ("guests_of", {"hosts": {"h": {"workloads": [1, "a"]}}}),
    ("moves_of", {"moves": 3, "placement": {"w": "h"}}), ("moves_of", {"moves": [3], "placement": {"w": "h"}}),
    ("moves_of", {"moves": [{"workload": "w"}], "placement": {"w": "h"}}), ("moves_of", {"moves": [], "placement": 3}),
    ("moves_of", {"moves": [], "placement": {}, "unplaced": [3]}),
    ("network_files", {"network_bonds": 3}), ("network_files", {"network_bonds": [3]}),
    ("capacity_of", {"estate_host": 3}), ("capacity_of", {"storage_arrays": [3], "storage_volume_groups": [{"devices": ["x"]}]}),
    ("limits_of", [3]), ("limits_of", {"a": 1}), ("limits_of", [DEEP]),
    ("volumes_of", [3]), ("volumes_of", {"a": 1}), ("volumes_of", [DEEP]),
    ("place", {(1, 2): 3}), ("place", {"hosts": {1, 2}}), ("place", {"hosts": DEEP}), ("place", {"hosts": [{"name": "\ud800"}]}),
    ("after_moves", {(1, 2): 3}), ("after_moves", {"hosts": {1, 2}}), ("after_moves", {"hosts": DEEP}), ("after_moves", {"hosts": 3}),
    ("after_moves", {"hosts": [{"name": "h", "capacity": {}}]}),
]


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("value", [None, 3, "text", b"bytes", [[1]]], ids=repr)
def test_what_is_no_mapping(name: str, value: Any) -> None:
    with pytest.raises(AnsibleFilterError, match=rf"(?s){name}: .*value .*allowed "):
        FILTERS[name](value)


@pytest.mark.parametrize(("name", "value"), SHAPES, ids=[f"{name}-{number}" for number, (name, _) in enumerate(SHAPES)])
def test_mappings_of_a_wrong_shape(name: str, value: Any) -> None:
    with pytest.raises(AnsibleFilterError):
        FILTERS[name](value)


@pytest.mark.parametrize("name", [None, 3, ["h"], ""])
def test_names_that_are_none(name: Any) -> None:
    plan = {"hosts": {"h": {"workloads": []}}, "moves": [], "placement": {"w": "h"}}
    for call, option in ((_guests_of, "guests_of: host"), (_moves_of, "moves_of: workload")):
        with pytest.raises(AnsibleFilterError, match=f"{option}: value .*allowed "):
            call(plan, name)
    with pytest.raises(AnsibleFilterError, match=r"network_files: host: value .*allowed the name of a host"):
        rendered({}, name)


@pytest.mark.parametrize("plan", [None, 3, b"bytes", [], {}, DEEP, {1, 2}, "", "no JSON", "[" * 100_000, "3", '{"schema": 1}'],
                         ids=lambda value: str(type(value).__name__))
def test_after_moves_of_what_is_no_plan(plan: Any) -> None:
    with pytest.raises(AnsibleFilterError, match=r"after_moves: .*value|after_moves: plan: text that is no JSON .*allowed "):
        _after_moves({"hosts": [{"name": "h", "capacity": {}}]}, plan)


def test_good_values_pass() -> None:
    plan = {"hosts": {"h": {"workloads": ["b", "a"]}}, "moves": [{"workload": "w", "step": 2}, {"workload": "w", "step": 1}],
            "placement": {"w": "h"}, "unplaced": []}
    assert _guests_of(plan, "h") == ["a", "b"]
    assert [move["step"] for move in _moves_of(plan, "w")] == [1, 2]
    assert rendered({}, "h") == {} or rendered({}, "h")
    assert _capacity_of({"estate_host": {"cpu_cores": 4}, "dom0_vcpus": 1})["cpu_cores"] == 3
    assert _volumes_of([]) == []
    problem = {"hosts": [{"name": "h", "capacity": {"memory_mib": 4}}], "workloads": [{"name": "w", "demand": {"memory_mib": 4}}]}
    assert _after_moves(problem, _place(problem), done=[1])["workloads"][0]["current"] == "h"
