# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: drain
short_description: How a host becomes empty with the fewest moves
version_added: 0.1.0
author: The Xenfold Authors (@xenfold)
description:
  - Finds the guests that leave a host, while everything else stays unless room has to be made for them.
  - Guests that run nowhere are left out, and none is started. Hosts that do not answer, or that drain as well, are given nothing.
requirements:
  - numpy
  - highspy
positional: told, host, stay, consents
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
    description: The host that is to be empty.
    type: str
    required: true
  stay:
    description: Guests that stay there, as a list, or as a text with commas; V(all) for all.
    type: raw
    default: []
  consents:
    description: Guests that may be shut down to move, as a list, or as a text such as C(-e moves_offline) takes; V(all) for all.
    type: raw
    default: []
"""

EXAMPLES = r"""
- name: Find who leaves xen03
  ansible.builtin.set_fact:
    operation: "{{ estate.problem | xenfold.consolidation.drain(told, 'xen03') }}"
"""

RETURN = r"""
_value:
  description:
    - C(problem), whose plan makes the moves; C(leave), the guests that leave; C(stays), guest -> why, of those that stay; C(notes).
  type: dict
"""

from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.xenfold.consolidation.plugins.module_utils.plain import plain
from ansible_collections.xenfold.consolidation.plugins.plugin_utils.refusals import operation

try:
    from ansible_collections.xenfold.consolidation.plugins.module_utils.moves.offline import names_in
    from ansible_collections.xenfold.consolidation.plugins.module_utils.operations.drain import drain
    NUMPY_ERROR: ImportError | None = None
except ImportError as missing:
    NUMPY_ERROR = missing


def _drain(problem: Any, told: Any, host: Any, stay: Any = (), consents: Any = ()) -> dict[str, Any]:
    if NUMPY_ERROR is not None:
        raise AnsibleFilterError("drain: needs numpy and highspy on the control node") from NUMPY_ERROR
    with operation("drain"):
        problem, told, stay, consents = plain([problem, told, stay, consents])
        guests = [workload["name"] for workload in problem["workloads"]]
        return drain(problem, told, str(host), names_in("stay", stay, guests), names_in("moves_offline", consents, guests))


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"drain": _drain}
