# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: network_files
short_description: Render the network files of a host without contacting it
version_added: 0.1.0
author: The Xenfold Authors (@xenfold)
description:
  - Gives the same bytes that the module P(xenfold.consolidation.network#module) writes, for review.
  - With C(ifupdown), members that are not named stand there as they are described; the host puts the names of its cards in.
options:
  _input:
    description: Variables of the host; C(network_bonds), C(network_vlans), C(network_bridges) and C(network_backend) are read.
    type: dict
    required: true
  host:
    description: Name of the host in the inventory.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Show what would be written
  ansible.builtin.debug:
    msg: "{{ hostvars[inventory_hostname] | xenfold.consolidation.network_files(host=inventory_hostname) }}"
"""

RETURN = r"""
_value:
  description: Content by path.
  type: dict
"""

from collections.abc import Callable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.xenfold.consolidation.plugins.module_utils.network.ifupdown import ifupdown_files
from ansible_collections.xenfold.consolidation.plugins.module_utils.network.render import Network, networkd_files
from ansible_collections.xenfold.consolidation.plugins.module_utils.network_spec import check_description


def rendered(variables: Mapping[str, Any], host: str) -> dict[str, str]:
    """Content by path of the network files of `host`, from its variables."""
    if not isinstance(variables, Mapping):
        raise AnsibleFilterError(f"network_files: value of type {type(variables).__name__}, allowed the variables of a host, as in"
                                 " hostvars['xen01']")
    if not isinstance(host, str) or not host:
        raise AnsibleFilterError(f"network_files: host: value {host!r}, allowed the name of a host")
    bonds, vlans, bridges = (variables.get(f"network_{kind}") or [] for kind in ("bonds", "vlans", "bridges"))
    backend = variables.get("network_backend") or "networkd"
    errors = check_description(backend, [], bonds, vlans, bridges)
    if errors:
        raise AnsibleFilterError(f"network of {host}: {'; '.join(errors)}")
    network = Network.of(host, bonds, vlans, bridges, backend)
    return {file.path: file.content for file in (ifupdown_files(network, {}) if backend == "ifupdown" else networkd_files(network))}


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"network_files": rendered}
