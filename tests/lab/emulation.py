# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Tells a fault of the emulated processor from one of the project.

QEMU's software emulation of nested SVM sometimes loses a guest to a triple fault inside of Xen's own code, which no real processor does.
A test or a run that fails with such a line on a host's console says nothing about the project and is made once more, aloud; any other
failure counts.
"""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

FAULTS = ("Triple fault",)


class EmulationFault(Exception):
    """A test failed on a host whose console tells of a fault of the emulation."""


def fault_of(root: Path, lab: str) -> str | None:
    """The first line on the console of any host of a running lab, since the host was started, that is a fault of the emulation."""
    for log in sorted((root / "build" / "lab" / lab).glob("*/serial.log")):
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
            if any(fault in line for fault in FAULTS):
                return f"{log.parent.name}: {line.strip()}"
    return None


class OnceMore:
    """Plugin of pytest: a test that fails after a fault of the emulation runs once more, from its fixtures on."""

    def __init__(self, root: Path, lab: str) -> None:
        self._root, self._lab = root, lab

    def pytest_collection_modifyitems(self, items: Sequence[pytest.Item]) -> None:
        for item in items:
            # A test that says so itself comes first.
            item.add_marker(pytest.mark.flaky(reruns=1, only_rerun=[EmulationFault.__name__]))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self):
        try:
            return (yield)
        except Exception as error:
            fault = fault_of(self._root, self._lab)
            if fault:
                print(f"It runs once more if it may, since the emulation was at fault: {fault}", flush=True)
                raise EmulationFault(fault) from error
            raise
