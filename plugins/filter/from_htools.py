# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: from_htools
short_description: Problem from a cluster in the text format of Ganeti's htools
version_added: 0.1.0
author: The Xenfold Authors (@xenfold)
description:
  - Nodes become hosts with C(memory_mib), C(vcpus) and C(disk_gib), instances become workloads with their primary node as C(current).
  - Instances on storage of their own node (V(drbd), V(plain), V(file)) count their disk, all others memory and vCPUs only.
  - Node groups become pools. A node that is offline gets the state V(drain). Exclusion tags become rules V(anti_affinity), the vCPU
    ratio becomes C(policy.overcommit.vcpus).
  - Fails with everything that is wrong with the text at once, each with line, item, field, value and what is allowed.
options:
  _input:
    description: The text, as C(hscan) or an export of the cluster writes it.
    type: str
    required: true
seealso:
  - plugin: xenfold.consolidation.to_htools
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Plan a Ganeti cluster
  ansible.builtin.set_fact:
    plan: "{{ lookup('ansible.builtin.file', 'cluster.data', rstrip=false)
      | xenfold.consolidation.from_htools | xenfold.consolidation.place }}"
"""

RETURN = r"""
_value:
  description: C(hosts), C(workloads), C(rules) and C(policy), as P(xenfold.consolidation.place#filter) takes them.
  type: dict
"""

from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.xenfold.consolidation.plugins.module_utils.htools.text import TextError, parse


def _from_htools(text: Any) -> dict[str, Any]:
    if not isinstance(text, str):
        raise AnsibleFilterError(f"from_htools: value of type {type(text).__name__}, allowed a string in the text format of htools")
    try:
        return parse(str(text))
    except TextError as error:
        raise AnsibleFilterError(f"from_htools: the text is not sound:\n{error}") from error


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"from_htools": _from_htools}
