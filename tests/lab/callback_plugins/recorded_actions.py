# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Writes what every task on a host did, or would do in check mode, one JSON line each: a preview can be held against the real run."""
from __future__ import annotations

import json
import os
from typing import Any

from ansible import context
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: recorded_actions
type: notification
short_description: Records the actions of tasks
description: Appends to the file in C(XENFOLD_ACTIONS). For tests.
"""


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "recorded_actions"
    CALLBACK_NEEDS_ENABLED = True

    def v2_runner_on_ok(self, result: Any) -> None:
        found = result.result
        if not found.get("changed") or result.host.get_name() == "localhost":
            return
        record = {
            "check": bool(context.CLIARGS.get("check")),
            "host": result.host.get_name(),
            "task": result.task.get_name(),
            "actions": [f"{action['verb']} {action['target']}: {action['detail']}" for action in found.get("actions") or []],
        }
        with open(os.environ["XENFOLD_ACTIONS"], "a", encoding="utf-8") as stream:
            stream.write(json.dumps(record, sort_keys=True) + "\n")
