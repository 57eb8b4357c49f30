#!/usr/bin/python
# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: estate
short_description: Read, check and normalise the estate
version_added: 0.1.0
author: The Xenfold Authors (@xenfold)
description:
  - Reads the variables of the hosts of a group, and C(estate_workloads), C(estate_rules) and C(estate_policy), checks all of
    it and returns what the module P(xenfold.consolidation.placement#module) and the guests' role take.
  - Runs on the control node alone, needs no facts and contacts nobody.
  - Fails with what is wrong, not only the first of it, each with file and line, item, key, value and what is allowed.
  - Values out of a vault are checked like others, but neither messages nor the output of the task show them.
  - The schema is in C(docs/estate.md).
extends_documentation_fragment: xenfold.consolidation.attributes
options:
  group:
    description: The group whose members are the hosts of the estate.
    type: str
    default: xen_hosts
"""

EXAMPLES = r"""
- name: Read the estate
  xenfold.consolidation.estate:
  register: read

- name: Plan it
  xenfold.consolidation.placement:
    hosts: "{{ read.estate.problem.hosts }}"
    workloads: "{{ read.estate.problem.workloads }}"
    rules: "{{ read.estate.problem.rules }}"
    policy: "{{ read.estate.problem.policy }}"
    dest: build/plan.json
"""

RETURN = r"""
contains_secrets:
  description:
    - Whether anything that was read came out of a vault. The output of this task is then hidden, as with C(no_log).
    - Tasks that hand RV(estate) on should hide theirs too, by C(no_log) with this value.
  returned: success
  type: bool
  sample: false
estate:
  description: The estate in its normalised form.
  returned: success
  type: dict
  contains:
    name:
      description: Name of the folder of the inventory.
      type: str
      sample: example
    hosts:
      description: Per host its capacity, where each number comes from, pool, zone, state, features, limits and watts.
      type: dict
    problem:
      description: C(hosts), C(workloads), C(rules) and C(policy) as the module C(placement) takes them.
      type: dict
    guests:
      description: Per guest its definition with all defaults, as the module C(xl_guest) takes it.
      type: dict
"""

# The work is done by the action plugin of the same name, on the control node.
