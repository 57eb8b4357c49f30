# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: drained_hosts
short_description: The file drained.yml of an inventory with a host in it, or without it
version_added: 0.1.0
author: The Xenfold Authors (@xenfold)
description:
  - The file is a part of the inventory. It gives each drained host the variable C(estate_drained), the list of guests that were there.
positional: host, guests
options:
  _input:
    description: The text of the file, empty where there is none.
    type: str
    required: true
  host:
    description: The host.
    type: str
    required: true
  guests:
    description: The guests that are taken from it, besides those that the file has. Without them the host is taken out.
    type: list
    elements: str
"""

EXAMPLES = r"""
- name: Remember that xen03 is drained
  ansible.builtin.copy:
    content: "{{ '' | xenfold.consolidation.drained_hosts('xen03', ['db01', 'web01']) }}"
    dest: inventories/example/drained.yml
    mode: "0644"
"""

RETURN = r"""
_value:
  description: The text, empty when no host is drained.
  type: str
"""

from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.xenfold.consolidation.plugins.module_utils.operations.marks import marked, unmarked


def _drained_hosts(text: Any, host: Any, guests: Any = None) -> str:
    try:
        return unmarked(str(text), str(host)) if guests is None else marked(str(text), str(host), map(str, guests))
    except (TypeError, ValueError) as error:
        raise AnsibleFilterError(f"drained_hosts: drained.yml: {error}, allowed what playbooks/drain.yml wrote") from error


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"drained_hosts": _drained_hosts}
