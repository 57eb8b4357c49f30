# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the hosts of a lab showed goes with a test that failed."""
from __future__ import annotations

import pytest

from lab.console import tail
from lab.state import find_lab

LINES = 30


class Consoles:
    """A plugin of pytest: the end of every console of the lab `name` is added to the report of each test that fails."""

    def __init__(self, name: str) -> None:
        self._name = name

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]):
        report = yield
        lab = find_lab(self._name)
        if report.failed and lab:
            report.sections.extend((f"console of {host}", tail(lab.serial_log(host), LINES)) for host in lab.hosts)
        return report
