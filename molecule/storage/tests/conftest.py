# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The bare host, and what its console shows when a test fails."""
from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab.consoles import Consoles
from tests.lab.hands import ROOT, Hands

NAME = "storage"


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Consoles(NAME))


@pytest.fixture(name="bare", scope="session")
def _bare() -> Iterator[Hands]:
    """Tests go on where the one before ended."""
    hands = Hands(NAME, ROOT / "inventories" / "lab", "/dev/null")
    hands.back_to("bare")
    yield hands
    hands.drop_connections()
