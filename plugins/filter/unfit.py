# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: unfit
short_description: Why a host is not fit for guests after maintenance
version_added: 0.1.0
author: The Xenfold Authors (@xenfold)
description:
  - Judges by the audit's findings on arrays, bonds, capacity and guards, and by whether Xen runs.
positional: host, told, wanted
options:
  _input:
    description: The result of M(xenfold.consolidation.host_info) there.
    type: dict
    required: true
  host:
    description: The host.
    type: str
    required: true
  told:
    description: The result of M(xenfold.consolidation.xl_move_info) there, empty when it did not answer.
    type: dict
    required: true
  wanted:
    description: C(arrays), C(other_arrays), C(bonds) and C(sizes), as its variables say.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show what keeps guests off xen03
  ansible.builtin.debug:
    msg: "{{ info | xenfold.consolidation.unfit('xen03', told, {'arrays': storage_arrays, 'bonds': network_bonds}) }}"
"""

RETURN = r"""
_value:
  description: One line for each reason; none for a host that is fit.
  type: list
  elements: str
"""

from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.xenfold.consolidation.plugins.module_utils.operations.health import unfit
from ansible_collections.xenfold.consolidation.plugins.module_utils.plain import plain


def _unfit(info: Any, host: Any, told: Any, wanted: Any) -> list[str]:
    try:
        return unfit(str(host), *plain([told, info, wanted]))
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise AnsibleFilterError(f"unfit: info, told, wanted: value that does not hold together ({error!r}), allowed what the modules"
                                 " host_info and xl_move_info return, and the host's variables") from error


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"unfit": _unfit}
