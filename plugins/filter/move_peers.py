# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: move_peers
short_description: The other hosts of a pool, and how to send guests to them
version_added: 0.1.0
author: The Xenfold Authors (@xenfold)
description:
  - The address of each is its C(migration_address), or the first of those that P(xenfold.consolidation.pool_addresses#filter) finds; it may
    call from all of them. Its SSH server listens at C(migration_port), or 22.
  - With what the role P(xenfold.consolidation.migration#role) has registered on each host, their keys.
positional: host, hosts, every_pool
options:
  _input:
    description: The variables of all hosts, as in C(hostvars).
    type: dict
    required: true
  host:
    description: Name of the host whose peers they are.
    type: str
    required: true
  hosts:
    description: Names of the hosts to look at, as in C(groups['xen_hosts']).
    type: list
    elements: str
    required: true
  every_pool:
    description: Hosts of other pools as well, with C(sends) false. They may ask which guests are there, and send none.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Show to whom this host may send guests
  ansible.builtin.debug:
    msg: "{{ hostvars | xenfold.consolidation.move_peers(inventory_hostname, groups['xen_hosts']) }}"
"""

RETURN = r"""
_value:
  description: Peers with name, address, addresses, port, public_key, guard_key, host_keys, asked and sends, in the order of their names.
  type: list
  elements: dict
  sample: [{name: xen02, address: 10.9.0.2, addresses: [10.9.0.2], port: 22, public_key: "", host_keys: [], asked: false, sends: true}]
"""

from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.moves import peers
from ansible_collections.xenfold.consolidation.plugins.plugin_utils.refusals import of_pool


def _move_peers(variables: Any, host: Any, hosts: Any, every_pool: bool = False) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = of_pool("move_peers", peers.peers_of, variables, host, hosts, every_pool=every_pool)
    return found


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"move_peers": _move_peers}
