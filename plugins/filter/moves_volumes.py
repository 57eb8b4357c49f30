# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: moves_volumes
short_description: What is to be done with volumes before offline moves begin
version_added: 0.1.0
author: The Xenfold Authors (@xenfold)
description:
  - The steps by which the targets of offline moves have volumes that can be filled, for M(xenfold.consolidation.volume_settle).
positional: found, guests
options:
  _input:
    description: Offline moves, as in a wave of P(xenfold.consolidation.moves_left#filter).
    type: list
    elements: dict
    required: true
  found:
    description: What hosts told, as host -> result of M(xenfold.consolidation.xl_move_info) with volumes.
    type: dict
    required: true
  guests:
    description: Definitions of the guests of the estate by name.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show what is made
  ansible.builtin.debug:
    msg: "{{ wave.offline | xenfold.consolidation.moves_volumes(found, estate.guests) }}"
"""

RETURN = r"""
_value:
  description: Steps by host.
  type: dict
"""

from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.moves import offline
from ansible_collections.xenfold.consolidation.plugins.module_utils.plain import plain


def _moves_volumes(moves: Any, found: Any, guests: Any) -> dict[str, list[dict[str, Any]]]:
    return offline.prepared(*plain([list(moves), found, guests]))


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"moves_volumes": _moves_volumes}
