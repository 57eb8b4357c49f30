# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The bare host, and what its console shows when a test fails."""
from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab import snapshots
from lab.console import tail
from lab.state import find_lab, locked
from tests.lab.hands import ROOT, Hands

NAME = "storage"


@pytest.fixture(name="bare", scope="session")
def _bare() -> Iterator[Hands]:
    """Tests go on where the one before ended."""
    hands = Hands(NAME, ROOT / "inventories" / "lab", "/dev/null")
    hands.drop_connections()
    with locked(NAME):
        snapshots.restore(hands.lab, "bare")
    yield hands
    hands.drop_connections()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    report = yield
    lab = find_lab(NAME)
    if report.failed and lab:
        report.sections.append(("console of xen01", tail(lab.serial_log("xen01"), 30)))
    return report
