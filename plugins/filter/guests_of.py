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
        raise AnsibleFilterError(
            f"guests_of: plan: value of type {type(plan).__name__} without a mapping 'hosts', allowed a plan of the module placement")
    if not isinstance(host, str) or host not in plan["hosts"]:
        hosts = ", ".join(sorted(map(str, plan["hosts"])))
        raise AnsibleFilterError(f"guests_of: host: value {host!r}, allowed a host of the plan: {hosts}")
    entry = plan["hosts"][host]
    workloads = entry.get("workloads") if isinstance(entry, Mapping) else None
    if not isinstance(workloads, list | tuple) or not all(isinstance(name, str) for name in workloads):
        raise AnsibleFilterError(f"guests_of: plan: hosts.{host}: value of type {type(entry).__name__} without a list 'workloads' of names,"
                                 " allowed a plan of the module placement")
    return sorted(workloads)


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"guests_of": _guests_of}
