# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: pool_addresses
short_description: Addresses of the other hosts of a host's pool
version_added: 0.1.0
author: The Xenfold Authors (@xenfold)
description:
  - Those in C(network_bridges), C(network_vlans) and C(network_bonds), and C(ansible_host) where it is an address (without it the
    host's name where that is one), of all hosts that have the same C(estate_host.pool); a host without one is of the pool V(default).
    The role P(xenfold.consolidation.dom0#role) lets them in when C(dom0_firewall.migration_from) says C(pool).
positional: host, hosts
options:
  _input:
    description: The variables of all hosts, as in C(hostvars).
    type: dict
    required: true
  host:
    description: Name of the host whose pool it is.
    type: str
    required: true
  hosts:
    description: Names of the hosts to look at, as in C(groups['xen_hosts']).
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Show who may migrate guests to this host
  ansible.builtin.debug:
    msg: "{{ hostvars | xenfold.consolidation.pool_addresses(inventory_hostname, groups['xen_hosts']) }}"
"""

RETURN = r"""
_value:
  description: Addresses, in order.
  type: list
  elements: str
  sample: [10.9.0.2, 10.9.0.3]
"""

from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.dom0 import firewall
from ansible_collections.xenfold.consolidation.plugins.plugin_utils.refusals import of_pool


def _pool_addresses(variables: Any, host: Any, hosts: Any) -> list[str]:
    found: list[str] = of_pool("pool_addresses", firewall.pool_addresses, variables, host, hosts)
    return found


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"pool_addresses": _pool_addresses}
