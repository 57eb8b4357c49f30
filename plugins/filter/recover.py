# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: recover
short_description: Which guests of a host that is off start on others
version_added: 0.1.0
author: The Xenfold Authors (@xenfold)
description:
  - Finds the guests of the estate that should run, and that no host which answers has, running or stored; and for each a host that reaches
    its disks. All others stay where they are.
  - Guests with disks on the host itself wait for it.
requirements:
  - numpy
  - highspy
positional: told, host, guests, off
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
    description: The host that is off; it must not have answered.
    type: str
    required: true
  guests:
    description: Definitions of the estate's guests by name, as M(xenfold.consolidation.estate) returns them.
    type: dict
    required: true
  off:
    description: All hosts without power; the inventory may have guests on them.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Find who starts elsewhere
  ansible.builtin.set_fact:
    operation: "{{ estate.problem | xenfold.consolidation.recover(told, 'xen03', estate.guests) }}"
"""

RETURN = r"""
_value:
  description:
    - C(problem), whose plan starts them; C(leave), the guests that start elsewhere; C(stays), guest -> why, of those that do not; C(notes).
  type: dict
"""

from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.xenfold.consolidation.plugins.module_utils.plain import plain
from ansible_collections.xenfold.consolidation.plugins.plugin_utils.refusals import operation

try:
    from ansible_collections.xenfold.consolidation.plugins.module_utils.operations.recover import recover
    NUMPY_ERROR: ImportError | None = None
except ImportError as missing:
    NUMPY_ERROR = missing


def _recover(problem: Any, told: Any, host: Any, guests: Any, off: Any = ()) -> dict[str, Any]:
    if NUMPY_ERROR is not None:
        raise AnsibleFilterError("recover: needs numpy and highspy on the control node") from NUMPY_ERROR
    with operation("recover"):
        problem, told, guests, off = plain([problem, told, guests, list(off)])
        return recover(problem, told, str(host), guests, off)


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"recover": _recover}
