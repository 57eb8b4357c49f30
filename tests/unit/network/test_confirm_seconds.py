# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The time within which a change must be confirmed, as the control node's half takes it."""
from __future__ import annotations

from typing import Any
from unittest import mock

import pytest
from ansible.errors import AnsibleActionFail
from ansible_collections.xenfold.consolidation.plugins.action.network import ActionModule


def change(arguments: dict[str, Any]) -> dict[str, Any]:
    plugin = mock.Mock(**{"_execute_module.return_value": {"changed": False}, "_task.check_mode": False})
    return ActionModule._change(plugin, {"host": "xen01", **arguments}, {})


@pytest.mark.parametrize("value", ["abc", "", "-90", True, 1.5, [90]])
def test_what_is_no_number_is_refused_by_name(value: Any) -> None:
    with pytest.raises(AnsibleActionFail, match=r"Network of xen01: confirm_seconds: value .*, allowed a whole number, 30 or more"):
        change({"confirm_seconds": value})


@pytest.mark.parametrize("arguments", [{}, {"confirm_seconds": None}, {"confirm_seconds": 90}, {"confirm_seconds": "90"}])
def test_a_number_is_taken(arguments: dict[str, Any]) -> None:
    assert change(arguments) == {"changed": False}
