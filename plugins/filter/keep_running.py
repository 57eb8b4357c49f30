# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: keep_running
short_description: A problem in which guests stay where they are
version_added: 0.1.0
author: The Xenfold Authors (@xenfold)
description:
  - Gives every workload that some host has the C(current) of that host, whatever the inventory says, and sets C(max_moves) of the policy
    to 0. What is planned then starts new guests and moves none.
  - A host has the guests that are in O(found), and those that run nowhere, have their disks on one host (C(storage) is V(local)), and of
    which it has disks or the configuration.
  - Leaves out the workloads that P(xenfold.consolidation.left_out#filter) names.
extends_documentation_fragment: xenfold.consolidation.found_hosts
"""

EXAMPLES = r"""
- name: Plan around what runs on xen01
  ansible.builtin.set_fact:
    problem: "{{ read.estate.problem | xenfold.consolidation.keep_running({'xen01': {'web01': 'running'}}) }}"
"""

RETURN = r"""
_value:
  description: The problem.
  type: dict
"""

from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.estate.running import keep_running
from ansible_collections.xenfold.consolidation.plugins.plugin_utils.found_hosts import judge


def _keep_running(problem: Any, *told: Any, **named: Any) -> dict[str, Any]:
    kept: dict[str, Any] = judge("keep_running", keep_running, problem, *told, **named)
    return kept


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"keep_running": _keep_running}
