# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Demand of guests: what follows from the definition, what is measured, what dom0 does for them."""
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.xenfold.consolidation.plugins.module_utils.sizing.guest_demand import (
    demand_of,
    dom0_cores,
    guest_disk_gib,
    guest_memory_mib,
)
from hypothesis import given
from hypothesis import strategies as st

GUEST = {"name": "web01", "memory_mib": 4096, "vcpus": 2, "disks": [{"name": "root", "size_gib": 20, "volume_group": "vg0"}]}


def test_memory_counts_what_the_guest_may_grow_to() -> None:
    assert guest_memory_mib(GUEST) == 4126
    assert guest_memory_mib({**GUEST, "maxmem_mib": 8192, "maxvcpus": 4}) == 4144
    assert guest_memory_mib({**GUEST, "max_grant_frames": 1024}) == 4130


def test_disks_by_volume_group_in_whole_extents() -> None:
    disks = [
        {"name": "root", "size_gib": 20, "volume_group": "vg0"}, {"name": "log", "size_gib": 0.001, "volume_group": "vg0"},
        {"name": "fast", "size_gib": 5, "volume_group": "vg1"}, {"name": "iso", "path": "/srv/x.iso"},
    ]
    assert guest_disk_gib({"disks": disks}) == {"vg0": 20.003907, "vg1": 5}


def test_a_replicated_disk_has_whole_extents_of_drbds_own_data() -> None:
    disks = [{"name": "root", "size_gib": 20, "volume_group": "vg0", "drbd_minor": 1},
             {"name": "data", "size_gib": 200, "volume_group": "vg1", "drbd_minor": 2}]
    assert guest_disk_gib({"disks": disks}) == {"vg0": 20.003907, "vg1": 200.007813}


def test_a_guest_that_was_never_measured_may_use_all_its_vcpus() -> None:
    assert demand_of(GUEST) == {"cpu_cores": 2, "disk_gib": 20, "memory_mib": 4126}


def test_measured_series_and_what_dom0_does() -> None:
    demand = demand_of({**GUEST, "demand": {"cpu_cores": [0.5, 1], "disk_iops": [0, 1000], "network_mbps": 100, "gpu": 0}})
    assert demand == {
        "cpu_cores": [0.5, 1], "disk_gib": 20, "disk_iops": [0, 1000], "dom0_cores": [0.015, 0.03], "memory_mib": 4126,
        "network_mbps": 100,
    }


def test_a_typed_share_of_dom0_stands() -> None:
    assert demand_of({**GUEST, "demand": {"disk_iops": 1000, "dom0_cores": 0.5}})["dom0_cores"] == 0.5


def test_for_planning_only() -> None:
    assert demand_of({"name": "x", "demand": {"memory_mib": 900, "cpu_cores": 0.5}}) == {"cpu_cores": 0.5, "memory_mib": 900}


@pytest.mark.parametrize(("iops", "mbps", "expected"), [
    (0, 0, 0), (1000, 0, 0.015), (0, 1000, 0.15), ([0, 2000], 1000, [0.15, 0.18]),
])
def test_dom0(iops: Any, mbps: Any, expected: Any) -> None:
    assert dom0_cores(iops, mbps) == expected


@given(st.lists(st.tuples(st.floats(0, 10**6), st.floats(0, 10**5)), min_size=1, max_size=48))
def test_dom0_of_a_series_is_the_series_of_dom0(slots: list[tuple[float, float]]) -> None:
    series = dom0_cores([iops for iops, _ in slots], [mbps for _, mbps in slots])
    assert series == [dom0_cores(iops, mbps) for iops, mbps in slots]
