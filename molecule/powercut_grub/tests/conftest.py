# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "powercut" / "tests"))
from cut import Host, bare_host, show_console


@pytest.fixture(name="bare")
def _bare() -> Iterator[Host]:
    yield from bare_host(Host("powercut_grub", Path(__file__).resolve().parents[1] / "inventory"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    report = yield
    show_console(item, report)
    return report
