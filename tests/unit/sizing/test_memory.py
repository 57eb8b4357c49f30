# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""libxl's memory formula, and what the planner makes of it."""
from __future__ import annotations

import pytest
from ansible_collections.xenfold.consolidation.plugins.module_utils.sizing.memory import (
    footprint_mib,
    guests_memory_mib,
    need_mib,
    paging_mib,
)
from hypothesis import given
from hypothesis import strategies as st

TYPES = st.sampled_from(["pvh", "hvm", "pv"])


@pytest.mark.parametrize(("maxmem", "vcpus", "kind", "hap", "expected"), [
    (8192, 4, "pvh", True, 36.0),      # 4 x (256 x 4 + 8192) KiB
    (8192, 4, "hvm", False, 68.0),     # shadow mode: twice the part per MiB
    (8192, 4, "pv", True, 36.0),       # a PV guest counts as one without hardware paging, but has no P2M
    (128, 1, "pvh", True, 1.5),
])
def test_paging_memory(maxmem: int, vcpus: int, kind: str, hap: bool, expected: float) -> None:
    assert paging_mib(maxmem, vcpus, kind, hap) == expected


@pytest.mark.parametrize(("memory", "maxmem", "vcpus", "kind", "expected"), [
    (8192, 8192, 4, "pvh", 8230),      # 8192 + 36 + 2
    (4096, 8192, 4, "pvh", 4134),      # the most it can grow to counts for the page tables
    (128, 128, 1, "pvh", 132),         # 128 + 1.5 + 2, rounded up to 2 MiB
    (128, 128, 1, "pv", 132),          # 128 + 1.5 + 1
])
def test_what_xl_create_asks_for(memory: int, maxmem: int, vcpus: int, kind: str, expected: int) -> None:
    assert need_mib(memory, maxmem, vcpus, kind) == expected


def test_footprint_by_hand() -> None:
    # 8192 + 36 + 2 + 0.15 x 4 + 64 x 4 KiB + 8 = 8238.85
    assert footprint_mib(8192, 8192, 4, "pvh") == 8240
    # in the shim 23 + 8192 / 90 more
    assert footprint_mib(8192, 8192, 4, "pvh", shim=True) == 8354


@given(st.integers(32, 10**6), st.integers(0, 10**6), st.integers(1, 128), TYPES, st.integers(4, 1024))
def test_footprint_is_never_below_what_xl_asks_for(memory: int, more: int, vcpus: int, kind: str, frames: int) -> None:
    footprint = footprint_mib(memory, memory + more, vcpus, kind, frames)
    assert footprint >= need_mib(memory, memory + more, vcpus, kind)
    assert footprint % 2 == 0


@given(st.integers(32, 10**6), st.integers(1, 127), TYPES)
def test_footprint_grows_with_memory_and_vcpus(memory: int, vcpus: int, kind: str) -> None:
    base = footprint_mib(memory, memory, vcpus, kind)
    assert footprint_mib(memory + 2, memory + 2, vcpus, kind) > base
    assert footprint_mib(memory, memory, vcpus + 1, kind) >= base
    assert footprint_mib(memory, memory + 1024, vcpus, kind) > base


def test_memory_of_a_host() -> None:
    assert guests_memory_mib(262144, 4096) == 254702      # 262144 - 4096 - 3145.7 - 200
    assert guests_memory_mib(2560, 896) == 1433
    assert guests_memory_mib(1024, 1024) == 0
