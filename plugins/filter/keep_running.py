# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: keep_running
short_description: A problem in which guests stay where they run
version_added: 0.1.0
author: The Xenfold Authors (@xenfold)
description:
  - Gives every workload that some host has the C(current) of that host, whatever the inventory says, and sets C(max_moves) of the policy
    to 0. What is planned then starts new guests and moves none.
  - A host has the guests that are in O(found), and the stopped ones in O(configured) that have their disks on one host (C(storage) is
    V(local)). Of those, one that no host has and that has no C(current) is left out while there are hosts in O(lost).
positional: found, configured, lost
options:
  _input:
    description: A problem of P(xenfold.consolidation.placement#module), as M(xenfold.consolidation.estate) returns it.
    type: dict
    required: true
  found:
    description: What hosts have, as host -> guest -> state; the guests are those that M(xenfold.consolidation.xl_guest_info) returns.
    type: dict
    required: true
  configured:
    description: What hosts have stored, as host -> guests; the guests are C(configured) of M(xenfold.consolidation.xl_guest_info).
    type: dict
    default: {}
  lost:
    description: Hosts that have died with what they had. One that was emptied and shut down is none.
    type: list
    elements: str
    default: []
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

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.xenfold.consolidation.plugins.module_utils.estate.running import keep_running


def _keep_running(problem: Any, found: Any, configured: Any = None, lost: Any = ()) -> dict[str, Any]:
    if not isinstance(problem, Mapping) or not {"workloads", "policy"} <= set(problem):
        raise AnsibleFilterError("keep_running: problem: has no 'workloads' and 'policy', allowed the problem of the module estate")
    if not isinstance(found, Mapping) or not all(isinstance(there, Mapping) for there in found.values()):
        raise AnsibleFilterError(f"keep_running: found: value {found!r}, allowed a mapping host -> guest -> state")
    configured = {} if configured is None else configured
    if not isinstance(configured, Mapping) or not all(isinstance(there, list) for there in configured.values()):
        raise AnsibleFilterError(f"keep_running: configured: value {configured!r}, allowed a mapping host -> list of guests")
    try:
        return keep_running(problem, found, configured, [str(host) for host in lost])
    except ValueError as error:
        raise AnsibleFilterError(f"keep_running: {error}") from None


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"keep_running": _keep_running}
