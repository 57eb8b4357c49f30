# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Capacity from configuration: by hand for each level and mode, and laws that must hold for all."""
from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.xenfold.consolidation.plugins.filter.capacity_of import FilterModule
from ansible_collections.xenfold.consolidation.plugins.module_utils.sizing import capacity
from hypothesis import given
from hypothesis import strategies as st

SMALLEST = {0: 2, 1: 2, 5: 3, 6: 4, 10: 4}


def array(level: int, sizes_gib: list[float], iops: float | list[float] = 150, name: str = "guests") -> dict[str, Any]:
    speeds = iops if isinstance(iops, list) else [iops] * len(sizes_gib)
    members = [
        {"id": f"d{number}", "serial": f"s{number}", "size_gib": size, "iops": speed}
        for number, (size, speed) in enumerate(zip(sizes_gib, speeds, strict=True))
    ]
    return {"name": name, "level": level, "members": members}


def host(**variables: Any) -> dict[str, Any]:
    return {
        "estate_host": {"cpu_cores": 32, "memory_mib": 262144}, "dom0_vcpus": 4, "dom0_memory_mib": 4096,
        "network_bonds": [{"name": "bond0", "mode": "802.3ad", "members": [{"name": "eth0"}, {"name": "eth1"}], "link_mbps": 1000}],
        "network_bridges": [{"name": "xenbr0", "port": "bond0"}],
        "storage_arrays": [array(10, [1863.0] * 4)],
        "storage_volume_groups": [{"name": "vg_guests", "devices": ["/dev/md/guests"]}],
        **variables,
    }


def test_a_host_as_in_the_documentation() -> None:
    result = capacity.capacity_of(host())
    assert result.values == {
        "cpu_cores": 28, "memory_mib": 254702, "disk_gib": 3725.546875, "disk_iops": 461, "network_mbps": 1600, "dom0_cores": 2.7,
    }
    assert set(result.sources) == set(result.values)
    assert result.unknown == {}


@pytest.mark.parametrize(("level", "members", "data", "penalty"), [
    (0, 3, 3, 1), (1, 2, 1, 2), (1, 3, 1, 3), (5, 4, 3, 4), (6, 6, 4, 6), (10, 4, 2, 2), (10, 5, 2.5, 2),
])
def test_levels(level: int, members: int, data: float, penalty: int) -> None:
    assert capacity.data_members(level, members) == data
    assert capacity.write_penalty(level, members) == penalty
    one_mib = capacity.member_data_mib(500)
    assert capacity.array_size_mib(array(level, [500.0] * members)) == int(data * one_mib)
    assert capacity.array_iops(array(level, [500.0] * members)) == pytest.approx(members * 150 / (0.7 + 0.3 * penalty))


def test_member_less_margin_and_mds_own() -> None:
    assert capacity.member_data_mib(1863) == 1863 * 1024 - 101 - 129     # headroom of 128 MiB, rounded up with the bitmap
    assert capacity.member_data_mib(2) == 2048 - 101 - 2                 # headroom of 1 MiB on a disk of 2 GiB
    assert capacity.member_data_mib(0.05) == 0


@pytest.mark.parametrize(("margin", "less"), [(None, 0), (100, 0), (1, -99), (500, 400)])
def test_the_margin_of_an_array_counts(margin: int | None, less: int) -> None:
    plain = array(1, [1863.0] * 2)
    assert capacity.array_size_mib({**plain, "margin_mib": margin}) == capacity.array_size_mib(plain) - less


def test_the_smallest_and_the_slowest_member_count_for_all() -> None:
    mixed = array(10, [1863.0, 1863.0, 931.0, 1863.0], [150, 150, 150, 75])
    assert capacity.array_size_mib(mixed) == capacity.array_size_mib(array(10, [931.0] * 4))
    assert capacity.array_iops(mixed) == capacity.array_iops(array(10, [1.0] * 4, 75))


def test_only_arrays_below_volume_groups_count() -> None:
    root = array(1, [100.0] * 2, name="root")
    both = capacity.capacity_of(host(storage_arrays=[root, array(10, [1863.0] * 4)]))
    assert both.values["disk_gib"] == capacity.capacity_of(host()).values["disk_gib"]


@pytest.mark.parametrize(("bonds", "vlans", "bridges", "expected"), [
    ([("bond0", "802.3ad", 2, 1000)], [], ["bond0"], 1600),
    ([("bond0", "balance-xor", 4, 1000)], [], ["bond0"], 3200),
    ([("bond0", "active-backup", 2, 10000)], [], ["bond0"], 8000),
    ([("bond0", "802.3ad", 2, 1000)], [("bond0.20", "bond0")], ["bond0.20", "bond0"], 1600),
    ([("bond0", "802.3ad", 2, 1000), ("bond1", "802.3ad", 2, 10000)], [("bond1.5", "bond1")], ["bond1.5"], 16000),
    ([("bond0", "802.3ad", 2, 1000), ("bond1", "802.3ad", 1, 10000)], [], ["bond0", "bond1"], 9600),
])
def test_bonds(bonds: Any, vlans: Any, bridges: Any, expected: float) -> None:
    variables = host(
        network_bonds=[{"name": n, "mode": m, "members": [{"name": f"{n}-{i}"} for i in range(c)], "link_mbps": s}
                       for n, m, c, s in bonds],
        network_vlans=[{"name": n, "link": link, "id": 5} for n, link in vlans],
        network_bridges=[{"name": f"xenbr{i}", "port": port} for i, port in enumerate(bridges)],
    )
    assert capacity.capacity_of(variables).values["network_mbps"] == expected


def test_one_flow_is_never_faster_than_the_slowest_link() -> None:
    assert capacity.link_limit_mbps(host()) == 1000
    assert capacity.link_limit_mbps({}) is None


def test_a_typed_capacity_overrides_and_settles_what_is_unknown() -> None:
    variables = host(storage_arrays=[array(10, [1863.0] * 4)])
    del variables["storage_arrays"][0]["members"][2]["iops"]
    result = capacity.capacity_of(variables)
    assert "disk_iops" not in result.values
    assert result.unknown["disk_iops"][0] == ("storage_arrays", 0, "members", 2)
    variables["estate_host"] = {**variables["estate_host"], "capacity": {"disk_iops": 5000, "gpu": 2, "memory_mib": 1000}}
    result = capacity.capacity_of(variables)
    assert (result.values["disk_iops"], result.values["gpu"], result.values["memory_mib"]) == (5000, 2, 1000)
    assert result.unknown == {}


def test_the_filter() -> None:
    capacity_of = FilterModule().filters()["capacity_of"]
    assert capacity_of({**host(), "other": "variable"}) == capacity.capacity_of(host()).values
    with pytest.raises(AnsibleFilterError, match="allowed the variables of a host"):
        capacity_of("xen01")
    with pytest.raises(AnsibleFilterError, match="do not hold together"):
        capacity_of(host(storage_arrays=[{"name": "guests"}]))


arrays = st.sampled_from(sorted(SMALLEST)).flatmap(lambda level: st.builds(
    lambda sizes, speed: array(level, sizes, speed),
    st.lists(st.floats(1, 20000), min_size=SMALLEST[level], max_size=24), st.integers(1, 10**6)))


@given(arrays, st.floats(0.1, 1000))
def test_more_disk_is_never_less_capacity(made: dict[str, Any], more: float) -> None:
    size, speed = capacity.array_size_mib(made), capacity.array_iops(made)
    larger = {**made, "members": [{**member, "size_gib": member["size_gib"] + more, "iops": member["iops"] + 1}
                                  for member in made["members"]]}
    assert capacity.array_size_mib(larger) >= size
    assert capacity.array_iops(larger) > speed
    one_more = {**made, "members": [*made["members"], made["members"][0]]}
    assert capacity.array_size_mib(one_more) >= size
    # Every mirror of level 1 takes every write, so another one helps reads alone.
    assert capacity.array_iops(one_more) >= speed
    assert capacity.physical_volume_mib(made) <= size
    assert capacity.physical_volume_mib(made) % 4 == 0


@given(arrays)
def test_an_array_never_holds_more_than_its_disks(made: dict[str, Any]) -> None:
    total_mib = sum(member["size_gib"] for member in made["members"]) * 1024
    assert 0 <= capacity.array_size_mib(made) <= total_mib
    assert capacity.array_iops(made, 1.0) == pytest.approx(sum(member["iops"] for member in made["members"]))
    assert capacity.array_iops(made, 0.0) <= capacity.array_iops(made, 1.0)


@given(st.floats(0, 10**7, allow_nan=False))
def test_numbers_for_hosts_never_grow_and_those_for_guests_never_shrink(value: float) -> None:
    assert capacity.at_most(value) <= value + 1e-8
    assert capacity.at_least(value) >= value - 1e-8
    assert capacity.at_least(value) - capacity.at_most(value) <= 2e-6
