# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs a module against recorded commands: cases are data (input, exact commands with their answers, expected result).

A case file is a YAML list of::

    - id: text
      flags: {check: true, diff: true}     # optional
      input: {module options}
      run:                                 # the commands in the order in which they must come
        - {command: [xl, list], rc: 0, out: "...", err: ""}
      output: {key: value}                 # each must equal what the module returned; failed: true with msg for failures
      msg_contains: [text]                 # optional
"""
from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import yaml
from ansible.module_utils import basic
from ansible.module_utils.testing import patch_module_args


class _Exit(Exception):
    def __init__(self, result: dict[str, Any]) -> None:
        super().__init__(json.dumps(result, default=str, sort_keys=True))
        self.result = result


def load(path: Path) -> list[Any]:
    """The cases of a file as pytest parameters."""
    return [pytest.param(case, id=case["id"]) for case in yaml.safe_load(path.read_text())]


def run(module_name: str, case: dict[str, Any]) -> dict[str, Any]:
    """Run a module of the collection on one case and check commands and result; returns the result."""
    module = importlib.import_module(f"ansible_collections.xenfold.consolidation.plugins.modules.{module_name}")
    flags = case.get("flags", {})
    arguments = {**case["input"], "_ansible_check_mode": flags.get("check", False), "_ansible_diff": flags.get("diff", False)}
    waiting = list(case.get("run", []))

    def run_command(_self: Any, args: Any, **_kwargs: Any) -> tuple[int, str, str]:
        assert waiting, f"unexpected command {args}"
        expected = waiting.pop(0)
        assert list(args) == expected["command"]
        return expected.get("rc", 0), expected.get("out", ""), expected.get("err", "")

    def leave(_self: Any, failed: bool = False, **result: Any) -> None:
        raise _Exit({"failed": failed, **result})

    def fail(self: Any, msg: str = "", **result: Any) -> None:
        leave(self, failed=True, msg=msg, **result)

    with (
        patch_module_args(arguments),
        mock.patch.object(basic.AnsibleModule, "run_command", run_command),
        mock.patch.object(basic.AnsibleModule, "exit_json", leave),
        mock.patch.object(basic.AnsibleModule, "fail_json", fail),
        pytest.raises(_Exit) as caught,
    ):
        module.main()
    result = caught.value.result
    assert not waiting, f"commands that never came: {[entry['command'] for entry in waiting]}"
    expected_output = case.get("output", {})
    assert result["failed"] == expected_output.get("failed", False), result
    for key, value in expected_output.items():
        assert result.get(key) == value, f"{key}: {result.get(key)!r} instead of {value!r}"
    for text in case.get("msg_contains", []):
        assert text in result.get("msg", ""), result.get("msg")
    return result
