# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: capacity_of
short_description: Capacity of a host from the variables that configure it
version_added: 0.1.0
author: The Xenfold Authors (@xenfold)
description:
  - CPU from cores less dom0's, memory from total less dom0 less Xen, disk and IOPS from the arrays under the volume groups,
    network from the bonds that carry bridges. C(estate_host.capacity) overrides.
  - Takes variables that hold together; the action P(xenfold.consolidation.estate#module) tells what does not.
options:
  _input:
    description: The variables of a host, as in C(hostvars['xen01']).
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show what a host offers
  ansible.builtin.debug:
    msg: "{{ hostvars['xen01'] | xenfold.consolidation.capacity_of }}"
"""

RETURN = r"""
_value:
  description: Capacity per resource.
  type: dict
  sample: {cpu_cores: 28, disk_gib: 3724.5, disk_iops: 461, dom0_cores: 2.7, memory_mib: 254702, network_mbps: 1600}
"""

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.xenfold.consolidation.plugins.module_utils.sizing.capacity import capacity_of

_VARIABLES = (
    "estate_host", "dom0_vcpus", "dom0_memory_mib",
    "network_bonds", "network_vlans", "network_bridges", "storage_arrays", "storage_volume_groups",
)


def _capacity_of(host: Any) -> dict[str, float]:
    if not isinstance(host, Mapping):
        raise AnsibleFilterError(
            f"capacity_of: value of type {type(host).__name__}, allowed the variables of a host, as in hostvars['xen01']")
    try:
        return capacity_of({name: host[name] for name in _VARIABLES if name in host}).values
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise AnsibleFilterError(
            f"capacity_of: the host's variables do not hold together ({error!r}); playbooks/plan.yml names the item"
        ) from error


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"capacity_of": _capacity_of}
