# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The host without the guest, and what its console shows when a test fails."""
from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.qemu import SPARE_ADDRESS
from tests.lab.consoles import attach
from tests.lab.hands import ROOT, Hands

NAME, HOST, GUEST = "passthrough", "xen01", "pci01"


@pytest.fixture(name="bare")
def _bare() -> Iterator[Hands]:
    """The guest of an earlier run is gone and dom0 has its device again: no state of such a host can be saved to go back to."""
    hands = Hands(NAME, ROOT / "molecule" / NAME / "inventory", "/dev/null")
    hands.run(HOST, f"! xl list {GUEST} || xl destroy {GUEST}; rm -f /etc/xen/guests/{GUEST}.cfg /etc/xen/auto/*-{GUEST}")
    hands.run(HOST, f"! xl pci-assignable-list | grep -q {SPARE_ADDRESS[5:]} || xl pci-assignable-remove -r {SPARE_ADDRESS}")
    yield hands
    hands.drop_connections()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    report = yield
    attach(report, NAME)
    return report
