# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: to_htools
short_description: A Ganeti cluster after a plan, in the text format of htools
version_added: 0.1.0
author: The Xenfold Authors (@xenfold)
description:
  - Takes a plan and the text that its problem was read from, and returns the text with the instances on their new nodes, to be looked
    at with C(hcheck -t) or C(hbal -t).
  - Free memory becomes total less the node's own less that of its instances, free disk becomes total less their local disks. All else
    stays as it is; without moves, and with free figures that add up, so do all bytes.
  - An instance that goes to its secondary node makes the primary one its secondary; else its secondary stays.
positional: text
options:
  _input:
    description: A plan of P(xenfold.consolidation.placement#module) that places every instance.
    type: dict
    required: true
  text:
    description: The text that P(xenfold.consolidation.from_htools#filter) made the problem from.
    type: str
    required: true
seealso:
  - plugin: xenfold.consolidation.from_htools
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Write the cluster as it will be
  ansible.builtin.copy:
    content: "{{ plan | xenfold.consolidation.to_htools(lookup('ansible.builtin.file', 'cluster.data', rstrip=false)) }}"
    dest: build/after.data
    mode: "0644"
"""

RETURN = r"""
_value:
  description: The text.
  type: str
"""

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.xenfold.consolidation.plugins.module_utils.htools.text import TextError, render


def _to_htools(plan: Any, text: Any) -> str:
    if not isinstance(plan, Mapping):
        raise AnsibleFilterError(f"to_htools: plan: value of type {type(plan).__name__}, allowed a plan of the module placement")
    if not isinstance(text, str):
        raise AnsibleFilterError(f"to_htools: text: value of type {type(text).__name__}, allowed the string that from_htools read")
    try:
        return render(str(text), plan)
    except TextError as error:
        raise AnsibleFilterError(f"to_htools: plan or text is not sound:\n{error}") from error


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"to_htools": _to_htools}
