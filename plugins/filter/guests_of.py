# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: guests_of
short_description: Workloads that a plan puts on a host
version_added: 0.1.0
author: The Xenfold Authors (@xenfold)
description:
  - The names of the workloads that stand on a host when the plan is carried out, sorted.
positional: host
options:
  _input:
    description: A plan of P(xenfold.consolidation.placement#module).
    type: dict
    required: true
  host:
    description: Name of a host of the plan.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Show what xen01 will hold
  ansible.builtin.debug:
    msg: "{{ plan | xenfold.consolidation.guests_of('xen01') }}"
"""

RETURN = r"""
_value:
  description: Names of workloads.
  type: list
  elements: str
  sample: [db01, web01]
"""

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleFilterError


def _guests_of(plan: Any, host: str) -> list[str]:
    if not isinstance(plan, Mapping) or not isinstance(plan.get("hosts"), Mapping):
        raise AnsibleFilterError("guests_of: plan: has no 'hosts', allowed a plan of the module placement")
    if host not in plan["hosts"]:
        raise AnsibleFilterError(f"guests_of: host: value '{host}', allowed a host of the plan: {', '.join(sorted(plan['hosts']))}")
    return sorted(plan["hosts"][host]["workloads"])


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"guests_of": _guests_of}
