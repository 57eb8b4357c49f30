# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: moves_returned
short_description: How guests come back that were handed over and did not start
version_added: 0.1.0
author: The Xenfold Authors (@xenfold)
description:
  - Of the offline moves of a wave, those whose guest runs nowhere although its disks were handed over. It goes back to where it came from,
    whose disks are as it left them.
positional: moves, guests, hosts
options:
  _input:
    description: What hosts told, as host -> result of M(xenfold.consolidation.xl_move_info) with volumes.
    type: dict
    required: true
  moves:
    description: Offline moves of a wave of P(xenfold.consolidation.moves_left#filter).
    type: list
    elements: dict
    required: true
  guests:
    description: Definitions of the guests of the estate by name.
    type: dict
    required: true
  hosts:
    description: All hosts of the estate.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: See which guests go back
  ansible.builtin.set_fact:
    judged: "{{ found | xenfold.consolidation.moves_returned(wave.offline, estate.guests, groups['xen_hosts']) }}"
"""

RETURN = r"""
_value:
  description: As of P(xenfold.consolidation.moves_judged#filter), without anything for live moves.
  type: dict
"""

from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.moves import offline
from ansible_collections.xenfold.consolidation.plugins.module_utils.plain import plain


def _moves_returned(found: Any, moves: Any, guests: Any, hosts: Any) -> dict[str, Any]:
    found, moves, guests, hosts = plain([found, list(moves), guests, list(hosts)])
    told = offline.returned(moves, found, guests, set(hosts) - set(found))
    return {"settle": {}, "forget": told.pop("leave"), **told}


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"moves_returned": _moves_returned}
