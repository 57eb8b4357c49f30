# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""dom0_memory_mib: auto means one number to the role, to the estate's check and to the planner."""
from __future__ import annotations

import math
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.xenfold.consolidation.plugins.filter import dom0_memory as dom0_memory_filter
from ansible_collections.xenfold.consolidation.plugins.module_utils.dom0_spec import MEMORY_MIB, memory_of
from ansible_collections.xenfold.consolidation.plugins.module_utils.estate import hosts
from ansible_collections.xenfold.consolidation.plugins.module_utils.estate.findings import Findings
from ansible_collections.xenfold.consolidation.plugins.module_utils.sizing.capacity import capacity_of
from hypothesis import given
from hypothesis import strategies as st

dom0_memory = dom0_memory_filter.FilterModule().filters()["dom0_memory"]


@pytest.mark.parametrize(("total", "mib"), [
    (2048, 1126), (16384, 1843), (65536, 4300), (143359, 8191), (143360, 8192), (262144, 8192), (2048.5, 1126),
])
def test_the_rule(total: float, mib: int) -> None:
    assert memory_of("auto", total) == dom0_memory("auto", {"memory_mib": total}) == mib


@pytest.mark.parametrize("value", [896, "896", None, True, "Auto", "{{ x }}"])
def test_what_is_not_auto_is_left_as_it_is(value: Any) -> None:
    assert dom0_memory(value, {}) is value


@pytest.mark.parametrize("estate_host", [{}, None, "text", *({"memory_mib": value} for value in (None, "64", True, 0, math.inf, math.nan))])
def test_auto_needs_the_memory_of_the_host(estate_host: Any) -> None:
    with pytest.raises(AnsibleFilterError, match="dom0_memory_mib: value 'auto', allowed where"):
        dom0_memory("auto", estate_host)


@given(st.integers(1077, 12 * 2**20))
def test_the_planner_counts_the_same_number(total: int) -> None:
    size = memory_of("auto", total)
    assert MEMORY_MIB[0] <= size <= total
    host: dict[str, Any] = {"estate_host": {"cpu_cores": 8, "memory_mib": total}, "dom0_vcpus": 2}
    assert capacity_of({**host, "dom0_memory_mib": "auto"}).values == capacity_of({**host, "dom0_memory_mib": size}).values


@pytest.mark.parametrize(("estate_host", "says"), [
    ({"cpu_cores": 8, "memory_mib": 65536}, []),
    ({"cpu_cores": 8, "memory_mib": 1000}, ["value 'auto', allowed at most 1000, estate_host.memory_mib of this host"]),
    ({"cpu_cores": 8, "capacity": {"memory_mib": 60000}}, ["value 'auto', allowed a number of MiB where estate_host.memory_mib is none"]),
])
def test_the_estate_checks_auto(estate_host: dict[str, Any], says: list[str]) -> None:
    findings = Findings()
    hosts.check_host(findings, "xen01", {"estate_host": estate_host, "dom0_vcpus": 2, "dom0_memory_mib": "auto"})
    errors = [finding.text for finding in findings.all]
    assert len(errors) == len(says)
    assert all(f"dom0_memory_mib: {text}" in error for text, error in zip(says, errors, strict=True))
