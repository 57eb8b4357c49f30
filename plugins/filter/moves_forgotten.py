# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: moves_forgotten
short_description: Volumes that guests have left behind and that may go
version_added: 0.1.0
author: The Xenfold Authors (@xenfold)
description:
  - Volumes under the name C(NAME.moved) of guests that run on another host with all of their disks, once they are old enough, and what was
    being filled for a move that is not made any more.
positional: found, guests, keep_days
options:
  _input:
    description: Names of guests, as a list or a text.
    type: raw
    required: true
  found:
    description: What hosts told, as host -> result of M(xenfold.consolidation.xl_move_info) with volumes.
    type: dict
    required: true
  guests:
    description: Definitions of the guests of the estate by name.
    type: dict
    required: true
  keep_days:
    description: For how many days they are kept in any case.
    type: float
    default: 7
"""

EXAMPLES = r"""
- name: Show what may go
  ansible.builtin.debug:
    msg: "{{ ['web01'] | xenfold.consolidation.moves_forgotten(found, estate.guests) }}"
"""

RETURN = r"""
_value:
  description: C(steps) by host, for M(xenfold.consolidation.volume_settle), and C(problems).
  type: dict
"""

import datetime
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.xenfold.consolidation.plugins.module_utils.moves import offline
from ansible_collections.xenfold.consolidation.plugins.module_utils.plain import plain


def _moves_forgotten(wanted: Any, found: Any, guests: Any, keep_days: Any = offline.KEEP_DAYS) -> dict[str, Any]:
    wanted, found, guests, keep_days = plain([wanted, found, guests, keep_days])
    try:
        days = float(keep_days)
        if not days >= 0:
            raise ValueError
    except (TypeError, ValueError):
        raise AnsibleFilterError(f"moves_forgotten: moves_keep_days: value {keep_days!r}, allowed a number of days, 0 or more") from None
    try:
        names = offline.names_in("moves_forget", wanted, guests, everyone=False)
    except ValueError as error:
        raise AnsibleFilterError(f"moves_forgotten: {error}") from None
    steps, problems = offline.forgotten(names, found, guests, days, datetime.datetime.now(datetime.UTC))
    return {"steps": steps, "problems": problems}


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"moves_forgotten": _moves_forgotten}
