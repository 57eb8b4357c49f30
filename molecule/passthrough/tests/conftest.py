# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the console of the host shows when a test fails."""
from __future__ import annotations

import pytest

from tests.lab.consoles import Consoles


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Consoles("passthrough"))
