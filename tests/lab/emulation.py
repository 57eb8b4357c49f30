# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Tells a fault of the emulated processor from one of the project.

QEMU's software emulation of nested SVM sometimes loses a guest to a triple fault inside of Xen's own code, which no real processor does.
A run that fails with such a line on a host's console says nothing about the project and is made once more, aloud; any other failure counts.
"""
from __future__ import annotations

from pathlib import Path

FAULTS = ("Triple fault",)


def fault_of(root: Path, lab: str) -> str | None:
    """The first line on the console of any host of a running lab that is a fault of the emulation."""
    for log in sorted((root / "build" / "lab" / lab).glob("*/serial.log")):
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
            if any(fault in line for fault in FAULTS):
                return f"{log.parent.name}: {line.strip()}"
    return None
