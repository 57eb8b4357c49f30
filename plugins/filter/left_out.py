# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: left_out
short_description: Guests that are not planned, since nobody knows where their disks are or their host drains
version_added: 0.1.0
author: The Xenfold Authors (@xenfold)
description:
  - Names the workloads that P(xenfold.consolidation.keep_running#filter) leaves out of a problem, with the reason. They would begin
    elsewhere with empty disks.
extends_documentation_fragment: xenfold.consolidation.found_hosts
"""

EXAMPLES = r"""
- name: Tell what waits for xen03
  ansible.builtin.debug:
    msg: "{{ read.estate.problem | xenfold.consolidation.left_out(found, read.estate.guests, stored, ['xen03']) }}"
"""

RETURN = r"""
_value:
  description: Guest -> C(why) it is left out, and whether it C(waits) for a host, or a person has to look.
  type: dict
"""

from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.estate.running import left_out
from ansible_collections.xenfold.consolidation.plugins.plugin_utils.found_hosts import judge


def _left_out(problem: Any, *told: Any, **named: Any) -> dict[str, dict[str, Any]]:
    left: dict[str, dict[str, Any]] = judge("left_out", left_out, problem, *told, **named)
    return left


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"left_out": _left_out}
