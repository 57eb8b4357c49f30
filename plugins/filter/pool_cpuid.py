# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: pool_cpuid
short_description: What keeps a guest at its pool's level of CPU features
version_added: 0.1.0
author: The Xenfold Authors (@xenfold)
description:
  - The list C(cpuid) of a guest's C(xl.cfg) (see xl.cfg(5)) that hides what the pool's level hides. It is the same on all hosts of the
    pool, takes nothing but the inventory, and goes with the guest when it moves.
  - For guests of the types pvh and hvm. One of type pv takes none - it cannot move live.
positional: pool
options:
  _input:
    description: The levels of the pools, C(pool_cpu_levels).
    type: dict
    required: true
  pool:
    description: Name of the pool; empty for V(default).
    type: str
    required: true
seealso:
  - plugin: xenfold.consolidation.cpu_levels
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Show what is hidden from guests
  ansible.builtin.debug:
    msg: "{{ pool_cpu_levels | default({}) | xenfold.consolidation.pool_cpuid(estate_host.pool) }}"
"""

RETURN = r"""
_value:
  description: Lines, one a leaf; empty for a pool without a level, or when nothing is hidden.
  type: list
  elements: str
  sample: ["0x7,0:ebx=xxxxxxxxxxxxxxx0xxxxxxxxxxxxxxxx"]
"""

from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.xenfold.consolidation.plugins.module_utils.cpu import features, levels
from ansible_collections.xenfold.consolidation.plugins.module_utils.estate.build import DEFAULT_POOL


def _pool_cpuid(told: Any, pool: Any) -> list[str]:
    try:
        level = levels.parse_levels(told).get(str(pool or DEFAULT_POOL))
    except ValueError as error:
        raise AnsibleFilterError(f"pool_cpuid: {error}") from error
    return features.cpuid_lines(level.hidden) if level else []


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"pool_cpuid": _pool_cpuid}
