# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What dom0's size may be: one source for the estate's check on the control node and the module `dom0` on the host."""
from __future__ import annotations

import math
from typing import Any

MEMORY_MIB = (512, 12 * 1024 * 1024)
"""Debian's dom0 needs the lower one to boot and install packages; the upper one is that of a guest (guest/schema.py)."""
AUTO = "auto"
"""In the place of dom0's memory: what `memory_of` makes of the memory of the host."""
_AUTO_BASE_MIB, _AUTO_PERCENT, _AUTO_MOST_MIB = 1024, 5, 8192
VCPUS = (1, 128)
PORT = (1, 65535)


def in_range(value: Any, low: int, high: int) -> bool:
    """Whether a value is a whole number from `low` to `high`; true and false are none."""
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def range_allowed(low: int, high: int, unit: str = "") -> str:
    """What a message says is allowed."""
    return f"a whole number, {low} to {high}" + (f" {unit}" if unit else "")


def memory_of(value: Any, total_mib: float | None) -> Any:
    """dom0's memory in MiB: the value itself, or for `auto` 1 GiB and 5 % of the host's memory, 8 GiB at most, as XenServer sizes its dom0.

    total_mib: estate_host.memory_mib. Raises ValueError for `auto` without it.
    """
    if value != AUTO:
        return value
    if not isinstance(total_mib, int | float) or isinstance(total_mib, bool) or not 0 < total_mib < math.inf:
        raise ValueError(f"value {AUTO!r}, allowed where estate_host.memory_mib tells the memory of the host; it is {total_mib!r}")
    return min(_AUTO_MOST_MIB, _AUTO_BASE_MIB + math.floor(total_mib * _AUTO_PERCENT / 100))
