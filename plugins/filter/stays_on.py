# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: stays_on
short_description: Why a host may not be shut down
version_added: 0.1.0
author: The Xenfold Authors (@xenfold)
description:
  - A host may be shut down when it is drained, answers, has nothing that runs or would start there, and leaves enough hosts of its pool
    on that have no guests and could take some, by its C(power_spares).
positional: host, problem, guests, spares
options:
  _input:
    description: What M(xenfold.consolidation.xl_move_info) returned, by host, of those that answered.
    type: dict
    required: true
  host:
    description: The host.
    type: str
    required: true
  problem:
    description: The problem of the estate, as M(xenfold.consolidation.estate) returns it.
    type: dict
    required: true
  guests:
    description: Definitions of the guests of the estate by name.
    type: dict
    required: true
  spares:
    description: The C(power_spares) of the host.
    type: int
    default: 1
"""

EXAMPLES = r"""
- name: Show what keeps xen03 on
  ansible.builtin.debug:
    msg: "{{ found | xenfold.consolidation.stays_on('xen03', estate.problem, estate.guests) }}"
"""

RETURN = r"""
_value:
  description: A line for each reason; none when it may be shut down.
  type: list
  elements: str
  sample: ["it is not drained: playbooks/drain.yml -e host=xen03"]
"""

from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.operations.power import against


def _stays_on(found: dict[str, Any], host: str, problem: dict[str, Any], guests: dict[str, Any], spares: Any = 1) -> list[str]:
    return against(host, found, problem, guests, spares)


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"stays_on": _stays_on}
