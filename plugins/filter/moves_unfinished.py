# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: moves_unfinished
short_description: The guests whose moves are to be gone on with before others begin
version_added: 0.1.0
author: The Xenfold Authors (@xenfold)
description:
  - Names guests that move right now, that a move has left between two hosts, or that were shut down for one and started nowhere yet.
positional: plan
options:
  _input:
    description: What hosts told, as host -> result of M(xenfold.consolidation.xl_move_info).
    type: dict
    required: true
  plan:
    description: The text of the plan that may have begun these moves, empty where there is none.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Show what is under way
  ansible.builtin.debug:
    msg: "{{ (told | xenfold.consolidation.moves_unfinished).guests }}"
"""

RETURN = r"""
_value:
  description: C(guests), and C(others), those of them that the plan does not move.
  type: dict
"""

import json
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.xenfold.consolidation.plugins.module_utils.operations.running import unfinished
from ansible_collections.xenfold.consolidation.plugins.module_utils.plain import plain


def _moves_unfinished(told: Any, plan: Any = "") -> dict[str, list[str]]:
    try:
        guests = unfinished(plain(told))
        moved = {move["workload"] for move in json.loads(plan)["moves"]} if plan else set()
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise AnsibleFilterError(f"moves_unfinished: told, plan: value that does not hold together ({error!r}), allowed what the module"
                                 " xl_move_info returns, and the text of a plan") from error
    return {"guests": guests, "others": [guest for guest in guests if guest not in moved]}


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"moves_unfinished": _moves_unfinished}
