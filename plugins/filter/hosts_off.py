# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: hosts_off
short_description: Hosts that have no power
version_added: 0.1.0
author: The Xenfold Authors (@xenfold)
description:
  - Those that somebody gave on the command line, and those that C(playbooks/power.yml) has shut down, by the inventory.
positional: hosts, given
options:
  _input:
    description: The variables of all hosts, C(hostvars).
    type: dict
    required: true
  hosts:
    description: Names of the hosts to look at.
    type: list
    elements: str
    required: true
  given:
    description: More of them, as a list or a text; they come first.
    type: raw
    default: ""
"""

EXAMPLES = r"""
- name: Show which hosts have no power
  ansible.builtin.debug:
    msg: "{{ hostvars | xenfold.consolidation.hosts_off(groups.xen_hosts, hosts_off | default('')) }}"
"""

RETURN = r"""
_value:
  description: The names, each once.
  type: list
  elements: str
  sample: [xen02, xen03]
"""

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.moves.offline import words_of
from ansible_collections.xenfold.consolidation.plugins.module_utils.operations.marks import OFF_VARIABLE


def _hosts_off(hostvars: Mapping[str, Any], hosts: Iterable[str], given: Any = "") -> list[str]:
    marked = [host for host in hosts if hostvars[host].get(OFF_VARIABLE) is True]
    return list(dict.fromkeys([*(words_of(given) if given else []), *marked]))


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"hosts_off": _hosts_off}
