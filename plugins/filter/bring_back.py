# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: bring_back
short_description: How guests come back to a host, with everything else where it is
version_added: 0.1.0
author: The Xenfold Authors (@xenfold)
description:
  - Guests that run nowhere are left out, and none is started. Those for which there is no room stay where they are.
requirements:
  - numpy
  - highspy
positional: told, host, guests, consents
options:
  _input:
    description: A problem of P(xenfold.consolidation.placement#module), as M(xenfold.consolidation.estate) returns it.
    type: dict
    required: true
  told:
    description: What hosts told, as host -> result of M(xenfold.consolidation.xl_move_info); a host that is missing did not answer.
    type: dict
    required: true
  host:
    description: The host that they come back to.
    type: str
    required: true
  guests:
    description: The guests.
    type: list
    elements: str
    required: true
  consents:
    description: Guests that may be shut down to move, as a list, or as a text such as C(-e moves_offline) takes; V(all) for all.
    type: raw
    default: []
"""

EXAMPLES = r"""
- name: Find who comes back to xen03
  ansible.builtin.set_fact:
    operation: "{{ estate.problem | xenfold.consolidation.bring_back(told, 'xen03', ['web01', 'db01']) }}"
"""

RETURN = r"""
_value:
  description:
    - C(problem), whose plan makes the moves; C(leave), the guests that come back; C(stays), guest -> why, of those that do not;
      C(notes).
  type: dict
"""

from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.xenfold.consolidation.plugins.module_utils.plain import plain
from ansible_collections.xenfold.consolidation.plugins.plugin_utils.refusals import operation

try:
    from ansible_collections.xenfold.consolidation.plugins.module_utils.moves.offline import names_in
    from ansible_collections.xenfold.consolidation.plugins.module_utils.operations.drain import bring_back
    NUMPY_ERROR: ImportError | None = None
except ImportError as missing:
    NUMPY_ERROR = missing


def _bring_back(problem: Any, told: Any, host: Any, guests: Any, consents: Any = ()) -> dict[str, Any]:
    if NUMPY_ERROR is not None:
        raise AnsibleFilterError("bring_back: needs numpy and highspy on the control node") from NUMPY_ERROR
    with operation("bring_back"):
        problem, told, wanted, consents = plain([problem, told, list(guests), consents])
        known = [workload["name"] for workload in problem["workloads"]]
        return bring_back(problem, told, str(host), wanted, names_in("moves_offline", consents, known))


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"bring_back": _bring_back}
