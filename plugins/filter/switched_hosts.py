# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: switched_hosts
short_description: The file off.yml of an inventory with a host in it, or without it
version_added: 0.1.0
author: The Xenfold Authors (@xenfold)
description:
  - The file is a part of the inventory. It gives each host that was shut down the variable C(estate_off).
positional: host, power
options:
  _input:
    description: The text of the file, empty where there is none.
    type: str
    required: true
  host:
    description: The host.
    type: str
    required: true
  power:
    description: What the host is to be.
    type: str
    choices: ["on", "off"]
    required: true
"""

EXAMPLES = r"""
- name: Remember that xen03 was shut down
  ansible.builtin.copy:
    content: "{{ '' | xenfold.consolidation.switched_hosts('xen03', 'off') }}"
    dest: inventories/example/off.yml
    mode: "0644"
"""

RETURN = r"""
_value:
  description: The text, empty when no host is off.
  type: str
"""

from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.xenfold.consolidation.plugins.module_utils.operations.marks import switched


def _switched_hosts(text: Any, host: Any, power: Any) -> str:
    if power not in ("on", "off"):
        raise AnsibleFilterError(f"switched_hosts: power: value {power!r}, allowed on, off")
    try:
        return switched(str(text), str(host), power == "off")
    except ValueError as error:
        raise AnsibleFilterError(f"switched_hosts: off.yml: {error}, allowed what playbooks/power.yml wrote") from error


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"switched_hosts": _switched_hosts}
