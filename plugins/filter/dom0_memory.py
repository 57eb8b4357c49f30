# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: dom0_memory
short_description: Memory of dom0 in MiB
version_added: 0.1.0
author: The Xenfold Authors (@xenfold)
description:
  - The number itself, or for V(auto) 1 GiB and 5 % of the memory of the host, 8 GiB at most. The planner counts by the same rule.
positional: estate_host
options:
  _input:
    description: The variable C(dom0_memory_mib).
    type: raw
    required: true
  estate_host:
    description: The host's C(estate_host), whose C(memory_mib) V(auto) needs.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show dom0's memory
  ansible.builtin.debug:
    msg: "{{ 'auto' | xenfold.consolidation.dom0_memory({'memory_mib': 65536}) }}"
"""

RETURN = r"""
_value:
  description: MiB, when the variable is a number or V(auto); else the variable.
  type: int
  sample: 4300
"""

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.xenfold.consolidation.plugins.module_utils.dom0_spec import memory_of


def _dom0_memory(value: Any, estate_host: Any) -> Any:
    try:
        return memory_of(value, estate_host.get("memory_mib") if isinstance(estate_host, Mapping) else None)
    except ValueError as error:
        raise AnsibleFilterError(f"dom0_memory_mib: {error}") from error


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"dom0_memory": _dom0_memory}
