# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: moves_problems
short_description: What stands against the moves of the next waves
version_added: 0.1.0
author: The Xenfold Authors (@xenfold)
description:
  - Looks at the first wave in full, and at later ones for what earlier ones do not change.
positional: found, guests
options:
  _input:
    description: Waves, as P(xenfold.consolidation.moves_left#filter) returns them.
    type: list
    elements: dict
    required: true
  found:
    description: What hosts told, as host -> result of M(xenfold.consolidation.xl_move_info).
    type: dict
    required: true
  guests:
    description: Definitions of the guests of the estate by name.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show what stands against the next wave
  ansible.builtin.debug:
    msg: "{{ left.waves[:1] | xenfold.consolidation.moves_problems(found, estate.guests) }}"
"""

RETURN = r"""
_value:
  description: One line for each problem.
  type: list
  elements: str
"""

from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.moves import preconditions
from ansible_collections.xenfold.consolidation.plugins.module_utils.plain import plain


def _moves_problems(waves: Any, found: Any, guests: Any) -> list[str]:
    waves, found, guests = plain([list(waves), found, guests])
    lines: list[str] = []
    earlier: list[str] = []
    for wave in waves:
        lines += preconditions.problems([*wave["moves"], *wave.get("offline", ())], wave["define"], found, guests, earlier)
        earlier += [step["workload"] for step in [*wave["moves"], *wave.get("offline", ()), *wave["define"]]]
    return lines


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"moves_problems": _moves_problems}
