# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What dom0's size may be: one source for the estate's check on the control node and the module `dom0` on the host."""
from __future__ import annotations

from typing import Any

MEMORY_MIB = (512, 12 * 1024 * 1024)
"""Debian's dom0 needs the lower one to boot and install packages; the upper one is that of a guest (guest_spec)."""
VCPUS = (1, 128)
PORT = (1, 65535)


def in_range(value: Any, low: int, high: int) -> bool:
    """Whether a value is a whole number from `low` to `high`; true and false are none."""
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def range_allowed(low: int, high: int, unit: str = "") -> str:
    """What a message says is allowed."""
    return f"a whole number, {low} to {high}" + (f" {unit}" if unit else "")
