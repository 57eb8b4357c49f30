# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: rebalance
short_description: A few moves, and whether they are worth it
version_added: 0.1.0
author: The Xenfold Authors (@xenfold)
description:
  - Plans what runs with at most so many moves, and measures what is gained by the objective of the policy - hosts freed, percentage points
    off the largest utilisation, or watts saved. A broken hard rule or an overloaded host that is mended is always worth it.
  - Guests that run nowhere are left out, and none is started. Guests that could not move live stay unless there is consent.
requirements:
  - numpy
  - highspy
positional: told, max_moves, min_gain, rested, consents
options:
  _input:
    description: A problem of P(xenfold.consolidation.placement#module), as M(xenfold.consolidation.estate) returns it.
    type: dict
    required: true
  told:
    description: What hosts told, as host -> result of M(xenfold.consolidation.xl_move_info); a host that is missing did not answer.
    type: dict
    required: true
  max_moves:
    description: How many guests may move.
    type: int
    required: true
  min_gain:
    description: What has to be gained; the default depends on the objective (V(1) host, V(5) points, V(20) watts).
    type: float
  rested:
    description: Guests that stay, since they have moved a short while ago.
    type: list
    elements: str
    default: []
  consents:
    description: Guests that may be shut down to move, as a list, or as a text such as C(-e moves_offline) takes; V(all) for all.
    type: raw
    default: []
"""

EXAMPLES = r"""
- name: Ask whether five moves are worth it
  ansible.builtin.set_fact:
    operation: "{{ estate.problem | xenfold.consolidation.rebalance(told, 5) }}"
"""

RETURN = r"""
_value:
  description:
    - C(problem), whose plan makes the moves; C(leave), the guests that move, none when it is not worth it; C(moves), how many the plan
      moves; C(gain), C(least) and C(unit); C(mends); C(rested), those of O(rested) that run; C(stays) and C(notes), which are empty.
  type: dict
"""

from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.xenfold.consolidation.plugins.module_utils.plain import plain
from ansible_collections.xenfold.consolidation.plugins.plugin_utils.refusals import operation

try:
    from ansible_collections.xenfold.consolidation.plugins.module_utils.moves.offline import names_in
    from ansible_collections.xenfold.consolidation.plugins.module_utils.operations.rebalance import rebalance
    NUMPY_ERROR: ImportError | None = None
except ImportError as missing:
    NUMPY_ERROR = missing


def _rebalance(problem: Any, told: Any, max_moves: Any, min_gain: Any = None, rested: Any = (), consents: Any = ()) -> dict[str, Any]:
    if NUMPY_ERROR is not None:
        raise AnsibleFilterError("rebalance: needs numpy and highspy on the control node") from NUMPY_ERROR
    with operation("rebalance"):
        problem, told, rested, consents = plain([problem, told, list(rested), consents])
        guests = [workload["name"] for workload in problem["workloads"]]
        return rebalance(problem, told, int(max_moves), None if min_gain is None else float(min_gain), rested,
                         names_in("moves_offline", consents, guests))


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"rebalance": _rebalance}
