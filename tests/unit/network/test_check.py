# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Every error that a description of a network can have, as a table."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.xenfold.consolidation.plugins.module_utils.network_spec import check_network, with_defaults

CASES = yaml.safe_load((Path(__file__).parent / "check_cases.yml").read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_errors(case: dict[str, Any]) -> None:
    bonds, vlans, bridges = (case.get(kind, []) for kind in ("bonds", "vlans", "bridges"))
    assert check_network(bonds, vlans, bridges) == case["errors"]


@pytest.mark.parametrize("case", [case for case in CASES if not case["errors"]], ids=lambda case: case["id"])
def test_defaults_keep_it_right(case: dict[str, Any]) -> None:
    filled = [with_defaults(kind, case.get(f"{kind}s", [])) for kind in ("bond", "vlan", "bridge")]
    assert check_network(*filled) == []
