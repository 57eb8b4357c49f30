# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: cpu_levels
short_description: The CPU features that guests of each pool may use
version_added: 0.1.0
author: The Xenfold Authors (@xenfold)
description:
  - Intersects what the hosts of each pool offer to guests of the types pvh and hvm, and names what must be hidden from guests because not
    every host offers it. C(playbooks/level.yml) writes the result, which then stands in the inventory as C(pool_cpu_levels).
  - Fails when a host told nothing, when the hosts of a pool have CPUs of several vendors, and when a host would shrink a level that
    stands in the inventory, unless O(shrink) names its pool.
positional: stored, shrink
options:
  _input:
    description: By host, C(pool) (V(default) when empty), C(cpu) and C(unasked) as P(xenfold.consolidation.host_info#module) returns them.
    type: dict
    required: true
  stored:
    description: The levels that stand in the inventory.
    type: dict
    default: {}
  shrink:
    description: Names of the pools whose level may lose features.
    type: list
    elements: str
    default: []
seealso:
  - plugin: xenfold.consolidation.pool_cpuid
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Show the levels
  ansible.builtin.debug:
    msg: "{{ {'xen01': {'pool': 'a', 'cpu': info.cpu, 'unasked': []}} | xenfold.consolidation.cpu_levels(pool_cpu_levels) }}"
"""

RETURN = r"""
_value:
  description: C(levels), as C(pool_cpu_levels) takes them, and C(lines) for a person, on what is hidden and what cannot be.
  type: dict
  sample:
    levels:
      epyc: {vendor: AuthenticAMD, features: "178bfbff:76d83203:...", hidden: [avx512f]}
    lines: ["pool 'epyc': 4 hosts; hidden from guests: avx512f"]
"""

from collections.abc import Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.xenfold.consolidation.plugins.module_utils.cpu import levels


def _cpu_levels(answers: Any, stored: Any = None, shrink: Any = ()) -> dict[str, Any]:
    if isinstance(shrink, str) or not isinstance(shrink, Iterable):
        raise AnsibleFilterError(f"cpu_levels: shrink: value {shrink!r}, allowed a list of names of pools")
    try:
        if not isinstance(answers, Mapping) or not all(isinstance(told, Mapping) for told in answers.values()):
            raise ValueError(f"value of type {type(answers).__name__}, allowed what each host told, by host")
        return levels.levels_of(answers, levels.parse_levels({} if stored is None else stored), {str(pool) for pool in shrink})
    except ValueError as error:
        raise AnsibleFilterError(f"cpu_levels: {error}") from error
    except (LookupError, TypeError, AttributeError) as error:
        raise AnsibleFilterError(
            f"cpu_levels: value that does not hold together ({error!r}), allowed pool, cpu and unasked, by host") from error


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"cpu_levels": _cpu_levels}
