# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: moves_out
short_description: Moves that go out from a host
version_added: 0.1.0
author: The Xenfold Authors (@xenfold)
description:
  - The moves of a wave that begin on a host, as M(xenfold.consolidation.xl_move) takes them.
positional: host, guests, peers, found, limits
options:
  _input:
    description: Moves, as in a wave of P(xenfold.consolidation.moves_left#filter).
    type: list
    elements: dict
    required: true
  host:
    description: Name of the host.
    type: str
    required: true
  guests:
    description: Definitions of the guests of the estate by name.
    type: dict
    required: true
  peers:
    description: The other hosts of its pool, as P(xenfold.consolidation.move_peers#filter) returns them.
    type: list
    elements: dict
    required: true
  found:
    description: What hosts told, as host -> result of M(xenfold.consolidation.xl_move_info) with volumes. Needed for offline moves.
    type: dict
    default: {}
  limits:
    description: C(mibps) and C(shutdown_seconds) of offline moves.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Show what goes out from here
  ansible.builtin.debug:
    msg: "{{ wave.moves | xenfold.consolidation.moves_out(inventory_hostname, estate.guests, peers) }}"
"""

RETURN = r"""
_value:
  description: Moves with step, guest, uuid, to, address and port; offline ones also with volumes and limits.
  type: list
  elements: dict
"""

from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.xenfold.consolidation.plugins.module_utils.moves import progress
from ansible_collections.xenfold.consolidation.plugins.module_utils.plain import plain


def _moves_out(moves: Any, host: Any, guests: Any, peers: Any, found: Any = None, limits: Any = None) -> list[dict[str, Any]]:
    try:
        return progress.outgoing(*plain([list(moves), str(host), guests, list(peers), found or {}, limits or {}]))
    except ValueError as error:
        raise AnsibleFilterError(f"moves_out: {error}") from None


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"moves_out": _moves_out}
