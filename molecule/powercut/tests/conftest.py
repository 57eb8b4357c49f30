# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The bare host for each test, and what the console shows of one that fails."""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.consoles import Consoles
from tests.lab.powercut import Host

NAME = "powercut"
# A writer makes each of its blocks durable on this disk.
WORK = "/dev/disk/by-id/virtio-XF1D5"


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Consoles(NAME))


@pytest.fixture(name="bare")
def _bare() -> Iterator[Host]:
    host = Host(NAME, Path(__file__).resolve().parents[1] / "inventory", WORK)
    host.back_to("bare")
    yield host
    host.drop_connections()
