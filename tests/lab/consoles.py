# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the hosts of a lab showed goes with a test that failed."""
from __future__ import annotations

import pytest

from lab.console import tail
from lab.state import find_lab

LINES = 30


def attach(report: pytest.TestReport, name: str) -> None:
    """Add the end of every console of the lab `name` to the report of a test that failed."""
    lab = find_lab(name)
    if report.failed and lab:
        report.sections.extend((f"console of {host}", tail(lab.serial_log(host), LINES)) for host in lab.hosts)
