# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: moves_of
short_description: Moves of a workload, in order
version_added: 0.1.0
author: The Xenfold Authors (@xenfold)
description:
  - The moves of one workload; none when it stays, two when it is parked on the way.
positional: workload
options:
  _input:
    description: A plan of P(xenfold.consolidation.placement#module).
    type: dict
    required: true
  workload:
    description: Name of a workload of the plan.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Show how web01 gets to its host
  ansible.builtin.debug:
    msg: "{{ plan | xenfold.consolidation.moves_of('web01') }}"
"""

RETURN = r"""
_value:
  description: Moves as in the plan.
  type: list
  elements: dict
"""

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleFilterError


def _moves_of(plan: Any, workload: str) -> list[dict[str, Any]]:
    if not isinstance(plan, Mapping) or "moves" not in plan or not isinstance(plan.get("placement"), Mapping):
        raise AnsibleFilterError(f"moves_of: plan: value of type {type(plan).__name__} without 'moves' and a mapping 'placement',"
                                 " allowed a plan of the module placement")
    for key, needed in (("moves", ("workload", "step")), ("unplaced", ("workload",))):
        entries = plan.get(key, [])
        if not isinstance(entries, list | tuple) or not all(
            isinstance(entry, Mapping) and all(name in entry for name in needed) for entry in entries
        ):
            raise AnsibleFilterError(f"moves_of: plan: {key}: value of type {type(entries).__name__}, allowed a list of mappings with"
                                     f" {', '.join(needed)}, as in a plan of the module placement")
    unplaced = [entry["workload"] for entry in plan.get("unplaced", [])]
    if not isinstance(workload, str) or (workload not in plan["placement"] and workload not in unplaced):
        raise AnsibleFilterError(f"moves_of: workload: value {workload!r}, allowed a workload of the plan")
    return sorted((move for move in plan["moves"] if move["workload"] == workload), key=lambda move: move["step"])


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"moves_of": _moves_of}
